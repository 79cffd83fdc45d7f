"""How wide an interval has to be: intervals that nest, the scores of values, and their ranks.

Contract: every interval is one of a family that grows with a factor Q. With m the median, and a and
b the distances of its ends from it, it reaches from m / (1 + Q b / m) to m + Q a where it has to
stay positive, and it does so however wide it gets, and elsewhere from m - Q b to m + Q a; with
Q = 1 it is the interval given. The score of a value is the Q that just reaches it. The
ceil((n + 1) level)-th smallest of n scores then holds the score of a value that is exchangeable
with theirs with a probability of at least the level, and at most 1 / (n + 1) more where scores do
not tie.

Source: Gupta, Kuchibhotla & Ramdas (2022), Nested conformal prediction and quantile out-of-bag
ensemble methods, section 2 (any family that nests will do); the rank: Lei, G'Sell, Rinaldo,
Tibshirani & Wasserman (2018), Distribution-free predictive inference for regression, section 2.2;
distances of quantiles as the unit: Kivaranovic, Johnson & Leeb (2020), Adaptive, distribution-free
prediction intervals for deep networks. The positive family is ours.

Axes: N series, G groups of series that share scores, R scores of a group, H horizon, L levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from explstm.errors import DataError
from explstm.ragged import BoolArray, FloatArray, IntArray

LARGEST_SCORE = 100.0
"""Scores beyond are taken as this: that of a value of 0, where the interval stays above, has no
end."""


@dataclass(frozen=True)
class Intervals:
    """Forecasts with intervals, in data units.

    Attributes:
        median_NH1: The forecasts.
        lower_NHL: Lower ends, by rising level.
        upper_NHL: Upper ends.
        positive_NHL: Whether the lower end has to stay above 0.
    """

    median_NH1: FloatArray
    lower_NHL: FloatArray
    upper_NHL: FloatArray
    positive_NHL: BoolArray

    def reach(self, factor_NHL: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Both ends of intervals so many times as wide."""
        below_NHL, above_NHL = self._distances()
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            upper_NHL = self.median_NH1 + factor_NHL * above_NHL
            shrunk_NHL = self.median_NH1 / (1.0 + factor_NHL * below_NHL / self.median_NH1)
        linear_NHL = self.median_NH1 - factor_NHL * below_NHL
        lower_NHL = np.where(self.positive_NHL, shrunk_NHL, linear_NHL)
        return lower_NHL, np.minimum(upper_NHL, np.finfo(np.float64).max)

    def score(self, came_NH1: FloatArray) -> FloatArray:
        """How many times as wide they have to be to hold some values; NaN where they have no width.

        Returns:
            Scores (N, H, L), 0 at the median and 1 at an end.
        """
        below_NHL, above_NHL = self._distances()
        away_NH1 = came_NH1 - self.median_NH1
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratio_NH1 = np.where(came_NH1 > 0, self.median_NH1 / came_NH1, np.inf)
            fall_NHL = np.where(self.positive_NHL, (ratio_NH1 - 1.0) * self.median_NH1, -away_NH1)
            score_NHL = np.where(away_NH1 >= 0, away_NH1 / above_NHL, fall_NHL / below_NHL)
        has_width_NHL = np.where(away_NH1 >= 0, above_NHL, below_NHL) > 0
        return np.where(has_width_NHL, np.minimum(score_NHL, LARGEST_SCORE), np.nan)

    def _distances(self) -> tuple[FloatArray, FloatArray]:
        """How far the ends are from the median, in the form in which they are multiplied."""
        fall_NHL = self.median_NH1 - self.lower_NHL
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            relative_NHL = fall_NHL * (self.median_NH1 / self.lower_NHL)
        return np.where(self.positive_NHL, relative_NHL, fall_NHL), self.upper_NHL - self.median_NH1

    def to_quantiles(self) -> FloatArray:
        """All ends and, between them, the median, rising along the last axis."""
        return np.concatenate([self.lower_NHL[:, :, ::-1], self.median_NH1, self.upper_NHL], axis=2)


def scores_needed(level: float) -> int:
    """The fewest scores that can tell an interval of a level in per cent: 4 for 80, 19 for 95."""
    return ceil(round(level / (100.0 - level), 9))


def rank_of(n: int, level: float) -> int:
    """Which of n rising scores, counted from 1, is taken for a level: ceil((n + 1) level)."""
    return ceil(round((n + 1) * level / 100.0, 9))


def read_scores(score_LGRH: FloatArray, levels: Sequence[float]) -> tuple[FloatArray, IntArray]:
    """The score of the right rank at every level, group and step.

    Args:
        score_LGRH: Scores; NaN where there is none.
        levels: In per cent.

    Returns:
        ``factor_LGH``, and how many scores each step of a group had.

    Raises:
        DataError: Too few scores for a level.
    """
    n_LGH = (~np.isnan(score_LGRH)).sum(axis=2)
    rank_LGH = np.stack([_rank(n_GH, level) for n_GH, level in zip(n_LGH, levels, strict=True)])
    few_L = (rank_LGH > n_LGH).any(axis=(1, 2))
    if few_L.any():
        place = int(np.argmax(few_L))
        raise DataError(
            "CONFORMAL_FEW",
            f"an interval of {levels[place]:g} % needs {scores_needed(levels[place])} past "
            f"forecasts of series that move, and there are {n_LGH[place].min()}; ask for more "
            "windows or a lower level, or keep the model's own intervals.",
        )
    sorted_LGRH = np.sort(score_LGRH, axis=2)  # NaN last
    factor_LGRH = np.take_along_axis(sorted_LGRH, rank_LGH[:, :, None] - 1, axis=2)
    return factor_LGRH[:, :, 0], n_LGH.min(axis=0)


def _rank(n_GH: IntArray, level: float) -> IntArray:
    return np.array([rank_of(int(n), level) for n in n_GH.ravel()]).reshape(n_GH.shape)

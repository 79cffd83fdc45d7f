"""Intervals calibrated on what the model got wrong at earlier cutoffs of the same series.

Contract: a model forecasts the last windows of the histories given, each from its past alone; how
far the values fell from the median, or outside the model's own interval, are its scores; and the
final interval is as wide as the scores ask for. Nothing after the end of the histories is seen, so
that a backtest that hands out pasts calibrates anew before every cutoff. Scores are taken of
levels (:mod:`explstm.scaling`, the logarithm of positive series), so that intervals of positive
series stay positive, and in units that series share, so that the series of a panel are pooled:
with V the score of a window,

| method | score V at one step ahead | interval, in levels |
|---|---|---|
| conformal_error | abs(z - median) / σ, with σ the causal scale at the cutoff | median ± Q σ |
| conformal_quantile | max((median - z) / (median - lo), (z - median) / (hi - median)), of the
model's own interval | its ends, Q times as far from the median |

Q is the ceil((n + 1) level)-th smallest of the n scores at that step ahead: the value of a new
window that is exchangeable with these lies within with a probability of at least the level, and at
most 1 / (n + 1) more where scores do not tie. Windows of a time series are not exchangeable when it
changes, overlapping ones are not independent, and pooled over series the level holds on average
over them, not for each. Where n is too small for a level, it is refused. An interval of a higher
level is never narrower than that of a lower one.

Nixtla's ``conformal_error`` is the first with data units in place of levels and the plain quantile
in place of the corrected one; its ``conformal_distribution`` takes quantiles of the forecast plus
and minus the same absolute errors.

Source: Vovk, Gammerman & Shafer (2005), Algorithmic learning in a random world, section 4.1;
conformal_error: Lei, G'Sell, Rinaldo, Tibshirani & Wasserman (2018), section 5.2;
conformal_quantile: Romano, Patterson & Candès (2019), Conformalized quantile regression, with the
score of Kivaranovic, Johnson & Leeb (2020), Adaptive, distribution-free prediction intervals for
deep networks (their score is V - 1).

Axes: N series, G groups of series that share scores (one, or N), W windows, H horizon, L levels,
R scores of a group.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn, Protocol, get_args

import numpy as np

from explstm.calendar import default_season_length
from explstm.config import choose
from explstm.errors import DataError
from explstm.frame import Panel, build_panel, forecast_frame, take_series
from explstm.growth import GrowthPanel, to_growth_space
from explstm.intervals import name_columns
from explstm.prediction import check_horizon
from explstm.ragged import BoolArray, FloatArray, IntArray
from explstm.scaling import from_level, to_level
from explstm.windows import check_windows, cut_windows, forecast_windows, window_frame

Method = Literal["conformal_quantile", "conformal_error"]
METHODS: tuple[str, ...] = get_args(Method)
FEWEST_WINDOWS = 4
SHORTEST_PAST = 8
"""Steps of a series before its first window for its scores to count."""
LARGEST_SCORE = 100.0
"""Scores beyond are taken as this: a value out of reach of a logarithm has an infinite one."""


class Model(Protocol):
    """What calibration needs of a model; :class:`explstm.ExpLSTM` has it."""

    alias: str
    backend: str
    season_length: Any

    def fit(self, df: Any, h: int) -> Any:
        """Train on a panel."""

    def predict(self, df: Any, h: int, level: Sequence[float] | None) -> Any:
        """Forecast a panel."""

    def cross_validation(
        self, df: Any, h: int, n_windows: int, step_size: int, *, level: Sequence[float]
    ) -> Any:
        """Forecast the last windows of a panel, each from its past."""


@dataclass(frozen=True)
class Calibration:
    """How wide the intervals of some series have to be.

    Attributes:
        method: One of ``METHODS``.
        levels: In per cent, rising.
        factor_LGH: Q, by level, group and step ahead.
        n_scores_GH: How many scores each was read from.
        n_series: Series that gave scores.
        n_windows: Windows of each.
    """

    method: str
    levels: tuple[float, ...]
    factor_LGH: FloatArray
    n_scores_GH: IntArray
    n_series: int
    n_windows: int

    def widen(self, space: GrowthPanel, y_NHP: FloatArray) -> FloatArray:
        """Put the ends of the intervals where the scores ask for them.

        Args:
            space: The histories, see :func:`to_space`.
            y_NHP: What the model says, in data units: ends of its intervals and, between them, its
                median, rising along P.

        Returns:
            The same with other ends; medians stay, and ends stay on their side of them.
        """
        z_NHP, unit_NHP = _measure(space, y_NHP, self.method)
        n_levels = len(self.levels)
        factor_NHP = np.broadcast_to(
            np.moveaxis(np.concatenate([self.factor_LGH[::-1], self.factor_LGH]), 0, 2),
            (*z_NHP.shape[:2], 2 * n_levels),
        )
        sides = [*range(n_levels), *range(n_levels + 1, 2 * n_levels + 1)]
        z_NHP[:, :, sides] = z_NHP[:, :, [n_levels]] + factor_NHP * unit_NHP[:, :, sides]
        found_NHP = from_level(space.transform, z_NHP, space.ids_N)
        median_NH1 = y_NHP[:, :, [n_levels]]
        lower = np.minimum.accumulate(found_NHP[:, :, n_levels - 1 :: -1], axis=2)[:, :, ::-1]
        upper = np.maximum.accumulate(found_NHP[:, :, n_levels + 1 :], axis=2)
        lower, upper = np.minimum(lower, median_NH1), np.maximum(upper, median_NH1)
        return np.concatenate([lower, median_NH1, upper], axis=2)


@dataclass(frozen=True)
class ConformalForecaster:
    """A model whose intervals are calibrated on its own last windows.

    It forecasts wherever a model does: ``predict`` calibrates on the histories given, and
    ``cross_validation`` so before every cutoff. A model that trains does it once more for each
    calibration, on what comes before the windows that it is calibrated on.

    Attributes:
        model: The model.
        method: One of ``METHODS``.
        n_windows: Windows to calibrate on; by default as many as the highest level needs, at least
            four where the series hold them.
        step_size: Steps from one to the next.
        pooled: Whether the series of a panel share their scores. Otherwise each needs as many
            windows as the level needs scores: 19 for 95 %.

    Example:
        >>> from explstm import ExpLSTM
        >>> from explstm.conformal import ConformalForecaster
        >>> from explstm.datasets import load_air_passengers
        >>> ConformalForecaster(ExpLSTM()).predict(load_air_passengers(), h=12, level=[80]).shape
        (12, 5)
    """

    model: Model
    method: str = "conformal_quantile"
    n_windows: int | None = None
    step_size: int = 1
    pooled: bool = True

    @property
    def alias(self) -> str:
        """Name of the forecast column."""
        return self.model.alias

    def fit(self, df: Any, h: int) -> "ConformalForecaster":
        """Train the model; what is learnt for the intervals is learnt in ``predict``."""
        self.model.fit(df, h=h)
        return self

    def predict(self, df: Any, h: int, level: Sequence[float] | None = None, **columns: Any) -> Any:
        """Forecast the steps after the end of every series.

        Args:
            df: Histories, as a table or a panel.
            h: Horizon.
            level: Central intervals wanted, in per cent.
            **columns: How to read a table, see :func:`explstm.frame.build_panel`.

        Returns:
            The table of the model's own ``predict``, with other ends of the intervals.

        Raises:
            UsageError: An argument that cannot be used.
            DataError: Data that cannot be used, or too few windows for a level.
        """
        panel = df if isinstance(df, Panel) else build_panel(df, **columns)
        table = self.model.predict(panel, h=h, level=level)
        if not level:
            return table
        calibration = calibrate(
            self.model, panel, h, level=level, method=self.method, n_windows=self.n_windows,
            step_size=self.step_size, pooled=self.pooled,
        )  # fmt: skip
        space = to_space(panel, self.model)
        y_NHP = _read_columns(table, self.alias, calibration.levels, (panel.n_series, h))
        y_NHP = calibration.widen(space, y_NHP)
        return forecast_frame(panel, h, name_columns(y_NHP, self.alias, calibration.levels))

    def cross_validation(
        self,
        df: Any,
        h: int,
        n_windows: int = 1,
        step_size: int = 1,
        refit: bool | int = False,
        level: Sequence[float] | None = None,
        **columns: Any,
    ) -> Any:
        """Forecast the last windows of every series, calibrated before each.

        The arguments are those of :meth:`explstm.ExpLSTM.cross_validation`.
        """
        panel = df if isinstance(df, Panel) else build_panel(df, **columns)
        pasts = cut_windows(panel, check_horizon(h), n_windows, step_size)
        check_windows(n_windows, step_size, refit)
        judged = replace(self, model=copy.copy(self.model))
        trains = self.model.backend != "numpy"
        forecasts = forecast_windows(
            pasts,
            h,
            lambda past: judged.predict(past, h=h, level=level),
            fit=(lambda past: judged.fit(past, h=h)) if trains else None,
            refit=refit,
        )
        return window_frame(panel, pasts, h, forecasts)


def calibrate(
    model: Model,
    panel: Panel,
    h: int,
    *,
    level: Sequence[float],
    method: str = "conformal_quantile",
    n_windows: int | None = None,
    step_size: int = 1,
    pooled: bool = True,
) -> Calibration:
    """Let a model forecast the last windows of some histories, and read how wrong it was.

    The arguments are those of :class:`ConformalForecaster`. Pooled, series too short for the
    windows give no scores.

    Raises:
        UsageError: An argument that cannot be used, or a model that has seen the windows.
        DataError: Too few scores for a level.
    """
    choose("method", method, METHODS)
    levels = tuple(sorted(set(level)))
    needed = scores_needed(levels[-1])
    if n_windows is None:
        n_windows = _choose_windows(panel, h, step_size, needed, pooled)
    check_windows(n_windows, step_size)
    usable_N = panel.lengths_N >= _steps_needed(h, n_windows, step_size)
    enough = usable_N.sum() * n_windows >= needed if pooled else usable_N.all()
    if not enough or (not pooled and n_windows < needed):
        _refuse_few(panel, h, n_windows, step_size, levels[-1], usable_N, pooled)
    series = take_series(panel, np.flatnonzero(usable_N))
    score_LNWH = _score_windows(model, series, h, levels, method, n_windows, step_size)
    n_levels, n_series = score_LNWH.shape[:2]
    groups = (n_levels, 1, -1, h) if pooled else (n_levels, n_series, n_windows, h)
    factor_LGH, n_scores_GH = read_scores(score_LNWH.reshape(groups), levels)
    return Calibration(method, levels, factor_LGH, n_scores_GH, n_series, n_windows)


def scores_needed(level: float) -> int:
    """The fewest scores that can tell an interval of a level in per cent: 4 for 80, 19 for 95."""
    n = 1
    while rank_of(n, level) > n:
        n += 1
    return n


def rank_of(n: int, level: float) -> int:
    """Which of n rising scores, counted from 1, is taken for a level: ceil((n + 1) level)."""
    return math.ceil(round((n + 1) * level / 100.0, 9))


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
    n_GH = (~np.isnan(score_LGRH[0])).sum(axis=1)
    sorted_LGRH = np.sort(score_LGRH, axis=2)  # NaN last
    factors = []
    for sorted_GRH, level in zip(sorted_LGRH, levels, strict=True):
        rank_GH = np.ceil(np.round((n_GH + 1) * level / 100.0, 9)).astype(np.int64)
        if (rank_GH > n_GH).any():
            raise DataError(
                "CONFORMAL_FEW",
                f"an interval of {level:g} % needs {scores_needed(level)} past forecasts of series "
                f"that move, and there are {n_GH.min()}; ask for more windows or a lower level, or "
                "keep the model's own intervals.",
            )
        factors.append(np.take_along_axis(sorted_GRH, rank_GH[:, None] - 1, axis=1)[:, 0])
    return np.stack(factors), n_GH


def to_space(panel: Panel, model: Model) -> GrowthPanel:
    """The growth space in which errors are measured: curves as the data ask for, and the season."""
    seasons = model.season_length
    if seasons is None:
        seasons = default_season_length(panel.freq)
    return to_growth_space(panel, season_length=seasons)


def _score_windows(
    model: Model,
    panel: Panel,
    h: int,
    levels: tuple[float, ...],
    method: str,
    n_windows: int,
    step_size: int,
) -> FloatArray:
    """Scores (L, N, W, H) of the last windows; NaN where the unit is 0."""
    table = model.cross_validation(panel, h, n_windows, step_size, level=levels)
    y_NWHP = _read_columns(table, model.alias, levels, (panel.n_series, n_windows, h))
    came_NWH = np.asarray(table[panel.layout.target_col].to_numpy(), dtype=np.float64)
    came_NWH = came_NWH.reshape(y_NWHP.shape[:3])
    scores = []
    for window, past in enumerate(cut_windows(panel, h, n_windows, step_size)):
        space = to_space(past, model)
        z_NHP, unit_NHP = _measure(space, y_NWHP[:, window], method)
        came_NH1 = _to_levels(space, came_NWH[:, window, :, None])
        away_NHP = came_NH1 - z_NHP[:, :, [len(levels)]]
        ratio_NHP = np.divide(
            away_NHP, unit_NHP, out=np.full_like(unit_NHP, np.nan), where=unit_NHP != 0
        )
        lower = ratio_NHP[:, :, len(levels) - 1 :: -1]
        upper = ratio_NHP[:, :, len(levels) + 1 :]
        scores.append(np.minimum(np.maximum(lower, upper), LARGEST_SCORE))
    return np.moveaxis(np.stack(scores, axis=1), 3, 0)


def _measure(space: GrowthPanel, y_NHP: FloatArray, method: str) -> tuple[FloatArray, FloatArray]:
    """Levels of some quantiles, and the unit in which each end is away from the median."""
    z_NHP = _to_levels(space, y_NHP)
    middle = z_NHP.shape[2] // 2
    if method == "conformal_quantile":
        return z_NHP, z_NHP - z_NHP[:, :, [middle]]
    side_P = np.sign(np.arange(z_NHP.shape[2]) - middle)
    scale_N11 = space.scale_S[space.starts_N1[1:] - 1, None, None]
    return z_NHP, np.broadcast_to(scale_N11 * side_P, z_NHP.shape)


def _to_levels(space: GrowthPanel, y_NHP: FloatArray) -> FloatArray:
    counts_N = np.full(space.n_series, y_NHP[0].size)
    return to_level(space.transform, y_NHP.ravel(), counts_N).reshape(y_NHP.shape)


def _read_columns(
    table: Any, alias: str, levels: Sequence[float], shape: tuple[int, ...]
) -> FloatArray:
    """Quantiles (..., P) of a table of forecasts, rising along P."""
    ends = [f"{alias}-lo-{level:.15g}" for level in reversed(levels)]
    names = [*ends, alias, *(f"{alias}-hi-{level:.15g}" for level in levels)]
    columns = [np.asarray(table[name].to_numpy(), dtype=np.float64) for name in names]
    return np.stack(columns, axis=1).reshape(*shape, len(names))


def _steps_needed(h: int, n_windows: int, step_size: int) -> int:
    return SHORTEST_PAST + h + (n_windows - 1) * step_size


def _choose_windows(panel: Panel, h: int, step_size: int, needed: int, pooled: bool) -> int:
    """The default number of windows: the first of 4, 5, 6, ... and 3, 2, 1 that gives enough."""
    if not pooled:
        return max(FEWEST_WINDOWS, needed)
    most = max(needed, FEWEST_WINDOWS)
    for n_windows in (*range(FEWEST_WINDOWS, most + 1), *range(FEWEST_WINDOWS - 1, 0, -1)):
        usable = int((panel.lengths_N >= _steps_needed(h, n_windows, step_size)).sum())
        if usable * n_windows >= needed:
            return n_windows
    return most


def _refuse_few(
    panel: Panel, h: int, n_windows: int, step_size: int, level: float, usable_N: BoolArray,
    pooled: bool,
) -> NoReturn:  # fmt: skip
    needed = scores_needed(level)
    steps = _steps_needed(h, n_windows, step_size)
    whose = f"{usable_N.sum()} of {panel.n_series} series hold"
    shared = f"{needed} past forecasts" if pooled else f"{needed} past forecasts of every series"
    raise DataError(
        "CONFORMAL_FEW",
        f"an interval of {level:g} % needs {shared}, and {whose} the {steps} steps of {n_windows} "
        f"windows of {h} steps, {step_size} apart, and a past of {SHORTEST_PAST}; ask for another "
        "number of windows or a lower level, or keep the model's own intervals.",
    )

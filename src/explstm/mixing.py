"""Two views of a series, mixed by how well each would have done at its last origins.

Contract: a network whose inputs have no unit can look at the same series on two curves, such as the
logarithm, on which growth continues by a rate, and the straight line, on which it continues by
steps. :class:`PastForecasts` scores the median forecasts from the last origins of every series
against what came after them, in data units, and goes on with a series at a fixed size;
:func:`mix_views` weighs each view by a power of its error. A mean of rising quantiles rises.
Nothing here sees a step that the caller has not given. The season is the one fitted on the whole
history, so past errors of seasonal series flatter, both views alike.

Source: Bates & Granger (1969), The combination of forecasts (weights by the inverse of the squared
error).

Axes: N series, R rows: past origins of all series, H horizon, P probabilities.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explstm.growth import GrowthPanel
from explstm.parsing import quote
from explstm.ragged import BoolArray, FloatArray, IntArray
from explstm.scaling import from_level
from explstm.seasonality import season_at

PAST_ORIGINS = 12
"""Last origins of a series that its views are judged by."""
FIRST_ORIGIN = 6
"""Steps of a series before the first origin it is judged by."""
FEWEST_JUDGED = FIRST_ORIGIN + 2
"""Steps of the shortest series that has an origin to be judged by."""
POWER = 2.0
LARGEST_EXPONENT = 600.0  # what exp and sinh can bear, with room for the unit


def warn_of_few(ids_N: NDArray[Any], lengths_N: IntArray) -> None:
    """Warn of series that are too short to tell by which curve they grow."""
    few_N = lengths_N < FEWEST_JUDGED
    if few_N.any():
        warnings.warn(
            f"{few_N.sum()} of {len(ids_N)} series have fewer than {FEWEST_JUDGED} values, such as "
            f"{quote(ids_N[few_N][0])}: their forecasts are little more than straight lines.",
            stacklevel=4,  # whoever asked for a forecast
        )


def past_origins(lengths_N: IntArray, n_steps: int) -> BoolArray:
    """Mark the last step of left-aligned series and the origins before it that judge a view."""
    time_T = np.arange(n_steps)
    last_N1 = lengths_N[:, None] - 1
    first_N1 = np.minimum(np.maximum(last_N1 - PAST_ORIGINS, FIRST_ORIGIN), last_N1)
    return (time_T >= first_N1) & (time_T <= last_N1)


@dataclass(frozen=True)
class PastForecasts:
    """What was forecast from the last origins of every series, and what came.

    Attributes:
        forecast_NOK: Medians in data units from the last ``PAST_ORIGINS`` origins and from the last
            step, for up to as many steps after each; NaN where there is no such origin.
        y_NO: Values at these origins; NaN where there is none.
    """

    forecast_NOK: FloatArray
    y_NO: FloatArray

    @classmethod
    def none(cls, n_series: int, horizon: int) -> "PastForecasts":
        """Those of series that have not been forecast yet."""
        shape = (n_series, PAST_ORIGINS + 1, min(horizon, PAST_ORIGINS))
        return cls(np.full(shape, np.nan), np.full(shape[:2], np.nan))

    def error_N(self) -> FloatArray:
        """Mean absolute error of the forecasts that can be judged; NaN where none can."""
        n_origins, n_steps = self.forecast_NOK.shape[1:]
        later_OK = np.arange(n_origins)[:, None] + 1 + np.arange(n_steps)
        came_NOK = self.y_NO[:, np.minimum(later_OK, n_origins - 1)]
        known_NOK = (later_OK < n_origins) & ~np.isnan(self.forecast_NOK)
        error_NOK = np.where(known_NOK, np.abs(self.forecast_NOK - came_NOK), 0.0)
        with np.errstate(over="ignore"):  # an infinite error counts as the worst
            total_N, known_N = error_NOK.sum(axis=(1, 2)), known_NOK.sum(axis=(1, 2))
        return np.divide(total_N, known_N, out=np.full(len(total_N), np.nan), where=known_N > 0)

    def followed_by(self, later: "PastForecasts", steps_N: IntArray) -> "PastForecasts":
        """The last origins after so many more steps of every series, forecast as ``later`` says."""
        n_origins = self.y_NO.shape[1]
        place_NO = np.arange(n_origins) + steps_N[:, None]
        new_NO, old_NO = place_NO >= n_origins, np.minimum(place_NO, n_origins - 1)
        old_NOK = np.take_along_axis(self.forecast_NOK, old_NO[:, :, None], axis=1)
        return PastForecasts(
            np.where(new_NO[:, :, None], later.forecast_NOK, old_NOK),
            np.where(new_NO, later.y_NO, np.take_along_axis(self.y_NO, old_NO, axis=1)),
        )

    def take(self, series_M: IntArray) -> "PastForecasts":
        """Those of some series, copied."""
        return PastForecasts(self.forecast_NOK[series_M], self.y_NO[series_M])

    def put(self, series_M: IntArray, later: "PastForecasts") -> None:
        """Set those of some series, in place."""
        self.forecast_NOK[series_M] = later.forecast_NOK
        self.y_NO[series_M] = later.y_NO


def recall(space: GrowthPanel, y_S: FloatArray, median_NOK: FloatArray) -> PastForecasts:
    """Carry forecasts from the last origins of every series to data units.

    Args:
        space: The series in growth space.
        y_S: The same series in data units.
        median_NOK: Medians of the network from the last steps; NaN where it was not asked.
    """
    back_O = np.arange(median_NOK.shape[1]) - median_NOK.shape[1] + 1
    at_NO = space.starts_N1[1:, None] - 1 + back_O
    inside_NO = at_NO >= space.starts_N1[:-1, None]
    at_NO = np.maximum(at_NO, space.starts_N1[:-1, None])
    asked_NOK = inside_NO[:, :, None] & ~np.isnan(median_NOK)
    z_NOK = space.anchor_S[at_NO, None] + space.scale_S[at_NO, None] * median_NOK
    ahead_OK = back_O[:, None] + np.arange(median_NOK.shape[2])
    series_N11 = np.arange(space.n_series)[:, None, None]
    z_NOK += season_at(space.seasonality, series_N11, ahead_OK)
    # Exponential curves are held within float64.
    bound_N = np.where(space.transform.is_curve_N("log", "asinh"), LARGEST_EXPONENT, np.inf)
    z_NOK = np.where(asked_NOK, z_NOK, 0.0).clip(-bound_N[:, None, None], bound_N[:, None, None])
    forecast_NOK = from_level(space.transform, z_NOK, space.ids_N, overflow="cap")
    forecast_NOK[~asked_NOK] = np.nan
    return PastForecasts(forecast_NOK, np.where(inside_NO, y_S[at_NO], np.nan))


def past_error(
    space: GrowthPanel, y_S: FloatArray, counts_N: IntArray, median_RH: FloatArray
) -> FloatArray:
    """Mean absolute error of the forecasts from the last origins, in data units.

    Args:
        space: The series in growth space.
        y_S: The same series in data units.
        counts_N: Origins of each series, its last steps; the very last has no future to judge by.
        median_RH: Medians of the network from these origins, series by series.

    Returns:
        One number per series; NaN where no forecast can be judged.
    """
    none = PastForecasts.none(space.n_series, median_RH.shape[1])
    median_NOK = none.forecast_NOK
    asked_NO = np.arange(median_NOK.shape[1]) >= median_NOK.shape[1] - counts_N[:, None]
    median_NOK[asked_NO] = median_RH[:, : median_NOK.shape[2]]
    return recall(space, y_S, median_NOK).error_N()


def mix_views(y_VNHP: Sequence[FloatArray], error_VN: Sequence[FloatArray]) -> FloatArray:
    """Weigh forecasts by the inverse of a power of their past errors.

    Args:
        y_VNHP: Forecasts of each view.
        error_VN: Past errors of each view; where one is NaN the last view counts alone.
    """
    errors_VN = np.array(error_VN)
    best_N = errors_VN.min(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights_VN = np.where(errors_VN > best_N, (best_N / errors_VN) ** POWER, 1.0)
    weights_VN[:-1, np.isnan(best_N)] = 0.0
    weights_VN /= weights_VN.sum(axis=0)
    return np.asarray(np.einsum("vn,vnhp->nhp", weights_VN, np.array(y_VNHP)))

"""Two views of a series, mixed by how well each would have done at its last origins.

Contract: a network whose inputs have no unit can look at the same series on two curves, such as the
logarithm, on which growth continues by a rate, and the straight line, on which it continues by
steps. :func:`past_error` scores the median forecasts from the last origins of every series against
what came after them, in data units; :func:`mix_views` weighs each view by a power of its error. A
mean of rising quantiles rises. Nothing here sees a step that the caller has not given. The season
is the one fitted on the whole history, so past errors of seasonal series flatter, both views alike.

Source: Bates & Granger (1969), The combination of forecasts (weights by the inverse of the squared
error).

Axes: N series, R rows: past origins of all series, H horizon, P probabilities.
"""

from collections.abc import Sequence

import numpy as np

from explstm.growth import GrowthPanel
from explstm.ragged import BoolArray, FloatArray, IntArray
from explstm.scaling import Transform, from_level, to_level

PAST_ORIGINS = 12
"""Last origins of a series that its views are judged by."""
FIRST_ORIGIN = 6
"""Steps of a series before the first origin it is judged by."""
FEWEST_JUDGED = FIRST_ORIGIN + 2
"""Steps of the shortest series that has an origin to be judged by."""
POWER = 2.0
LARGEST_EXPONENT = 600.0  # what exp and sinh can bear, with room for the unit


def past_origins(lengths_N: IntArray, n_steps: int) -> BoolArray:
    """Mark the last step of left-aligned series and the origins before it that judge a view."""
    time_T = np.arange(n_steps)
    last_N1 = lengths_N[:, None] - 1
    first_N1 = np.minimum(np.maximum(last_N1 - PAST_ORIGINS, FIRST_ORIGIN), last_N1)
    return (time_T >= first_N1) & (time_T <= last_N1)


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
    lengths_N = space.lengths_N
    series_R = np.repeat(np.arange(space.n_series), counts_N)
    back_R = np.arange(len(series_R)) - np.repeat(np.cumsum(counts_N) - 1, counts_N)
    origin_R = space.starts_N1[1:][series_R] - 1 + back_R
    judged_R = back_R < 0
    series_R, origin_R, back_R = series_R[judged_R], origin_R[judged_R], back_R[judged_R]
    step_H = np.arange(1, median_RH.shape[1] + 1)
    known_RH = step_H <= -back_R[:, None]
    later_RH = np.where(known_RH, origin_R[:, None] + step_H, origin_R[:, None])
    season_S = to_level(space.transform, y_S, lengths_N) - space.z_S
    z_RH = space.anchor_S[origin_R, None] + space.scale_S[origin_R, None] * median_RH[judged_R]
    z_RH += season_S[later_RH]
    forecast_RH = _to_data(space, series_R, np.where(known_RH, z_RH, 0.0))
    error_RH = np.where(known_RH, np.abs(forecast_RH - y_S[later_RH]), 0.0)
    total_N = np.bincount(series_R, error_RH.sum(axis=1), space.n_series)
    known_N = np.bincount(series_R, known_RH.sum(axis=1), space.n_series)
    return np.divide(total_N, known_N, out=np.full(space.n_series, np.nan), where=known_N > 0)


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


def _to_data(space: GrowthPanel, series_R: IntArray, z_RH: FloatArray) -> FloatArray:
    """Carry levels to data units; exponential curves are held within float64."""
    curves = space.transform
    of_rows = Transform(
        curves.names_N[series_R], curves.centre_N[series_R], curves.unit_N[series_R]
    )
    bound_R1 = np.where(of_rows.is_curve_N("log", "asinh"), LARGEST_EXPONENT, np.inf)[:, None]
    z_RH = np.clip(z_RH, -bound_R1, bound_R1)
    return from_level(of_rows, z_RH, space.ids_N[series_R], overflow="cap")

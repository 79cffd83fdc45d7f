"""The seasonal part of every series: found by a test, weighted towards the present, shrunk.

Contract: additive in z (multiplicative in the data where z is a logarithm), one index per series
and season length, fitted on the panel given, so callers cut the panel before they fit. Season
lengths are taken from the shortest, each on what the ones before it left. Indices of one season
sum to zero, and are all zero where no season is found.

For one season of length m, in a series of at least two seasons:

1. Trend: centred moving average over m steps, continued straight at both ends.
2. Test: the autocorrelation of z - trend at lag m exceeds ``TEST_LEVEL`` standard errors.
3. Index: mean of z - trend at each place in the season, a step weighing ``DECAY`` per season back.
4. Shrinkage: the index times ``1 - v / s²``, with s² its variance over the season and v the
   variance its error alone would give (positive-part James and Stein).

Source: Makridakis, Wheelwright & Hyndman (1998), Forecasting, ch. 3 (decomposition);
James & Stein (1961), Estimation with quadratic loss.

Axes: N series in a panel, S steps of all series laid end to end, B series in a block, T time,
J seasons, M places in a season (or series picked, in ``take`` and ``put``), H horizon.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from explstm.errors import UsageError
from explstm.ragged import BoolArray, FloatArray, IntArray, block_cells, length_blocks

DECAY = 0.7  # weight of a step per season back
LONGEST_SEASON = 1_000_000  # steps: an index has a number for each, whatever the series hold
TEST_LEVEL = 1.0  # standard errors: loose, because shrinkage follows


@dataclass(frozen=True)
class Seasonality:
    """Seasonal indices of every series.

    Attributes:
        n_series: Number of series.
        lengths: Season lengths in steps, ascending; empty for none.
        indices: For each length m an array ``(N, m)``: what the next m steps carry, in z.
        variances: For each length the error variance of an index ``(N,)``, 0 where there is none.
    """

    n_series: int
    lengths: tuple[int, ...]
    indices: tuple[FloatArray, ...]
    variances: tuple[FloatArray, ...]

    def found_N(self, length: int) -> BoolArray:
        """Tell in which series a season of this length was found."""
        return np.asarray(self.indices[self.lengths.index(length)].any(axis=1))

    def take(self, series_M: IntArray) -> "Seasonality":
        """That of some series, copied."""
        indices = tuple(index_NM[series_M] for index_NM in self.indices)
        variances = tuple(variance_N[series_M] for variance_N in self.variances)
        return Seasonality(len(series_M), self.lengths, indices, variances)

    def put(self, series_M: IntArray, later: "Seasonality") -> None:
        """Set the indices of some series, in place."""
        for index_NM, index_MM in zip(self.indices, later.indices, strict=True):
            index_NM[series_M] = index_MM


def future(seasonality: Seasonality, horizon: int) -> FloatArray:
    """Return the seasonal part ``(N, H)`` of the next ``horizon`` steps of every series."""
    series_N1 = np.arange(seasonality.n_series)[:, None]
    return season_at(seasonality, series_N1, np.arange(horizon))


def past(seasonality: Seasonality, starts_N1: IntArray) -> FloatArray:
    """Return the seasonal part ``(S,)`` of the steps before, the last ones of every series."""
    lengths_N = np.diff(starts_N1)
    series_S = np.repeat(np.arange(seasonality.n_series), lengths_N)
    ahead_S = np.arange(len(series_S)) - np.repeat(starts_N1[1:], lengths_N)
    return season_at(seasonality, series_S, ahead_S)


def season_at(seasonality: Seasonality, series: IntArray, ahead: IntArray) -> FloatArray:
    """Return the seasonal part of any steps.

    Args:
        seasonality: The indices.
        series: Which series each step belongs to.
        ahead: How many steps it comes after the first of the next steps; below 0 it is past.
    """
    total = np.zeros(np.broadcast_shapes(series.shape, ahead.shape))
    for m, index_NM in zip(seasonality.lengths, seasonality.indices, strict=True):
        total += index_NM[series, ahead % m]
    return total


def carry_on(seasonality: Seasonality, steps_N: IntArray) -> Seasonality:
    """Return the same indices after so many more steps of every series: what then comes next."""
    rows_N1 = np.arange(seasonality.n_series)[:, None]
    indices = tuple(
        index_NM[rows_N1, (np.arange(m) + steps_N[:, None]) % m]
        for m, index_NM in zip(seasonality.lengths, seasonality.indices, strict=True)
    )
    return replace(seasonality, indices=indices)


def future_error(seasonality: Seasonality) -> FloatArray:
    """Return the standard error ``(N,)`` of the seasonal part of any future step, in z."""
    return np.sqrt(np.sum(seasonality.variances, axis=0) + np.zeros(seasonality.n_series))


def remove_seasonality(
    z_S: FloatArray, starts_N1: IntArray, season_length: int | Sequence[int]
) -> tuple[Seasonality, FloatArray]:
    """Fit the seasonal part of every series and take it away.

    Args:
        z_S: Levels of all series, finite, laid end to end.
        starts_N1: First step of each series, and the total.
        season_length: One season length or several; 1 stands for none.

    Returns:
        The fitted seasonality, and the levels without it.

    Raises:
        UsageError: A season length is not a whole number from 1 to ``LONGEST_SEASON``.
    """
    lengths = check_season_lengths(season_length)
    n_series = len(starts_N1) - 1
    left_S = z_S.copy() if lengths else z_S
    indices = tuple(np.zeros((n_series, m)) for m in lengths)
    variances = tuple(np.zeros(n_series) for _ in lengths)
    for m, index_NM, variance_N in zip(lengths, indices, variances, strict=True):
        for block_B in length_blocks(starts_N1):
            steps_B = np.diff(starts_N1)[block_B]
            block_B, steps_B = block_B[steps_B >= 2 * m], steps_B[steps_B >= 2 * m]
            if len(block_B) == 0:
                continue
            # With several seasons the index of a short one must average over the long ones.
            longest_B = np.max([np.where(steps_B >= 2 * k, k, m) for k in lengths], axis=0)
            index_BT, inside_BT = block_cells(starts_N1, block_B, align="right", multiple=m)
            z_BT = np.where(inside_BT, left_S[index_BT], 0.0)
            index_BM, variance_B = _season_index(z_BT, inside_BT, m, DECAY ** (m / longest_B))
            index_NM[block_B], variance_N[block_B] = index_BM, variance_B
            z_BT -= np.tile(index_BM, z_BT.shape[1] // m)
            left_S[index_BT[inside_BT]] = z_BT[inside_BT]
    return Seasonality(n_series, lengths, indices, variances), left_S


def check_season_lengths(season_length: int | Sequence[int]) -> tuple[int, ...]:
    """Return the distinct season lengths above 1, ascending, or refuse them."""
    given = np.atleast_1d(np.asarray(season_length, dtype=object)).tolist()
    for m in given:
        whole = isinstance(m, int | np.integer) and not isinstance(m, bool)
        if not whole or not 1 <= m <= LONGEST_SEASON:
            raise UsageError(
                "SEASON_LENGTH",
                f"season_length needs whole numbers from 1 to {LONGEST_SEASON}, found "
                f"{repr(m)[:80]}; use for example 12 for monthly data, or 1 for no season.",
            )
    return tuple(sorted({int(m) for m in given} - {1}))


def _season_index(
    z_BT: FloatArray, inside_BT: BoolArray, m: int, decay_B: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the tested, weighted, shrunk index of one block whose last column is the last step.

    The second result is the variance of its error: of the shrunk mean, given its own shrinkage.
    """
    detrended_BT = np.where(inside_BT, z_BT - moving_trend(z_BT, inside_BT, m), 0.0)
    shape = (len(z_BT), -1, m)
    detrended_BJM = detrended_BT.reshape(shape)
    back_J = np.arange(detrended_BJM.shape[1])[::-1]
    weight_BJM = inside_BT.reshape(shape) * (decay_B[:, None] ** back_J)[:, :, None]
    total_BM = weight_BJM.sum(axis=1)
    mean_BM = (weight_BJM * detrended_BJM).sum(axis=1) / total_BM
    mean_BM -= mean_BM.mean(axis=1, keepdims=True)

    # Error variance of each mean, from the weighted spread of the steps around it.
    share_BM = (weight_BJM**2).sum(axis=1) / total_BM
    spread_B = (weight_BJM * (detrended_BJM - mean_BM[:, None]) ** 2).sum(axis=(1, 2))
    variance_B = spread_B / (total_BM - share_BM).sum(axis=1)
    error_B = variance_B * (share_BM / total_BM).mean(axis=1)
    signal_B = (mean_BM**2).mean(axis=1)
    kept_B = 1.0 - np.divide(error_B, signal_B, out=np.ones_like(error_B), where=signal_B > 0)
    kept_B[~_is_seasonal(detrended_BT, inside_BT, m)] = 0.0
    kept_B = np.maximum(kept_B, 0.0)
    return mean_BM * kept_B[:, None], error_B * kept_B


def _is_seasonal(detrended_BT: FloatArray, inside_BT: BoolArray, m: int) -> BoolArray:
    """Test the autocorrelation at lag m against ``TEST_LEVEL`` standard errors of white noise."""
    steps_B = inside_BT.sum(axis=1)
    pairs_B = steps_B - m
    covariance_B = (detrended_BT[:, m:] * detrended_BT[:, :-m]).sum(axis=1) / pairs_B
    variance_B = (detrended_BT**2).sum(axis=1) / steps_B
    return np.asarray(covariance_B > TEST_LEVEL / np.sqrt(pairs_B) * variance_B)


def moving_trend(z_BT: FloatArray, inside_BT: BoolArray, m: int) -> FloatArray:
    """Return the centred moving average over m steps, continued straight at both ends.

    Args:
        z_BT: Right-aligned levels with at least 2m steps, 0 outside.
        inside_BT: Which cells hold a step.
        m: Steps in a season; an even season takes half of each end of m + 1 steps.
    """
    half = m // 2
    rows_B = np.arange(len(z_BT))
    first_B = inside_BT.argmax(axis=1)
    # Sums run over deviations from the first value, so that a high level costs no digits.
    base_B1 = z_BT[rows_B, first_B][:, None]
    level_BT = np.where(inside_BT, z_BT - base_B1, 0.0)
    sum_BT1 = np.pad(np.cumsum(level_BT, axis=1), ((0, 0), (1, 0)))
    width = 2 * half + 1
    trend_BT = np.zeros_like(level_BT)
    middle = slice(half, level_BT.shape[1] - half)
    trend_BT[:, middle] = sum_BT1[:, width:] - sum_BT1[:, :-width]
    if m % 2 == 0:
        ends_BT = level_BT[:, : -2 * half] + level_BT[:, 2 * half :]
        trend_BT[:, middle] -= ends_BT / 2
    trend_BT /= m

    steps_T = np.arange(level_BT.shape[1])
    low_B, high_B = first_B + half, np.full(len(z_BT), level_BT.shape[1] - 1 - half)
    reach_B = np.minimum(m, high_B - low_B)
    for edge_B, inner_B, outside_BT in (
        (low_B, low_B + reach_B, steps_T < low_B[:, None]),
        (high_B, high_B - reach_B, steps_T > high_B[:, None]),
    ):
        at_B = trend_BT[rows_B, edge_B]
        run_B = np.where(inner_B == edge_B, 1, edge_B - inner_B)
        slope_B = (at_B - trend_BT[rows_B, inner_B]) / run_B
        line_BT = at_B[:, None] + slope_B[:, None] * (steps_T - edge_B[:, None])
        trend_BT = np.where(outside_BT, line_BT, trend_BT)
    return trend_BT + base_B1

"""Series of unequal length, laid end to end, carried as padded blocks of similar length.

Contract: every step of every series stands in exactly one cell of exactly one block, no block
has more than about ``max_cells`` cells, and what is computed for a series never depends on the
block it happens to share, so temporary memory is bounded however large the panel is.

Axes: N series in a panel, S steps of all series laid end to end, B series in a block, T time.
"""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

MAX_CELLS = 2**16  # half a megabyte of float64: a block and its temporaries stay near the cache


def length_blocks(starts_N1: IntArray, max_cells: int = MAX_CELLS) -> Iterator[IntArray]:
    """Yield the positions of series, shortest first, in blocks of at most ``max_cells`` cells.

    A single series longer than ``max_cells`` is a block of its own.
    """
    lengths_N = np.diff(starts_N1)
    order_N = np.argsort(lengths_N, kind="stable")
    first = 0
    while first < len(order_N):
        # Lengths ascend, so the cells of a block that ends at j are (j - first + 1) * length of j.
        ahead = order_N[first : first + max_cells]
        cells = np.arange(1, len(ahead) + 1) * np.maximum(lengths_N[ahead], 1)
        size = max(1, int(np.searchsorted(cells, max_cells, side="right")))
        yield order_N[first : first + size]
        first += size


def block_cells(
    starts_N1: IntArray,
    block_B: IntArray,
    *,
    align: Literal["left", "right"] = "left",
    multiple: int = 1,
) -> tuple[IntArray, BoolArray]:
    """Return which flat step stands in each cell of a block, and which cells hold a step.

    Args:
        starts_N1: First flat step of each series, and the total.
        block_B: Positions of the series in the block.
        align: Put the first steps in the first column, or the last steps in the last column.
        multiple: The number of columns is rounded up to a multiple of this.

    Returns:
        ``index_BT``, clipped into the series where a cell is padding, and ``inside_BT``.
    """
    first_B1 = starts_N1[block_B][:, None]
    last_B1 = starts_N1[block_B + 1][:, None] - 1
    width = -(-int((last_B1 - first_B1).max() + 1) // multiple) * multiple
    offset_T = np.arange(width)
    index_BT = first_B1 + offset_T if align == "left" else last_B1 - (width - 1) + offset_T
    inside_BT = (index_BT >= first_B1) & (index_BT <= last_B1)
    return np.clip(index_BT, first_B1, last_B1), inside_BT


def reduce_series(ufunc: np.ufunc, values_S: NDArray[Any], starts_N1: IntArray) -> NDArray[Any]:
    """Reduce the steps of every series to one number, as ``ufunc.reduce`` would."""
    return np.asarray(ufunc.reduceat(values_S, starts_N1[:-1]))


def mean_change(values_S: FloatArray, starts_N1: IntArray, lag_N: IntArray | int = 1) -> FloatArray:
    """Mean absolute change (N,) of every series over its lag; 0 where it is no longer than that."""
    lengths_N = np.diff(starts_N1)
    lag_N = np.broadcast_to(lag_N, lengths_N.shape)
    step_S = np.arange(len(values_S)) - np.repeat(starts_N1[:-1], lengths_N)
    lag_S = np.repeat(lag_N, lengths_N)
    changed_S = step_S >= lag_S
    before_S = values_S[np.where(changed_S, np.arange(len(step_S)) - lag_S, 0)]
    change_S = np.where(changed_S, np.abs(values_S - before_S), 0.0)
    total_N = reduce_series(np.add, change_S, starts_N1)
    return np.asarray(total_N / np.maximum(lengths_N - lag_N, 1))


def sorted_quantiles(
    values_S: FloatArray, starts_N1: IntArray, probabilities: tuple[float, ...]
) -> tuple[FloatArray, ...]:
    """Return quantiles of every series, interpolated linearly as ``np.quantile`` does.

    Values that are not finite are left out; a series with none left has quantile 0.
    """
    quantiles = tuple(np.zeros(len(starts_N1) - 1) for _ in probabilities)
    for block_B in length_blocks(starts_N1):
        index_BT, inside_BT = block_cells(starts_N1, block_B)
        kept_BT = inside_BT & np.isfinite(values_S[index_BT])
        sorted_BT = np.sort(np.where(kept_BT, values_S[index_BT], np.inf), axis=1)
        count_B = kept_BT.sum(axis=1)
        rows_B = np.arange(len(block_B))
        for quantile_N, probability in zip(quantiles, probabilities, strict=True):
            place_B = probability * np.maximum(count_B - 1, 0)
            below_B = np.floor(place_B).astype(np.int64)
            above_B = np.minimum(below_B + 1, np.maximum(count_B - 1, 0))
            low_B, high_B = sorted_BT[rows_B, below_B], sorted_BT[rows_B, above_B]
            with np.errstate(invalid="ignore"):  # inf - inf in a row of padding only
                mixed_B = low_B + (place_B - below_B) * (high_B - low_B)
            quantile_N[block_B] = np.where(count_B > 0, mixed_B, 0.0)
    return quantiles

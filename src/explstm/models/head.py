"""Quantiles that cannot cross, written once over the arrays of any framework.

The head of a network gives one raw number per quantile. The raw median is the forecast of the
median; every other raw number is turned into a non-negative step (softplus) away from its neighbour
on the side of the median. Adding non-negative numbers cannot change an order, in floating point
either, so the quantiles rise whatever the weights are.

Axis letters: R origins, H horizon, Q quantiles.
"""

from collections.abc import Callable, Sequence
from typing import Any


def order_quantiles(raw_Q: Sequence[Any], median: int, softplus: Callable[[Any], Any]) -> list[Any]:
    """Turn raw outputs into rising quantiles.

    Args:
        raw_Q: One array per quantile, all of one shape.
        median: Position of the median among them.
        softplus: ``log(1 + exp(x))`` of the framework.

    Returns:
        One array per quantile, rising.
    """
    ordered = list(raw_Q)
    for j in range(median + 1, len(ordered)):
        ordered[j] = ordered[j - 1] + softplus(ordered[j])
    for j in range(median - 1, -1, -1):
        ordered[j] = ordered[j + 1] - softplus(ordered[j])
    return ordered

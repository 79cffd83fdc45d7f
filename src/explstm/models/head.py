"""Quantiles that cannot cross, defined once over the array functions of any framework.

For training, ``torch_head`` and ``tensorflow_head`` repeat them with gradients by hand.

The head of a network gives one raw number per quantile. The raw median is the forecast of the
median; every other raw number is turned into a non-negative step (softplus) away from its neighbour
on the side of the median. Adding non-negative numbers cannot change an order, in floating point
either, so the quantiles rise whatever the weights are.

The steps are summed in two runs, up and down from the median, so that nothing has more than two
gradients to add: TensorFlow adds three or more in an order that differs from run to run.

Axis letters: R origins, H horizon, Q quantiles.
"""

from collections.abc import Callable
from typing import Any


def order_quantiles(
    raw_QRH: Any, median: int, softplus: Callable[[Any], Any], array_functions: Any
) -> Any:
    """Turn raw outputs into rising quantiles.

    Args:
        raw_QRH: Raw outputs.
        median: Position of the median among them.
        softplus: ``log(1 + exp(x))`` of the framework.
        array_functions: Where ``concatenate``, ``cumsum`` and ``flip`` are: numpy, torch or
            keras.ops.

    Returns:
        Quantiles (Q, R, H), rising along Q.
    """
    xp = array_functions
    middle = raw_QRH[median : median + 1]
    down = xp.flip(raw_QRH[:median], (0,))
    above = xp.cumsum(xp.concatenate([middle, softplus(raw_QRH[median + 1 :])], 0), 0)
    below = xp.cumsum(xp.concatenate([-middle, softplus(down)], 0), 0)
    return xp.concatenate([-xp.flip(below[1:], (0,)), above], 0)

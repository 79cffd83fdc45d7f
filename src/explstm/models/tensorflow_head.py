"""Quantiles that cannot cross, in TensorFlow, with a gradient written by hand.

The same numbers as :func:`explstm.models.head.order_quantiles`. A batch has far more forecasts than
weights, and TensorFlow's own gradient of the cumulative sums and slices there takes as long as a
recurrent layer.

Axis letters: R origins, H horizon, Q quantiles.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def order_quantiles(raw_QRH: Any, median: int) -> Any:
    """Turn raw outputs into rising quantiles.

    A step away from the median moves its own quantile and all beyond it, so its gradient is the sum
    of theirs.

    Args:
        raw_QRH: Raw outputs.
        median: Position of the median among them.

    Returns:
        Quantiles (Q, R, H), rising along Q.
    """
    above, below = range(median + 1, raw_QRH.shape[0]), range(median - 1, -1, -1)

    @tf.custom_gradient
    def order(raw_QRH: Any) -> tuple[Any, Callable[[Any], Any]]:
        raw = tf.unstack(raw_QRH)
        quantiles = list(raw)
        for q in above:
            quantiles[q] = quantiles[q - 1] + softplus(raw[q])
        for q in below:
            quantiles[q] = quantiles[q + 1] - softplus(raw[q])

        def gradient(d_quantiles_QRH: Any) -> Any:
            d_raw = tf.unstack(d_quantiles_QRH)
            for q in reversed(above):
                d_raw[q - 1] += d_raw[q]
                d_raw[q] = tf.raw_ops.SoftplusGrad(gradients=d_raw[q], features=raw[q])
            # Subtracted, because TensorFlow makes one sum of two additions, in no certain order.
            d_below_RH = 0.0
            for q in reversed(below):
                d_below_RH -= d_raw[q]
                d_raw[q] = tf.raw_ops.SoftplusGrad(gradients=d_below_RH, features=raw[q])
            d_raw[median] -= d_below_RH
            return tf.stack(d_raw)

        return tf.stack(quantiles), gradient

    return order(raw_QRH)


def softplus(x: Any) -> Any:
    """``log(1 + exp(x))`` without overflow, in half the time of ``tf.nn.softplus``."""
    return tf.maximum(x, 0) - tf.math.log(tf.sigmoid(tf.abs(x)))

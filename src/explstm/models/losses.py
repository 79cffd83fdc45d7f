"""Losses, defined once over an array namespace (numpy, torch or keras.ops).

For training, :mod:`explstm.models.torch_head` takes losses and gradients together, by hand.

Every loss is the weighted mean of a loss per forecast, ``sum(w * l) / sum(w)``. ``pinball`` scores
all quantiles (the mean over them); the others score the median output and leave the rest untrained.

Axis letters: Q quantiles, R origins, H horizon. Quantiles come first, so that every pass over them
is one over long contiguous rows.
"""

from dataclasses import dataclass
from typing import Any, Self

from explstm.config import LossName, TrainingConfig


@dataclass(frozen=True)
class LossConfig:
    """Which loss, and its parameters.

    Attributes:
        name: The loss.
        huber_delta: Error at which ``"huber"`` turns from a square into a straight line.
    """

    name: LossName
    huber_delta: float

    @classmethod
    def from_training(cls, config: TrainingConfig) -> Self:
        """The loss that a training configuration asks for."""
        return cls(config.loss, config.huber_delta)


def weighted_loss(
    config: LossConfig,
    quantiles_QRH: Any,
    targets_RH: Any,
    weights_RH: Any,
    levels_Q: Any,
    median: int,
    xp: Any,
) -> Any:
    """The loss of forecasts, one number.

    Args:
        config: Which loss.
        quantiles_QRH: The forecasts.
        targets_RH: What happened; any finite number where unknown.
        weights_RH: 0 where the target is unknown; some weight must be positive.
        levels_Q: Probabilities of the quantiles.
        median: Position of the median among them.
        xp: Namespace with ``abs``, ``square``, ``sum`` and ``where``.
    """
    total = xp.sum(weights_RH)
    if config.name == "pinball":
        loss_QRH = pinball(targets_RH - quantiles_QRH, levels_Q[:, None, None], xp)
        return xp.sum(weights_RH * loss_QRH) / (total * len(levels_Q))
    error_RH = targets_RH - quantiles_QRH[median]
    if config.name == "huber":
        loss_RH = huber(error_RH, config.huber_delta, xp)
    else:
        loss_RH = xp.square(error_RH) if config.name == "mse" else xp.abs(error_RH)
    return xp.sum(weights_RH * loss_RH) / total


def pinball(error: Any, level: Any, xp: Any) -> Any:
    """Quantile loss: ``level * e`` above the forecast, ``(level - 1) * e`` below it.

    Source: Koenker & Bassett (1978), eq. 2.1.
    """
    return xp.where(error < 0, level - 1, level) * error


def huber(error: Any, delta: float, xp: Any) -> Any:
    """``e**2 / 2`` up to ``delta``, and its tangent beyond.

    Source: Huber (1964), eq. 1.4.
    """
    size = xp.abs(error)
    return xp.where(size <= delta, 0.5 * xp.square(error), delta * (size - 0.5 * delta))

"""Divergence: when a training run has gone wrong for good, and what to do about it."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from explstm.models.spec import ModelSpec

DIVERGED = "TRAINING_DIVERGED"
"""Code of the error that ends such a run."""

BOUNDED = ("tanh", "sigmoid", "hard_sigmoid", "softsign")
"""Activations with which the outputs of a cell cannot grow without end."""


@dataclass(frozen=True)
class Guard:
    """Notices a run that diverges.

    The level is an exponentially weighted mean of the loss. A loss above ``FACTOR`` times the best
    level for ``PATIENCE`` steps in a row, or one that is not finite, is divergence. The best level
    never counts as less than a hundredth of the first loss, because a nearly perfect fit fluctuates
    by large factors. Single spikes pass: some networks recover from them. What can recover no more
    is a run that ends above the bound, with its level there too.

    Attributes:
        first: First loss.
        level: Current level.
        best: Lowest level.
        above: Steps in a row above the bound.
    """

    FACTOR: ClassVar[float] = 10.0
    PATIENCE: ClassVar[int] = 20
    SMOOTHING: ClassVar[float] = 0.9
    LOWEST_BEST: ClassVar[float] = 0.01

    first: float | None = None
    level: float = math.inf
    best: float = math.inf
    above: int = 0

    def after(self, loss: float) -> "Guard":
        """The state after a step with a finite ``loss``."""
        if self.first is None:
            return Guard(loss, loss, loss, 0)
        level = self.SMOOTHING * self.level + (1 - self.SMOOTHING) * loss
        above = self.above + 1 if loss > self._bound(self.first) else 0
        return Guard(self.first, level, min(self.best, level), above)

    @property
    def is_diverging(self) -> bool:
        """Whether the run should end."""
        return self.above >= self.PATIENCE

    @property
    def is_exploded(self) -> bool:
        """Whether the latest weights are worthless, should the run end here."""
        return self.first is not None and self.above > 0 and self.level > self._bound(self.first)

    def _bound(self, first: float) -> float:
        return self.FACTOR * max(self.best, self.LOWEST_BEST * first)


def advise(spec: "ModelSpec", learning_rate: float) -> str:
    """What to change after a run has diverged, as a clause."""
    remedy = f"lower learning_rate={learning_rate:g}"
    for name, activation, bounded in (
        ("activation", spec.activation, "tanh"),
        ("output_activation", spec.output_activation, "tanh"),
        ("recurrent_activation", spec.recurrent_activation, "sigmoid"),
    ):
        if activation is not None and activation not in BOUNDED:
            return f"{remedy}, or use {name}={bounded!r}, which is bounded, for {activation!r}"
    return remedy

"""Divergence: when a training run has gone wrong for good."""

import math
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Guard:
    """Notices a run that diverges.

    The level is an exponentially weighted mean of the loss. A loss above ``FACTOR`` times the best
    level for ``PATIENCE`` steps in a row, or one that is not finite, is divergence. The best level
    never counts as less than a hundredth of the first loss, because a nearly perfect fit fluctuates
    by large factors. Single spikes pass: some networks recover from them.

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
        bound = self.FACTOR * max(self.best, self.LOWEST_BEST * self.first)
        return Guard(
            self.first, level, min(self.best, level), self.above + 1 if loss > bound else 0
        )

    @property
    def is_diverging(self) -> bool:
        """Whether the run should end."""
        return self.above >= self.PATIENCE

"""Learning rates: pure functions of the step, and one small state machine.

Steps count from 0; ``max_steps`` is the length of the run. Only the learning rate is scheduled,
never momentum.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from explstm.config import ScheduleName

ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START_DIVISOR = 25.0
ONE_CYCLE_END_DIVISOR = 1e4

PLATEAU_FACTOR = 0.5
PLATEAU_PATIENCE = 2
PLATEAU_THRESHOLD = 1e-4
PLATEAU_LOWEST = 0.01


def learning_rate(name: ScheduleName, step: int, max_steps: int, peak: float) -> float:
    """Learning rate of one step.

    Args:
        name: Schedule. ``"reduce_on_plateau"`` is ``peak`` here; :class:`Plateau` scales it.
        step: Step, 0 to ``max_steps - 1``.
        max_steps: Length of the run.
        peak: Largest learning rate.
    """
    return _SCHEDULES[name](step, max_steps, peak)


def _constant(_step: int, _max_steps: int, peak: float) -> float:
    return peak


def _cosine(step: int, max_steps: int, peak: float) -> float:
    """Half a cosine from the peak towards 0, reached one step after the last.

    Source: Loshchilov & Hutter 2017 (SGDR), eq. 5, with one period and lower end 0.
    """
    return peak * 0.5 * (1 + math.cos(math.pi * step / max_steps))


def _one_cycle(step: int, max_steps: int, peak: float) -> float:
    """Up over the first 30 % of the run and down over the rest, both as half cosines.

    From ``peak / 25`` to ``peak`` to ``peak / 25 / 10,000``.

    Source: Smith & Topin 2018 (Super-Convergence), in the form and with the constants of
    ``torch.optim.lr_scheduler.OneCycleLR``.
    """
    start = peak / ONE_CYCLE_START_DIVISOR
    top, last = max(ONE_CYCLE_RISE * max_steps - 1, 0.0), max_steps - 1
    if step <= top and top > 0:
        return _half_cosine(start, peak, step / top)
    end = start / ONE_CYCLE_END_DIVISOR
    return _half_cosine(peak, end, (step - top) / max(last - top, 1))


def _half_cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * fraction))


_SCHEDULES: dict[ScheduleName, Callable[[int, int, float], float]] = {
    "constant": _constant,
    "cosine": _cosine,
    "one_cycle": _one_cycle,
    "reduce_on_plateau": _constant,
}


@dataclass(frozen=True)
class Plateau:
    """Halves the learning rate when the loss stops falling.

    After more than ``PLATEAU_PATIENCE`` checks in a row without an improvement of 0.01 %, the
    learning rate is halved, down to 1 % of its peak.

    Source: the rule of ``torch.optim.lr_scheduler.ReduceLROnPlateau`` (relative threshold).

    Attributes:
        scale: What the peak learning rate is multiplied with.
        best: Lowest loss seen.
        waited: Checks since then, or since the last halving.
    """

    scale: float = 1.0
    best: float = math.inf
    waited: int = 0

    def after(self, loss: float) -> "Plateau":
        """The state after a check that found ``loss``."""
        if loss < self.best * (1 - PLATEAU_THRESHOLD):
            return Plateau(self.scale, loss, 0)
        if self.waited < PLATEAU_PATIENCE:
            return Plateau(self.scale, self.best, self.waited + 1)
        return Plateau(max(self.scale * PLATEAU_FACTOR, PLATEAU_LOWEST), self.best, 0)

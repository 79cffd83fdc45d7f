"""Other futures for the same pasts: what a forecast at a cutoff must not notice.

Contract: every alteration leaves the steps up to the cutoff of each series as they are, bit for
bit, and at least the horizon after it; all but two leave the dates as well. The same seed gives
the same future.

| name | the values after the cutoff become |
|---|---|
| times-ten | ten times themselves |
| noise | lognormal noise of the size of the past, both signs where the past has both |
| shuffled | themselves in another order |
| constant | one value, outside the past |
| shifted | themselves, five times the largest magnitude of the past higher |
| negated | negative, every one of them |
| cut | only the first h of them: what follows is gone |
| continued | themselves and, after the end, steps of noise |

Axes: N series, S steps of all series laid end to end.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from explstm.frame import future_ds
from explstm.panel import Panel, keep_steps
from explstm.ragged import FloatArray, IntArray, reduce_series

Values = Callable[[FloatArray, FloatArray, FloatArray, np.random.Generator], FloatArray]
"""New values from those after the cutoff, from the largest magnitude of the past of each, and from
its smallest value."""


def _draw_noise(
    y_S: FloatArray, size_S: FloatArray, low_S: FloatArray, rng: np.random.Generator
) -> FloatArray:
    sign_S = np.where(low_S < 0, rng.choice([-1.0, 1.0], len(y_S)), 1.0)
    return sign_S * size_S * np.exp(rng.normal(0.0, 1.0, len(y_S)))


_VALUES: dict[str, Values] = {
    "times-ten": lambda y_S, size_S, low_S, rng: 10.0 * y_S,
    "noise": _draw_noise,
    "constant": lambda y_S, size_S, low_S, rng: 3.0 * size_S,
    "shifted": lambda y_S, size_S, low_S, rng: y_S + 5.0 * size_S,
    "negated": lambda y_S, size_S, low_S, rng: -np.abs(y_S) - size_S,
}
ALTERATIONS = (*("times-ten", "noise", "shuffled", "constant", "shifted", "negated"),
               *("cut", "continued"))  # fmt: skip


def alter_future(
    panel: Panel, cutoff_N: IntArray, name: str, *, h: int, more: int, seed: int
) -> Panel:
    """The panel with another future.

    Args:
        panel: The series, with at least ``h`` steps after each cutoff.
        cutoff_N: Steps of each series that stay as they are.
        name: One of ``ALTERATIONS``.
        h: Horizon, the steps that ``"cut"`` leaves.
        more: Steps that ``"continued"`` adds.
        seed: Of noise and order.
    """
    rng = np.random.default_rng(seed)
    if name == "cut":
        return keep_steps(panel, 0, cutoff_N + h)
    if name == "continued":
        return _continue(panel, more, rng)
    lengths_N = panel.lengths_N
    step_S = np.arange(len(panel.y_S)) - np.repeat(panel.starts_N1[:-1], lengths_N)
    later_S = step_S >= np.repeat(cutoff_N, lengths_N)
    y_S = panel.y_S.copy()
    if name == "shuffled":
        for first, cutoff, end in zip(
            panel.starts_N1[:-1], cutoff_N, panel.starts_N1[1:], strict=True
        ):
            y_S[first + cutoff : end] = _reorder(y_S[first + cutoff : end], rng)
        return replace(panel, y_S=y_S)
    size_S, low_S = _describe(keep_steps(panel, 0, cutoff_N), lengths_N)
    y_S[later_S] = _VALUES[name](y_S[later_S], size_S[later_S], low_S[later_S], rng)
    return replace(panel, y_S=y_S)


def _reorder(values: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The values in another order, no value in its place where they are all different."""
    order = rng.permutation(len(values))
    moved = np.empty_like(values)
    moved[order] = values[np.roll(order, 1)]
    return moved


def _describe(past: Panel, lengths_N: IntArray) -> tuple[FloatArray, FloatArray]:
    """Largest magnitude (1 where all are 0) and smallest value of the past, for every step."""
    size_N = reduce_series(np.maximum, np.abs(past.y_S), past.starts_N1)
    low_N = reduce_series(np.minimum, past.y_S, past.starts_N1)
    return np.repeat(np.where(size_N > 0, size_N, 1.0), lengths_N), np.repeat(low_N, lengths_N)


def _continue(panel: Panel, more: int, rng: np.random.Generator) -> Panel:
    ends_S = np.repeat(panel.starts_N1[1:], more)
    size_S, low_S = _describe(panel, np.full(panel.n_series, more))
    y_S = _draw_noise(size_S, size_S, low_S, rng)
    return replace(
        panel,
        starts_N1=panel.starts_N1 + more * np.arange(panel.n_series + 1),
        y_S=np.insert(panel.y_S, ends_S, y_S),
        ds_S=np.insert(panel.ds_S, ends_S, future_ds(panel, more).ravel()),
    )

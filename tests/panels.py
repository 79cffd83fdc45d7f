"""Panels for tests, made straight from lists of numbers."""

from collections.abc import Sequence

import numpy as np

from explstm.frame import Panel


def make_panel(*series: Sequence[float] | np.ndarray) -> Panel:
    lengths = [len(values) for values in series]
    return Panel(
        ids_N=np.array([f"s{place}" for place in range(len(series))], dtype=object),
        starts_N1=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        y_S=np.concatenate([np.asarray(values, dtype=np.float64) for values in series]),
        ds_S=np.concatenate([np.arange(length) for length in lengths]),
        freq=1,
    )


def grow(
    rng: np.random.Generator, steps: int, rate: float = 0.01, noise: float = 0.05
) -> np.ndarray:
    """A positive random walk with drift on the log scale."""
    return 100 * np.exp(np.cumsum(rng.normal(rate, noise, steps)))

"""What is kept of series that go on, seen on one curve, so that no step is ever read twice.

Contract: :func:`begin_memory` reads histories, as :func:`explstm.prediction.forecast_panel` does;
:func:`read_on` reads the steps that follow and returns what is then known, and leaves what it was
given as it was. Either costs as much as the steps read, and what is kept has one size per series,
whatever the number of steps. The curve and the seasonal indices stay those of the histories.

Axes: N series, M series picked, S steps of all series laid end to end, B series in a block, T time,
F features, C channels, R origins, H horizon, Q quantiles, O last origins (the last step of a series
at the end), K steps after an origin.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explstm.frame import Panel
from explstm.growth import (
    GrowthPanel,
    continue_growth_space,
    put_last,
    take_last,
    to_growth_space,
)
from explstm.mixing import FIRST_ORIGIN, PastForecasts, recall
from explstm.models.numpy_cells import State
from explstm.models.numpy_engine import BLOCK, NumpyEngine
from explstm.origins import last_windows
from explstm.prediction import Preprocessing
from explstm.ragged import FloatArray, IntArray

STEPS_TOGETHER = 512
"""Steps of a block of series that pass a layer together, so that memory has a bound."""

States = tuple[State, ...]


@dataclass(frozen=True)
class Memory:
    """What is kept of every series.

    Attributes:
        space: Their last steps in growth space, one each.
        states: State of every recurrent layer after them.
        output_NHQ: What the network says from them.
        read_N: Steps that the network has read.
        past: Forecasts from the last origins; None where no second view asks for them.
    """

    space: GrowthPanel
    states: States
    output_NHQ: NDArray[np.float32]
    read_N: IntArray
    past: PastForecasts | None

    def take(self, series_M: IntArray) -> "Memory":
        """That of some series, copied."""
        return Memory(
            take_last(self.space, series_M),
            _take_states(self.states, series_M),
            self.output_NHQ[series_M],
            self.read_N[series_M],
            None if self.past is None else self.past.take(series_M),
        )

    def put(self, series_M: IntArray, later: "Memory") -> None:
        """Set that of some series, in place."""
        put_last(self.space, series_M, later.space)
        _put_states(self.states, series_M, later.states)
        self.output_NHQ[series_M] = later.output_NHQ
        self.read_N[series_M] = later.read_N
        if self.past is not None and later.past is not None:
            self.past.put(series_M, later.past)


def begin_memory(engine: NumpyEngine, panel: Panel, preprocessing: Preprocessing) -> Memory:
    """Read the last window of histories.

    Raises:
        DataError: A value the curve cannot carry.
    """
    space = to_growth_space(
        panel,
        growth=preprocessing.growth,
        season_length=preprocessing.season_length,
        n_features=preprocessing.n_features,
    )
    n_series, horizon = panel.n_series, engine.spec.horizon
    nothing_yet = Memory(
        space,
        engine.start_states(n_series),
        np.empty((n_series, horizon, len(engine.spec.quantiles)), np.float32),
        np.zeros(n_series, dtype=np.int64),
        None if preprocessing.beside is None else PastForecasts.none(n_series, horizon),
    )
    return _read(engine, nothing_yet, space, panel.y_S, preprocessing.window)


def read_on(engine: NumpyEngine, memory: Memory, starts_N1: IntArray, y_S: FloatArray) -> Memory:
    """Read the steps that follow.

    Args:
        engine: The network.
        memory: What is known of the series up to these steps.
        starts_N1: First of the new steps of each series, at least one each, and the total.
        y_S: New values in data units, within the reach of the curves, laid end to end.
    """
    space = continue_growth_space(memory.space, starts_N1, y_S)
    return _read(engine, memory, space, y_S, int(space.lengths_N.max()))


def _read(
    engine: NumpyEngine, before: Memory, space: GrowthPanel, y_S: FloatArray, window: int
) -> Memory:
    """Read the last ``window`` steps of a space that continues what is known."""
    every_N = np.arange(space.n_series)
    shown_N = np.minimum(space.lengths_N, window)
    read_N = before.read_N + shown_N
    states = _take_states(before.states, every_N)
    output_NHQ = np.empty_like(before.output_NHQ)
    none = PastForecasts.none(space.n_series, engine.spec.horizon)
    n_origins = 1 if before.past is None else none.forecast_NOK.shape[1]
    median_NOK = none.forecast_NOK[:, -n_origins:]
    by_length = np.argsort(shown_N, kind="stable")
    for first in range(0, len(by_length), BLOCK):
        block_B = by_length[first : first + BLOCK]
        states_B = _take_states(states, block_B)
        output_BOHQ = _read_block(
            engine, *last_windows(space, window, block_B), states_B, n_origins
        )
        _put_states(states, block_B, states_B)
        output_NHQ[block_B] = output_BOHQ[:, -1]
        n_judged = median_NOK.shape[2]
        median_NOK[block_B] = output_BOHQ[:, :, :n_judged, engine.spec.median]
    past = before.past
    if past is not None:
        median_NOK[read_N[:, None] - n_origins + np.arange(n_origins) < FIRST_ORIGIN] = np.nan
        past = past.followed_by(recall(space, y_S, median_NOK), shown_N)
    return Memory(take_last(space, every_N), states, output_NHQ, read_N, past)


def _read_block(
    engine: NumpyEngine,
    features_BTF: NDArray[np.float32],
    lengths_B: IntArray,
    states: States,
    n_origins: int,
) -> NDArray[np.float32]:
    """Read left-aligned series, each to its own end, and set their states in place.

    Returns:
        Outputs (B, O, H, Q) from the last steps; NaN where there are fewer.
    """
    spec = engine.spec
    shape = (len(lengths_B), n_origins, spec.horizon, len(spec.quantiles))
    output_BOHQ = np.full(shape, np.nan, dtype=np.float32)
    longest = int(lengths_B.max())
    start = 0
    for end in np.union1d(lengths_B, np.arange(STEPS_TOGETHER, longest, STEPS_TOGETHER)):
        active_M = np.flatnonzero(lengths_B >= end)
        # Which of the last origins a step is; those before them have a number below 0.
        place_MT = np.arange(start, end) - lengths_B[active_M, None] + n_origins
        output_RHQ, after = engine.stream(
            features_BTF[active_M, start:end], _take_states(states, active_M), place_MT >= 0
        )
        row_R, time_R = np.nonzero(place_MT >= 0)
        output_BOHQ[active_M[row_R], place_MT[row_R, time_R]] = output_RHQ
        _put_states(states, active_M, after)
        start = int(end)
    return output_BOHQ


def _take_states(states: States, series_M: IntArray) -> States:
    return tuple(tuple(part_NC[series_M] for part_NC in state) for state in states)


def _put_states(states: States, series_M: IntArray, later: States) -> None:
    for state, after in zip(states, later, strict=True):
        for part_NC, part_MC in zip(state, after, strict=True):
            part_NC[series_M] = part_MC

"""Series that go on: a forecaster that takes new values as they come and reads none of them twice.

Contract: :class:`Stream` keeps of every series what its next step needs (sums of growth space,
recurrent states, forecasts of the last origins), so that :meth:`Stream.update` costs as much as the
values it is given and memory does not grow. The curve of each series and its seasonal indices are
those of the histories that the stream began with; everything else goes on. The forecasts are those
of one pass over all values from the first that the network was shown, with the same curves and
indices, to rounding. :meth:`explstm.ExpLSTM.predict` differs from that in two things: it shows the
network no more than the last window, and beyond the network's own horizon it fits the seasonal
indices again, on the history and the median path.

Axes: N series, M series of an update, h horizon, P probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from explstm.arrivals import Arrivals, Ends, take_arrivals
from explstm.errors import DataError
from explstm.frame import Panel
from explstm.growth import GrowthPanel
from explstm.intervals import check_levels, name_columns, to_probabilities
from explstm.memory import Memory, begin_memory, read_on
from explstm.models.numpy_engine import NumpyEngine
from explstm.models.spec import ModelSpec, Weights
from explstm.panel import count_more, show_date
from explstm.parsing import quote
from explstm.prediction import (
    Preprocessing,
    check_horizon,
    check_room,
    combine_views,
    forecast_ahead,
)
from explstm.ragged import FloatArray, IntArray, reduce_series
from explstm.scaling import LARGEST
from explstm.tables import make_table


class Stream:
    """Forecasts of series that go on; made by :meth:`explstm.ExpLSTM.stream`.

    It runs in NumPy, whichever framework trained the model, and keeps nothing of the model but its
    weights. Series whose growth or season has changed for good are forecast better by a new stream.

    Example:
        >>> from explstm import ExpLSTM
        >>> from explstm.datasets import load_air_passengers
        >>> df = load_air_passengers()
        >>> live = ExpLSTM().stream(df[:-2])
        >>> live.update(df[-2:]).predict(h=12, level=[80]).shape
        (12, 5)
    """

    def __init__(
        self,
        spec: ModelSpec,
        weights: Weights,
        panel: Panel,
        preprocessing: Preprocessing,
        *,
        horizon: int,
        loss: str,
        alias: str,
    ) -> None:
        """Read the histories.

        Args:
            spec: The network.
            weights: Its weights.
            panel: The histories.
            preprocessing: How they enter the network.
            horizon: Steps forecast when not told.
            loss: What the network was trained by.
            alias: Name of the forecast column.

        Raises:
            DataError: A value the curve cannot carry.
        """
        self._engine = NumpyEngine(spec, weights)
        self._horizon, self._loss, self._alias = horizon, loss, alias
        self._widen = preprocessing.widen
        self._ends = Ends.of(panel)
        self._largest_N = reduce_series(np.maximum, np.abs(panel.y_S), panel.starts_N1)
        # Where there are two views, these are on the logarithm, and so stay positive.
        self._positive_N = reduce_series(np.minimum, panel.y_S, panel.starts_N1) > 0
        self._memory = begin_memory(self._engine, panel, preprocessing)
        self._beside: Memory | None = None
        if preprocessing.beside is not None:
            beside = replace(preprocessing, growth=preprocessing.beside)
            y_S = _within_reach(panel.y_S, self._largest_N, panel.lengths_N)
            self._beside = begin_memory(self._engine, replace(panel, y_S=y_S), beside)

    def update(self, df: Any) -> Self:
        """Take the values that come next, of some series or of all.

        Args:
            df: Long table with the columns of the histories, pandas or polars: for each series in
                it the next one or more steps, none left out, in the unit of the data.

        Returns:
            The stream itself.

        Raises:
            UsageError: ``df`` is no table.
            DataError: A column or a value is missing or is not finite, a series is not known, its
                dates are not those that follow, or its curve cannot carry a value (0 or less where
                all values before were positive). The stream is then as it was.
        """
        new = take_arrivals(df, self._ends)
        series_M, lengths_M = new.series_M, np.diff(new.starts_M1)
        self._check_reach(new)
        largest_M = reduce_series(np.maximum, np.abs(new.y_S), new.starts_M1)
        largest_M = np.maximum(self._largest_N[series_M], largest_M)
        memory = read_on(self._engine, self._memory.take(series_M), new.starts_M1, new.y_S)
        beside = None
        if self._beside is not None:
            y_S = _within_reach(new.y_S, largest_M, lengths_M)
            beside = read_on(self._engine, self._beside.take(series_M), new.starts_M1, y_S)
        # Nothing below can fail, so that an update is taken whole or not at all.
        self._memory.put(series_M, memory)
        if self._beside is not None and beside is not None:
            self._beside.put(series_M, beside)
        self._largest_N[series_M] = largest_M
        self._ends.steps_N[series_M] += lengths_M
        return self

    def predict(self, h: int | None = None, level: Sequence[float] | None = None) -> Any:
        """Forecast the steps after the last value of every series.

        Args:
            h: Horizon; by default that of the model. Longer ones continue from the median path.
            level: Central intervals wanted, in per cent, such as ``[80, 95]``.

        Returns:
            A table as of :meth:`explstm.ExpLSTM.predict`, of the kind that the stream began with.

        Raises:
            UsageError: An argument that cannot be used.
            DataError: A forecast beyond float64.
        """
        h = check_horizon(self._horizon if h is None else h)
        levels = check_levels(level, self._engine.spec, self._loss)
        probabilities = to_probabilities(levels)
        check_room(len(self._ends.ids_N), h, len(probabilities))
        y_NHP = self._forecast(h, probabilities)
        columns_NH = name_columns(y_NHP, self._alias, levels)
        ends = self._ends
        return make_table(
            ends.layout,
            np.repeat(ends.ids_N, h),
            ends.next_dates(h).ravel(),
            {name: y_NH.reshape(-1) for name, y_NH in columns_NH.items()},
            time_zone=ends.time_zone,
        )

    def _forecast(self, h: int, probabilities: Sequence[float]) -> FloatArray:
        """Forecast on one curve, or on both and mix, quantiles (N, h, P)."""
        y_NHP = self._forecast_view(self._memory, h, probabilities)
        carried = np.flatnonzero(self._largest_N <= LARGEST)
        if self._beside is None or len(carried) == 0:
            return y_NHP
        assert self._memory.past is not None and self._beside.past is not None
        error_N = self._memory.past.error_N()
        other_NHP, other_N = y_NHP.copy(), error_N.copy()
        beside = self._beside.take(carried)
        other_NHP[carried] = self._forecast_view(beside, h, probabilities)
        other_N[carried] = self._beside.past.error_N()[carried]
        return combine_views(
            (y_NHP, other_NHP), (error_N, other_N), self._positive_N, self._largest_N
        )

    def _forecast_view(self, memory: Memory, h: int, probabilities: Sequence[float]) -> FloatArray:
        ahead = _Ahead(self._engine, replace(memory, past=None))
        return forecast_ahead(
            self._engine.spec,
            memory.space,
            memory.output_NHQ,
            ahead.read_on,
            h,
            probabilities,
            self._widen,
        )

    def _check_reach(self, new: Arrivals) -> None:
        """Refuse values that the curve of their series cannot carry."""
        curves = self._memory.space.transform.take(new.series_M)
        bad_S = ~curves.carries_S(new.y_S, np.diff(new.starts_M1))
        if bad_S.any():
            row = int(np.argmax(bad_S))
            place = int(np.searchsorted(new.starts_M1, row, side="right")) - 1
            name = str(curves.names_N[place])
            needs, remedy = f"magnitudes up to {LARGEST:g}", "divide the series by a constant"
            if name == "log":
                needs, remedy = "values above 0", "use growth='auto'"
            layout = self._ends.layout
            raise DataError(
                "STREAM_VALUE",
                f"series {quote(self._ends.ids_N[new.series_M[place]])} at {layout.time_col}="
                f"{show_date(new.ds_S[row])} has {layout.target_col}={new.y_S[row]:g}, but its "
                f"curve, {name}, needs {needs}{count_more(bad_S)}; {remedy}, and begin a new "
                "stream with the whole history.",
            )


@dataclass
class _Ahead:
    """What is known of series, continued by their own forecasts."""

    engine: NumpyEngine
    memory: Memory

    def read_on(self, path_NH: FloatArray) -> tuple[GrowthPanel, NDArray[np.float32]]:
        """Read a path after what was read before."""
        n_series, steps = path_NH.shape
        starts_N1 = steps * np.arange(n_series + 1)
        self.memory = read_on(self.engine, self.memory, starts_N1, path_NH.ravel())
        return self.memory.space, self.memory.output_NHQ


def _within_reach(y_S: FloatArray, largest_N: FloatArray, lengths_N: IntArray) -> FloatArray:
    """The values, with 0 for series too large for the second curve, which is then not asked."""
    return np.where(np.repeat(largest_N <= LARGEST, lengths_N), y_S, 0.0)

"""What tuning makes small: the error over rolling windows of a model trained before all of them.

Contract: the last ``h`` steps of every series are the *final* window; the ``n_windows`` windows
before it are those of the search. A trial trains once, on what comes before its oldest window, and
forecasts every window from that window's own past, as ``cross_validation(refit=False)`` does.
The search never sees the final window, which is there to judge what it found.

The error of a series is its mean absolute scaled error, in units of its mean change over a season
before the window: it has no unit, and no forecast is worse for being late in a growing series.
A series takes part in a window that leaves it at least ``SHORTEST_PAST`` steps of history.

Source: MASE: Hyndman & Koehler (2006), eq. 3, with seasonal lag.

Axes: N series, H horizon.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from explstm.errors import DataError
from explstm.forecaster import ExpLSTM
from explstm.models.engine import Engine
from explstm.panel import Panel, keep_steps, take_series
from explstm.prediction import Preprocessing, forecast_panel
from explstm.ragged import FloatArray, mean_change
from explstm.training import LogRow
from explstm.windows import check_windows, cut_windows

SHORTEST_PAST = 8
LOOKS = 4
"""Parts of a training, after each of which it is looked at."""


@dataclass(frozen=True)
class Fold:
    """One window of some series.

    Attributes:
        past: What comes before it.
        future_NH: What happened.
        scale_N: Mean change over a season in the past.
    """

    past: Panel
    future_NH: FloatArray
    scale_N: FloatArray

    def score(self, forecast_NH: FloatArray) -> FloatArray:
        """Mean absolute scaled error (N,) of a forecast."""
        return np.asarray(np.abs(self.future_NH - forecast_NH).mean(axis=1) / self.scale_N)


@dataclass(frozen=True)
class Folds:
    """The windows of a tuning.

    Attributes:
        search: Of the search, oldest first.
        final: The last window, which the search does not see.
    """

    search: tuple[Fold, ...]
    final: Fold


def cut_folds(panel: Panel, h: int, n_windows: int, step_size: int, lag: int) -> Folds:
    """Cut the windows of a tuning off the ends of the series.

    Args:
        panel: The series.
        h: Steps of a window.
        n_windows: Windows of the search.
        step_size: Steps between these; the final window lies ``h`` steps after the last of them.
        lag: Season of the unit of errors.

    Raises:
        UsageError: A number that is not whole and at least 1.
        DataError: No series is long enough, or none of those changes.
    """
    check_windows(n_windows, step_size)
    seen = keep_steps(panel, 0, np.maximum(panel.lengths_N - h, 1))
    search = [_cut(seen, h, back * step_size, lag) for back in range(n_windows - 1, -1, -1)]
    return Folds(tuple(search), _cut(panel, h, 0, lag))


def _cut(panel: Panel, h: int, before_end: int, lag: int) -> Fold:
    """The window that ends some steps before the end of the series long enough for it."""
    needed = h + before_end + SHORTEST_PAST
    long_J = np.flatnonzero(panel.lengths_N >= needed)
    if len(long_J):
        series = take_series(panel, long_J)
        series = keep_steps(series, 0, series.lengths_N - before_end)
        past = cut_windows(series, h, 1, 1)[0]
        scale_J = mean_change(past.y_S, past.starts_N1, np.where(past.lengths_N > lag, lag, 1))
        moved_J = np.flatnonzero(scale_J > 0)
        if len(moved_J):
            series, past = take_series(series, moved_J), take_series(past, moved_J)
            future_NH = series.y_S[series.starts_N1[1:, None] - h + np.arange(h)]
            return Fold(past, future_NH, scale_J[moved_J])
    raise DataError(
        "DATA_TOO_SHORT",
        f"tuning needs a series that changes and has {SHORTEST_PAST} steps before the oldest of "
        f"its windows, {needed} without the last {h}, and there is none (the longest has "
        f"{panel.lengths_N.max()}); ask for fewer or shorter windows.",
    )


def train_and_score(
    model: ExpLSTM,
    folds: Sequence[Fold],
    h: int,
    *,
    on_step: Callable[[LogRow], None] | None = None,
    on_look: Callable[[int, float], None] | None = None,
    checkpoints: Mapping[str, Any] | None = None,
) -> list[FloatArray]:
    """Train before the first of some windows and forecast them all.

    Args:
        model: It is fitted here.
        folds: Windows, oldest first.
        h: Their steps.
        on_step: Called with every row of the training log.
        on_look: Called after each part of the training but the last with its number, from 1, and
            the mean error of the windows if the training ended there. A model that mixes what it
            learnt with what it began with (:mod:`explstm.finetuning`) is only known at the end, and
            not looked at before.
        checkpoints: ``checkpoint_dir`` and ``resume`` of :meth:`ExpLSTM.fit`.

    Returns:
        Errors (N,) of every window.
    """
    look = None
    if on_look is not None and (model.init == "random" or model.val_size is not None):
        model, look = _looked_at(model, folds, h, on_look)
    model.fit(folds[0].past, h=h, on_step=on_step, on_look=look, **(checkpoints or {}))
    return [fold.score(_forecast(model, fold.past, h)) for fold in folds]


def _forecast(model: ExpLSTM, past: Panel, h: int) -> FloatArray:
    table = model.predict(past, h=h)
    return np.asarray(table[model.alias].to_numpy(), dtype=np.float64).reshape(-1, h)


def _looked_at(
    model: ExpLSTM, folds: Sequence[Fold], h: int, on_look: Callable[[int, float], None]
) -> tuple[ExpLSTM, Callable[[Engine, Preprocessing, LogRow], None]]:
    """A model that is looked at after every part of its training."""
    steps = model.training_config().max_steps
    if not model.val_size:  # nothing else depends on when it is looked at
        model = ExpLSTM(**{**model.get_params(), "val_check_steps": -(-steps // LOOKS)})
    looked = 0

    def look(engine: Engine, view: Preprocessing, row: LogRow) -> None:
        nonlocal looked
        part = LOOKS * row.step // steps
        if looked < part < LOOKS:
            looked = part
            errors = [
                fold.score(forecast_panel(engine, fold.past, view, h)[:, :, 0]).mean()
                for fold in folds
            ]
            on_look(part, float(np.mean(errors)))

    return model, look

"""Rolling origins: every series cut at several cutoffs, counted back from its own end.

Contract: with windows w = 0..W-1 of ``h`` steps, ``step_size`` apart, a series of n steps is cut
after its first n - h - (W - 1 - w) * step_size steps. Whatever forecasts a window is given its past
and nothing else.

Axes: N series, W windows, H horizon, S rows of the table.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from explstm.calendar import Dates
from explstm.config import check_whole
from explstm.errors import DataError
from explstm.panel import Panel, count_more, keep_steps
from explstm.parsing import quote
from explstm.ragged import FloatArray
from explstm.tables import make_table

CUTOFF = "cutoff"
FEWEST_STEPS = 8
"""That should remain before the first window, if not two seasons do."""


def check_windows(n_windows: int, step_size: int, refit: bool | int = False) -> None:
    """Refuse numbers of windows and of steps between them that are not whole and at least 1.

    Raises:
        UsageError: Names the argument.
    """
    numbers = {"n_windows": n_windows, "step_size": step_size}
    if not isinstance(refit, bool):
        numbers["refit"] = refit
    for name, value in numbers.items():
        check_whole("WINDOW_RANGE", name, value)


def cut_windows(panel: Panel, h: int, n_windows: int, step_size: int) -> list[Panel]:
    """The pasts of all windows, oldest first.

    Raises:
        UsageError: A number that is not whole and at least 1.
        DataError: A series has no step before its first window.
    """
    check_history(panel, h, n_windows, step_size)
    return [
        keep_steps(panel, 0, panel.lengths_N - h - back * step_size)
        for back in range(n_windows - 1, -1, -1)
    ]


def check_history(panel: Panel, h: int, n_windows: int, step_size: int) -> None:
    """Refuse windows that leave a series no step before the first of them.

    Raises:
        UsageError: A number that is not whole and at least 1.
        DataError: A series has no step before its first window.
    """
    check_windows(n_windows, step_size)
    needed = h + (n_windows - 1) * step_size
    short_N = panel.lengths_N <= needed
    if short_N.any():
        series = int(np.argmax(short_N))
        steps = f"{h} step{'' if h == 1 else 's'}"
        extent = f"{n_windows} windows of {steps}, {step_size} apart, take {needed} and leave no "
        if n_windows == 1:
            extent = f"1 window of {steps} takes {needed} and leaves no "
        raise DataError(
            "DATA_TOO_SHORT",
            f"series {quote(panel.ids_N[series])} has {panel.lengths_N[series]} steps, and {extent}"
            f"history{count_more(short_N)}; ask for fewer or shorter windows, or leave it out.",
        )


def count_windows(panel: Panel, h: int, step_size: int, season_length: int, most: int) -> int:
    """How many windows the shortest series has room for, behind two seasons or FEWEST_STEPS.

    Args:
        panel: The series.
        h: Steps of a window.
        step_size: Steps from one window to the next.
        season_length: In steps.
        most: How many are enough.

    Returns:
        From 1 to ``most``; 1 also where it has little before it.

    Raises:
        DataError: A series has no step before a single window.
    """
    check_history(panel, h, 1, step_size)
    room = int(panel.lengths_N.min()) - max(2 * season_length, FEWEST_STEPS) - h
    return min(most, 1 + max(0, room) // step_size)


def forecast_windows(
    pasts: Sequence[Panel],
    h: int,
    predict: Callable[[Panel], Any],
    *,
    fit: Callable[[Panel], Any] | None = None,
    refit: bool | int = False,
) -> dict[str, FloatArray]:
    """Forecast every window from its past alone.

    Args:
        pasts: Of the windows, oldest first.
        h: Horizon.
        predict: Makes a table of a past: id, date, and a column for every quantity.
        fit: Trains what predicts, on the first past at least.
        refit: Whether it is trained again on every past, or on every so many.

    Returns:
        Arrays (N, W, H) in data units by column name.
    """
    columns: dict[str, list[FloatArray]] = {}
    for window, past in enumerate(pasts):
        if fit is not None and (window == 0 or (refit and window % int(refit) == 0)):
            fit(past)
        table = predict(past)
        for name in list(table.columns)[2:]:
            values_NH = np.asarray(table[name].to_numpy(), dtype=np.float64).reshape(-1, h)
            columns.setdefault(str(name), []).append(values_NH)
    return {name: np.stack(windows, axis=1) for name, windows in columns.items()}


def window_frame(
    panel: Panel, pasts: Sequence[Panel], h: int, columns: Mapping[str, FloatArray]
) -> Any:
    """The steps of all windows as a long table, series by series, in the caller's kind.

    Args:
        panel: The whole series.
        pasts: Of the windows, oldest first.
        h: Horizon.
        columns: Arrays (N, W, H) by column name.

    Returns:
        Id, date, ``cutoff`` (the last date of the past), the value, and the columns.
    """
    lengths_NW = np.stack([past.lengths_N for past in pasts], axis=1)
    first_NW = panel.starts_N1[:-1, None] + lengths_NW
    row_S = (first_NW[:, :, None] + np.arange(h)).ravel()
    values = {name: np.asarray(array_NWH).reshape(-1) for name, array_NWH in columns.items()}
    return make_table(
        panel.layout,
        np.repeat(panel.ids_N, len(pasts) * h),
        panel.ds_S[row_S],
        {panel.layout.target_col: panel.y_S[row_S], **values},
        time_zone=panel.time_zone,
        more_dates={CUTOFF: np.repeat(panel.ds_S[(first_NW - 1).ravel()], h)},
    )


def last_date(ds_S: Dates) -> str | int:
    """The latest of some dates, as JSON can hold it: ISO text, or an integer."""
    latest = ds_S.max()
    return int(latest) if ds_S.dtype.kind == "i" else pd.Timestamp(latest).isoformat()


def earliest_end(past: Panel) -> str | int:
    """The earliest of the last dates of the series, in the form of :func:`last_date`."""
    return last_date(past.ds_S[past.starts_N1[1:] - 1].min(keepdims=True))


def is_seen(past: Panel, trained_until: str | int | None) -> bool:
    """Whether a training up to a date saw steps after some of these pasts."""
    end = earliest_end(past)
    return type(end) is type(trained_until) and _to_order(end) < _to_order(trained_until)


def _to_order(date: Any) -> Any:
    return pd.Timestamp(date).tz_localize(None) if isinstance(date, str) else date

"""Long tables to panels, and forecasts back to long tables.

Contract: :func:`build_panel` takes a long table (pandas or polars) and returns series that are
sorted, evenly spaced, finite and complete, or refuses it in one sentence. What it repairs (order,
exact duplicates, leading missing values, and gaps where ``fill`` allows it) is counted per series
in :attr:`Panel.findings`; nothing is guessed and nothing is dropped in silence. The table is not
changed. :func:`forecast_frame` gives forecasts back in the caller's kind of table.

Axes: N series in a panel, S steps of all series laid end to end (flat), H horizon.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import tzinfo
from typing import Any

import numpy as np
import numpy.typing as npt

from explstm.calendar import (
    Dates,
    Freq,
    Rule,
    add_steps,
    from_local,
    infer_freq,
    local_starts,
    parse_freq,
)
from explstm.errors import DataError, UsageError
from explstm.panel import (
    Finding,
    Panel,
    count_more,
    drop_last,
    keep_steps,
    panel_series,
    show_date,
    take_series,
)
from explstm.parsing import quote
from explstm.repair import (
    FILLS,
    Fill,
    drop_duplicates,
    fill_gaps,
    lay_on_calendar,
    notice_lookalikes,
    notice_rounding,
    notice_serial_days,
    sort_rows,
    trim_leading,
)
from explstm.tables import DEFAULT_ID_COL, Columns, make_table, take_columns

__all__ = [
    "FILLS",
    "Fill",
    "Finding",
    "Panel",
    "as_panel",
    "build_panel",
    "dates_after",
    "drop_last",
    "forecast_frame",
    "future_ds",
    "keep_steps",
    "panel_frame",
    "panel_of",
    "panel_series",
    "take_series",
]


def build_panel(
    df: Any,
    *,
    freq: Freq | None = None,
    id_col: str = DEFAULT_ID_COL,
    time_col: str = "ds",
    target_col: str = "y",
    fill: Fill = "error",
    min_length: int = 1,
) -> Panel:
    """Build a panel from a long table.

    Args:
        df: pandas or polars table with one row per series and date. Without a column ``unique_id``
            it is one series.
        freq: pandas alias or, for integer dates, an integer step; None takes the most common step.
        id_col: Column of ids.
        time_col: Column of dates: timestamps, ISO text or integers.
        target_col: Column of values.
        fill: What becomes of missing dates and values inside a series. ``"error"`` refuses them,
            ``"interpolate"`` draws a straight line over them (on the log scale where all values of
            the series are positive, so that growth stays even), ``"forward"`` repeats the last one.
        min_length: Fewest steps a series may have.

    Raises:
        UsageError: An argument that cannot be used.
        DataError: Data that cannot be used, with column, series and row.
    """
    _check_fill(fill)
    columns = take_columns(df, id_col=id_col, time_col=time_col, target_col=target_col)
    return panel_of(columns, freq=freq, fill=fill, min_length=min_length)


def panel_of(
    columns: Columns, *, freq: Freq | None = None, fill: Fill = "error", min_length: int = 1
) -> Panel:
    """Build a panel from columns that are typed; the arguments are those of :func:`build_panel`.

    Raises:
        UsageError: An argument that cannot be used.
        DataError: Data that cannot be used, with column, series and row.
    """
    _check_fill(fill)
    columns, findings = sort_rows(columns)
    columns, dropped = drop_duplicates(columns)
    starts_N1 = np.searchsorted(columns.code_S, np.arange(len(columns.ids_N) + 1))
    if freq is None:
        freq = infer_freq(columns.ds_S, starts_N1, time_zone=columns.time_zone)
    rule = _check_freq(freq, columns)
    panel = Panel(
        columns.ids_N,
        starts_N1,
        columns.y_S,
        columns.ds_S,
        freq,
        (),
        columns.time_zone,
        columns.layout,
    )
    panel = lay_on_calendar(panel, rule)
    panel, trimmed = trim_leading(panel)
    panel, filled = fill_gaps(panel, fill)
    _check_length(panel, min_length)
    noticed = notice_lookalikes(panel) + notice_rounding(panel) + notice_serial_days(panel)
    return replace(panel, findings=findings + dropped + trimmed + filled + noticed)


def as_panel(data: Any, **options: Any) -> Panel:
    """A panel as it is, or that of a table; the options are those of :func:`build_panel`."""
    return data if isinstance(data, Panel) else build_panel(data, **options)


def _check_fill(fill: str) -> None:
    if fill not in FILLS:
        raise UsageError(
            "CONFIG_VALUE", f"fill={fill!r} is not a rule; use one of {', '.join(FILLS)}."
        )


def _check_freq(freq: Freq, columns: Columns) -> Rule:
    rule = parse_freq(freq)
    dated = np.issubdtype(columns.ds_S.dtype, np.datetime64)
    if dated == (rule.unit == "integer"):
        remedy = "a pandas alias such as 'MS'" if dated else "an integer step"
        found = "timestamps" if dated else "integers"
        raise UsageError(
            "FREQ_TYPE",
            f"freq={freq!r} does not go with column {columns.layout.time_col!r} of {found}; pass "
            f"{remedy}.",
        )
    return rule


def _check_length(panel: Panel, min_length: int) -> None:
    short_N = panel.lengths_N < min_length
    if short_N.any():
        series = int(np.argmax(short_N))
        raise DataError(
            "DATA_TOO_SHORT",
            f"series {quote(panel.ids_N[series])} has {panel.lengths_N[series]} values in column "
            f"{panel.layout.target_col!r}, needs {min_length}{count_more(short_N)}; drop it or "
            "give it a longer history.",
        )


def future_ds(panel: Panel, h: int) -> Dates:
    """The ``h`` dates after each series, shape (N, h); UTC where the panel has a time zone."""
    rule = parse_freq(panel.freq)
    # Counted from the first date, so that a 30th stays a 30th after a February.
    first_N = local_starts(panel.ds_S, panel.starts_N1, rule, panel.time_zone)
    return dates_after(first_N, panel.lengths_N, h, rule, panel.time_zone)


def dates_after(
    first_N: Dates, steps_N: npt.NDArray[np.int64], h: int, rule: Rule, time_zone: tzinfo | None
) -> Dates:
    """The ``h`` dates (N, h) that follow so many steps from each first date, which is local."""
    step_NH = steps_N[:, None] + np.arange(h)
    local_NH = add_steps(first_N[:, None], step_NH, rule)
    ahead_NH = from_local(local_NH, rule, time_zone)
    if time_zone is not None and h > 1 and (ahead_NH[:, 1:] <= ahead_NH[:, :-1]).any():
        raise DataError(
            "DATE_SKIPPED",
            f"in the time zone {time_zone} a day was left out between {show_date(local_NH.min())} "
            f"and {show_date(local_NH.max())}, which the forecast would have; give the dates in "
            "UTC or without a zone.",
        )
    return ahead_NH


def panel_frame(panel: Panel, columns: Mapping[str, npt.NDArray[Any]] | None = None) -> Any:
    """The panel as a long table in the caller's kind: id, date, value and further flat columns."""
    values = {panel.layout.target_col: panel.y_S, **(columns or {})}
    id_S = np.repeat(panel.ids_N, panel.lengths_N)
    return make_table(panel.layout, id_S, panel.ds_S, values, time_zone=panel.time_zone)


def forecast_frame(
    panel: Panel,
    h: int,
    columns: Mapping[str, npt.NDArray[Any]],
) -> Any:
    """Forecasts as a long table in the caller's kind: id, date and one column per name.

    Args:
        panel: The history that was forecast.
        h: Horizon.
        columns: Values of shape (N, h), by column name.
    """
    return make_table(
        panel.layout,
        np.repeat(panel.ids_N, h),
        future_ds(panel, h).ravel(),
        {name: np.asarray(values_NH).reshape(-1) for name, values_NH in columns.items()},
        time_zone=panel.time_zone,
    )

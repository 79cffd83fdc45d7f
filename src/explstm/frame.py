"""The panel: all series laid end to end on a regular calendar, without gaps.

Contract: :func:`build_panel` takes a long table (pandas or polars) and returns series that are sorted,
evenly spaced, finite and complete, or refuses it in one sentence. What it repairs (order, exact
duplicates, leading missing values, and gaps where ``fill`` allows it) is counted per series in
:attr:`Panel.findings`; nothing is guessed and nothing is dropped in silence. The table is not changed.
:func:`forecast_frame` gives forecasts back in the caller's kind of table.

Axes: N series in a panel, S steps of all series laid end to end (flat), H horizon.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from explstm.calendar import (
    Freq,
    Rule,
    add_steps,
    count_steps,
    from_local,
    infer_freq,
    parse_freq,
    to_local,
)
from explstm.errors import DataError, UsageError
from explstm.parsing import name_row, quote
from explstm.tables import DEFAULT_ID_COL, Columns, Layout, make_table, read_layout, take_columns

Dates = npt.NDArray[Any]
Fill = Literal["error", "interpolate", "forward"]
FILLS: tuple[Fill, ...] = ("error", "interpolate", "forward")
EXACT_INTEGERS = 2.0**53
"""Above it float64 does not hold every integer."""


@dataclass(frozen=True)
class Finding:
    """Something that was repaired, or should be looked at, in one series.

    Attributes:
        code: Stable identifier such as ``"DUPLICATES_DROPPED"``.
        unique_id: The series.
        count: How many rows, steps or values are concerned.
        text: One phrase for people.
    """

    code: str
    unique_id: str
    count: int
    text: str


@dataclass(frozen=True, eq=False)
class Panel:
    """Series laid end to end, each complete on its calendar.

    Attributes:
        ids_N: Ids as text, sorted.
        starts_N1: Where each series starts in the flat arrays, closed by their length.
        y_S: Finite values in data units.
        ds_S: datetime64 (UTC where there is a time zone) or int64, one step apart within a series.
        freq: pandas alias, or integer step.
        findings: What was repaired or noticed.
        time_zone: Zone of the dates, on whose calendar days are counted.
        layout: What the caller's table looked like.
    """

    ids_N: npt.NDArray[np.object_]
    starts_N1: npt.NDArray[np.int64]
    y_S: npt.NDArray[np.float64]
    ds_S: Dates
    freq: Freq
    findings: tuple[Finding, ...] = ()
    time_zone: tzinfo | None = None
    layout: Layout = field(default_factory=Layout)

    @property
    def n_series(self) -> int:
        """Number of series."""
        return len(self.ids_N)

    @property
    def lengths_N(self) -> npt.NDArray[np.int64]:
        """Steps of each series."""
        return np.diff(self.starts_N1)


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
        df: pandas or polars table with one row per series and date. Without an id column it is one series.
        freq: pandas alias or, for integer dates, an integer step; None finds it from the most common step.
        id_col: Column of ids.
        time_col: Column of dates: timestamps, ISO text or integers.
        target_col: Column of values.
        fill: What becomes of missing dates and values inside a series. ``"error"`` refuses them,
            ``"interpolate"`` draws a straight line over them (on the log scale where all values of
            the series are positive, so that growth stays even), ``"forward"`` repeats the last value.
        min_length: Fewest steps a series may have.

    Raises:
        UsageError: An argument that cannot be used.
        DataError: Data that cannot be used, with column, series and row.
    """
    if fill not in FILLS:
        raise UsageError(
            "CONFIG_VALUE", f"fill={fill!r} is not a rule; use one of {', '.join(FILLS)}."
        )
    columns = take_columns(df, id_col=id_col, time_col=time_col, target_col=target_col)
    columns, findings = _sort_rows(columns)
    columns, dropped = _drop_duplicates(columns)
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
    panel = _lay_on_calendar(panel, rule)
    panel, trimmed = _trim_leading(panel)
    panel, filled = _fill_gaps(panel, fill)
    _check_length(panel, min_length)
    noticed = _notice_lookalikes(panel) + _notice_rounding(panel)
    return replace(panel, findings=findings + dropped + trimmed + filled + noticed)


def _sort_rows(columns: Columns) -> tuple[Columns, tuple[Finding, ...]]:
    """Rows by series and date; of equal dates the order of the table."""
    same_S = np.diff(columns.code_S)
    falls_S = np.diff(columns.ds_S) < np.array(0, dtype=np.diff(columns.ds_S[:1]).dtype)
    if not ((same_S < 0) | ((same_S == 0) & falls_S)).any():
        return columns, ()
    grouped = np.argsort(columns.code_S, kind="stable")
    code_S, ds_S = columns.code_S[grouped], columns.ds_S[grouped]
    late_S = (np.diff(code_S) == 0) & (ds_S[1:] < ds_S[:-1])
    findings = _count(
        columns.ids_N, code_S[1:][late_S], "ROWS_SORTED", "rows were out of order and were sorted"
    )
    order = np.lexsort((ds_S, code_S)) if late_S.any() else slice(None)
    return _take_rows(columns, grouped[order]), findings


def _take_rows(columns: Columns, rows: npt.NDArray[Any]) -> Columns:
    return replace(
        columns,
        code_S=columns.code_S[rows],
        ds_S=columns.ds_S[rows],
        y_S=columns.y_S[rows],
        index=columns.index[rows],
    )


def _count(
    ids_N: npt.NDArray[np.object_], code: npt.NDArray[np.int64], finding: str, text: str
) -> tuple[Finding, ...]:
    """One finding for each series that occurs in ``code``, with how often it does."""
    count_N = np.bincount(code, minlength=len(ids_N))
    return tuple(Finding(finding, ids_N[i], int(count_N[i]), text) for i in np.flatnonzero(count_N))


def _drop_duplicates(columns: Columns) -> tuple[Columns, tuple[Finding, ...]]:
    """Rows of equal series, date and value once; equal series and date with different values refused."""
    again_S = np.zeros(len(columns.code_S), dtype=bool)
    again_S[1:] = (np.diff(columns.code_S) == 0) & (columns.ds_S[1:] == columns.ds_S[:-1])
    if not again_S.any():
        return columns, ()
    y_S = columns.y_S
    equal_S = (y_S[1:] == y_S[:-1]) | (np.isnan(y_S[1:]) & np.isnan(y_S[:-1]))
    clash_S = again_S[1:] & ~equal_S
    if clash_S.any():
        row = int(np.argmax(clash_S))
        layout = columns.layout
        raise DataError(
            "DATA_DUPLICATE",
            f"series {quote(columns.ids_N[columns.code_S[row]])} has two values on "
            f"{layout.time_col}={_show(columns.ds_S[row])}: {y_S[row]:g} in {name_row(columns.index, row)} and "
            f"{y_S[row + 1]:g} in {name_row(columns.index, row + 1)}{_more(clash_S)}; keep one of them, sum them, or "
            f"name the column that tells series apart through id_col (now {layout.id_col!r}).",
        )
    text = "rows repeated another row exactly and were dropped"
    findings = _count(columns.ids_N, columns.code_S[again_S], "DUPLICATES_DROPPED", text)
    return _take_rows(columns, np.flatnonzero(~again_S)), findings


def _show(date: Any) -> str:
    """A date without the parts that are zero, or an integer."""
    return (
        str(date)
        if isinstance(date, np.integer)
        else str(pd.Timestamp(date)).removesuffix(" 00:00:00")
    )


def _more(mask: npt.NDArray[np.bool_]) -> str:
    """ "(and 3 more)" where a mask holds more than the case that is named."""
    more = int(mask.sum()) - 1
    return f" (and {more:,} more)" if more else ""


def _check_freq(freq: Freq, columns: Columns) -> Rule:
    rule = parse_freq(freq)
    dated = np.issubdtype(columns.ds_S.dtype, np.datetime64)
    if dated == (rule.unit == "integer"):
        remedy = "a pandas alias such as 'MS'" if dated else "an integer step"
        found = "timestamps" if dated else "integers"
        raise UsageError(
            "FREQ_TYPE",
            f"freq={freq!r} does not go with column {columns.layout.time_col!r} of {found}; pass {remedy}.",
        )
    return rule


def _lay_on_calendar(panel: Panel, rule: Rule) -> Panel:
    """The panel with every step of the calendar in place, NaN where the table had no row.

    Raises:
        DataError: Dates off the calendar, or more steps absent than present in a series.
    """
    local_S = to_local(panel.ds_S, rule, panel.time_zone)
    length_N = panel.lengths_N
    first_S = np.repeat(local_S[panel.starts_N1[:-1]], length_N)
    step_S = count_steps(first_S, local_S, rule)
    off_S = add_steps(first_S, step_S, rule) != local_S
    # Two dates within one step, such as two days of one month, are off the calendar too.
    inside_S = np.ones(len(off_S), dtype=bool)
    inside_S[panel.starts_N1[:-1]] = False
    off_S[1:] |= inside_S[1:] & (np.diff(step_S) < 1)
    if off_S.any():
        raise _irregular(panel, off_S, inside_S)
    full_N = step_S[panel.starts_N1[1:] - 1] + 1
    if (full_N == length_N).all():
        return panel
    _check_sparse(panel, full_N)
    starts_N1 = np.concatenate(([0], np.cumsum(full_N)))
    place_S = np.repeat(starts_N1[:-1], length_N) + step_S
    y_S = np.full(starts_N1[-1], np.nan)
    y_S[place_S] = panel.y_S
    step_S = np.arange(starts_N1[-1]) - np.repeat(starts_N1[:-1], full_N)
    first_N = local_S[panel.starts_N1[:-1]]
    ds_S = from_local(add_steps(np.repeat(first_N, full_N), step_S, rule), rule, panel.time_zone)
    ds_S[place_S] = panel.ds_S
    return replace(panel, starts_N1=starts_N1, y_S=y_S, ds_S=ds_S)


def _irregular(
    panel: Panel, off_S: npt.NDArray[np.bool_], inside_S: npt.NDArray[np.bool_]
) -> DataError:
    row = int(np.argmax(off_S))
    series = _series_of(panel, row)
    steps = pd.Series(np.diff(panel.ds_S)[inside_S[1:]]).value_counts().index[:3]
    common = ", ".join(str(step).replace(" 00:00:00", "") for step in steps)
    return DataError(
        "DATA_IRREGULAR",
        f"series {quote(panel.ids_N[series])}: {panel.layout.time_col}={_show(panel.ds_S[row])} is not on a calendar of "
        f"freq={panel.freq!r} that starts on {_show(panel.ds_S[panel.starts_N1[series]])}{_more(off_S)}, and the most "
        f"common steps are {common}; pass freq, bring the dates onto one calendar, or forecast each frequency apart.",
    )


def _series_of(panel: Panel, position: int) -> int:
    return int(np.searchsorted(panel.starts_N1, position, side="right")) - 1


def _check_sparse(panel: Panel, full_N: npt.NDArray[np.int64]) -> None:
    """Refuse series with more steps absent than present: theirs is another frequency."""
    sparse_N = full_N > 2 * panel.lengths_N
    if sparse_N.any():
        series = int(np.argmax(sparse_N))
        raise DataError(
            "DATA_MIXED_FREQ",
            f"series {quote(panel.ids_N[series])} has {panel.lengths_N[series]} of {full_N[series]:,} steps of "
            f"freq={panel.freq!r}{_more(sparse_N)}, so its frequency is another one; pass freq, or forecast each "
            "frequency apart.",
        )


def _trim_leading(panel: Panel) -> tuple[Panel, tuple[Finding, ...]]:
    """Series from their first value to their last.

    Raises:
        DataError: A series without any value, or one that ends in missing values.
    """
    missing_S = np.isnan(panel.y_S)
    if not missing_S.any():
        return panel, ()
    series_S = np.repeat(np.arange(panel.n_series), panel.lengths_N)
    empty_N = np.bincount(series_S[~missing_S], minlength=panel.n_series) == 0
    if empty_N.any():
        raise DataError(
            "DATA_ALL_MISSING",
            f"series {quote(panel.ids_N[np.argmax(empty_N)])} has no value in column {panel.layout.target_col!r}"
            f"{_more(empty_N)}; drop it or fill it in.",
        )
    ends_N = missing_S[panel.starts_N1[1:] - 1]
    if ends_N.any():
        last = int(panel.starts_N1[1:][np.argmax(ends_N)] - 1)
        raise DataError(
            "DATA_TRAILING_MISSING",
            f"series {quote(panel.ids_N[np.argmax(ends_N)])} ends in a missing value of column "
            f"{panel.layout.target_col!r} on {panel.layout.time_col}={_show(panel.ds_S[last])}{_more(ends_N)}; drop the "
            "rows after its last value, because forecasts start there.",
        )
    first_N = np.minimum.reduceat(
        np.where(missing_S, len(missing_S), np.arange(len(missing_S))), panel.starts_N1[:-1]
    )
    lead_N = first_N - panel.starts_N1[:-1]
    text = "leading missing values were cut off"
    lead = tuple(
        Finding("LEADING_TRIMMED", panel.ids_N[i], int(lead_N[i]), text)
        for i in np.flatnonzero(lead_N)
    )
    return keep_steps(panel, lead_N, panel.lengths_N), lead


def _fill_gaps(panel: Panel, fill: Fill) -> tuple[Panel, tuple[Finding, ...]]:
    """The panel without missing values; every series begins and ends with a value already."""
    missing_S = np.isnan(panel.y_S)
    if not missing_S.any():
        return panel, ()
    if fill == "error":
        raise _gap_error(panel, missing_S)
    known, gap = np.flatnonzero(~missing_S), np.flatnonzero(missing_S)
    y_S = panel.y_S.copy()
    if fill == "forward":
        y_S[gap] = y_S[known[np.searchsorted(known, gap) - 1]]
    else:
        series_S = np.repeat(np.arange(panel.n_series), panel.lengths_N)
        positive_N = np.fmin.reduceat(y_S, panel.starts_N1[:-1]) > 0
        log_S = positive_N[series_S]
        # Values surround each gap within its series, so one pass over the flat array crosses none.
        z_S = np.where(log_S, np.log(np.where(log_S, y_S, 1.0)), y_S)
        drawn = np.interp(gap, known, z_S[known])
        y_S[gap] = np.where(log_S[gap], np.exp(np.where(log_S[gap], drawn, 0.0)), drawn)
    how = "interpolated" if fill == "interpolate" else "carried forward"
    series_of_gap = np.searchsorted(panel.starts_N1, gap, side="right") - 1
    text = f"missing steps were {how}"
    return replace(panel, y_S=y_S), _count(panel.ids_N, series_of_gap, "GAPS_FILLED", text)


def _gap_error(panel: Panel, missing_S: npt.NDArray[np.bool_]) -> DataError:
    begin = int(np.argmax(missing_S))
    length = int(np.argmin(missing_S[begin:]))
    first, last = _show(panel.ds_S[begin]), _show(panel.ds_S[begin + length - 1])
    when = first if length == 1 else f"{first} to {last}"
    return DataError(
        "DATA_GAP",
        f"series {quote(panel.ids_N[_series_of(panel, begin)])} has no {panel.layout.target_col!r} for "
        f"{panel.layout.time_col}={when} (freq={panel.freq!r}; {int(missing_S.sum()):,} steps are missing in all); fill "
        "them in, or pass fill='interpolate' or fill='forward'.",
    )


def _check_length(panel: Panel, min_length: int) -> None:
    short_N = panel.lengths_N < min_length
    if short_N.any():
        series = int(np.argmax(short_N))
        raise DataError(
            "DATA_TOO_SHORT",
            f"series {quote(panel.ids_N[series])} has {panel.lengths_N[series]} values in column "
            f"{panel.layout.target_col!r}, needs {min_length}{_more(short_N)}; drop it or give it a longer history.",
        )


def _notice_lookalikes(panel: Panel) -> tuple[Finding, ...]:
    """Ids that people would take for the same one; they are kept apart."""
    seen: dict[str, str] = {}
    findings = []
    for name in panel.ids_N:
        plain = name.strip().casefold()
        if not plain.isascii():
            # Format characters (category Cf) such as a zero-width space cannot be seen.
            visible = (
                letter
                for letter in unicodedata.normalize("NFKC", plain)
                if unicodedata.category(letter) != "Cf"
            )
            plain = "".join(visible).strip()
        other = seen.setdefault(plain, name)
        if other is not name:
            findings.append(
                Finding(
                    "IDS_ALIKE", name, 1, f"the id looks like {quote(other)} and is another series"
                )
            )
    return tuple(findings)


def _notice_rounding(panel: Panel) -> tuple[Finding, ...]:
    large = np.flatnonzero(np.abs(panel.y_S) > EXACT_INTEGERS)
    series = np.searchsorted(panel.starts_N1, large, side="right") - 1
    return _count(
        panel.ids_N,
        series,
        "VALUES_ROUNDED",
        "values above 2**53 may have been rounded to 16 digits",
    )


def keep_steps(panel: Panel, begin_N: npt.ArrayLike, end_N: npt.ArrayLike) -> Panel:
    """The steps ``begin`` to ``end`` (exclusive) of each series, counted from the start of each.

    Raises:
        DataError: A series would have no step left.
    """
    begin_N, end_N = (
        np.broadcast_to(begin_N, panel.n_series),
        np.broadcast_to(end_N, panel.n_series),
    )
    kept_N = np.minimum(end_N, panel.lengths_N) - begin_N
    if (kept_N < 1).any():
        series = int(np.argmax(kept_N < 1))
        raise DataError(
            "DATA_TOO_SHORT",
            f"series {quote(panel.ids_N[series])} has {panel.lengths_N[series]} steps, of which none would be left"
            f"{_more(kept_N < 1)}; drop it, or set fewer steps aside.",
        )
    starts_N1 = np.concatenate(([0], np.cumsum(kept_N)))
    steps_S = np.arange(starts_N1[-1]) + np.repeat(
        panel.starts_N1[:-1] + begin_N - starts_N1[:-1], kept_N
    )
    return replace(panel, starts_N1=starts_N1, y_S=panel.y_S[steps_S], ds_S=panel.ds_S[steps_S])


def drop_last(panel: Panel, k: int) -> Panel:
    """The panel without the last ``k`` steps of each series.

    Raises:
        DataError: A series would have no step left.
    """
    return keep_steps(panel, 0, panel.lengths_N - k)


def take_series(panel: Panel, series: npt.ArrayLike) -> Panel:
    """The series at the given positions, in that order."""
    series_M = np.atleast_1d(np.asarray(series, dtype=np.int64))
    length_M = panel.lengths_N[series_M]
    starts_M1 = np.concatenate(([0], np.cumsum(length_M)))
    steps_S = np.arange(starts_M1[-1]) + np.repeat(
        panel.starts_N1[:-1][series_M] - starts_M1[:-1], length_M
    )
    ids_M = panel.ids_N[series_M]
    kept = set(ids_M)
    findings = tuple(finding for finding in panel.findings if finding.unique_id in kept)
    return replace(
        panel,
        ids_N=ids_M,
        starts_N1=starts_M1,
        y_S=panel.y_S[steps_S],
        ds_S=panel.ds_S[steps_S],
        findings=findings,
    )


def panel_series(panel: Panel, i: int) -> tuple[Dates, npt.NDArray[np.float64]]:
    """Dates and values of the series at position ``i``, as views."""
    steps = slice(panel.starts_N1[i], panel.starts_N1[i + 1])
    return panel.ds_S[steps], panel.y_S[steps]


def future_ds(panel: Panel, h: int) -> Dates:
    """The ``h`` dates after each series, shape (N, h); UTC where the panel has a time zone."""
    rule = parse_freq(panel.freq)
    # Counted from the first date, so that a 30th stays a 30th after a February.
    first_N = to_local(panel.ds_S[panel.starts_N1[:-1]], rule, panel.time_zone)
    step_NH = panel.lengths_N[:, None] + np.arange(h)
    return from_local(add_steps(first_N[:, None], step_NH, rule), rule, panel.time_zone)


def panel_frame(panel: Panel, columns: Mapping[str, npt.NDArray[Any]] | None = None) -> Any:
    """The panel as a long table in the caller's kind: id, date, value and further flat columns."""
    values = {panel.layout.target_col: panel.y_S, **(columns or {})}
    id_S = np.repeat(panel.ids_N, panel.lengths_N)
    return make_table(panel.layout, id_S, panel.ds_S, values, time_zone=panel.time_zone)


def forecast_frame(
    panel: Panel,
    h: int,
    columns: Mapping[str, npt.NDArray[Any]],
    *,
    like: Any = None,
    cutoff: bool = False,
) -> Any:
    """Forecasts as a long table: id, date and one column per name, series by series.

    Args:
        panel: The history that was forecast.
        h: Horizon.
        columns: Values of shape (N, h), by column name.
        like: Table whose kind and types to return; None for those of the table the panel was built from.
        cutoff: Add a column ``cutoff`` with the last date of the history.
    """
    layout = panel.layout
    if like is not None:
        layout = read_layout(
            like, id_col=layout.id_col, time_col=layout.time_col, target_col=layout.target_col
        )
    cutoffs = {"cutoff": np.repeat(panel.ds_S[panel.starts_N1[1:] - 1], h)} if cutoff else {}
    return make_table(
        layout,
        np.repeat(panel.ids_N, h),
        future_ds(panel, h).ravel(),
        {name: np.asarray(values_NH).reshape(-1) for name, values_NH in columns.items()},
        time_zone=panel.time_zone,
        more_dates=cutoffs,
    )

"""Repairs: what a panel needs before it can be forecast, each counted or refused.

Contract: rows are sorted, exact duplicates dropped, steps laid on the calendar, leading missing
values cut off and gaps filled by the stated rule. Each function returns what it made and its
findings, one per series concerned, or raises one sentence that names the series and its dates or
rows.

Axes: N series in a panel, S rows of a table or steps of all series laid end to end.
"""

import unicodedata
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from explstm.calendar import (
    Rule,
    add_steps,
    count_steps,
    date_blocks,
    find_series,
    from_local,
    local_starts,
    to_local,
)
from explstm.errors import DataError
from explstm.panel import Finding, Panel, count_more, keep_steps, series_at, show_date
from explstm.parsing import name_row, quote
from explstm.tables import Columns

Fill = Literal["error", "interpolate", "forward"]
FILLS: tuple[Fill, ...] = ("error", "interpolate", "forward")
EXACT_INTEGERS = 2.0**53
"""Above it float64 does not hold every integer."""
SERIAL_DAYS = (36_526, 54_788)
"""The years 2000 to 2049, counted in days since 1900."""


def sort_rows(columns: Columns) -> tuple[Columns, tuple[Finding, ...]]:
    """Rows by series and date; of equal dates the order of the table."""
    code_S, ds_S = columns.code_S, columns.ds_S
    falls_S = (code_S[1:] == code_S[:-1]) & (ds_S[1:] < ds_S[:-1])
    if not (falls_S | (code_S[1:] < code_S[:-1])).any():
        return columns, ()
    grouped = np.argsort(code_S, kind="stable")
    code_S, ds_S = code_S[grouped], ds_S[grouped]
    late_S = (code_S[1:] == code_S[:-1]) & (ds_S[1:] < ds_S[:-1])
    findings = _count_findings(
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


def _count_findings(
    ids_N: npt.NDArray[np.object_], code: npt.NDArray[np.int64], finding: str, text: str
) -> tuple[Finding, ...]:
    """One finding for each series that occurs in ``code``, with how often it does."""
    count_N = np.bincount(code, minlength=len(ids_N))
    return tuple(Finding(finding, ids_N[i], int(count_N[i]), text) for i in np.flatnonzero(count_N))


def drop_duplicates(columns: Columns) -> tuple[Columns, tuple[Finding, ...]]:
    """Equal rows once.

    Raises:
        DataError: Two rows of one series and date have different values.
    """
    code_S, ds_S = columns.code_S, columns.ds_S
    again_S = np.zeros(len(code_S), dtype=bool)
    again_S[1:] = (code_S[1:] == code_S[:-1]) & (ds_S[1:] == ds_S[:-1])
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
            f"{layout.time_col}={show_date(columns.ds_S[row])}: {y_S[row]:g} in "
            f"{name_row(columns.index, row)} and {y_S[row + 1]:g} in "
            f"{name_row(columns.index, row + 1)}{count_more(clash_S)}; keep one of them, sum "
            "them, or name the column that tells series apart through id_col (now "
            f"{layout.id_col!r}).",
        )
    text = "rows repeated another row exactly and were dropped"
    findings = _count_findings(columns.ids_N, columns.code_S[again_S], "DUPLICATES_DROPPED", text)
    return _take_rows(columns, np.flatnonzero(~again_S)), findings


def lay_on_calendar(panel: Panel, rule: Rule) -> Panel:
    """The panel with every step of the calendar in place, NaN where the table had no row.

    Raises:
        DataError: Dates off the calendar, or more steps absent than present in a series.
    """
    first_N = local_starts(panel.ds_S, panel.starts_N1, rule, panel.time_zone)
    step_S = np.empty(len(panel.ds_S), dtype=np.int64)
    off_S = np.empty(len(panel.ds_S), dtype=bool)
    for block in date_blocks(len(panel.ds_S)):
        local = to_local(panel.ds_S[block], rule, panel.time_zone)
        first = first_N[find_series(panel.starts_N1, np.arange(block.start, block.stop))]
        step_S[block] = count_steps(first, local, rule)
        due = add_steps(first, step_S[block], rule)
        off_S[block] = due != local
        if panel.time_zone is not None and off_S[block].any():
            # Where a clock skips the hour of the series, the first one after it is meant.
            off_S[block] &= from_local(due, rule, panel.time_zone) != panel.ds_S[block]
    if off_S.any():
        raise _irregular(panel, off_S)
    full_N = step_S[panel.starts_N1[1:] - 1] + 1
    if (full_N == panel.lengths_N).all():
        return panel
    _check_sparse(panel, full_N)
    starts_N1 = np.concatenate(([0], np.cumsum(full_N)))
    y_S, ds_S = np.full(starts_N1[-1], np.nan), np.empty(starts_N1[-1], dtype=panel.ds_S.dtype)
    for block in date_blocks(len(ds_S)):
        flat = np.arange(block.start, block.stop)
        series = find_series(starts_N1, flat)
        local = add_steps(first_N[series], flat - starts_N1[series], rule)
        ds_S[block] = from_local(local, rule, panel.time_zone)
    place_S = np.repeat(starts_N1[:-1], panel.lengths_N) + step_S
    y_S[place_S] = panel.y_S
    ds_S[place_S] = panel.ds_S  # of a repeated hour, the one that was observed
    return replace(panel, starts_N1=starts_N1, y_S=y_S, ds_S=ds_S)


def _irregular(panel: Panel, off_S: npt.NDArray[np.bool_]) -> DataError:
    row = int(np.argmax(off_S))
    series = series_at(panel, row)
    inside = np.ones(len(off_S), dtype=bool)
    inside[panel.starts_N1[:-1]] = False
    steps = pd.Series(np.diff(panel.ds_S)[inside[1:]]).value_counts().index[:3]
    common = ", ".join(str(step).replace(" 00:00:00", "") for step in steps)
    return DataError(
        "DATA_IRREGULAR",
        f"series {quote(panel.ids_N[series])}: "
        f"{panel.layout.time_col}={show_date(panel.ds_S[row])} is not on a calendar of "
        f"freq={panel.freq!r} that starts on "
        f"{show_date(panel.ds_S[panel.starts_N1[series]])}{count_more(off_S)}, and the most "
        f"common steps are {common}; pass freq, bring the dates onto one calendar, or forecast "
        "each frequency apart.",
    )


def _check_sparse(panel: Panel, full_N: npt.NDArray[np.int64]) -> None:
    """Refuse series with more steps absent than present: theirs is another frequency."""
    sparse_N = full_N > 2 * panel.lengths_N
    if sparse_N.any():
        series = int(np.argmax(sparse_N))
        raise DataError(
            "DATA_MIXED_FREQ",
            f"series {quote(panel.ids_N[series])} has {panel.lengths_N[series]} of "
            f"{full_N[series]:,} steps of freq={panel.freq!r}{count_more(sparse_N)}, so its "
            "frequency is another one; pass freq, or forecast each frequency apart.",
        )


def trim_leading(panel: Panel) -> tuple[Panel, tuple[Finding, ...]]:
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
            f"series {quote(panel.ids_N[np.argmax(empty_N)])} has no value in column "
            f"{panel.layout.target_col!r}{count_more(empty_N)}; drop it or fill it in.",
        )
    ends_N = missing_S[panel.starts_N1[1:] - 1]
    if ends_N.any():
        last = int(panel.starts_N1[1:][np.argmax(ends_N)] - 1)
        raise DataError(
            "DATA_TRAILING_MISSING",
            f"series {quote(panel.ids_N[np.argmax(ends_N)])} ends in a missing value of column "
            f"{panel.layout.target_col!r} on "
            f"{panel.layout.time_col}={show_date(panel.ds_S[last])}{count_more(ends_N)}; drop "
            "the rows after its last value, because forecasts start there.",
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


def fill_gaps(panel: Panel, fill: Fill) -> tuple[Panel, tuple[Finding, ...]]:
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
    return replace(panel, y_S=y_S), _count_findings(panel.ids_N, series_of_gap, "GAPS_FILLED", text)


def _gap_error(panel: Panel, missing_S: npt.NDArray[np.bool_]) -> DataError:
    begin = int(np.argmax(missing_S))
    length = int(np.argmin(missing_S[begin:]))
    first, last = show_date(panel.ds_S[begin]), show_date(panel.ds_S[begin + length - 1])
    when = first if length == 1 else f"{first} to {last}"
    total = int(missing_S.sum())
    return DataError(
        "DATA_GAP",
        f"series {quote(panel.ids_N[series_at(panel, begin)])} has no "
        f"{panel.layout.target_col!r} for {panel.layout.time_col}={when} (freq={panel.freq!r}; "
        f"{total:,} {'step is' if total == 1 else 'steps are'} missing in all); fill them in, or "
        "pass fill='interpolate' or fill='forward'.",
    )


def notice_lookalikes(panel: Panel) -> tuple[Finding, ...]:
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


def notice_rounding(panel: Panel) -> tuple[Finding, ...]:
    """Values whose last digits float64 may have lost; they are kept."""
    large = np.flatnonzero((panel.y_S > EXACT_INTEGERS) | (panel.y_S < -EXACT_INTEGERS))
    series = np.searchsorted(panel.starts_N1, large, side="right") - 1
    return _count_findings(
        panel.ids_N,
        series,
        "VALUES_ROUNDED",
        "values above 2**53 may have been rounded to 16 digits",
    )


def notice_serial_days(panel: Panel) -> tuple[Finding, ...]:
    """Integers that may be days since 1900, as spreadsheets store dates; they are kept."""
    low, high = SERIAL_DAYS
    if panel.ds_S.dtype.kind == "M" or not low <= panel.ds_S.min() <= panel.ds_S.max() <= high:
        return ()
    text = (
        f"dates such as {panel.ds_S[0]} look like a spreadsheet's count of days and are taken as "
        "integers; write them as dates, so that weeks and months are known"
    )
    return (Finding("DATES_LIKE_SERIALS", panel.ids_N[0], len(panel.ds_S), text),)

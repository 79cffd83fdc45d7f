"""New rows of series that go on: which series they continue, and whether on the dates that follow.

Contract: :class:`Ends` knows of every series only where it began and how many steps it has.
:func:`take_arrivals` reads a table against it and returns its values in the order of the series, or
refuses in one sentence; nothing is filled in, dropped or changed.

Axes: N series, M series of the table, S its rows, by series and date.
"""

from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

import numpy as np
import numpy.typing as npt

from explstm.calendar import Dates, Rule, add_steps, from_local, local_starts, parse_freq, to_local
from explstm.errors import DataError
from explstm.frame import Panel, dates_after
from explstm.panel import count_more, show_date
from explstm.parsing import quote
from explstm.ragged import BoolArray, FloatArray, IntArray
from explstm.repair import sort_rows
from explstm.tables import Columns, Layout, take_columns


@dataclass(frozen=True)
class Ends:
    """Where series have come to.

    Attributes:
        ids_N: Their names.
        place: Position of each name.
        first_N: First dates, on the local calendar where there is a time zone.
        steps_N: Steps so far; counted on in place.
        rule: What one step is.
        time_zone: Zone of the dates.
        layout: What the caller's table looked like.
    """

    ids_N: npt.NDArray[np.object_]
    place: dict[str, int]
    first_N: Dates
    steps_N: IntArray
    rule: Rule
    time_zone: tzinfo | None
    layout: Layout

    @classmethod
    def of(cls, panel: Panel) -> "Ends":
        """Those of a panel."""
        rule = parse_freq(panel.freq)
        first_N = local_starts(panel.ds_S, panel.starts_N1, rule, panel.time_zone)
        place = {name: i for i, name in enumerate(panel.ids_N)}
        return cls(
            panel.ids_N, place, first_N, panel.lengths_N, rule, panel.time_zone, panel.layout
        )

    def next_dates(self, h: int) -> Dates:
        """The ``h`` dates (N, h) that follow; UTC where there is a time zone."""
        return dates_after(self.first_N, self.steps_N, h, self.rule, self.time_zone)


@dataclass(frozen=True)
class Arrivals:
    """Values that continue some series.

    Attributes:
        series_M: Positions of the series.
        starts_M1: First value of each, and the total.
        y_S: Finite values, in the order of time within each series.
        ds_S: Their dates.
    """

    series_M: IntArray
    starts_M1: IntArray
    y_S: FloatArray
    ds_S: Dates


def take_arrivals(table: Any, ends: Ends) -> Arrivals:
    """Read new rows.

    Args:
        table: pandas or polars table with the columns of the histories; rows in any order.
        ends: Where the series have come to.

    Raises:
        UsageError: Not a pandas or polars table.
        DataError: A column is missing, a value is missing or infinite, a series is not known, or
            its dates are not those that follow.
    """
    layout = ends.layout
    columns = take_columns(
        table, id_col=layout.id_col, time_col=layout.time_col, target_col=layout.target_col
    )
    columns, _ = sort_rows(columns)
    known = [name in ends.place for name in columns.ids_N]
    if not all(known):
        raise _unknown_series(columns, ends, ~np.array(known))
    series_M = np.array([ends.place[name] for name in columns.ids_N], dtype=np.int64)
    starts_M1 = np.searchsorted(columns.code_S, np.arange(len(series_M) + 1))
    _check_dates(columns, ends, series_M, starts_M1)
    missing_S = np.isnan(columns.y_S)
    if missing_S.any():
        row = int(np.argmax(missing_S))
        raise DataError(
            "STREAM_MISSING",
            f"{_name(columns, row)} has no value in column {layout.target_col!r}"
            f"{count_more(missing_S)}; fill it in, or wait for it.",
        )
    return Arrivals(series_M, starts_M1, columns.y_S, columns.ds_S)


def _unknown_series(columns: Columns, ends: Ends, unknown_M: BoolArray) -> DataError:
    name = columns.ids_N[np.argmax(unknown_M)]
    few = ", ".join(map(quote, ends.ids_N[:5])) + (", …" if len(ends.ids_N) > 5 else "")
    return DataError(
        "STREAM_SERIES",
        f"column {columns.layout.id_col!r} has the series {quote(name)}{count_more(unknown_M)}, "
        f"which is none of those of the stream ({few}); begin a new stream with its history.",
    )


def _check_dates(columns: Columns, ends: Ends, series_M: IntArray, starts_M1: IntArray) -> None:
    """Refuse dates that are not the next ones of their series."""
    _check_kind(columns, ends)
    lengths_M = np.diff(starts_M1)
    series_S = np.repeat(series_M, lengths_M)
    step_S = (
        ends.steps_N[series_S] + np.arange(len(series_S)) - np.repeat(starts_M1[:-1], lengths_M)
    )
    local_S = add_steps(ends.first_N[series_S], step_S, ends.rule)
    next_S = from_local(local_S, ends.rule, ends.time_zone)
    found_S = to_local(columns.ds_S, ends.rule, ends.time_zone)
    # The same hour of the calendar, or, where a clock skips it, the first one after it.
    off_S = (found_S != local_S) & (columns.ds_S != next_S)
    if off_S.any():
        row = int(np.argmax(off_S))
        again = row > 0 and series_S[row] == series_S[row - 1]
        again = again and columns.ds_S[row] == columns.ds_S[row - 1]
        found = "is given twice" if again else "does not follow"
        raise DataError(
            "STREAM_DATE",
            f"{_name(columns, row)} {found}: the next date of the series is "
            f"{show_date(next_S[row])}{count_more(off_S)}; pass every step once, from that one on.",
        )


def _check_kind(columns: Columns, ends: Ends) -> None:
    """Refuse timestamps after integers, dates with a time zone after dates without, and so on."""
    kinds = [
        "integers" if dates.dtype.kind == "i" else f"timestamps with{'out' * (zone is None)} a zone"
        for dates, zone in ((columns.ds_S, columns.time_zone), (ends.first_N, ends.time_zone))
    ]
    if kinds[0] != kinds[1]:
        raise DataError(
            "STREAM_DATE",
            f"column {columns.layout.time_col!r} holds {kinds[0]}, and the series so far have "
            f"{kinds[1]}; pass dates of the same kind.",
        )


def _name(columns: Columns, row: int) -> str:
    """A row in words."""
    return (
        f"series {quote(columns.ids_N[columns.code_S[row]])} at "
        f"{columns.layout.time_col}={show_date(columns.ds_S[row])}"
    )

"""Which columns of a file hold the ids, the dates and the values.

Contract: a proposal from the header and the first rows, which the client may correct. Names count
first, contents second; what fits no column is None.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from explstm.delimited import MAX_HEADER, SEPARATORS

LOOKED_AT = 50
"""Rows that the proposal is made from."""
SHOWN = 3
LONGEST_SHOWN = 40
LONGEST_LOOKED_AT = 200

TIME_NAMES = (
    *("ds", "date", "datetime", "timestamp", "time", "day", "week", "month", "quarter", "year"),
    *("period", "datum", "zeit", "monat", "jahr", "tag"),
)
VALUE_NAMES = (
    *("y", "value", "values", "sales", "passengers", "cases", "demand", "quantity", "amount"),
    *("count", "close", "price", "total", "units", "revenue", "users", "population", "wert"),
)
ID_NAMES = (
    *("unique_id", "series_id", "series", "id", "item_id", "item", "store", "shop", "product"),
    *("country", "region", "name", "key", "group", "sku", "code", "symbol", "ticker", "category"),
)
_DATE = re.compile(
    r"\d{4}([-/]\d{1,2}([-/]\d{1,2})?)?([T ]\d{1,2}:\d{2}.*)?|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}.*"
    r"|\d{4}-?Q[1-4]|\d{4}-?W\d{2}(-\d)?",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Preview:
    """A column by name, with its first cells as text."""

    name: str
    cells: tuple[str, ...]


def preview_csv(head: str, sep: str | None) -> list[Preview]:
    """The columns of a CSV by its first lines."""
    lines = head[: 2 * MAX_HEADER].splitlines()[: LOOKED_AT + 1]
    if not lines:
        return []
    marks = [sep] if sep else list(SEPARATORS)
    mark = max(marks, key=lambda mark: len(_split(lines[:1], mark)[0]))
    header, *rows = _split(lines, mark)
    return [
        Preview(name, tuple(row[place] for row in rows if place < len(row)))
        for place, name in enumerate(header)
    ]


def _split(lines: Sequence[str], mark: str) -> list[list[str]]:
    try:
        return list(csv.reader(lines, delimiter=mark)) or [[]]
    except csv.Error:
        return [[]]


def preview_table(columns: dict[str, list[Any]]) -> list[Preview]:
    """The columns of a table by their first cells."""
    return [
        Preview(name, tuple("" if cell is None else str(cell) for cell in cells[:LOOKED_AT]))
        for name, cells in columns.items()
    ]


def preview_batch(batch: Any) -> list[Preview]:
    """The columns of a ``pyarrow.RecordBatch`` by its first cells; nested ones show none.

    Raises:
        pyarrow.ArrowException: It is damaged.
    """
    import pyarrow.types as types

    head = batch.slice(0, LOOKED_AT)
    head.validate(full=True)
    return [
        Preview(name, () if types.is_nested(column.type) else tuple(map(_show_cell, column)))
        for name, column in zip(head.schema.names, head.columns, strict=True)
    ]


def _show_cell(scalar: Any) -> str:
    """A cell as text, cut at once: many cells may share one long text."""
    try:
        value = scalar.as_py()
    except (ArithmeticError, LookupError, ValueError):  # beyond what Python's types hold
        return ""
    return "" if value is None else str(value)[:LONGEST_LOOKED_AT]


def guess_columns(
    previews: Sequence[Preview], date_format: str | None = None
) -> dict[str, str | None]:
    """Propose ``id_col``, ``time_col`` and ``target_col``; dates may have a format of their own."""
    left = list(previews)
    written = [] if date_format is None else [partial(_is_written, date_format=date_format)]

    def take(names: Sequence[str], *fits: Any) -> str | None:
        found = _by_name(left, names, fits[0]) or next(
            (column for fit in fits for column in left if fit(column)), None
        )
        if found is None:
            return None
        left.remove(found)
        return found.name

    time_col = take(TIME_NAMES, *written, _is_date, _is_whole)
    target_col = take(VALUE_NAMES, _is_number)
    id_col = _by_name(left, ID_NAMES, lambda _: True) or next(
        (column for column in left if _repeats(column)), None
    )
    return {
        "id_col": None if id_col is None else id_col.name,
        "time_col": time_col,
        "target_col": target_col,
    }


def _by_name(columns: Sequence[Preview], names: Sequence[str], fits: Any) -> Preview | None:
    plain = {column.name.strip().casefold(): column for column in columns}
    known = [plain[name] for name in names if name in plain]
    return next((column for column in known if fits(column) or _is_whole(column)), None)


def _share(column: Preview, pattern: re.Pattern[str]) -> float:
    cells = [cell.strip() for cell in column.cells if cell.strip()]
    return sum(bool(pattern.fullmatch(cell)) for cell in cells) / len(cells) if cells else 0.0


def _is_date(column: Preview) -> bool:
    return _share(column, _DATE) > 0.8


def _is_written(column: Preview, date_format: str) -> bool:
    """Whether most cells are dates in a format."""
    cells = pd.Series([cell for cell in column.cells if cell.strip()], dtype=object)
    read = pd.to_datetime(cells, format=date_format, errors="coerce", utc=True)
    return bool(read.notna().mean() > 0.8)


def _is_number(column: Preview) -> bool:
    return _share(column, _NUMBER) >= 0.5


def _is_whole(column: Preview) -> bool:
    return _share(column, re.compile(r"\d+")) > 0.8


def _repeats(column: Preview) -> bool:
    """Text that stands in several rows, as a series' name does."""
    cells = [cell for cell in column.cells if cell]
    return len(cells) > 1 and not _is_number(column) and len(set(cells)) <= max(1, len(cells) // 2)

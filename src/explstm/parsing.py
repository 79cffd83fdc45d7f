"""Text to dates and numbers, with nothing guessed.

Contract: a text is either read in exactly one way or refused, naming its row. Dates are ISO 8601
(``2024-01-31``, ``2024-01``, ``2024-W05``, ``2024-Q1``, with time and offset where there are any),
or follow the ``date_format`` given; ``01/02/2024`` is refused, because it is two different days.
Numbers are decimal; ``inf``, ``nan``, ``N/A``, thousands separators and currencies are refused.

Axes: S rows of a table.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from explstm.calendar import Dates
from explstm.errors import DataError, UsageError

NameCell = Callable[[int], str]
"""Names the cell at a position, for messages."""

_ISO = re.compile(
    r"^(?P<day>\d{4}(?P<sep>[-/])\d{2}(?:(?P=sep)\d{2})?)"
    r"(?P<time>[T ]\d{2}(?::\d{2}(?::\d{2}(?:\.\d{1,9})?)?)?)?"
    r"(?P<offset>Z|[+-](?:[01]\d|2[0-3]):?[0-5]\d)?\Z",
    re.ASCII,
)
_WEEK = re.compile(r"(\d{4})-?W(\d{2})(?:-([1-7]))?", re.ASCII)
_QUARTER = re.compile(r"(\d{4})-?Q([1-4])", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_DIRECTIVES = "aAwdbBmyYHIMSfpzZjUWcxXGuV%"
_INCOMPLETE = (
    (_DIRECTIVES, "YyGcx", "no year (%Y)"),
    ("UW", "aAw", "a week (%U, %W) and no day of it (%w, %a, %A)"),
    ("d", "mbBcx", "a day (%d) and no month (%m, %b, %B)"),
    ("I", "pcx", "an hour of twelve (%I) and no half of the day (%p)"),
)
"""Parts of a date that mean nothing without one of others, and what is said of them."""

_FIRST_NANOSECOND, _LAST_NANOSECOND = np.datetime64("1678-01-01"), np.datetime64("2162-01-01")
"""Between these, dates are counted in nanoseconds; a century before they end, for forecasts."""
_SHIFTABLE = np.datetime64("1677-09-23"), np.datetime64("2262-04-10")
"""Within these a time of nanoseconds has one in every zone."""
_EPOCH_POWERS = (8, 11, 14, 17)
"""Smallest time since 1970 in seconds, milli-, micro- and nanoseconds that is taken for one."""


def name_row(index: pd.Index, position: int) -> str:
    """``"line 7"`` where the index holds lines of a file, else ``"row 5"``, counted from 0."""
    return f"{index.name or 'row'} {index[position]}"


def name_cells(column: str, index: pd.Index, id_at: Callable[[int], str] | None = None) -> NameCell:
    """What names the cells of a column: the column, the series where there are ids, and the row."""

    def name_cell(position: int) -> str:
        series = "" if id_at is None else f"series {quote(id_at(position))}, "
        return f"column {column!r}, {series}{name_row(index, position)}"

    return name_cell


def quote(value: object) -> str:
    """A value as it may stand in a message: quoted, escaped, at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def parse_numbers(
    text_S: Iterable[str | None],
    name_cell: NameCell,
    *,
    decimal: str = ".",
    missing: Collection[str] = ("",),
) -> npt.NDArray[np.float64]:
    """Decimal numbers as float64; NaN where the text is one of ``missing`` or None.

    Raises:
        DataError: A text is not a finite decimal number.
    """
    point = re.escape(decimal)
    number = re.compile(rf"[+-]?(\d+({point}\d*)?|{point}\d+)([eE][+-]?\d+)?", re.ASCII)
    y_S = []
    for position, text in enumerate(text_S):
        if text is None or text in missing:
            y_S.append(math.nan)
            continue
        written = number.fullmatch(text.strip())
        y_S.append(float(written[0].replace(decimal, ".")) if written else math.nan)
        if not math.isfinite(y_S[-1]):
            raise DataError(
                "DATA_NOT_A_NUMBER",
                f"{name_cell(position)}: {quote(text)} is not a finite number; write plain numbers "
                "(decimal names the decimal sign) and leave missing values empty (missing names "
                "texts that stand for them).",
            )
    return np.array(y_S, dtype=np.float64)


def parse_dates(
    text_S: npt.NDArray[Any] | pd.Categorical,
    name_cell: NameCell,
    *,
    date_format: str | None = None,
) -> tuple[Dates, tzinfo | None]:
    """Dates as datetime64 (UTC where they carry an offset) or int64, and their time zone.

    Args:
        text_S: Texts.
        name_cell: Names the cell at a position.
        date_format: How dates are written, as in ``datetime.strptime``; None for ISO 8601.

    Raises:
        DataError: A text is not a date, or texts mix offsets.
    """
    code_S, unique = pd.factorize(text_S)
    text_U = pd.Series(np.asarray(unique, dtype=object))

    def name_first(code: int) -> str:
        return f"{name_cell(int(np.argmax(code_S == code)))}: {quote(text_U[code])}"

    if date_format is None and text_U.map(_INTEGER.fullmatch).notna().all():
        return refuse_coded_dates(text_U.to_numpy().astype(np.int64), name_cell(0))[code_S], None
    date_U, zone_U = _parse_iso(text_U) if date_format is None else _parse_as(text_U, date_format)
    if date_U.isna().any():
        written = "as ISO date such as 2024-01-31" if date_format is None else f"as {date_format}"
        raise DataError(
            "DATA_BAD_DATE",
            f"{name_first(int(np.argmax(date_U.isna())))} is not written {written}; correct it, or "
            "say through date_format how dates are written.",
        )
    zones = zone_U.unique()
    if len(zones) > 1:
        first, second = (name_first(int(np.argmax(zone_U == zone))) for zone in zones[:2])
        raise DataError(
            "DATA_MIXED_OFFSETS",
            f"{first} has another time zone than {second}; write all dates in UTC.",
        )
    return date_U.to_numpy()[code_S], _read_offset(zones[0]) if zones[0] else None


def _parse_iso(text_U: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Dates of ISO texts in UTC, NaT where they are none, and their offsets ("" for none)."""
    if (day_U := read_days(text_U.tolist())) is not None:
        return pd.Series(day_U), pd.Series("", index=text_U.index)
    text_U = text_U.map(_first_day)
    part_U = text_U.str.extract(_ISO)
    naive_U = (part_U["day"].str.replace("/", "-") + part_U["time"].fillna("")).astype(object)
    date_U = pd.to_datetime(naive_U, format="ISO8601", errors="coerce").astype("datetime64[ns]")
    late_U = date_U.isna() & naive_U.notna()
    if late_U.any() and (wide := naive_U[late_U].map(_read_wide)).notna().any():
        date_U = date_U.astype("datetime64[us]")
        date_U[late_U] = wide.astype("datetime64[us]")
    elif date_U.max() >= pd.Timestamp(_LAST_NANOSECOND):
        whole_U = date_U.astype("datetime64[us]")
        date_U = whole_U if (whole_U == date_U).all() else date_U
    zone_U = (
        part_U["offset"]
        .fillna("")
        .replace("Z", "+00:00")
        .str.replace(r"(\d\d):?(\d\d)", r"\1:\2", regex=True)
    )
    if zone_U.any():
        shift_U = zone_U.map(
            lambda zone: _read_offset(zone).utcoffset(None) if zone else timedelta(0)
        )
        if date_U.min() < _SHIFTABLE[0] or date_U.max() > _SHIFTABLE[1]:
            date_U = date_U.astype("datetime64[us]")
        date_U = date_U - shift_U.astype(f"timedelta64[{date_U.dt.unit}]")
    return date_U, zone_U


def read_days(texts: Sequence[str]) -> Dates | None:
    """Days written as 2024-01-31, in nanoseconds; None where one is written otherwise or late."""
    if not all(map(_DAY.fullmatch, texts)):
        return None
    try:
        day_U = np.array(texts, dtype="M8[D]")
    except ValueError:  # a 30th of February
        return None
    within = len(day_U) and _FIRST_NANOSECOND <= day_U.min() <= day_U.max() < _LAST_NANOSECOND
    return day_U.astype("M8[ns]") if within else None


def _parse_as(text_U: pd.Series, date_format: str) -> tuple[pd.Series, pd.Series]:
    """Dates of texts in a stated format; those with an offset are carried to UTC."""
    aware = bool(check_date_format(date_format) & {"z", "Z"})
    date_U = pd.to_datetime(text_U, format=date_format, errors="coerce", utc=aware)
    zone_U = pd.Series("+00:00" if aware else "", index=text_U.index)
    date_U = date_U.dt.tz_localize(None) if aware else date_U
    late_U = date_U.isna()
    if late_U.any():
        wide_U = text_U[late_U].map(lambda text: _read_wide_as(text, date_format))
        if wide_U.notna().any():
            date_U = date_U.astype("datetime64[us]")
            date_U[late_U] = wide_U.astype("datetime64[us]")
    return date_U, zone_U


def check_date_format(date_format: str) -> set[str]:
    """The parts of a date that a format names, such as Y.

    Raises:
        UsageError: No format, or one that leaves the date to be guessed.
    """
    named = set(re.findall(r"%(.)", date_format, re.DOTALL))
    try:
        if not named:  # pandas has words that let it guess
            raise ValueError("it names no part of a date, such as %Y")
        for parts, needed, lack in _INCOMPLETE if named <= set(_DIRECTIVES) else ():
            if named & set(parts) and not named & set(needed):
                raise ValueError(f"it names {lack}")
        pd.to_datetime(pd.Series([""], dtype=object), format=date_format, errors="coerce")
    except (ValueError, re.error) as error:  # pandas makes a pattern of it
        raise UsageError(
            "CONFIG_VALUE",
            f"date_format={date_format!r} cannot be used: {error}; write it as for strptime.",
        ) from None
    return named


def _first_day(text: str) -> str:
    """An ISO week as its Monday (or the day it names), a quarter as its first day; others as is."""
    if quarter := _QUARTER.fullmatch(text):
        return f"{quarter[1]}-{3 * int(quarter[2]) - 2:02d}-01"
    if week := _WEEK.fullmatch(text):
        try:
            return date.fromisocalendar(int(week[1]), int(week[2]), int(week[3] or 1)).isoformat()
        except ValueError:
            return ""
    return text


def _read_wide(text: str) -> Any:
    """A date beyond the years 1678 to 2261 that nanoseconds can count, or NaT."""
    try:
        return np.datetime64(datetime.fromisoformat(text if len(text) > 7 else text + "-01"), "us")
    except ValueError:
        return np.datetime64("NaT", "us")


def _read_wide_as(text: str, date_format: str) -> Any:
    """The same of a date in a stated format."""
    try:
        date = datetime.strptime(text, date_format)
    except (ValueError, TypeError):
        return np.datetime64("NaT", "us")
    return np.datetime64(date.replace(tzinfo=None) - (date.utcoffset() or timedelta(0)), "us")


def _read_offset(offset: str) -> timezone:
    sign = -1 if offset[0] == "-" else 1
    hours, minutes = offset[1:].split(":")
    return timezone(sign * timedelta(hours=int(hours), minutes=int(minutes)))


def refuse_coded_dates(value_U: npt.NDArray[np.int64], cell: str) -> npt.NDArray[np.int64]:
    """The integers themselves, unless all of them are evidently dates written as numbers.

    Raises:
        DataError: All look like 20240131, 202401, or a time since 1970.
    """
    meaning = ""
    year, rest = np.divmod(value_U, 10_000)
    century, month = np.divmod(value_U, 100)
    if _within(year, 1800, 2199) and _within(rest // 100, 1, 12) and _within(rest % 100, 1, 31):
        meaning = "dates such as 20240131; pass date_format='%Y%m%d'"
    elif len(value_U) > 12 and _within(century, 1800, 2199) and _within(month, 1, 12):
        meaning = "months such as 202401; pass date_format='%Y%m'"
    elif any(_within(value_U, 10**power, 10 ** (power + 2)) for power in _EPOCH_POWERS):
        meaning = "a time since 1970; convert them with pandas.to_datetime"
    if meaning:
        raise DataError(
            "DATA_CODED_DATE", f"{cell}: integers such as {value_U[0]} look like {meaning}."
        )
    return value_U


def _within(value_U: npt.NDArray[np.int64], low: int, high: int) -> bool:
    return bool(len(value_U) and value_U.min() >= low and value_U.max() <= high)

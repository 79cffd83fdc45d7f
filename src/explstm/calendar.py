"""Calendars: which step a series takes, how far apart two dates are, and which dates come next.

Contract: a frequency is a pandas alias (``"MS"``, ``"B"``, ``"h"``) or, for integer ``ds``, an
integer step. :func:`parse_freq` turns it into a :class:`Rule`; :func:`count_steps` and
:func:`add_steps` are each other's inverse on dates that follow the rule. A series is its own
anchor: ``"MS"`` keeps its day of the month, ``"W"`` its weekday, ``"QS"`` and ``"YS"`` its month;
``"ME"``, ``"QE"`` and ``"YE"`` stay on the last day of the month. Steps of a day and longer are
counted on the local calendar of a time zone, shorter ones in UTC.

Axes: N series in a panel, S steps of all series laid end to end, H horizon.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import tzinfo
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.tseries import offsets

from explstm.errors import DataError, UsageError

Freq = str | int
Dates = npt.NDArray[Any]
"""datetime64 of any unit, or int64."""

BLOCK = 2**18
"""Dates that are worked on together, so that temporary memory does not grow with a panel."""
_DAY = np.timedelta64(1, "D")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_RENAMED = {"M": "ME", "Q": "QE", "Y": "YE", "A": "YE", "AS": "YS", "H": "h", "T": "min", "S": "s"}
_TICKS = (("h", 3600 * 10**9), ("min", 60 * 10**9), ("s", 10**9), ("ms", 10**6), ("us", 10**3))
_KNOWN = "YS, YE, QS, QE, MS, ME, W, D, B, h, min, s or a multiple such as 15min"
_DAY_TICKS = 24 * 3600 * 10**9
_LONGEST_TICKS = np.timedelta64(100_000, "D")
_MAX_INTEGER = int(np.iinfo(np.int64).max)
# A day from the ends of what datetime can hold, so that they are dates in every time zone.
_FIRST_DAY, _LAST_DAY = np.datetime64("0001-01-02", "D"), np.datetime64("9999-12-30", "D")
_FIRST_DAY_OF_ZONES = np.datetime64("1678-01-01", "D")
"""Printing an earlier date of a zone ends the process, in pandas 2.3."""
_FURTHEST = 10**18
"""Largest integer date: differences of such, and some steps ahead, stay within 64 bits."""


@dataclass(frozen=True)
class Rule:
    """What one step of a frequency means.

    Attributes:
        unit: ``"integer"``; ``"tick"`` (nanoseconds); ``"day"``; ``"business"`` (Monday to Friday);
            ``"month"``.
        n: Units in one step, at least 1.
        at_end: Months only: every date is the last day of its month.
    """

    unit: Literal["integer", "tick", "day", "business", "month"]
    n: int
    at_end: bool = False


def date_blocks(n: int) -> Iterator[slice]:
    """Consecutive slices that cover ``n`` dates."""
    return (slice(first, min(first + BLOCK, n)) for first in range(0, n, BLOCK))


def parse_freq(freq: Freq) -> Rule:
    """Turn a frequency into its rule.

    Raises:
        UsageError: The frequency is not a positive integer or a known alias.
    """
    is_integer = isinstance(freq, int | np.integer) and not isinstance(freq, bool)
    if is_integer and 1 <= int(freq) <= _MAX_INTEGER:
        return Rule("integer", int(freq))
    offset = _parse_alias(freq) if isinstance(freq, str) else None
    n = getattr(offset, "n", 0)
    if n >= 1:
        match offset:
            case offsets.Day():
                return Rule("day", n)
            case offsets.Tick():
                return Rule("tick", int(pd.Timedelta(offset).as_unit("ns").value))
            case offsets.Week():
                return Rule("day", 7 * n)
            case offsets.BusinessDay():
                return Rule("business", n)
            case offsets.MonthBegin() | offsets.MonthEnd():
                return Rule("month", n, isinstance(offset, offsets.MonthEnd))
            case offsets.QuarterBegin() | offsets.QuarterEnd():
                return Rule("month", 3 * n, isinstance(offset, offsets.QuarterEnd))
            case offsets.YearBegin() | offsets.YearEnd():
                return Rule("month", 12 * n, isinstance(offset, offsets.YearEnd))
    raise UsageError(
        "FREQ_UNKNOWN",
        f"freq={freq!r} is not a frequency; use {_KNOWN}, or an integer step for integer dates.",
    )


@lru_cache(maxsize=256)
def _parse_alias(alias: str) -> Any:
    """The pandas offset of an alias, older spellings ("M", "H") included; None if unknown."""
    spelled = re.fullmatch(r"(\d{0,6})([A-Za-z]+)(-[A-Z]{3})?", alias)
    if spelled is None:
        return None
    count, name, anchor = spelled.groups(default="")
    try:
        return pd.tseries.frequencies.to_offset(count + _RENAMED.get(name, name) + anchor)
    except ValueError:
        return None


def refuse_far_dates(
    ds_S: Dates, name_cell: Callable[[int], str], time_zone: tzinfo | None = None
) -> None:
    """Refuse dates that the calendar does not reach, so that arithmetic with others is exact.

    Args:
        ds_S: datetime64, or integers of any kind.
        name_cell: Names the cell at a position.
        time_zone: Their zone.

    Raises:
        DataError: A date outside the years 1 to 9999, or before 1678 in a zone that has a name; or
            an integer beyond 10**18.
    """
    is_dated = np.issubdtype(ds_S.dtype, np.datetime64)
    first, last = (_FIRST_DAY, _LAST_DAY) if is_dated else (-_FURTHEST, _FURTHEST)
    remedy = "correct it"
    if is_dated and not (time_zone is None or _has_one_offset(time_zone)):
        first, remedy = _FIRST_DAY_OF_ZONES, "correct it, or give the dates in UTC"
    for row in (int(np.argmin(ds_S)), int(np.argmax(ds_S))) if len(ds_S) else ():
        found = ds_S[row].astype("M8[D]") if is_dated else int(ds_S[row])
        if not first <= found <= last:
            raise DataError(
                "DATE_OUT_OF_RANGE",
                f"{name_cell(row)}: {found} is not within {first} and {last}, between which dates "
                f"can be counted; {remedy}.",
            )


def _has_one_offset(time_zone: tzinfo) -> bool:
    return str(time_zone) == "UTC" or time_zone.utcoffset(None) is not None


def count_steps(start: Dates, end: Dates, rule: Rule) -> npt.NDArray[np.int64]:
    """Whole steps from ``start`` to ``end``, elementwise.

    Exact where ``end`` lies on the rule from ``start``; :func:`add_steps` tells whether it does.
    """
    match rule.unit:
        case "integer":
            return (end - start) // rule.n
        case "tick":
            return (end - start).astype("m8[ns]").astype(np.int64) // rule.n
        case "day":
            return (end.astype("M8[D]") - start.astype("M8[D]")).astype(np.int64) // rule.n
        case "business":
            return np.busday_count(start.astype("M8[D]"), end.astype("M8[D]")) // rule.n
        case "month":
            return (end.astype("M8[M]") - start.astype("M8[M]")).astype(np.int64) // rule.n


def add_steps(start: Dates, steps: npt.ArrayLike, rule: Rule) -> Dates:
    """The date ``steps`` steps after ``start``, elementwise and broadcast; time of day is kept.

    Months keep the day of ``start``, or their last day where they are shorter.

    Raises:
        DataError: A date would lie beyond what the type of ``start`` can hold.
    """
    amount = np.asarray(steps, dtype=np.int64)
    if start.size and amount.size:
        first = int(start.max()) if rule.unit == "integer" else _DAY_TICKS
        if first + int(amount.max()) * rule.n > _MAX_INTEGER:
            raise DataError(
                "DATE_OUT_OF_RANGE",
                f"a date {amount.max()} steps ahead is beyond what ds can hold; use a shorter "
                "horizon or smaller steps.",
            )
    if rule.unit == "integer":
        return start + amount * rule.n
    day = start.astype("M8[D]")
    time_of_day = start - day
    match rule.unit:
        case "tick":
            ahead = time_of_day.astype("m8[ns]").astype(np.int64) + amount * rule.n
            day = day + ahead // _DAY_TICKS
            time_of_day = (ahead % _DAY_TICKS).astype("m8[ns]")
        case "day":
            day = day + amount * rule.n
        case "business":
            day = np.busday_offset(day, amount * rule.n, roll="backward")
        case "month":
            day = _add_months(day, amount * rule.n, rule.at_end)
    return _join(day, time_of_day, start.dtype)


def _add_months(day: Dates, months: npt.NDArray[np.int64], at_end: bool) -> Dates:
    first = day.astype("M8[M]")
    target = first + months
    begin = target.astype("M8[D]")
    last = (target + 1).astype("M8[D]") - _DAY
    return last if at_end else np.minimum(begin + (day - first.astype("M8[D]")), last)


def _join(day: Dates, time_of_day: Dates, dtype: Any) -> Dates:
    """Days and times of day in the unit of ``dtype``, refused where they do not fit."""
    unit = np.dtype(f"m8[{np.datetime_data(dtype)[0]}]")
    per_day = _DAY.astype(unit).astype(np.int64)
    limit = min(np.datetime64(int(np.iinfo(np.int64).max // per_day) - 1, "D"), _LAST_DAY)
    if day.size and day.max() > limit:
        raise DataError(
            "DATE_OUT_OF_RANGE",
            f"a date would be {day.max()}, beyond {limit}, the last day that ds can hold; use a "
            "shorter horizon.",
        )
    return day.astype(dtype) + time_of_day.astype(unit)


def future_dates(last_ds_N: Dates, freq: Freq, h: int, *, time_zone: tzinfo | None = None) -> Dates:
    """The ``h`` dates that follow each last date, shape (N, h), in the type of ``last_ds_N``.

    Args:
        last_ds_N: Last dates; UTC where a time zone is given.
        freq: Frequency.
        h: Horizon, in steps.
        time_zone: Zone on whose calendar steps of a day and longer are counted.
    """
    rule = parse_freq(freq)
    local_N = to_local(last_ds_N, rule, time_zone)
    return from_local(add_steps(local_N[:, None], np.arange(1, h + 1), rule), rule, time_zone)


def to_local(ds: Dates, rule: Rule, time_zone: tzinfo | None) -> Dates:
    """UTC dates as wall-clock dates, for rules that count days; other rules count in UTC."""
    if time_zone is None or rule.unit in ("tick", "integer"):
        return ds
    index = pd.DatetimeIndex(ds.ravel()).tz_localize("UTC").tz_convert(time_zone)
    return index.tz_localize(None).to_numpy().astype(ds.dtype).reshape(ds.shape)


def local_starts(
    ds_S: Dates, starts_N1: npt.NDArray[np.int64], rule: Rule, time_zone: tzinfo | None
) -> Dates:
    """First dates of the series of a panel, on the local calendar (see :func:`to_local`).

    A series that starts on a day whose hour the clock skipped starts at the hour of its second day.
    """
    begin_N = starts_N1[:-1]
    first_N = to_local(ds_S[begin_N], rule, time_zone)
    if time_zone is None or rule.unit in ("tick", "integer"):
        return first_N
    second_N = to_local(ds_S[np.minimum(begin_N + 1, starts_N1[1:] - 1)], rule, time_zone)
    usual_N = first_N.astype("M8[D]") + (second_N - second_N.astype("M8[D]"))
    skipped_N = from_local(usual_N, rule, time_zone) == ds_S[begin_N]
    return np.where(skipped_N, usual_N, first_N)


def from_local(ds: Dates, rule: Rule, time_zone: tzinfo | None) -> Dates:
    """Inverse of :func:`to_local`.

    A wall-clock time that daylight saving skips becomes the first one after it; of a repeated one
    the earlier is taken.
    """
    if time_zone is None or rule.unit in ("tick", "integer"):
        return ds
    index = pd.DatetimeIndex(ds.ravel()).tz_localize(
        time_zone, nonexistent="shift_forward", ambiguous=np.ones(ds.size, dtype=bool)
    )
    return index.tz_convert("UTC").tz_localize(None).to_numpy().astype(ds.dtype).reshape(ds.shape)


def infer_freq(
    ds_S: Dates, starts_N1: npt.NDArray[np.int64], *, time_zone: tzinfo | None = None
) -> Freq:
    """The frequency most steps of the panel take.

    It is a proposal: gaps and irregular dates are found by laying the dates on it.

    Args:
        ds_S: Dates, strictly increasing within each series; UTC where a time zone is given.
        starts_N1: Where each series starts in ``ds_S``, closed by the total.
        time_zone: Zone of the dates.

    Raises:
        DataError: No series has two dates.
    """
    inside = np.ones(max(len(ds_S) - 1, 0), dtype=bool)
    inside[starts_N1[1:-1] - 1] = False
    if not inside.any():
        raise DataError(
            "FREQ_UNKNOWN", "no series has two dates to find the frequency from; pass freq."
        )

    def walk(local: bool = True) -> _Walk:
        for block in date_blocks(len(inside)):
            ds = ds_S[block.start : block.stop + 1]
            yield to_local(ds, Rule("day", 1), time_zone) if local else ds, inside[block]

    if not np.issubdtype(ds_S.dtype, np.datetime64):
        return _most_common(np.diff(ds)[within] for ds, within in walk(local=False))
    ticks = _most_common(_in_ticks(np.diff(ds)[within]) for ds, within in walk(local=False))
    # 23 hours: the shortest local day; a zone's daily series has some of them in UTC.
    if ticks < 23 * 3600 * 10**9:
        return _name_ticks(ticks)
    if time_zone is None and ticks % _DAY_TICKS:
        return _name_ticks(ticks)
    step = ticks // _DAY_TICKS
    # Some local days have 23 or 25 hours, and nanoseconds do not count the longest steps.
    if time_zone is not None or step >= _LONGEST_TICKS.astype(int):
        step = _most_common(np.diff(ds.astype("M8[D]"))[within] for ds, within in walk())
    # Four weeks look like a month until the day drifts; some thousand dates tell.
    some_S = to_local(ds_S[:10_000], Rule("day", 1), time_zone)
    if step >= 28 and (month := _month_freq(walk, some_S, starts_N1)) is not None:
        return month
    return _name_days(step, walk)


def _in_ticks(steps: Dates) -> Dates:
    """Steps in nanoseconds, which count no more than 292 years."""
    return np.minimum(steps, _LONGEST_TICKS).astype("m8[ns]")


_Walk = Iterator[tuple[Dates, npt.NDArray[np.bool_]]]
"""Blocks of dates, each with the first date of the next, and which steps lie within a series."""


def _most_common(blocks: Iterable[Dates]) -> int:
    """The most frequent step, in its own unit; of equally frequent ones the smallest."""
    counts: Counter[int] = Counter()
    for steps in blocks:
        counts.update(steps.astype(np.int64).tolist())
    most = max(counts.values())
    return min(step for step, times in counts.items() if times == most)


def _name_ticks(ticks: int) -> str:
    for name, size in _TICKS:
        if ticks % size == 0:
            return name if ticks == size else f"{ticks // size}{name}"
    return f"{ticks}ns"


def _name_days(step: int, walk: Callable[[], _Walk]) -> str:
    if step == 1:
        # Business days: weekends are crossed, and never hold a date.
        crossed = weekend = False
        for ds, within in walk():
            weekday = _weekday(ds)
            crossed |= bool(((np.diff(weekday) < 0) & within).any())
            weekend |= bool(weekday.max() >= 5)
        return "B" if crossed and not weekend else "D"
    if step > _LONGEST_TICKS.astype(int):
        raise DataError(
            "FREQ_UNKNOWN",
            f"most dates are {step:,} days apart, which is no frequency; pass freq, or correct the "
            "dates.",
        )
    if step % 7 == 0:
        *_, (ds, _) = walk()
        return f"{step // 7 if step > 7 else ''}W-{_WEEKDAYS[int(_weekday(ds[-1:])[0])]}"
    return f"{step}D"


def _weekday(ds: Dates) -> npt.NDArray[np.int64]:
    """0 for Monday to 6."""
    return (ds.astype("M8[D]").astype(np.int64) + 3) % 7


def _month_freq(
    walk: Callable[[], _Walk], some_S: Dates, starts_N1: npt.NDArray[np.int64]
) -> str | None:
    """Alias of a step of whole months, or None where the first dates do not follow one."""
    n = _most_common(np.diff(ds.astype("M8[M]"))[within] for ds, within in walk())
    at_end = all(
        (ds.astype("M8[D]") == (ds.astype("M8[M]") + 1).astype("M8[D]") - _DAY).all()
        for ds, _ in walk()
    )
    if not at_end:
        day_S, month_S = some_S.astype("M8[D]"), some_S.astype("M8[M]")
        begin_S, last_S = month_S.astype("M8[D]"), (month_S + 1).astype("M8[D]") - _DAY
        offset_S = day_S - begin_S
        first_S = offset_S[starts_N1[find_series(starts_N1, np.arange(len(day_S)))]]
        if (offset_S != np.minimum(first_S, last_S - begin_S)).mean() > 0.5:
            return None
    *_, (ds, _) = walk()
    kind = "E" if at_end else "S"
    month = int(ds[-1].astype("M8[M]").astype(int)) % 12
    if n % 12 == 0:
        return f"{n // 12 if n > 12 else ''}Y{kind}-{_MONTHS[month]}"
    if n == 3:
        return f"Q{kind}-{_MONTHS[month % 3 + (9 if at_end else 0)]}"
    return f"{n if n > 1 else ''}M{kind}"


def find_series(
    starts_N1: npt.NDArray[np.int64], position: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Which series each flat position belongs to."""
    return np.searchsorted(starts_N1, position, side="right") - 1


def default_season_length(freq: Freq) -> tuple[int, ...]:
    """Steps in the seasons that a frequency usually has; ``(1,)`` for none.

    Monthly 12, quarterly 4, weekly 52, daily 7, business days 5, hourly and shorter the day and the
    week (24, 168), yearly and integer 1.
    """
    rule = parse_freq(freq)
    match rule.unit:
        case "tick":
            per_day, rest = divmod(_DAY_TICKS, rule.n)
            minute_or_longer = rule.n >= 60 * 10**9
            return (
                (per_day, 7 * per_day) if rest == 0 and per_day > 1 and minute_or_longer else (1,)
            )
        case "day":
            if rule.n % 7 == 0:
                return (52 * 7 // rule.n,) if 52 * 7 % rule.n == 0 else (1,)
            return (7,) if rule.n == 1 else (1,)
        case "business":
            return (5,) if rule.n == 1 else (1,)
        case "month":
            return (12 // rule.n,) if 12 % rule.n == 0 else (1,)
        case _:
            return (1,)

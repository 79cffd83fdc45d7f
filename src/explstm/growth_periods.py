"""What a step of a frequency is called, how many fill a year, and how long so many of them last.

Contract: integer dates have no calendar: their year is None and their step is called a step.
"""

from explstm.calendar import Freq, parse_freq

DAYS_PER_YEAR = 365.25
_DAY_TICKS = 24 * 3600 * 10**9
_NAMES = {
    ("month", 1): "month",
    ("month", 3): "quarter",
    ("month", 12): "year",
    ("day", 1): "day",
    ("day", 7): "week",
    ("business", 1): "business day",
    ("tick", 3600 * 10**9): "hour",
    ("tick", 60 * 10**9): "minute",
    ("tick", 10**9): "second",
}
_LENGTHS = (  # the first that two of fit into a time is what it is told in
    ("year", 1.0),
    ("month", 12.0),
    ("day", DAYS_PER_YEAR),
    ("hour", 24 * DAYS_PER_YEAR),
    ("minute", 24 * 60 * DAYS_PER_YEAR),
    ("second", 24 * 3600 * DAYS_PER_YEAR),
)
LONGEST_YEARS = 1000.0


def name_period(freq: Freq) -> str:
    """One step in words: ``"month"``, ``"step"`` for anything without a name of its own."""
    rule = parse_freq(freq)
    return _NAMES.get((rule.unit, rule.n), "step")


def periods_per_year(freq: Freq) -> float | None:
    """Steps in a year of 365.25 days (five of seven of them business days); None for integers."""
    rule = parse_freq(freq)
    per_year = {
        "month": 12.0,
        "day": DAYS_PER_YEAR,
        "business": DAYS_PER_YEAR * 5 / 7,
        "tick": DAYS_PER_YEAR * _DAY_TICKS,
    }.get(rule.unit)
    return None if per_year is None else per_year / rule.n


def show_duration(periods: float, freq: Freq) -> str:
    """A time of so many steps in words, to two digits: ``"6.3 years"``, ``"35 steps"``."""
    per_year = periods_per_year(freq)
    if per_year is None:
        return "more than a million steps" if periods > 1e6 else _count(periods, "step")
    years = periods / per_year
    if years > LONGEST_YEARS:
        return f"more than {LONGEST_YEARS:,.0f} years"
    name, per = next((unit for unit in _LENGTHS if years * unit[1] >= 2.0), _LENGTHS[-1])
    return _count(years * per, name)


def _count(amount: float, name: str) -> str:
    text = f"{amount:,.0f}" if amount >= 9.95 else f"{amount:.2g}"
    return f"{text} {name}" if text == "1" else f"{text} {name}s"

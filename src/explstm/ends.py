"""Columns of interval ends, ``MODEL-lo-LEVEL`` and ``MODEL-hi-LEVEL``, named in one place.

Contract: whoever writes an end and whoever looks for it get the same name, to fifteen digits of the
level; a level read from a name gives that name again.
"""

import re
from collections.abc import Iterable

LOW, HIGH = "-lo-", "-hi-"
_LEVEL = re.compile(r"\d+(\.\d+)?(e-\d+)?")


def name_level(level: float) -> str:
    """A level in per cent as names have it: 80 for 80.0, 33.3333333 for 33.3333333."""
    return f"{level:.15g}"


def name_ends(model: str, level: float) -> tuple[str, str]:
    """The columns of the lower and the upper end of a model's interval."""
    return f"{model}{LOW}{name_level(level)}", f"{model}{HIGH}{name_level(level)}"


def is_end(column: str) -> bool:
    """Whether a column holds an end of an interval, not a forecast."""
    return LOW in column or HIGH in column


def interval_levels(columns: Iterable[str], model: str) -> list[float]:
    """The levels of a model's intervals among some columns, in per cent, lowest first."""
    low = f"{model}{LOW}"
    levels = (name.removeprefix(low) for name in columns if name.startswith(low))
    return sorted(float(level) for level in levels if _LEVEL.fullmatch(level))

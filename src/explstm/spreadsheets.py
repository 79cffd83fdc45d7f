"""CSV files that spreadsheets open without running what is in them.

Contract: text that a spreadsheet would take for a formula is written with an apostrophe in front,
which :func:`restore` takes away again, so that every text comes back as it was; numbers are never
touched. :func:`write_csv` is the way to write a table.

Sources: OWASP, CSV Injection; ASVS 4.0, 1.2.10.
"""

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r\n\0|%]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_MARKED = re.compile(r"'+[=+\-@\t\r\n\0|%]")
FOUR_DIGITS = 1000
TEXTS = ("object", "string", "category")


def neutralise(text: str) -> str:
    """Text that no spreadsheet takes for a formula; plain numbers stay.

    Text that looks as if it were marked is marked once more, so that two texts never become one.
    """
    is_formula = _FORMULA.match(text) is not None and not _NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text


def restore(text: str) -> str:
    """Text as it was before :func:`neutralise`."""
    return text[1:] if _MARKED.match(text) else text


def restore_all(texts: Sequence[str]) -> list[str]:
    """Distinct texts as they were; as they are, where two would become one: no file of ours."""
    restored = [restore(text) for text in texts]
    return restored if len(set(restored)) == len(set(texts)) else list(texts)


def write_csv(frame: pd.DataFrame, target: Path | None, line_end: str = "\n") -> str | None:
    """Write a table as CSV, numbers with all their digits and texts neutralised.

    Args:
        frame: The table.
        target: A file; None to return the text.
        line_end: What ends a line.
    """
    frame = frame.set_axis([_mark(name) for name in frame.columns], axis=1)
    bare = False
    for name in frame.select_dtypes(list(TEXTS)):
        cells = frame[name].astype(object)
        texts = [cell for cell in cells.unique() if isinstance(cell, str)]
        bare = bare or any("\r" in text for text in texts)
        if any(neutralise(text) != text for text in texts):
            frame[name] = cells.map(_mark)
    for name, dates in frame.select_dtypes(["datetime", "datetimetz"]).items():
        if dates.dt.year.min() < FOUR_DIGITS:  # pandas writes these with as few digits as they have
            frame[name] = dates.map(_write_early, na_action="ignore")
    # The csv module leaves a carriage return bare, which readers take for the end of a line.
    quoting = csv.QUOTE_NONNUMERIC if bare else csv.QUOTE_MINIMAL
    written: str | None = frame.to_csv(
        target, index=False, lineterminator=line_end, quoting=quoting
    )
    return written


def _write_early(date: pd.Timestamp) -> str:
    return date.isoformat(sep=" ").removesuffix(" 00:00:00")


def _mark(cell: Any) -> Any:
    return neutralise(cell) if isinstance(cell, str) else cell

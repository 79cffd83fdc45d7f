"""What a page is made of, and the page itself: one HTML file that asks for nothing.

Contract: every text is escaped by Jinja2, invisible signs are spelled out, and lengths and numbers
of rows are bounded. The page holds no script; its policy allows pictures within the page and the
one style sheet whose hash it states, and nothing else, so that even markup that slipped through
could do nothing. Figures are pictures (``data:`` addresses), in which no browser runs anything; a
second, narrow drawing of each is for phones.
"""

import base64
import hashlib
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from explstm.errors import BackendNotInstalledError
from explstm.plain_text import shorten

MAX_ROWS = 30
MAX_CELL = 80
MAX_SENTENCE = 1000
MAX_DRAWING = 500_000
"""Bytes of a figure as SVG; one with more is shown as PNG."""
PNG = b"\x89PNG"
NARROW = 4.4
"""Width, in inches, of a figure for a phone."""
MISSING = "–"
UNBROKEN_PERCENT = "\u00a0%"


@dataclass(frozen=True)
class Chart:
    """A figure.

    Attributes:
        name: Of its files.
        caption: What to see in it.
        alt: The same for those who cannot see it: what is drawn, and what it shows.
        figure: As :mod:`explstm.plots` draws it.
        facts: What it shows.
        shape: ``"wide"`` is drawn anew for phones, of ``"small"`` two stand side by side, and
            ``"broad"`` has too much side by side to be narrowed: it scrolls in a box of its own.
    """

    name: str
    caption: str
    alt: str
    figure: Any
    facts: pd.DataFrame
    shape: Literal["wide", "small", "broad"] = "wide"


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        caption: What stands in it.
        columns: Names of the columns; the first one names the rows.
        rows: Of as many texts each; of a long one the page shows the start, and the whole as a
            tooltip.
        numeric: Which columns hold numbers.
        best: Row and column of the cells to stress.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    best: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Attributes:
        title: Its heading.
        reading: How to read it, in a sentence for who is no statistician.
        sentences: What it says.
        tables: Its tables.
        charts: Its figures.
        code: A command to copy.
        tone: ``"good"``, ``"bad"`` or ``"open"`` where it judges.
    """

    title: str
    reading: str = ""
    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    code: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Gap:
    """What is left out.

    Attributes:
        text: What, and why.
        command: What would add it.
    """

    text: str
    command: str = ""


@dataclass(frozen=True)
class Page:
    """The whole report."""

    title: str
    lead: str
    sections: tuple[Section, ...]
    gaps: tuple[Gap, ...] = field(default=())


def make_table(
    caption: str,
    frame: pd.DataFrame,
    *,
    best: Mapping[str, int] | None = None,
    digits: int = 4,
    alone: bool = False,
) -> Table:
    """A table of a frame, its first ``MAX_ROWS`` rows.

    Args:
        caption: What stands in it.
        frame: Its first column names the rows.
        best: Columns, by name, of which the highest (1) or the lowest (-1) value is stressed.
        digits: Digits of the middle number of a column.
        alone: Whether every number has its own digits: for rows of very different size.
    """
    shown = frame.iloc[:MAX_ROWS]
    if len(frame) > len(shown):
        caption = f"{caption} The first {len(shown)} of {len(frame):,} rows."
    numeric = tuple(pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes)
    columns = [
        _say_numbers(shown.iloc[:, place].tolist(), digits, alone)
        if is_number
        else [shorten(value, MAX_SENTENCE) for value in shown.iloc[:, place]]
        for place, is_number in enumerate(numeric)
    ]
    stressed = set()
    for name, sign in (best or {}).items():
        values = shown[name] * sign
        if name in frame and values.notna().any():
            place = list(frame.columns).index(name)
            stressed |= {(row, place) for row in (values == values.max()).to_numpy().nonzero()[0]}
    return Table(
        caption,
        tuple(str(name) for name in frame.columns),
        tuple(zip(*columns, strict=True)),
        numeric,
        frozenset(stressed),
    )


def _say_numbers(values: Sequence[float], digits: int, alone: bool) -> list[str]:
    if alone:
        return [say_column([value], digits)[0] for value in values]
    return say_column(values, digits)


def say_column(values: Sequence[float], digits: int = 4) -> list[str]:
    """Numbers of one column with the same decimals, so many that the middle one has its digits."""
    finite = [abs(value) for value in values if value is not None and math.isfinite(value)]
    largest, middle = max(finite, default=0.0), statistics.median(finite or [0.0])
    whole = all(value == round(value) for value in finite)
    decimals = 0 if whole else min(max(digits - _count_digits(middle), 0), 6)
    return [
        MISSING
        if value is None or not math.isfinite(value)
        else f"{value:,.{decimals}f}"
        if 1e-4 <= largest < 1e12 or value == 0
        else f"{value:.3g}"
        for value in values
    ]


def say_number(value: float) -> str:
    """A number alone, with four digits."""
    return say_column([value])[0]


def _count_digits(value: float) -> int:
    return math.floor(math.log10(value)) + 1 if value > 0 else 1


def say_date(value: Any) -> str:
    """A date without a time that says nothing, or an integer as it is."""
    if not isinstance(value, pd.Timestamp):
        return str(value)
    return f"{value:%Y-%m-%d}" if value == value.normalize() else f"{value:%Y-%m-%d %H:%M}"


def render_page(page: Page, figures: Path) -> str:
    """The page as HTML.

    Args:
        page: What stands on it.
        figures: The folder where its figures were saved.

    Raises:
        BackendNotInstalledError: Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup

        from explstm.plots import render_narrow
    except ImportError:
        raise BackendNotInstalledError(
            "REPORT_NOT_INSTALLED",
            "a report needs jinja2, which is not installed; run pip install 'explstm[report]'.",
        ) from None
    environment = Environment(
        loader=PackageLoader("explstm"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["plain"] = lambda text: shorten(text, MAX_SENTENCE).replace(
        " %", UNBROKEN_PERCENT
    )
    environment.filters["cell"] = lambda text: shorten(text, MAX_CELL)
    environment.filters["picture"] = lambda chart: _to_address(_read_picture(chart, figures))
    environment.filters["narrow"] = lambda chart: _to_bounded(render_narrow(chart.figure, NARROW))
    style = environment.get_template("report.css").render()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template("report.html.j2").render(
        page=page, style=Markup(style), style_hash=f"sha256-{digest}"
    )


def _read_picture(chart: Chart, figures: Path) -> bytes:
    """A figure as drawing, or as pixels where it has so much in it that these are smaller."""
    drawing = (figures / f"{chart.name}.svg").read_bytes()
    return drawing if len(drawing) <= MAX_DRAWING else (figures / f"{chart.name}.png").read_bytes()


def _to_bounded(drawing: bytes) -> str:
    """The address of a drawing, or nothing where it is too large and the wide one has to do."""
    return _to_address(drawing) if len(drawing) <= MAX_DRAWING else ""


def _to_address(picture: bytes) -> str:
    kind = "png" if picture.startswith(PNG) else "svg+xml"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"

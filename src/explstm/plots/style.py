"""What all figures share: axes, colours, names and files.

Contract: no global state of matplotlib is touched, and equal facts give equal bytes. This module is
imported first, and says what to install where matplotlib or seaborn is missing.
"""

import io
import logging
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from explstm.errors import BackendNotInstalledError
from explstm.plain_text import shorten
from explstm.spreadsheets import write_csv

_log = logging.getLogger("matplotlib")
_level = _log.level
_log.setLevel(logging.ERROR)  # where home is read-only it warns of the folder that it takes instead
try:
    import matplotlib
    import seaborn
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure
except ImportError as error:
    raise BackendNotInstalledError(
        "PLOTS_NOT_INSTALLED",
        f"figures need {error.name}, which is not installed; run pip install 'explstm[plots]'.",
    ) from None
finally:
    _log.setLevel(_level)

MAX_SERIES = 4
MAX_LABEL = 60
INK = "#333333"
DASHES = ("-", "--", "-.", ":")
MARKERS = "osD^vPX*"
SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "explstm",
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
}


def new_figure(n_axes: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with its axes stacked, outside pyplot and therefore free of global state."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(width, height * n_axes), layout="constrained")
        FigureCanvasAgg(figure)
        axes = [figure.add_subplot(n_axes, 1, row + 1) for row in range(n_axes)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    return figure, axes


def add_legend(axis: Axes) -> None:
    """A legend of what was labelled."""
    with matplotlib.rc_context(SETTINGS):
        axis.legend(frameon=False, fontsize="small")


def readable(text: object) -> str:
    """A label of bounded length without control characters, lone surrogates or hidden names."""
    plain = shorten(text, MAX_LABEL)
    # matplotlib leaves empty names, and names that start with an underscore, out of a legend.
    return f" {plain}" if plain.startswith("_") else plain or "(no name)"


def colored(names: list[str]) -> list[tuple[str, str]]:
    """Every name with its colour, safe for the colour-blind."""
    palette = seaborn.color_palette("colorblind", max(len(names), 1)).as_hex()
    return list(zip(names, palette, strict=False))


def shorten_dates(axis: Axes) -> None:
    """Few, short dates below an axis that shows dates, so that they fit a narrow figure too."""
    if isinstance(axis.xaxis.get_major_locator(), AutoDateLocator):
        locator = AutoDateLocator(minticks=3, maxticks=8)  # fewer leave some spans no interval
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def render_narrow(figure: Figure, width: float) -> bytes:
    """The figure as SVG, ``width`` inches wide at the same height."""
    before = tuple(figure.get_size_inches())
    figure.set_size_inches(width, before[1])
    try:
        return _render(figure, "svg", metadata={"Date": None})
    finally:
        figure.set_size_inches(before)


def save_figure(figure: Figure, facts: pd.DataFrame, folder: Path, name: str) -> None:
    """Write ``name.png``, ``name.svg`` and the facts as ``name.csv``."""
    write_csv(facts, folder / f"{name}.csv")
    png = _render(figure, "png", dpi=130, metadata={"Software": None})
    (folder / f"{name}.png").write_bytes(png)
    layout = figure.get_layout_engine()
    figure.set_layout_engine("none")  # the one just found: finding it takes half of the time
    (folder / f"{name}.svg").write_bytes(_render(figure, "svg", metadata={"Date": None}))
    figure.set_layout_engine(layout)


def _render(figure: Figure, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), matplotlib.rc_context(SETTINGS):
        # A series may be named in a script that the font has no glyphs for: boxes, not a failure.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
        figure.savefig(buffer, format=kind, **options)
    return buffer.getvalue()

"""Figures, each drawn from a frame that is saved as CSV beside it.

Contract: ``draw_x(facts)`` takes a tidy frame and returns a figure; it computes nothing that is
not in the frame. ``save_figure`` writes PNG, SVG and CSV of one name. Colours are those of
seaborn's colour-blind-safe palette, and lines differ in dash or marker too. No global state of
matplotlib is touched; equal facts give equal bytes.
"""

import re
import warnings
from itertools import cycle
from pathlib import Path
from typing import Any

import pandas as pd

from explstm.errors import BackendNotInstalledError

try:
    import matplotlib
    import seaborn
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter
except ImportError as error:
    raise BackendNotInstalledError(
        "PLOTS_NOT_INSTALLED",
        f"figures need {error.name}, which is not installed; run pip install 'explstm[plots]'.",
    ) from None

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
INTERVAL = re.compile(r"^(?P<model>.*)-lo-(?P<level>[0-9.]+)$")


def draw_forecast(facts: pd.DataFrame, models: list[str]) -> Figure:
    """Draw forecasts with their intervals against actual values.

    Args:
        facts: Columns unique_id, ds, y (missing in the future), one per model (missing in the
            past), and ``<model>-lo-<level>``, ``<model>-hi-<level>`` where there are intervals.
        models: The columns to draw. The first ``MAX_SERIES`` series are drawn.
    """
    ids = list(dict.fromkeys(facts["unique_id"]))
    shown = ids[:MAX_SERIES]
    figure, axes = _new_figure(len(shown), width=9.0, height=3.4)
    for axis, series_id in zip(axes, shown, strict=True):
        rows = facts[facts["unique_id"] == series_id]
        actual = rows[rows["y"].notna()]
        axis.plot(actual["ds"], actual["y"], color=INK, linewidth=1.4, label="actual")
        for (model, color), dash in zip(_colored(models), cycle(DASHES), strict=False):
            future = rows[rows[model].notna()]
            _fill_intervals(axis, future, model, color)
            axis.plot(
                future["ds"],
                future[model],
                dash,
                color=color,
                linewidth=1.8,
                label=_readable(model),
            )
        axis.set_title(_readable(series_id))
        axis.set_ylabel("y")
        _add_legend(axis)
    if len(ids) > len(shown):
        figure.supxlabel(f"the first {len(shown)} of {len(ids)} series", fontsize="small")
    return figure


def draw_training(facts: pd.DataFrame) -> Figure:
    """Draw training and validation loss over the steps of training.

    Args:
        facts: Columns engine, seed, step, train_loss, valid_loss (missing where not validated).
    """
    figure, (axis,) = _new_figure(1, width=8.0, height=4.2)
    engines = list(dict.fromkeys(facts["engine"]))
    for engine, color in _colored(engines):
        runs = facts[facts["engine"] == engine].groupby("seed", sort=True)
        for number, (_, rows) in enumerate(runs):
            label = engine if number == 0 else None
            axis.plot(rows["step"], rows["train_loss"], color=color, alpha=0.45, label=label)
            checked = rows[rows["valid_loss"].notna()]
            axis.plot(checked["step"], checked["valid_loss"], "o--", color=color, markersize=3.5)
    if facts["valid_loss"].notna().any():
        axis.plot([], [], "o--", color=INK, markersize=3.5, label="validation")
    if facts["train_loss"].min() > 0:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("step")
    axis.set_ylabel("loss")
    axis.set_title("Loss during training, one line per seed")
    _add_legend(axis)
    return figure


def draw_residuals(facts: pd.DataFrame) -> Figure:
    """Draw actual minus forecast over time, and how it is distributed.

    Args:
        facts: Columns model, ds, residual.
    """
    models = list(dict.fromkeys(facts["model"]))
    figure, (over_time, spread) = _new_figure(2, width=9.0, height=3.0)
    for (model, color), marker in zip(_colored(models), cycle(MARKERS), strict=False):
        rows = facts[facts["model"] == model]
        over_time.plot(
            rows["ds"], rows["residual"], marker, color=color, markersize=4, label=_readable(model)
        )
    over_time.axhline(0.0, color=INK, linewidth=0.8)
    over_time.set_ylabel("actual - forecast")
    over_time.set_title("Residuals over the held-out steps")
    _add_legend(over_time)
    seaborn.histplot(
        data=facts, x="residual", hue="model", hue_order=models, multiple="dodge", shrink=0.9,
        palette=[color for _, color in _colored(models)], alpha=1.0, legend=False, ax=spread,
    )  # fmt: skip
    spread.axvline(0.0, color=INK, linewidth=0.8)
    spread.set_xlabel("actual - forecast")
    spread.set_ylabel("held-out steps")
    return figure


def draw_horizon_error(facts: pd.DataFrame) -> Figure:
    """Draw the mean absolute error at every step ahead.

    Args:
        facts: Columns model, horizon, mae.
    """
    models = list(dict.fromkeys(facts["model"]))
    figure, (axis,) = _new_figure(1, width=8.0, height=4.2)
    styles = zip(_colored(models), cycle(MARKERS), cycle(DASHES), strict=False)
    for (model, color), marker, dash in styles:
        rows = facts[facts["model"] == model].sort_values("horizon")
        axis.plot(
            rows["horizon"], rows["mae"], dash, marker=marker, markersize=4, color=color,
            label=_readable(model),
        )  # fmt: skip
    axis.set_xlabel("steps ahead")
    axis.set_ylabel("mean absolute error")
    axis.set_title("Error by horizon")
    axis.set_ylim(bottom=0.0)
    _add_legend(axis)
    return figure


def draw_growth(facts: pd.DataFrame) -> Figure:
    """Draw growth rates of the past and of the forecast, and below them the level they lead to.

    Args:
        facts: The rates of a growth report: unique_id, ds, y, forecast, lo, hi, unit, rate,
            rate_lo, rate_hi, ceiling, broken. The first ``MAX_SERIES`` series are drawn.
    """
    ids = list(dict.fromkeys(facts["unique_id"]))
    shown = ids[:MAX_SERIES]
    figure, axes = _new_figure(2 * len(shown), width=9.0, height=2.8)
    for place, series_id in enumerate(shown):
        rows = facts[facts["unique_id"] == series_id]
        over, under = axes[2 * place : 2 * place + 2]
        over.set_title(_readable(series_id))
        _draw_rates(over, rows)
        _draw_level(under, rows)
        over.set_xlim(under.get_xlim())
        for axis in (over, under):
            for number, ds in enumerate(rows.loc[rows["broken"], "ds"]):
                label = None if number else "change of pace"
                axis.axvline(ds, color=INK, linestyle=":", linewidth=1.2, label=label)
            _add_legend(axis)
    if len(ids) > len(shown):
        figure.supxlabel(f"the first {len(shown)} of {len(ids)} series", fontsize="small")
    return figure


def save_figure(figure: Figure, facts: pd.DataFrame, folder: Path, name: str) -> None:
    """Write ``name.png``, ``name.svg`` and the facts as ``name.csv``."""
    facts.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    with warnings.catch_warnings(), matplotlib.rc_context(SETTINGS):
        # A series may be named in a script that the font has no glyphs for: boxes, not a failure.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
        figure.savefig(folder / f"{name}.png", dpi=130, metadata={"Software": None})
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def _new_figure(n_axes: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with its axes stacked, outside pyplot and therefore free of global state."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(width, height * n_axes), layout="constrained")
        FigureCanvasAgg(figure)
        axes = [figure.add_subplot(n_axes, 1, row + 1) for row in range(n_axes)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    return figure, axes


def _draw_rates(axis: Axes, rows: pd.DataFrame) -> None:
    (_, color), *_ = _colored(["forecast"])
    future = rows["forecast"].notna()
    past, ahead = rows[~future], rows[future]
    axis.plot(past["ds"], past["rate"], color=INK, linewidth=1.4, label="past")
    axis.fill_between(
        ahead["ds"], ahead["rate_lo"], ahead["rate_hi"], color=color, alpha=0.18, linewidth=0
    )
    axis.plot(ahead["ds"], ahead["rate"], "--", color=color, linewidth=1.8, label="forecast")
    axis.axhline(0.0, color=INK, linewidth=0.8)
    what = "growth" if (rows["unit"] == "growth").all() else "change"
    if what == "growth":
        axis.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axis.set_ylabel(f"{what} per period,\nmean of {int(future.sum())}")


def _draw_level(axis: Axes, rows: pd.DataFrame) -> None:
    (_, color), (_, other) = _colored(["forecast", "ceiling"])
    ahead = rows[rows["forecast"].notna()]
    axis.plot(rows["ds"], rows["y"], color=INK, linewidth=1.4, label="actual")
    axis.fill_between(ahead["ds"], ahead["lo"], ahead["hi"], color=color, alpha=0.18, linewidth=0)
    axis.plot(ahead["ds"], ahead["forecast"], "--", color=color, linewidth=1.8, label="forecast")
    if rows["ceiling"].notna().any():
        axis.plot(rows["ds"], rows["ceiling"], "-.", color=other, linewidth=1.4, label="ceiling")
    if (rows["unit"] == "growth").all():
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_ylabel("y")


def _fill_intervals(axis: Axes, rows: pd.DataFrame, model: str, color: str) -> None:
    levels = sorted(
        (match["level"] for match in map(INTERVAL.match, rows.columns)
         if match and match["model"] == model),
        key=float,
    )  # fmt: skip
    for level in levels:
        low, high = rows[f"{model}-lo-{level}"], rows[f"{model}-hi-{level}"]
        label = _readable(f"{model} {level} %")
        axis.fill_between(rows["ds"], low, high, color=color, alpha=0.18, linewidth=0, label=label)


def _add_legend(axis: Axes) -> None:
    with matplotlib.rc_context(SETTINGS):
        axis.legend(frameon=False, fontsize="small")


def _readable(text: object) -> str:
    """A label of bounded length without control characters, lone surrogates or hidden names."""
    plain = "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in str(text)
    )
    if len(plain) > MAX_LABEL:
        plain = plain[: MAX_LABEL - 1] + "…"
    # matplotlib leaves empty names, and names that start with an underscore, out of a legend.
    return f" {plain}" if plain.startswith("_") else plain or "(no name)"


def _colored(names: list[str]) -> list[tuple[str, str]]:
    palette = seaborn.color_palette("colorblind", max(len(names), 1)).as_hex()
    return list(zip(names, palette, strict=False))

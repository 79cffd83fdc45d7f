"""Figures of how good forecasts were."""

from itertools import cycle

import pandas as pd
import seaborn
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from explstm.plots.style import (
    DASHES,
    INK,
    MARKERS,
    add_legend,
    colored,
    new_figure,
    readable,
    shorten_dates,
)


def draw_residuals(facts: pd.DataFrame) -> Figure:
    """Draw actual minus forecast over time, and how it is distributed.

    Args:
        facts: Columns model, ds, residual.
    """
    models = list(dict.fromkeys(facts["model"]))
    figure, (over_time, spread) = new_figure(2, width=9.0, height=3.0)
    for (model, color), marker in zip(colored(models), cycle(MARKERS), strict=False):
        rows = facts[facts["model"] == model]
        over_time.plot(
            rows["ds"], rows["residual"], marker, color=color, markersize=4, label=readable(model)
        )
    over_time.axhline(0.0, color=INK, linewidth=0.8)
    over_time.set_ylabel("actual - forecast")
    over_time.set_title("Residuals over the held-out steps")
    add_legend(over_time)
    shorten_dates(over_time)
    seaborn.histplot(
        data=facts, x="residual", hue="model", hue_order=models, multiple="dodge", shrink=0.9,
        palette=[color for _, color in colored(models)], alpha=1.0, legend=False, ax=spread,
    )  # fmt: skip
    spread.axvline(0.0, color=INK, linewidth=0.8)
    spread.set_xlabel("actual - forecast")
    spread.set_ylabel("held-out steps")
    return figure


def draw_horizon_error(
    facts: pd.DataFrame, measure: str = "mae", label: str = "mean absolute error"
) -> Figure:
    """Draw the error at every step ahead.

    Args:
        facts: Columns model, horizon, and the measure.
        measure: The column to draw.
        label: What it is, in words.
    """
    models = list(dict.fromkeys(facts["model"]))
    figure, (axis,) = new_figure(1, width=8.0, height=4.2)
    styles = zip(colored(models), cycle(MARKERS), cycle(DASHES), strict=False)
    for (model, color), marker, dash in styles:
        rows = facts[facts["model"] == model].sort_values("horizon")
        axis.plot(
            rows["horizon"], rows[measure], dash, marker=marker, markersize=4, color=color,
            label=readable(model),
        )  # fmt: skip
    axis.set_xlabel("steps ahead")
    axis.set_ylabel(label)
    axis.set_title("Error by horizon")
    axis.set_ylim(bottom=0.0)
    add_legend(axis)
    return figure


def draw_skill(facts: pd.DataFrame) -> Figure:
    """Draw the error of every method as a share of that of the best naive forecast.

    Args:
        facts: Columns model, ratio (1 is as good as the best naive forecast, lower is better) and
            naive (whether the model is a naive forecast), best first.
    """
    figure, (axis,) = new_figure(1, width=8.0, height=1.2 + 0.36 * len(facts))
    (_, own), (_, other) = colored(["own", "other"])
    colors = [other if naive else own for naive in facts["naive"]]
    hatches = ["//" if naive else "" for naive in facts["naive"]]
    names = [readable(name) for name in facts["model"]]
    places = range(len(names))
    bars = axis.barh(places, facts["ratio"], color=colors, hatch=hatches, edgecolor="white")
    above_line = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    labels = [f"{ratio:.2f}" for ratio in facts["ratio"]]
    axis.bar_label(bars, labels=labels, padding=4, bbox=above_line)
    axis.axvline(1.0, color=INK, linewidth=1.2, linestyle="--")
    axis.set_yticks(places, names)
    axis.invert_yaxis()
    axis.margins(x=0.12)
    axis.set_xlabel("error / error of the best naive forecast")
    axis.grid(visible=False, axis="y")
    axis.set_axisbelow(True)
    axis.set_title("Shorter is better (hatched: naive)")
    return figure


def draw_calibration(facts: pd.DataFrame) -> Figure:
    """Draw the share of values within each interval against the share that was promised.

    Args:
        facts: Columns model, level (in per cent), coverage, low and high (the band of chance, as
            shares).
    """
    figure, (axis,) = new_figure(1, width=4.8, height=4.2)
    band = facts.drop_duplicates("level").sort_values("level")
    axis.vlines(
        band["level"], 100 * band["low"], 100 * band["high"], color="#bbbbbb", linewidth=14,
        label="chance alone",
    )  # fmt: skip
    axis.plot([0, 100], [0, 100], color=INK, linewidth=1.0, linestyle="--", label="as promised")
    models = list(dict.fromkeys(facts["model"]))
    for place, ((model, color), marker) in enumerate(
        zip(colored(models), cycle(MARKERS), strict=False)
    ):
        rows = facts[facts["model"] == model].sort_values("level")
        beside = rows["level"] + 0.7 * (place - (len(models) - 1) / 2)
        axis.plot(
            beside, 100 * rows["coverage"], marker, color=color, markersize=7,
            markeredgecolor="white", label=readable(model),
        )  # fmt: skip
    lowest = min(100 * facts["coverage"].min(), 100 * facts["low"].min(), facts["level"].min())
    axis.set_xlim(max(facts["level"].min() - 12, 0), 101)
    axis.set_ylim(max(lowest - 8, -2), 102)
    axis.set_xlabel("promised, % of values")
    axis.set_ylabel("held, % of values")
    axis.set_title("Calibration of the intervals")
    add_legend(axis)
    return figure


def draw_coverage(facts: pd.DataFrame) -> Figure:
    """Draw the share of values within each interval at every step ahead.

    Args:
        facts: Columns step, level (in per cent), coverage, low and high (the band of chance, as
            shares).
    """
    figure, (axis,) = new_figure(1, width=4.8, height=4.2)
    levels = sorted(set(facts["level"]))
    styles = zip(levels, colored([str(level) for level in levels]), cycle(MARKERS), strict=False)
    for level, (_, color), marker in styles:
        rows = facts[facts["level"] == level].sort_values("step")
        axis.fill_between(
            rows["step"], 100 * rows["low"], 100 * rows["high"], color=color, alpha=0.16,
            linewidth=0,
        )  # fmt: skip
        axis.axhline(level, color=color, linewidth=0.9, linestyle="--")
        axis.plot(
            rows["step"], 100 * rows["coverage"], marker=marker, color=color, markersize=4,
            label=f"{level:g} % interval",
        )  # fmt: skip
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_ylim(top=102)
    axis.set_xlabel("steps ahead")
    axis.set_ylabel("held, % of values")
    axis.set_title("Coverage by step")
    add_legend(axis)
    return figure

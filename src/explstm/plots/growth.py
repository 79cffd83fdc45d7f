"""Figures of growth: how fast a series grows, and where that leads."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from explstm.plots.style import (
    INK,
    MAX_SERIES,
    add_legend,
    colored,
    new_figure,
    readable,
    shorten_dates,
)


def draw_growth(facts: pd.DataFrame) -> Figure:
    """Draw growth rates of the past and of the forecast, and below them the level they lead to.

    Args:
        facts: The rates of a growth report: unique_id, ds, y, forecast, lo, hi, unit, rate,
            rate_lo, rate_hi, ceiling, broken. The first ``MAX_SERIES`` series are drawn.
    """
    ids = list(dict.fromkeys(facts["unique_id"]))
    shown = ids[:MAX_SERIES]
    figure, axes = new_figure(2 * len(shown), width=9.0, height=2.8)
    for place, series_id in enumerate(shown):
        rows = facts[facts["unique_id"] == series_id]
        over, under = axes[2 * place : 2 * place + 2]
        over.set_title(readable(series_id))
        _draw_rates(over, rows)
        _draw_level(under, rows)
        over.set_xlim(under.get_xlim())
        for axis in (over, under):
            for number, ds in enumerate(rows.loc[rows["broken"], "ds"]):
                label = None if number else "change of pace"
                axis.axvline(ds, color=INK, linestyle=":", linewidth=1.2, label=label)
            add_legend(axis)
            shorten_dates(axis)
    if len(ids) > len(shown):
        figure.supxlabel(f"the first {len(shown)} of {len(ids)} series", fontsize="small")
    return figure


def _draw_rates(axis: Axes, rows: pd.DataFrame) -> None:
    (_, color), *_ = colored(["forecast"])
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
    (_, color), (_, other) = colored(["forecast", "ceiling"])
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

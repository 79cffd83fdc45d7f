"""Figures of what is left over: the residuals of the forecasts of a backtest."""

from typing import Literal

import pandas as pd
import seaborn
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from explstm.plots.style import INK, colored, new_figure, shorten_dates

WIDTH, HEIGHT = 4.8, 3.6
MOST_POINTS = 4000
"""Points beyond these are drawn as one picture within the figure, to keep the file small."""


def draw_residuals_against(facts: pd.DataFrame, x: Literal["ds", "forecast"]) -> Figure:
    """Draw residuals over time or against the forecast.

    Args:
        facts: Columns ds, forecast, residual (all scaled alike where there are several series).
        x: The column to draw them against.
    """
    figure, (axis,) = new_figure(1, width=WIDTH, height=HEIGHT)
    ((_, color),) = colored(["residual"])
    axis.plot(
        facts[x], facts["residual"], "o", color=color, markersize=3.5, alpha=0.5, markeredgewidth=0,
        rasterized=len(facts) > MOST_POINTS,
    )  # fmt: skip
    axis.axhline(0.0, color=INK, linewidth=1.0)
    axis.set_ylabel("actual - forecast")
    axis.set_xlabel("" if x == "ds" else "forecast")
    axis.set_title("Residuals over time" if x == "ds" else "Residuals by forecast")
    if x == "forecast" and facts[x].min() > 0 and facts[x].max() > 100 * facts[x].min():
        axis.set_xscale("log")
    shorten_dates(axis)
    return figure


def draw_distribution(facts: pd.DataFrame) -> Figure:
    """Draw how residuals are distributed.

    Args:
        facts: Column residual.
    """
    figure, (axis,) = new_figure(1, width=WIDTH, height=HEIGHT)
    ((_, color),) = colored(["residual"])
    seaborn.histplot(data=facts, x="residual", color=color, alpha=0.8, bins=_count_bins(facts),
                     ax=axis)  # fmt: skip
    axis.axvline(0.0, color=INK, linewidth=1.0)
    mean = facts["residual"].mean()
    axis.axvline(mean, color=INK, linewidth=1.4, linestyle="--")
    axis.set_xlabel("actual - forecast")
    axis.set_ylabel("values")
    axis.set_title("Distribution (dashed: mean)")
    return figure


def _count_bins(facts: pd.DataFrame) -> int:
    return int(min(max(len(facts) ** 0.5, 5), 40))


def draw_autocorrelation(facts: pd.DataFrame) -> Figure:
    """Draw how one-step residuals go with those before them.

    Args:
        facts: Columns lag (in steps), autocorrelation, bound (of chance, on either side of 0).
    """
    figure, (axis,) = new_figure(1, width=WIDTH, height=HEIGHT)
    ((_, color),) = colored(["residual"])
    axis.fill_between(
        facts["lag"], -facts["bound"], facts["bound"], color="#bbbbbb", alpha=0.6, linewidth=0
    )
    axis.vlines(facts["lag"], 0.0, facts["autocorrelation"], color=color, linewidth=2.0)
    axis.plot(facts["lag"], facts["autocorrelation"], "o", color=color, markersize=5)
    axis.axhline(0.0, color=INK, linewidth=1.0)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_ylim(-1.05, 1.05)
    axis.set_xlabel("lag, steps")
    axis.set_ylabel("correlation")
    axis.set_title("One-step residuals and earlier ones")
    return figure

"""Figures of what is forecast, over what happened."""

from itertools import cycle

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from explstm.ends import interval_levels, name_ends, name_level
from explstm.plots.style import (
    DASHES,
    INK,
    MAX_SERIES,
    add_legend,
    colored,
    new_figure,
    readable,
    shorten_dates,
)


def draw_forecast(facts: pd.DataFrame, models: list[str]) -> Figure:
    """Draw forecasts with their intervals against actual values.

    Args:
        facts: Columns unique_id, ds, y (missing in the future), one per model (missing in the
            past), and ``<model>-lo-<level>``, ``<model>-hi-<level>`` where there are intervals.
        models: The columns to draw. The first ``MAX_SERIES`` series are drawn.
    """
    ids = list(dict.fromkeys(facts["unique_id"]))
    shown = ids[:MAX_SERIES]
    figure, axes = new_figure(len(shown), width=9.0, height=3.4)
    for axis, series_id in zip(axes, shown, strict=True):
        rows = facts[facts["unique_id"] == series_id]
        actual = rows[rows["y"].notna()]
        axis.plot(actual["ds"], actual["y"], color=INK, linewidth=1.4, label="actual")
        for (model, color), dash in zip(colored(models), cycle(DASHES), strict=False):
            future = rows[rows[model].notna()]
            _fill_intervals(axis, future, model, color)
            axis.plot(
                future["ds"],
                future[model],
                dash,
                color=color,
                linewidth=1.8,
                label=readable(model),
            )
        axis.set_title(readable(series_id))
        axis.set_ylabel("y")
        add_legend(axis)
        shorten_dates(axis)
    if len(ids) > len(shown):
        figure.supxlabel(f"the first {len(shown)} of {len(ids)} series", fontsize="small")
    return figure


def draw_windows(facts: pd.DataFrame, models: list[str]) -> Figure:
    """Draw what was forecast in each window of a backtest over what happened.

    Args:
        facts: Columns unique_id, ds, y, cutoff (missing outside the windows), one per model
            (missing there too), and ends of intervals where there are any. A date may stand in
            several windows. The first ``MAX_SERIES`` series are drawn.
        models: The columns to draw; the intervals of the first one are drawn.
    """
    ids = list(dict.fromkeys(facts["unique_id"]))
    shown = ids[:MAX_SERIES]
    figure, axes = new_figure(len(shown), width=9.0, height=3.0)
    for axis, series_id in zip(axes, shown, strict=True):
        rows = facts[facts["unique_id"] == series_id]
        actual = rows.drop_duplicates("ds").sort_values("ds")
        axis.plot(actual["ds"], actual["y"], color=INK, linewidth=1.4, label="actual")
        for number, (_, window) in enumerate(rows.groupby("cutoff", sort=True)):
            _draw_window(axis, window, models, labelled=number == 0)
        axis.set_title(readable(series_id))
        axis.set_ylabel("y")
        add_legend(axis)
        shorten_dates(axis)
    if len(ids) > len(shown):
        figure.supxlabel(f"the first {len(shown)} of {len(ids)} series", fontsize="small")
    return figure


def _draw_window(axis: Axes, window: pd.DataFrame, models: list[str], *, labelled: bool) -> None:
    for (model, color), dash in zip(colored(models), cycle(DASHES), strict=False):
        if model == models[0]:
            _fill_intervals(axis, window, model, color, labelled=labelled)
        label = readable(model) if labelled else None
        axis.plot(window["ds"], window[model], dash, color=color, linewidth=1.8, label=label)
    axis.axvline(window["cutoff"].iloc[0], color=INK, linewidth=0.6, linestyle=":")


def _fill_intervals(
    axis: Axes, rows: pd.DataFrame, model: str, color: str, *, labelled: bool = True
) -> None:
    for level in interval_levels(rows.columns, model):
        low, high = name_ends(model, level)
        label = readable(f"{model} {name_level(level)} %") if labelled else None
        axis.fill_between(
            rows["ds"], rows[low], rows[high], color=color, alpha=0.18, linewidth=0, label=label
        )

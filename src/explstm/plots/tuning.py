"""Figures of a tuning: they show what Optuna's figures of the same names show."""

import math

import pandas as pd
from matplotlib.figure import Figure

from explstm.plots.style import INK, MARKERS, add_legend, colored, new_figure, readable

COLUMNS = 4
SHADES = ("best quarter", "others")
LABEL_ROOM = 0.15
"""Least distance of two labels on an axis from 0 to 1."""


def draw_history(facts: pd.DataFrame) -> Figure:
    """Draw what each trial was worth, in the order of the trials.

    Args:
        facts: Columns number, state (complete or pruned), value, best.
    """
    figure, (axis,) = new_figure(1, width=8.0, height=4.2)
    states = ("complete", "pruned")
    for (state, color), marker in zip(colored(list(states)), MARKERS, strict=False):
        rows = facts[facts["state"] == state]
        label = state if state == "complete" else "pruned, last value seen"
        axis.plot(rows["number"], rows["value"], marker, color=color, markersize=6, label=label)
    axis.step(facts["number"], facts["best"], where="post", color=INK, label="best so far")
    axis.set_xlabel("trial (0 is the model as it was)")
    axis.set_ylabel("error in the search")
    axis.set_title("History of the tuning")
    add_legend(axis)
    return figure


def draw_importance(facts: pd.DataFrame) -> Figure:
    """Draw how much of the variation among trials goes with each knob.

    Args:
        facts: Columns knob, importance, which add up to 1; may be empty.
    """
    figure, (axis,) = new_figure(1, width=8.0, height=max(2.4, 0.35 * len(facts) + 1.2))
    rows = facts.sort_values("importance", kind="stable")
    ((_, color),) = colored(["importance"])
    bars = axis.barh(rows["knob"], rows["importance"], color=color)
    axis.bar_label(bars, fmt="{:.0%}", padding=3, fontsize="small")
    axis.set_xlabel("share of the variation among trials")
    axis.set_title("Importance of what was varied" if len(facts) else "Too few trials to tell")
    return figure


def draw_parallel(facts: pd.DataFrame) -> Figure:
    """Draw each complete trial as a line through its parameters, the best ones above the others.

    Args:
        facts: Columns number, state, value, knob, label, position (0 to 1).
    """
    complete = facts[facts["state"] == "complete"]
    knobs = list(dict.fromkeys(facts["knob"]))
    figure, (axis,) = new_figure(1, width=max(8.0, 1.1 * len(knobs)), height=4.8)
    limit = complete.groupby("number")["value"].first().quantile(0.25)
    (best, color), (others, pale) = colored(list(SHADES))
    for number, rows in complete.groupby("number"):
        is_best = rows["value"].iloc[0] <= limit
        axis.plot(
            range(len(rows)), rows["position"], "-" if is_best else "--",
            color=color if is_best else pale, alpha=0.9 if is_best else 0.4,
            linewidth=2.2 if is_best else 1.0, zorder=2 if is_best else 1,
            gid=f"trial-{number}",
        )  # fmt: skip
    for place, knob in enumerate(knobs):
        for label, position in _pick_labels(facts[facts["knob"] == knob]):
            axis.annotate(
                readable(label), (place, position), (3, 2), textcoords="offset points",
                fontsize="x-small", color=INK,
            )  # fmt: skip
    axis.plot([], [], "-", color=color, linewidth=2.2, label=best)
    axis.plot([], [], "--", color=pale, label=others)
    axis.set_xticks(range(len(knobs)), knobs, rotation=30, ha="right")
    axis.set_yticks([])
    axis.set_title("Parameters of the complete trials")
    add_legend(axis)
    return figure


def draw_slices(facts: pd.DataFrame) -> Figure:
    """Draw what trials were worth against each of their parameters.

    Args:
        facts: Columns state, value, knob, label, position (0 to 1), log.
    """
    knobs = list(dict.fromkeys(facts["knob"]))
    figure, axes = new_figure(
        len(knobs), width=3.0 * COLUMNS, height=2.6 / COLUMNS * _stretch(len(knobs))
    )
    grid = figure.add_gridspec(math.ceil(len(knobs) / COLUMNS), COLUMNS)
    styles = list(zip(colored(["complete", "pruned"]), MARKERS, strict=False))
    for place, (axis, knob) in enumerate(zip(axes, knobs, strict=True)):
        axis.set_subplotspec(grid[place // COLUMNS, place % COLUMNS])
        rows = facts[facts["knob"] == knob]
        for (state, color), marker in styles:
            some = rows[rows["state"] == state]
            axis.plot(some["position"], some["value"], marker, color=color, label=state)
        ticks = _pick_labels(rows)
        labels = [readable(label) for label, _ in ticks]
        axis.set_xticks([at for _, at in ticks], labels, fontsize="x-small", rotation=20)
        axis.set_xlim(-0.1, 1.1)
        axis.set_title(f"{knob}, log" if rows["log"].any() else knob, fontsize="medium")
    axes[0].set_ylabel("error in the search")
    add_legend(axes[0])
    return figure


def _stretch(n_knobs: int) -> float:
    """Rows of a grid per axis, in columns: what the height of one axis must be multiplied by."""
    return math.ceil(n_knobs / COLUMNS) * COLUMNS / n_knobs


def _pick_labels(rows: pd.DataFrame) -> list[tuple[str, float]]:
    """Those of the labels, from the lowest, that have room beside each other."""
    spots = rows.drop_duplicates("position").sort_values("position")
    picked: list[tuple[str, float]] = []
    for label, position in zip(spots["label"], spots["position"], strict=True):
        if not picked or position - picked[-1][1] >= LABEL_ROOM:
            picked.append((label, position))
    return picked

"""Curves of error against seconds: what they say, and their figure.

Contract: everything comes from one table of runs: system, part, seed, steps, seconds, imports,
smape. It lies beside the figure as CSV, so the figure can be drawn again.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TARGET = 14.2  # sMAPE on the test part; AutoETS reaches 14.16
WITHIN = 1.01  # a budget this near its system's lowest error counts as its best
PANELS = {"held-out": "held-out ends of the training series", "test": "test part"}
HIGHEST = 22.0  # what lies above says no more than "not trained yet"


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Medians over the seeds: one row per system, part and budget, in the order they ran."""
    keys = ["system", "part", "steps"]
    grouped = rows.groupby(keys, sort=False)
    curves = grouped[["seconds", "imports", "smape"]].median()
    return curves.assign(seeds=grouped.size()).reset_index().sort_values(keys[2], kind="stable")


def find_best(curve: pd.DataFrame) -> pd.Series:
    """The first budget within 1 % of the lowest median error of a system: early, in its favour."""
    return curve[curve["smape"] <= WITHIN * curve["smape"].min()].iloc[0]


def find_target(curve: pd.DataFrame) -> pd.Series | None:
    """The first budget whose median error reaches the target."""
    reached = curve[curve["smape"] <= TARGET]
    return None if reached.empty else reached.iloc[0]


def compare(curves: pd.DataFrame, ours: str) -> list[dict[str, Any]]:
    """Each system's own best and way to the target, and how many times faster ``ours`` is.

    The ratio is of a system's seconds to its own best to the seconds of ``ours`` to the target.
    """
    test = curves[curves["part"] == "test"]
    reached = find_target(test[test["system"] == ours])
    found = []
    for label, curve in test.groupby("system", sort=False):
        best, target = find_best(curve), find_target(curve)
        row = {
            "system": label,
            "lowest": curve["smape"].min(),
            "best_steps": int(best["steps"]),
            "best_smape": best["smape"],
            "best_seconds": best["seconds"],
            "imports": best["imports"],
            "target_seconds": None if target is None else target["seconds"],
        }
        if reached is not None and label != ours:
            row["ratio"] = best["seconds"] / reached["seconds"]
            both = [x["seconds"] + x["imports"] for x in (best, reached)]
            row["ratio_with_imports"] = both[0] / both[1]
        found.append(row)
    return found


def draw_curves(rows: pd.DataFrame, file: Path) -> None:
    """Draw both parts side by side into a PNG file.

    A dot is the median of the seeds at one budget, a bar their whole range.
    """
    import matplotlib.pyplot as plt  # the processes that train do without
    import seaborn as sns

    sns.set_theme(context="notebook", style="ticks", palette="colorblind")
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True, layout="constrained")
    colours = dict(zip(rows["system"].unique(), sns.color_palette(), strict=False))
    for ax, (part, title) in zip(axes, PANELS.items(), strict=True):
        draw_part(ax, rows[rows["part"] == part], colours)
        ax.set(xscale="log", xlabel="seconds from nothing to the forecasts", title=title)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.grid(alpha=0.4)
    axes[0].set(ylabel="sMAPE, M3 monthly")
    axes[1].axhline(TARGET, color="0.4", linestyle="--", linewidth=1)
    axes[1].annotate(
        f"{TARGET:g}: AutoETS",
        (0.99, TARGET),
        xycoords=("axes fraction", "data"),
        xytext=(0, -3),
        textcoords="offset points",
        ha="right",
        va="top",
        color="0.3",
        fontsize="small",
    )
    axes[1].legend(frameon=False, fontsize="small")
    axes[1].set_ylim(top=HIGHEST)
    sns.despine(figure)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def draw_part(ax: "Axes", rows: pd.DataFrame, colours: dict) -> None:
    """Median curves, and the range of the seeds as bars."""
    for label, curve in rows.groupby("system", sort=False):
        points = curve.groupby("steps")[["seconds", "smape"]].agg(["median", "min", "max"])
        smape = points["smape"]
        ax.errorbar(
            points["seconds"]["median"],
            smape["median"],
            yerr=[smape["median"] - smape["min"], smape["max"] - smape["median"]],
            color=colours[label],
            label=label,
            marker="o",
            markersize=4,
            linewidth=1.8,
            elinewidth=1,
        )

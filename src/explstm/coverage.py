"""How many values fell within their intervals, step by step of the horizon.

Contract: what is counted is the values, so that figures of several groups and steps are pooled by
adding counts, never by averaging shares. Ends belong to an interval; a value or an end that is not
finite is not counted.

Axes: L levels, H horizon.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from explstm.ends import name_ends

ALL_GROUPS = "all"


@dataclass(frozen=True)
class Coverage:
    """What one interval held at one step.

    Attributes:
        step: Steps ahead, from 1.
        level: Level of the interval, in per cent.
        covered: How many values lay within it.
        values: How many were judged.
    """

    step: int
    level: float
    covered: int
    values: int


def count_covered(judged: pd.DataFrame, model: str, levels: Sequence[float]) -> list[Coverage]:
    """Count by step and level.

    Args:
        judged: Table with ``unique_id``, ``ds``, ``y`` and the columns ``MODEL-lo-80`` and
            ``MODEL-hi-80`` of every level; the first date of a series is step 1.
        model: Name of the model.
        levels: Of its intervals, in per cent.
    """
    judged = judged.sort_values("ds", kind="stable")
    step_S = judged.groupby("unique_id").cumcount().to_numpy()
    counts = []
    for level in levels:
        low, high = name_ends(model, level)
        low_S, y_S, high_S = judged[[low, "y", high]].to_numpy(dtype=np.float64).T
        finite_S = np.isfinite(low_S) & np.isfinite(y_S) & np.isfinite(high_S)
        covered_H = np.bincount(step_S, finite_S & (low_S <= y_S) & (y_S <= high_S))
        values_H = np.bincount(step_S, finite_S)
        counts += [
            Coverage(step, level, int(covered), int(values))
            for step, (covered, values) in enumerate(zip(covered_H, values_H, strict=True), start=1)
        ]
    return counts


def pool_coverage(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Add up the counts of all rows that agree in some columns, and take the share anew."""
    pooled = table.groupby(list(by), sort=False, as_index=False)[["covered", "values"]].sum()
    return pooled.assign(coverage=pooled["covered"] / pooled["values"].where(pooled["values"] > 0))


def pool_groups(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the rows of all groups together behind those of each."""
    together = pool_coverage(table, ["competition", "model", "step", "level"])
    pooled = pool_coverage(table, ["competition", "group", "model", "step", "level"])
    if table["group"].nunique() < 2:
        return pooled
    return pd.concat([pooled, together.assign(group=ALL_GROUPS)], ignore_index=True)


def summarise_coverage(table: pd.DataFrame, levels: Sequence[float]) -> pd.DataFrame:
    """The first, the middle and the last step of every group, a row for each level."""
    single = table["group"].nunique() == 1  # whatever it is called
    chosen = table[table["level"].isin(levels) & (single | (table["group"] != ALL_GROUPS))]
    rows = []
    for (group, model, level), part in chosen.groupby(["group", "model", "level"], sort=False):
        coverage_H = part.sort_values("step")["coverage"].to_numpy()
        rows.append(
            {
                "group": group,
                "model": model,
                "interval": level,
                "steps": len(coverage_H),
                "first step": coverage_H[0],
                "middle step": coverage_H[(len(coverage_H) - 1) // 2],
                "last step": coverage_H[-1],
            }
        )
    return pd.DataFrame(rows)

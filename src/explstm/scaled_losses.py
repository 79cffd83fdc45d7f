"""Losses that can be averaged over series: mean absolute errors in units of a series' own change.

Contract: a *group* is one series at one cutoff of a backtest table ``unique_id, ds, cutoff, y`` and
a column per method. Its loss is the mean absolute error over its steps, divided by the mean
absolute change of a season in the history up to its cutoff. A group's loss is NaN where it is
undefined, never 0 and never left out in silence.

Source: Hyndman & Koehler 2006, eq. 3 (MASE), with seasonal lag m.

Axis letters: G groups, S rows of a table.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from explstm.baselines import NAIVE
from explstm.errors import UsageError

ROUGHLY = 0.25
"""Part of a step that months and years of different lengths may make up."""
KEYS = ["unique_id", "cutoff"]


def measure_losses(
    table: pd.DataFrame, methods: Sequence[str], scales: pd.DataFrame
) -> pd.DataFrame:
    """The loss of every method in every group, on one scale.

    Args:
        table: unique_id, ds, cutoff, y, the methods, and naive forecasts.
        methods: Columns beside the naive forecasts.
        scales: unique_id, cutoff, scale, the mean absolute change of a season before each cutoff.

    Returns:
        unique_id, cutoff, and a loss for each method and naive forecast: NaN where a value, a
        forecast or the scale is missing, or the scale is 0.

    Raises:
        UsageError: A column, or every naive forecast, is missing.
    """
    naive = [name for name in NAIVE if name in table.columns]
    missing = [name for name in [*KEYS, "y", *methods] if name not in table.columns]
    if missing or not naive:
        raise UsageError(
            "VERDICT_COLUMN",
            f"the backtest table has no column {missing[0] if missing else ' or '.join(NAIVE)!r}; "
            f"found {', '.join(map(str, table.columns))}.",
        )
    table = table.sort_values(KEYS, kind="stable")
    group_S = table.groupby(KEYS, sort=True).ngroup().to_numpy()
    starts_G = np.flatnonzero(np.diff(group_S, prepend=-1))
    lengths_G = np.diff(starts_G, append=len(group_S))
    losses = table[KEYS].iloc[starts_G].reset_index(drop=True)
    scale_G = losses[KEYS].merge(scales, on=KEYS, how="left")["scale"].to_numpy(dtype=np.float64)
    scale_G = np.where(scale_G > 0, scale_G, np.nan)
    y_S = table["y"].to_numpy(dtype=np.float64)
    for name in [*methods, *naive]:
        error_S = np.abs(y_S - table[name].to_numpy(dtype=np.float64))
        with np.errstate(over="ignore", invalid="ignore"):
            loss_G = np.add.reduceat(error_S, starts_G) / lengths_G / scale_G
        losses[name] = np.where(np.isfinite(loss_G), loss_G, np.nan)
    return losses


def align_windows(losses: pd.DataFrame, step_size: int) -> tuple[npt.NDArray[np.int64], int]:
    """The stretch of time, ``step_size`` long, in which each window begins; the latest is 0.

    Series that end at different dates have their windows at different times, and those that begin
    in one stretch share their shocks. Time is counted in steps of the mean time between the windows
    of a series. Where each series has one window only, all count as one.

    Args:
        losses: As :func:`measure_losses` makes them.
        step_size: Steps between two windows of a series.

    Returns:
        The stretch of every group, and by how many steps windows of one stretch may lie apart.
    """
    time = losses["cutoff"].astype("int64").to_numpy(dtype=np.float64)
    spans = pd.Series(time).groupby(losses["unique_id"].to_numpy()).agg(["min", "max", "size"])
    steps = (spans["size"] - 1).sum() * step_size
    if steps == 0:
        return np.zeros(len(losses), dtype=np.int64), 0
    back_G = (time.max() - time) / ((spans["max"] - spans["min"]).sum() / steps)
    stretch_G = np.floor((back_G + ROUGHLY) / step_size).astype(np.int64)
    aligned = (back_G - stretch_G * step_size <= ROUGHLY).all()
    return stretch_G, 0 if aligned else step_size - 1


def find_best_naive(losses: pd.DataFrame) -> tuple[str, float]:
    """The naive forecast with the lowest mean loss where all have one, and that loss.

    Nothing and NaN where no group has a loss of all of them.
    """
    means = losses[[name for name in NAIVE if name in losses]].dropna().mean()
    return ("", math.nan) if means.isna().all() else (str(means.idxmin()), float(means.min()))

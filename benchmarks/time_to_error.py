"""How many seconds from nothing to a given error on M3 monthly, against other libraries' LSTMs?

    pip install torch==2.13.0 -e '.[bench]'      # in an environment without constraints.txt
    python benchmarks/time_to_error.py --figure docs/images/time-to-error.png
    python benchmarks/time_to_error.py --systems autoets --seeds 1 --held-out-seeds 1   # the target
    python benchmarks/time_to_error.py --draw docs/images/time-to-error.csv    # the figure again

Every system trains from scratch at rising budgets of steps; one process runs at a time, with the
same number of threads for all (--threads), and each process first trains one step on a few series,
so that no imports are on the clock (a column tells the ratio with them). The clock runs from the
table to the forecasts. Test part: trained on the whole training series. Held-out ends: trained
without the last horizon of them, scored there; settings were chosen there only. Prints a table, the
ratio to a peer's own best, writes JSON, and draws the curves from a CSV beside the figure.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
from error_curves import TARGET, compare, draw_curves, summarise
from m3 import smape
from peer_lstms import (
    Point,
    align,
    forecast_autoets,
    train_darts,
    train_neuralforecast,
    train_neuralforecast_tuned,
)

from explstm.apart import THREADS
from explstm.datasets.competitions import Group, load_groups

# Chosen on the held-out ends, see docs/lab-log.md: what gets low early; the rest are defaults.
EXPLSTM: dict[str, Any] = {
    "batch_size": 32,
    "learning_rate": 0.02,
    "reflection": 0.3,
    "scale_weight": 0.5,
}
HIDDEN_SIZES = (64,)
PACKAGES = ("explstm", "torch", "neuralforecast", "darts", "pytorch-lightning", "numpy", "pandas")


def train_explstm(group: Group, seed: int, budgets: tuple[int, ...]) -> list[Point]:
    """ExpLSTM at each budget; its learning rate ends with the budget, so each is a run."""
    from explstm import ExpLSTM, ModelSpec

    points = []
    for steps in budgets:
        started = time.perf_counter()
        model = ExpLSTM(
            backend="torch",
            init="random",
            spec=ModelSpec(hidden_sizes=HIDDEN_SIZES),
            season_length=group.season_length,
            random_seed=seed,
            max_steps=steps,
            **EXPLSTM,
        )
        forecast = model.fit(group.train, h=group.horizon).predict()
        y_NH = align(group, forecast, "ExpLSTM")
        points.append(Point(steps, time.perf_counter() - started, y_NH))
    return points


@dataclass(frozen=True)
class System:
    """What is timed.

    Attributes:
        label: Its name in table and figure.
        train: Its training function.
        budgets: Groups of budgets; each group is one process.
    """

    label: str
    train: Callable[[Group, int, tuple[int, ...]], list[Point]]
    budgets: tuple[tuple[int, ...], ...]


SYSTEMS = {
    "explstm": System("ExpLSTM", train_explstm, ((25,), (50,), (100,), (200,), (400,))),
    "neuralforecast": System(
        "NeuralForecast LSTM, defaults", train_neuralforecast, ((50, 100, 250, 500, 750, 1000),)
    ),
    "neuralforecast-tuned": System(
        "NeuralForecast LSTM, tuned",
        train_neuralforecast_tuned,
        ((50, 100, 250, 500, 750, 1000),),
    ),
    "darts": System("Darts BlockRNNModel, tuned", train_darts, ((50, 100, 250, 500, 750, 1000),)),
    "autoets": System("AutoETS", forecast_autoets, ((0,),)),
}

DEFAULT_SYSTEMS = [name for name in SYSTEMS if name != "autoets"]  # one seed of it is all there is


@dataclass(frozen=True)
class Job:
    """One process: a system, a part of M3 monthly, a seed, and budgets."""

    system: str
    part: str
    seed: int
    budgets: tuple[int, ...]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systems", nargs="*", choices=SYSTEMS, default=DEFAULT_SYSTEMS)
    parser.add_argument("--seeds", type=int, default=5, help="on the test part")
    parser.add_argument("--held-out-seeds", type=int, default=2, help="on the held-out ends")
    parser.add_argument("--threads", type=int, default=2, help="of the one process that runs")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--figure", type=Path, help="PNG file to draw; its CSV lies beside it")
    parser.add_argument("--draw", type=Path, metavar="CSV", help="draw an earlier run's CSV only")
    options = parser.parse_args()
    if options.draw is not None:
        draw_curves(pd.read_csv(options.draw), options.draw.with_suffix(".png"))
        return

    started = time.monotonic()
    rows = pd.DataFrame(run(list_jobs(options), options.threads))
    curves = summarise(rows)
    print_report(curves, options, time.monotonic() - started)
    if options.out is not None:
        options.out.write_text(json.dumps(describe(rows, curves, options), indent=1) + "\n")
    if options.figure is not None:
        rows.round(3).to_csv(options.figure.with_suffix(".csv"), index=False)
        draw_curves(rows, options.figure)


# ------------------------------------------------------------------------------------- the runs


def list_jobs(options: argparse.Namespace) -> list[Job]:
    """Seed by seed, so that a machine that slows down slows every system."""
    parts = {"test": options.seeds, "held-out": options.held_out_seeds}
    return [
        Job(name, part, seed, budgets)
        for seed in range(1, max(parts.values()) + 1)
        for part, seeds in parts.items()
        if seed <= seeds
        for name in options.systems
        for budgets in SYSTEMS[name].budgets
    ]


def run(jobs: list[Job], threads: int) -> list[dict[str, Any]]:
    """One fresh process per job, one at a time; one row per budget."""
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    rows = []
    for done, job in enumerate(jobs, 1):
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            found = pool.submit(run_job, job).result()
        rows += found
        last = found[-1]
        print(
            f"{done}/{len(jobs)} {job.system} {job.part} seed {job.seed}: {last['steps']} "
            f"steps, {last['seconds']:.1f} s, {last['smape']:.2f}",
            file=sys.stderr,
        )
    return rows


def run_job(job: Job) -> list[dict[str, Any]]:
    """Time and error of each budget, in a process of its own."""
    group = load_monthly(job.part)
    train = SYSTEMS[job.system].train
    started = time.perf_counter()
    train(longest_series(group, 32), 1, (1,))
    set_up = time.perf_counter() - started
    return [
        {
            "system": SYSTEMS[job.system].label,
            "part": job.part,
            "seed": job.seed,
            "steps": point.steps,
            "seconds": point.seconds,
            "imports": set_up,
            "smape": smape(group.actuals_NH(), point.forecast_NH),
        }
        for point in train(group, job.seed, job.budgets)
    ]


@cache
def load_monthly(part: str) -> Group:
    """M3 monthly, to be scored on its test part or on the held-out ends of its training part."""
    group = next(group for group in load_groups("M3") if group.name == "monthly")
    return group.held_out() if part == "held-out" else group


def longest_series(group: Group, n: int) -> Group:
    """The longest ``n`` series of a group."""
    ids = group.train["unique_id"].value_counts().index[:n]
    train, test = (table[table["unique_id"].isin(ids)] for table in (group.train, group.test))
    return Group(group.name, group.season_length, group.horizon, train, test)


# ----------------------------------------------------------------------------------- the report


def print_report(curves: pd.DataFrame, options: argparse.Namespace, seconds: float) -> None:
    """Print the curves as a table, and the ratios."""
    held_out = curves[curves["part"] == "held-out"].set_index(["system", "steps"])["smape"]
    print(
        f"M3 monthly, from scratch, one process at a time, {options.threads} threads; medians of "
        f"{options.seeds} seeds, on the held-out ends of {options.held_out_seeds}"
    )
    print("| system | steps | seconds | sMAPE, held-out ends | sMAPE, test part |")
    print("|---|---|---|---|---|")
    test = curves[curves["part"] == "test"]
    for label, curve in test.groupby("system", sort=False):
        for row in curve.itertuples():
            chosen = held_out.get((label, row.steps), float("nan"))
            print(f"| {label} | {row.steps} | {row.seconds:.1f} | {chosen:.2f} | {row.smape:.2f} |")
    print(
        f"\nOwn best: the first budget within 1 % of a system's lowest error. Target: {TARGET}. "
        "Ratio: seconds to\nown best by the seconds of ExpLSTM to the target.\n"
    )
    print("| system | lowest | s to own best | s to target | ratio | with imports and warm-up |")
    print("|---|---|---|---|---|---|")
    for row in compare(curves, SYSTEMS["explstm"].label):
        cells = [
            f"{row['lowest']:.2f}",
            f"{row['best_seconds']:.1f}",
            "not reached" if row["target_seconds"] is None else f"{row['target_seconds']:.1f}",
            *(f"{row[key]:.1f}" if key in row else "" for key in ("ratio", "ratio_with_imports")),
        ]
        print(f"| {row['system']} | {' | '.join(cells)} |")
    print(f"\n{seconds:.0f} s in all")


def describe(
    rows: pd.DataFrame, curves: pd.DataFrame, options: argparse.Namespace
) -> dict[str, Any]:
    """All that was found, and with what."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "versions": versions,
        "threads": options.threads,
        "target": TARGET,
        "settings": {"hidden_sizes": HIDDEN_SIZES, **EXPLSTM},
        "comparison": compare(curves, SYSTEMS["explstm"].label),
        "curves": curves.to_dict("records"),
        "rows": rows.to_dict("records"),
    }


if __name__ == "__main__":
    main()

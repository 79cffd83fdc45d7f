"""Does growth space help an LSTM on series that grow? Ours against the LSTM of the usual tutorial.

    python benchmarks/growth.py
    python benchmarks/growth.py --population population.csv.gz   # and yearly population by country

Generated exponential, logistic and linear growth, the last ``--horizon`` steps held out. Both LSTMs
are trained from scratch, on all series of a set together ("pooled") and on each series alone (the
first ``--alone`` series), once per seed, beside the naive forecasts on the same series. The error
is sMAPE in per cent, mean (and standard deviation) over the seeds; generated series are judged by
their path without noise. Settings were chosen on series drawn with another seed. The population
panel (World Bank, columns unique_id, ds, y) is made from github.com/datasets/population.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from m3 import smape
from processes import WORKERS, run_jobs
from tutorial_lstm import forecast_tutorial

from explstm import ExpLSTM
from explstm.baselines import naive_forecasts
from explstm.datasets import make_growth_series
from explstm.frame import Panel, build_panel, drop_last, panel_frame, take_series

KINDS = ("exponential", "logistic", "linear")
LENGTH, NOISE, DATA_SEED = 120, 0.02, 2026
POPULATION_HORIZON = 10
SETTINGS = {
    "pooled": {"max_steps": 1000},
    "alone": {"max_steps": 300, "val_size": 12, "val_check_steps": 25},
}


@dataclass(frozen=True)
class Task:
    """Series to forecast, and whether they are learnt together.

    Attributes:
        name: Name of the set.
        fit: ``"pooled"`` or ``"alone"``.
        past: Histories.
        future_NH: What followed them, without noise where that is known.
    """

    name: str
    fit: str
    past: Panel
    future_NH: np.ndarray

    @property
    def horizon(self) -> int:
        """Steps to forecast."""
        return self.future_NH.shape[1]


@dataclass(frozen=True)
class Row:
    """What came out of a task: sMAPE, for the LSTMs one per seed."""

    name: str
    trained_on: str
    horizon: int
    naive: float
    drift: float
    log_drift: float
    tutorial: list[float]
    ours: list[float]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=("torch", "tensorflow"), default="torch")
    parser.add_argument("--series", type=int, default=100, help="series in each set")
    parser.add_argument("--alone", type=int, default=10, help="series also trained on alone")
    parser.add_argument("--horizon", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--population", type=Path, default=None, help="CSV with unique_id, ds, y")
    parser.add_argument("--out", type=Path, default=None, help="JSON file to write")
    options = parser.parse_args()
    started = time.monotonic()
    tasks = load_tasks(options)
    jobs = [
        (forecast, task, seed)
        for task in tasks
        for forecast in (forecast_theirs, forecast_ours)
        for seed in range(1, options.seeds + 1)
    ]
    jobs = [(*job, options.backend) for job in jobs]
    errors = np.reshape(run_jobs(score, jobs, options.workers), (len(tasks), 2, options.seeds))
    rows = [summarise(task, *pair.tolist()) for task, pair in zip(tasks, errors, strict=True)]
    report(rows, time.monotonic() - started)
    if options.out is not None:
        options.out.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def load_tasks(options: argparse.Namespace) -> list[Task]:
    """Every set, learnt together and alone."""
    tasks = []
    for kind in KINDS:
        table, truth = make_growth_series(kind, options.series, LENGTH, NOISE, seed=DATA_SEED)
        tasks += split_set(
            kind, build_panel(table), build_panel(truth), options.horizon, options.alone
        )
    if options.population is not None:
        panel = build_panel(pd.read_csv(options.population))
        every = max(1, panel.n_series // options.series)
        panel = take_series(panel, np.arange(0, panel.n_series, every))
        tasks += split_set("population", panel, panel, POPULATION_HORIZON, options.alone)
    return tasks


def split_set(name: str, panel: Panel, truth: Panel, h: int, n_alone: int) -> list[Task]:
    """Hold out the last steps of all series, and of the first few."""
    tasks = []
    for fit, n_series in (("pooled", panel.n_series), ("alone", min(n_alone, panel.n_series))):
        shown = np.arange(n_series)
        judged = take_series(truth, shown)
        future = [y[-h:] for y in np.split(judged.y_S, judged.starts_N1[1:-1])]
        tasks.append(Task(name, fit, drop_last(take_series(panel, shown), h), np.stack(future)))
    return tasks


def score(forecast, task: Task, seed: int, backend: str) -> float:
    """Train, forecast and judge, in a process of its own."""
    return smape(task.future_NH, forecast(task, seed, backend))


def forecast_theirs(task: Task, seed: int, _backend: str) -> np.ndarray:
    """The tutorial's LSTM (N, H)."""
    histories = np.split(task.past.y_S, task.past.starts_N1[1:-1])
    return forecast_tutorial(histories, task.horizon, seed, pooled=task.fit == "pooled")


def forecast_ours(task: Task, seed: int, backend: str) -> np.ndarray:
    """Ours (N, H)."""
    panels = [task.past]
    if task.fit == "alone":
        panels = [take_series(task.past, [i]) for i in range(task.past.n_series)]
    settings = {
        "backend": backend,
        "init": "random",
        "season_length": 1,
        "freq": task.past.freq,
        **SETTINGS[task.fit],
    }
    forecasts = [
        ExpLSTM(random_seed=seed, **settings).fit(panel_frame(panel), h=task.horizon).predict()
        for panel in panels
    ]
    return pd.concat(forecasts)["ExpLSTM"].to_numpy().reshape(-1, task.horizon)


def summarise(task: Task, theirs: list[float], ours: list[float]) -> Row:
    """One row of the table."""
    naive = naive_forecasts(task.past, task.horizon, season_length=1)
    n_series = task.past.n_series
    return Row(
        task.name,
        f"{n_series} together" if task.fit == "pooled" else f"each of {n_series} alone",
        task.horizon,
        *(smape(task.future_NH, naive[name]) for name in ("Naive", "Drift", "LogDrift")),
        tutorial=theirs,
        ours=ours,
    )


def report(rows: list[Row], seconds: float) -> None:
    """Print the table, and say where ours does not halve the tutorial's error or is not best."""
    print(
        "| set | trained on | h | Naive | drift | log drift | tutorial LSTM | ExpLSTM "
        "| ExpLSTM / tutorial | halved? | best of all? |"
    )
    print("|" + "---|" * 11)
    for row in rows:
        ours, theirs = np.mean(row.ours), np.mean(row.tutorial)
        best = min(row.naive, row.drift, row.log_drift, theirs)
        print(
            f"| {row.name} | {row.trained_on} | {row.horizon} "
            f"| {row.naive:.2f} | {row.drift:.2f} | {row.log_drift:.2f} "
            f"| {_spread(row.tutorial)} | {_spread(row.ours)} | {ours / theirs:.2f} "
            f"| {_answer(ours <= theirs / 2)} | {_answer(ours < best)} |"
        )
    print(f"{seconds:.0f} s")


def _answer(holds: bool) -> str:
    return "yes" if holds else "**no**"


def _spread(errors: list[float]) -> str:
    return f"{np.mean(errors):.2f} ({np.std(errors, ddof=1) if len(errors) > 1 else 0.0:.2f})"


if __name__ == "__main__":
    main()

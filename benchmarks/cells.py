"""Which recurrent cell for growth: does ELU help, does exponential gating, or does growth space?

    python benchmarks/cells.py --population population.csv.gz --out cells.jsonl --report docs/images
    python benchmarks/cells.py --held-out --rates 0.005 0.015 0.03 --seeds 2 --out choice.jsonl

Five cells, growth space against min-max scaling, five sets, ten seeds: every run trains one network
from scratch on the past of all series of a set and forecasts the steps that follow. Nothing but
the cell changes between cells: width, batches, steps, learning rate, loss and gates are the same
(LSTM cells also start from the same weights; those of the sLSTM are drawn anew). Errors are sMAPE
and MASE, at the first step ahead and over the whole horizon; generated series are judged by their
path without noise. A run that diverges is counted. Every finished run is a line of ``--out``;
started again, the command runs what is missing. With other settings than those below, use another
file. ``--held-out`` judges by another draw and by the ends of the training parts instead of the
test parts: there the learning rate was chosen. The tables and figures are those of cells_report.py.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from cells_report import report, report_choice
from m3 import smape
from processes import WORKERS, run_jobs

from explstm import ExpLSTM, ModelSpec
from explstm.baselines import naive_forecasts
from explstm.datasets import make_growth_series
from explstm.datasets.competitions import load_groups
from explstm.errors import ExpLSTMError
from explstm.frame import Panel, build_panel, drop_last, panel_frame, take_series

KINDS = ("exponential", "logistic", "linear")
SETS = (*KINDS, "M3 yearly", "population")
CELLS: dict[str, dict] = {
    "tanh": {"activation": "tanh"},
    "ELU": {"activation": "elu"},
    "ReLU": {"activation": "relu"},
    "softsign": {"activation": "softsign"},
    "sLSTM": {"cell": "slstm"},
    "sLSTM, exp forget": {"cell": "slstm", "forget_gate": "exp"},
}
SPACES: dict[str, dict] = {
    "growth space": {"growth": "auto"},
    "min-max": {"growth": "minmax"},
    "min-max, no skip": {"growth": "minmax", "residual": False},
}
STUDIED = tuple((space, cell) for space in SPACES for cell in tuple(CELLS)[:5])
ASIDE = (("growth space", "sLSTM, exp forget"),)  # a variant, run where it might help
NETWORK = {"hidden_sizes": (32, 32), "quantiles": (0.5,)}  # the point forecast is what is judged
TRAINING = {"batch_size": 32, "lr_schedule": "cosine"}
STEPS = {name: (100, 400) if name in KINDS else (100,) for name in SETS}
RATE = 0.015
LENGTH, HORIZON, NOISE, SERIES = 48, 12, 0.02, 60  # of the generated sets
DATA_SEED, OTHER_DRAW = 2026, 7
POPULATION_HORIZON = 10
FAST_STEPS, FAST_SERIES = (10,), 8
DIVERGED = ("TRAINING_DIVERGED", "FORECAST_OVERFLOW", "NOT_FINITE")


@dataclass(frozen=True)
class Task:
    """A set: what is known and what is to be forecast.

    Attributes:
        name: One of ``SETS``.
        past: Histories.
        future_NH: What followed them, without noise where that is known.
    """

    name: str
    past: Panel
    future_NH: np.ndarray


@dataclass(frozen=True)
class Job:
    """One training, and all that decides its outcome beside the code."""

    set: str
    space: str
    cell: str
    seed: int
    learning_rate: float
    max_steps: int
    n_series: int
    held_out: bool


def main() -> None:
    """Run the benchmark."""
    options = parse_options()
    started = time.monotonic()
    tasks = [shorten(task, options.series) for task in load_tasks(options)]
    jobs = list_jobs(tasks, options)
    done = read_runs(options.out)
    missing = [job for job in jobs if job not in done]
    print(
        f"{len(jobs)} runs, {len(jobs) - len(missing)} of them found in {options.out}", flush=True
    )
    by_name = {task.name: task for task in tasks}
    run_jobs(run, [(job, by_name[job.set], options.out) for job in missing], options.workers)
    done = read_runs(options.out)
    runs = pd.DataFrame([done[job] for job in jobs])
    draw_up = report_choice if options.held_out else report
    draw_up(runs, pd.concat([score_baselines(task) for task in tasks]), options.report)
    print(f"{time.monotonic() - started:.0f} s with {options.workers} processes")


def list_jobs(tasks: list[Task], options: argparse.Namespace) -> list[Job]:
    """Every run asked for, the ones that the answer rests on first."""
    return [
        Job(task.name, space, cell, seed, rate, steps, task.past.n_series, options.held_out)
        for space, cell in STUDIED + ASIDE
        if space in options.spaces
        for task in tasks
        for steps in options.steps or steps_of(task.name, space)
        for rate in options.rates
        for seed in range(1, options.seeds + 1)
    ]


def steps_of(name: str, space: str) -> tuple[int, ...]:
    """Batches to train on; the variant of min-max gets the first of the budgets of a set only."""
    return STEPS[name][:1] if space == "min-max, no skip" else STEPS[name]


def parse_options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--sets", nargs="*", choices=SETS, default=SETS)
    parser.add_argument("--spaces", nargs="*", choices=SPACES, default=tuple(SPACES))
    parser.add_argument("--steps", nargs="*", type=int, default=None, help="batches to train on")
    parser.add_argument("--rates", nargs="*", type=float, default=[RATE], help="learning rates")
    parser.add_argument("--held-out", action="store_true", help="judge by what is not the test")
    parser.add_argument("--population", type=Path, default=None, help="CSV with unique_id, ds, y")
    parser.add_argument("--fast", action="store_true", help="a few steps on a few series")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--out", type=Path, default=Path("cells.jsonl"), help="finished runs")
    parser.add_argument("--report", type=Path, default=None, help="folder for figures and tables")
    options = parser.parse_args()
    options.series = FAST_SERIES if options.fast else None
    if options.fast:
        options.steps = FAST_STEPS
    return options


# ----------------------------------------------------------------------------------------- the sets


def load_tasks(options: argparse.Namespace) -> list[Task]:
    """The sets asked for, or what stands in for them where the test parts are not to be seen."""
    tasks = []
    for name in options.sets:
        if name in KINDS:
            seed = OTHER_DRAW if options.held_out else DATA_SEED
            table, truth = make_growth_series(name, SERIES, LENGTH, NOISE, seed=seed)
            tasks.append(hold_out(name, build_panel(table), build_panel(truth), HORIZON))
        elif name == "M3 yearly":
            group = next(group for group in load_groups("M3") if group.name == "yearly")
            known = [group.train] if options.held_out else [group.train, group.test]
            panel = build_panel(pd.concat(known))
            tasks.append(hold_out(name, panel, panel, group.horizon))
        elif options.population is not None:
            panel = build_panel(pd.read_csv(options.population, usecols=["unique_id", "ds", "y"]))
            if options.held_out:
                panel = drop_last(panel, POPULATION_HORIZON)
            tasks.append(hold_out(name, panel, panel, POPULATION_HORIZON))
    return tasks


def hold_out(name: str, panel: Panel, truth: Panel, h: int) -> Task:
    """Take the last ``h`` steps away, and keep what they truly are."""
    future = [y[-h:] for y in np.split(truth.y_S, truth.starts_N1[1:-1])]
    return Task(name, drop_last(panel, h), np.stack(future))


def shorten(task: Task, n_series: int | None) -> Task:
    """The first few series of a set."""
    few = np.arange(task.past.n_series)[:n_series]
    return Task(task.name, take_series(task.past, few), task.future_NH[few])


# ----------------------------------------------------------------------------------------- the runs


def run(job: Job, task: Task, out: Path) -> None:
    """Train, forecast and judge, in a process of its own; the outcome is a line of a file."""
    started = time.process_time()
    try:
        errors, ended = judge(task, forecast(job, task)), "finished"
    except ExpLSTMError as error:
        if error.code not in DIVERGED:
            raise
        errors, ended = {}, error.code
    seconds = round(time.process_time() - started, 2)
    with out.open("a") as lines:
        lines.write(json.dumps(asdict(job) | errors | {"ended": ended, "cpu": seconds}) + "\n")


def forecast(job: Job, task: Task) -> np.ndarray:
    """Forecasts (N, H) of one training from scratch."""
    space = dict(SPACES[job.space])
    growth = space.pop("growth")
    model = ExpLSTM(
        backend="torch",
        init="random",
        spec=ModelSpec(**NETWORK, **CELLS[job.cell], **space),
        growth=growth,
        season_length=1,
        freq=task.past.freq,
        random_seed=job.seed,
        learning_rate=job.learning_rate,
        max_steps=job.max_steps,
        **TRAINING,
    )
    model.fit(panel_frame(task.past), h=task.future_NH.shape[1])
    y_NH = model.predict()["ExpLSTM"].to_numpy().reshape(task.future_NH.shape)
    if not np.isfinite(y_NH).all():
        raise ExpLSTMError("NOT_FINITE", "a forecast is not a finite number.")
    return y_NH


def judge(task: Task, forecast_NH: np.ndarray) -> dict[str, float]:
    """SMAPE and MASE of the first step and of all steps."""
    histories = np.split(task.past.y_S, task.past.starts_N1[1:-1])
    step_N = np.array([np.mean(np.abs(np.diff(y))) for y in histories])
    scaled_NH = np.abs(task.future_NH - forecast_NH)[step_N > 0] / step_N[step_N > 0, None]
    return {
        "smape_one": smape(task.future_NH[:, :1], forecast_NH[:, :1]),
        "smape_multi": smape(task.future_NH, forecast_NH),
        "mase_one": float(scaled_NH[:, 0].mean()),
        "mase_multi": float(scaled_NH.mean()),
    }


def score_baselines(task: Task) -> pd.DataFrame:
    """The forecasts without training, on the same series."""
    naive = naive_forecasts(task.past, task.future_NH.shape[1], season_length=1)
    names = ("Naive", "Drift", "LogDrift")
    return pd.DataFrame(
        [{"set": task.name, "model": name, **judge(task, naive[name])} for name in names]
    )


def read_runs(out: Path) -> dict[Job, dict]:
    """The finished runs of a file."""
    if not out.exists():
        return {}
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    fields = Job.__dataclass_fields__
    return {Job(**{name: row[name] for name in fields}): row for row in rows}


if __name__ == "__main__":
    main()

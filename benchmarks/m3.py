"""How good is one LSTM on the M3 competition, trained from scratch on each frequency or fine-tuned?

    python benchmarks/m3.py --backend torch              # the figures of the README
    python benchmarks/m3.py --backend torch --fine-tune  # from the pretrained model
    python benchmarks/m3.py --fine-tune --competition Tourism
    python benchmarks/m3.py --backend torch --held-out   # where the settings were chosen

Every frequency is trained on its own training series only, once per seed; the median of the seeds
is the forecast reported, and single seeds are shown beside it. The error is the competition's, the
mean over all forecasts, series by horizon: sMAPE for M3, MAPE for Tourism, which is for fine-tuning
only. Prints a table and writes it as JSON.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from processes import WORKERS, run_jobs

from explstm.datasets.competitions import Group, load_groups

# Chosen on the held-out ends of the training series (--held-out), never on the test part.
SETTINGS: dict[str, dict] = {
    "yearly": {"max_steps": 200, "reflection": 0.5, "scale_weight": 1.0},
    "quarterly": {"max_steps": 300, "reflection": 0.5, "scale_weight": 1.0},
    "monthly": {"max_steps": 600, "reflection": 0.3, "scale_weight": 0.5},
    "other": {"max_steps": 300, "reflection": 0.3, "scale_weight": 1.0},
}


FINE_TUNING: dict = {"init": "pretrained"}  # and the defaults


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=("torch", "tensorflow"), default="torch")
    parser.add_argument("--competition", choices=ERRORS, default="M3")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--held-out", action="store_true", help="score held-out ends instead")
    parser.add_argument("--fine-tune", action="store_true", help="start from the pretrained model")
    parser.add_argument("--groups", nargs="*", help="all unless given")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=JSON", help="try a setting")
    parser.add_argument("--out", type=Path, default=None, help="JSON file to write")
    options = parser.parse_args()
    if options.competition != "M3" and not options.fine_tune:
        parser.error("there are settings from scratch for M3 only; add --fine-tune")
    tried = {key: json.loads(value) for key, value in (pair.split("=") for pair in options.set)}

    started = time.monotonic()
    groups = {
        group.name: group.held_out() if options.held_out else group
        for group in load_groups(options.competition)
        if options.groups is None or group.name in options.groups
    }
    largest_first = sorted(groups, key=lambda name: -len(groups[name].train))
    jobs = [
        (
            options.backend,
            groups[name],
            seed,
            (FINE_TUNING if options.fine_tune else SETTINGS[name]) | tried,
        )
        for name in largest_first
        for seed in range(1, options.seeds + 1)
    ]
    forecasts = run_jobs(forecast_group, jobs, options.workers)
    rows = [
        score(
            groups[name],
            [f for f, job in zip(forecasts, jobs, strict=True) if job[1].name == name],
            ERRORS[options.competition],
        )
        for name in sorted(groups)
    ]
    rows.append(average(rows))
    seconds = time.monotonic() - started
    report(rows, options, seconds)


def forecast_group(backend: str, group: Group, seed: int, settings: dict) -> np.ndarray:
    """Train on a group and forecast it (N, H), in a process of its own."""
    from explstm import ExpLSTM, ModelSpec

    network = {key: settings[key] for key in settings if key in ModelSpec.model_fields}
    training = {key: settings[key] for key in settings if key not in network}
    scratch = {} if "init" in settings else {"init": "random", "spec": ModelSpec(**network)}
    model = ExpLSTM(
        backend=backend,
        season_length=group.season_length,
        random_seed=seed,
        **scratch,
        **training,
    )
    forecast = model.fit(group.train, h=group.horizon).predict()
    wanted = group.test[["unique_id", "ds"]]
    return wanted.merge(forecast, how="left")["ExpLSTM"].to_numpy().reshape(-1, group.horizon)


def smape(actual: np.ndarray, forecast: np.ndarray) -> float:
    """Symmetric mean absolute percentage error of the M3 competition, 0 to 200."""
    return float(np.mean(200 * np.abs(actual - forecast) / (np.abs(actual) + np.abs(forecast))))


def mape(actual: np.ndarray, forecast: np.ndarray) -> float:
    """Mean absolute percentage error of the Tourism competition."""
    return float(np.mean(100 * np.abs(actual - forecast) / np.abs(actual)))


ERRORS = {"M3": smape, "Tourism": mape}


def score(group: Group, forecasts: list[np.ndarray], error: Callable) -> dict:
    """Errors of the single seeds, of their median, and of the simple forecasts."""
    actual = group.actuals_NH()
    histories = [y.to_numpy() for _, y in group.train.groupby("unique_id", sort=False)["y"]]
    season, h = group.season_length, group.horizon
    naive = np.array([np.repeat(y[-1], h) for y in histories])
    seasonal = np.array([np.resize(y[-min(season, len(y)) :], h) for y in histories])
    drift = np.array(
        [y[-1] + (y[-1] - y[0]) / (len(y) - 1) * np.arange(1, h + 1) for y in histories]
    )
    return {
        "group": group.name,
        "forecasts": actual.size,
        "Naive": error(actual, naive),
        "SeasonalNaive": error(actual, seasonal),
        "Drift": error(actual, drift),
        "seeds": [error(actual, forecast) for forecast in forecasts],
        "median": error(actual, np.median(forecasts, axis=0)),
    }


def average(rows: list[dict]) -> dict:
    """The competition's average: over all forecasts."""
    weights = [row["forecasts"] for row in rows]
    mean = {
        key: float(np.average([row[key] for row in rows], weights=weights))
        for key in ("Naive", "SeasonalNaive", "Drift", "median")
    }
    seeds = np.average([row["seeds"] for row in rows], axis=0, weights=weights)
    return {"group": "all", "forecasts": sum(weights), **mean, "seeds": seeds.tolist()}


def report(rows: list[dict], options: argparse.Namespace, seconds: float) -> None:
    """Print the table and write it as JSON."""
    part = "held-out ends of the training series" if options.held_out else "test part"
    start = "fine-tuned" if options.fine_tune else "from scratch"
    error = ERRORS[options.competition].__name__
    print(f"{options.competition}, {part}, {options.backend}, {start}, {error}")
    print("| group | forecasts | Naive | seasonal naive | drift | single seeds | median of seeds |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        seeds = ", ".join(f"{value:.2f}" for value in row["seeds"])
        print(
            f"| {row['group']} | {row['forecasts']} | {row['Naive']:.2f} "
            f"| {row['SeasonalNaive']:.2f} | {row['Drift']:.2f} | {seeds} "
            f"| **{row['median']:.2f}** |"
        )
    print(f"{seconds:.0f} s with {options.workers} processes")
    if options.out is not None:
        facts = {
            "part": part,
            "backend": options.backend,
            "settings": FINE_TUNING if options.fine_tune else SETTINGS,
            "seconds": seconds,
            "python": platform.python_version(),
            "rows": rows,
        }
        options.out.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()

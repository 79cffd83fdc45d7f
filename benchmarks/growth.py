"""Does growth space help an LSTM on series that grow? Ours against the LSTM of the usual tutorial.

    python benchmarks/growth.py
    python benchmarks/growth.py --population population.csv.gz   # and yearly population by country

Generated exponential, logistic and linear growth, the last ``--horizon`` steps held out. Both LSTMs
are trained from scratch, on all series of a set together ("pooled") and on each series alone (on
the first ``--alone`` series), once per seed, beside the naive forecasts on the same series. The
error is sMAPE in per cent, mean (and standard deviation) over the seeds; generated series are
judged by their path without noise. Settings were chosen on series drawn with another seed. The
population panel (World Bank, columns unique_id, ds, y) is made from github.com/datasets/population.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from m3 import smape
from tutorial_lstm import forecast_tutorial

from explstm import ExpLSTM
from explstm.baselines import naive_forecasts
from explstm.datasets import make_growth_series
from explstm.frame import Panel, build_panel, drop_last, panel_frame, take_series

KINDS = ("exponential", "logistic", "linear")
LENGTH, NOISE, DATA_SEED = 120, 0.02, 2026
SETTINGS = {"pooled": {"max_steps": 600}, "alone": {"max_steps": 300}}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=("torch", "tensorflow"), default="torch")
    parser.add_argument("--series", type=int, default=100, help="series in each set")
    parser.add_argument("--alone", type=int, default=10, help="series also trained on alone")
    parser.add_argument("--horizon", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--population", type=Path, default=None, help="CSV with unique_id, ds, y")
    parser.add_argument("--out", type=Path, default=None, help="JSON file to write")
    options = parser.parse_args()
    started = time.monotonic()
    rows = [
        compare(name, panel, truth, horizon, options)
        for name, panel, truth, horizon in load_sets(options)
    ]
    report(rows, time.monotonic() - started)
    if options.out is not None:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


def load_sets(options: argparse.Namespace) -> list[tuple[str, Panel, Panel, int]]:
    """Name, series, what they are judged by, and horizon of every set."""
    sets = []
    for kind in KINDS:
        table, truth = make_growth_series(kind, options.series, LENGTH, NOISE, seed=DATA_SEED)
        sets.append((kind, build_panel(table), build_panel(truth), options.horizon))
    if options.population is not None:
        table = pd.read_csv(options.population)
        panel = build_panel(table, freq=None if table["ds"].dtype != "int64" else 1)
        every = max(1, panel.n_series // options.series)
        panel = take_series(panel, np.arange(0, panel.n_series, every))
        sets.append(("population", panel, panel, 10))
    return sets


def compare(name: str, panel: Panel, truth: Panel, h: int, options: argparse.Namespace) -> dict:
    """Score every forecast on one set by sMAPE: a number, or one per seed."""
    row: dict = {"set": name, "horizon": h}
    for fit, n_series in (("alone", options.alone), ("pooled", panel.n_series)):
        shown = np.arange(min(n_series, panel.n_series))
        past = drop_last(take_series(panel, shown), h)
        judged = take_series(truth, shown)
        actual_Nh = np.stack([y[-h:] for y in np.split(judged.y_S, judged.starts_N1[1:-1])])
        naive = naive_forecasts(past, h, season_length=1)
        errors: dict = {
            baseline: smape(actual_Nh, naive[baseline])
            for baseline in ("Naive", "Drift", "LogDrift")
        }
        histories = np.split(past.y_S, past.starts_N1[1:-1])
        seeds = range(1, options.seeds + 1)
        errors["tutorial"] = [
            smape(actual_Nh, forecast_tutorial(histories, h, seed, pooled=fit == "pooled"))
            for seed in seeds
        ]
        errors["ExpLSTM"] = [
            smape(actual_Nh, forecast_ours(past, h, seed, options.backend, fit)) for seed in seeds
        ]
        row[fit] = {"series": len(shown), "errors": errors}
    return row


def forecast_ours(past: Panel, h: int, seed: int, backend: str, fit: str) -> np.ndarray:
    """Train on all series together, or on each alone, and forecast them (N, h)."""
    members = [take_series(past, [i]) for i in range(past.n_series)] if fit == "alone" else [past]
    settings = {"backend": backend, "season_length": 1, "freq": past.freq, **SETTINGS[fit]}
    forecasts = [
        ExpLSTM(random_seed=seed, **settings).fit(panel_frame(member), h=h).predict()["ExpLSTM"]
        for member in members
    ]
    return np.concatenate(forecasts).reshape(-1, h)


def report(rows: list[dict], seconds: float) -> None:
    """Print the table, and say where ours does not halve the tutorial's error."""
    names = list(rows[0]["pooled"]["errors"])
    print("sMAPE, mean (standard deviation) over the seeds")
    print(f"| set | trained on | h | {' | '.join(names)} | ExpLSTM / tutorial | halved? | best? |")
    print("|" + "---|" * (len(names) + 6))
    for row in rows:
        for fit in ("pooled", "alone"):
            errors, n_series = row[fit]["errors"], row[fit]["series"]
            ours, theirs = np.mean(errors["ExpLSTM"]), np.mean(errors["tutorial"])
            best = min(errors[baseline] for baseline in ("Naive", "Drift", "LogDrift"))
            cells = [
                row["set"],
                f"{n_series} together" if fit == "pooled" else f"each of {n_series} alone",
                str(row["horizon"]),
                *(_cell(errors[name]) for name in names),
                f"{ours / theirs:.2f}",
                "yes" if ours <= theirs / 2 else "**no**",
                "yes" if ours < min(best, theirs) else "**no**",
            ]
            print(f"| {' | '.join(cells)} |")
    print(f"{seconds:.0f} s")


def _cell(errors: float | list[float]) -> str:
    if isinstance(errors, float):
        return f"{errors:.2f}"
    return f"{np.mean(errors):.2f} ({np.std(errors, ddof=1) if len(errors) > 1 else 0.0:.2f})"


if __name__ == "__main__":
    main()

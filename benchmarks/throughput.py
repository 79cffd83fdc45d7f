"""How long does a forecast take from call to result, how much memory, for 1 to 100,000 series?

    python benchmarks/throughput.py                      # with 100,000 series: a quarter of an hour
    python benchmarks/throughput.py --sizes 1 1000       # quick
    python benchmarks/throughput.py --sizes 1 --classical 0

Monthly series that grow, 120 points each, made from a seed, 12 steps ahead, by a saved model of the
default network (trained for two steps: its speed does not depend on its weights) in NumPy. Every
measurement runs in a process of its own on one thread, and the medians of the repeats are shown.
AutoETS and AutoTheta of statsforecast forecast some of the same series, on one thread too, after
their functions were compiled on two other series.

*Command* is the whole process of ``explstm forecast FILE --model DIR``, from its start to its end.
*Call* is ``ExpLSTM.predict(df)`` alone; the table is read by pandas before. Stages: CSV to table,
table to panel, panel to growth space, network, writing of the forecast; the rest is start-up, the
way back to data units, the table of forecasts and the hash of the file. Stages and throughput are
in seconds of CPU time, which other work on the machine hardly changes; on an idle machine a process
of one thread takes no longer than that, apart from the disk. Peak memory is that of the process.
"""

import argparse
import contextlib
import functools
import importlib
import io
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from explstm.apart import THREADS

SIZES = (1, 1_000, 10_000, 100_000)
REPEATS = {1: 7}  # of all others 5
POINTS, HORIZON, SEASON = 120, 12, 12
WRITTEN_TOGETHER = 2_000
STAGES = {
    "read": ["reading.read_table"],
    "panel": ["frame.build_panel", "forecaster.build_panel"],
    "growth space": ["prediction.to_growth_space"],
    "network": ["models.numpy_engine.NumpyEngine.predict_last"],
    "write": ["runfolder.RunFolder.write_table"],
}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--classical", type=int, default=200, help="series; 0 leaves them out")
    parser.add_argument("--out", type=Path, default=None, help="JSON file to write")
    parser.add_argument("--child", nargs="+", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, *arguments = options.child
        print(json.dumps(CHILDREN[name](*arguments)))
        return
    rows, peers = [], {}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model")
        run_child("make_model", model)
        for size in options.sizes:
            file = Path(folder, f"{size}.csv")
            run_child("make_file", file, size)
            for way in ("command", "call"):
                repeats = range(REPEATS.get(size, 5))
                results = [run_child(way, file, model) for _ in repeats]
                rows.append({"way": way, "series": size} | summarise(results))
                print(f"{way} {size}: {rows[-1]['total']:.2f} s", file=sys.stderr)
            file.unlink()
        if options.classical:
            file = Path(folder, "sample.csv")
            run_child("make_file", file, options.classical)
            peers = run_child("classical", file)["seconds"]
    report(rows, {name: options.classical / seconds for name, seconds in peers.items()})
    if options.out is not None:
        facts = {
            "python": platform.python_version(),
            "points": POINTS,
            "horizon": HORIZON,
            "rows": rows,
            "classical": {"series": options.classical, "seconds": peers},
        }
        options.out.write_text(json.dumps(facts, indent=1) + "\n")


def run_child(*arguments: object) -> dict:
    """Run one function in a fresh process of one thread; what it returns, else the process's total.

    This process stays small, because the peak of a child begins at the memory of its parent.
    """
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--child", *map(str, arguments)],
        env=os.environ | dict.fromkeys(THREADS, "1"),
        check=True,
        stdout=subprocess.PIPE,
    )
    seconds = time.perf_counter() - started
    return {"total": seconds} | json.loads(done.stdout.splitlines()[-1])


def summarise(results: list[dict]) -> dict:
    """Medians over the repeats; the largest peak."""
    keys = [*STAGES, "total", "cpu"]
    row = {key: statistics.median(result[key] for result in results) for key in keys}
    row["rest"] = row["cpu"] - sum(row[stage] for stage in STAGES)
    return row | {"peak_mb": max(result["peak_mb"] for result in results), "repeats": len(results)}


# ----------------------------------------------------------------------------- in a fresh process


def make_file(file: str, size: str) -> dict:
    """Write monthly series with trend, season and noise, each of its own growth, block by block."""
    rng, time_T = np.random.default_rng(1), np.arange(POINTS)
    months = np.datetime64("2015-01") + time_T
    dates = [f"{month}-01" for month in months]
    with open(file, "w") as out:
        out.write("unique_id,ds,y\n")
        for first in range(0, int(size), WRITTEN_TOGETHER):
            n = min(WRITTEN_TOGETHER, int(size) - first)
            season_BT = 0.1 * rng.standard_normal((n, SEASON))[:, time_T % SEASON]
            walk_BT = np.cumsum(0.03 * rng.standard_normal((n, POINTS)), axis=1)
            level_B1, rate_B1 = rng.uniform(2, 8, (n, 1)), rng.uniform(0, 0.03, (n, 1))
            y_BT = np.exp(level_B1 + rate_B1 * time_T + walk_BT + season_BT)
            for series, y_T in enumerate(y_BT.tolist(), start=first):
                rows = (f"s{series:06},{ds},{y:.9g}\n" for ds, y in zip(dates, y_T, strict=True))
                out.write("".join(rows))
    return {}


def make_model(model: str) -> dict:
    """Save a model of the default network for monthly series."""
    from explstm import ExpLSTM
    from explstm.datasets import load_air_passengers

    ExpLSTM(backend="torch", init="random", max_steps=2).fit(load_air_passengers(), h=HORIZON).save(
        model
    )
    return {}


def command(file: str, model: str) -> dict:
    """The command from the start of the process; its stages, CPU time and peak memory."""
    from explstm import cli

    seconds = time_stages()
    out = Path(file).with_suffix(".run")
    arguments = ["forecast", file, "--horizon", str(HORIZON), "--model", model, "--out", str(out)]
    with contextlib.redirect_stdout(io.StringIO()):
        exit_code = cli.run([*arguments, "--force"])
    assert exit_code == 0
    return seconds | {"cpu": time.process_time(), "peak_mb": peak_mb()}


def call(file: str, model: str) -> dict:
    """One call of predict; its stages, CPU time and peak memory."""
    import pandas as pd

    from explstm import ExpLSTM

    forecaster = ExpLSTM.load(model)
    df = pd.read_csv(file, parse_dates=["ds"])
    seconds = time_stages()
    started, cpu = time.perf_counter(), time.process_time()
    forecaster.predict(df, h=HORIZON)
    return seconds | {
        "total": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
        "peak_mb": peak_mb(),
    }


def classical(file: str) -> dict:
    """Seconds of CPU time that statsforecast's automatic models take for a file."""
    import pandas as pd
    from statsforecast import StatsForecast
    from statsforecast.models import AutoETS, AutoTheta

    df = pd.read_csv(file, parse_dates=["ds"])
    warm = df.head(2 * POINTS)
    seconds = {}
    for model in (AutoETS(season_length=SEASON), AutoTheta(season_length=SEASON)):
        for table in (warm.assign(y=warm["y"][::-1].to_numpy()), df):
            started = time.process_time()
            StatsForecast(models=[model], freq="MS", n_jobs=1).forecast(df=table, h=HORIZON)
            seconds[type(model).__name__] = time.process_time() - started
    return {"seconds": seconds}


def peak_mb() -> float:
    """Largest memory this process has held, in 10**6 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


CHILDREN = {child.__name__: child for child in (make_file, make_model, command, call, classical)}


def time_stages() -> dict[str, float]:
    """Let the functions of every stage add their CPU time to the dictionary returned."""
    seconds = dict.fromkeys(STAGES, 0.0)

    def timed(function, stage):
        @functools.wraps(function)
        def run(*arguments, **options):
            started = time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                seconds[stage] += time.process_time() - started

        return run

    for stage, names in STAGES.items():
        for name in names:
            place, _, attribute = f"explstm.{name}".rpartition(".")
            try:
                owner = importlib.import_module(place)
            except ModuleNotFoundError:  # a class
                module, _, kind = place.rpartition(".")
                owner = getattr(importlib.import_module(module), kind)
            setattr(owner, attribute, timed(getattr(owner, attribute), stage))
    return seconds


# ------------------------------------------------------------------------------------------ report


def report(rows: list[dict], peers: dict[str, float]) -> None:
    """Print a table for each way, and the throughput beside that of the classical models."""
    columns = [*STAGES, "rest", "CPU s", "wall s", "CPU ms per series", "peak MB"]
    for way, title in (("command", "`explstm forecast`"), ("call", "`ExpLSTM.predict(df)`")):
        print(f"\n| {title}, series | {' | '.join(columns)} |")
        print("|---" * (len(columns) + 1) + "|")
        for row in (row for row in rows if row["way"] == way):
            seconds = " | ".join(f"{row[key]:.2f}" for key in (*STAGES, "rest", "cpu", "total"))
            each = f"{1e3 * row['cpu'] / row['series']:.2f}"
            print(f"| {row['series']:,} | {seconds} | {each} | {row['peak_mb']:.0f} |")
    print("\n| series per second of CPU time | ExpLSTM |", end="")
    print("".join(f" {name} | times {name} |" for name in peers))
    print("|---" * (2 + 2 * len(peers)) + "|")
    for row in (row for row in rows if row["way"] == "call"):
        speed = row["series"] / row["cpu"]
        ratios = "".join(f" {peer:.1f} | {speed / peer:,.0f} |" for peer in peers.values())
        print(f"| call, {row['series']:,} series | {speed:,.0f} |{ratios}")


if __name__ == "__main__":
    main()

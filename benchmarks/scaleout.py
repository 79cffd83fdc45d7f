"""Many series in many files: one plain process, processes of this machine, a Ray cluster.

    python benchmarks/scaleout.py                            # 100,000 series of 60 points, 64 files
    python benchmarks/scaleout.py --series 1000000           # needs some gigabytes of disk
    python benchmarks/scaleout.py --engines plain local      # without Ray

Generates the series, forecasts 12 steps and two levels by each engine in a process of its own, and
prints series per second, from the start of that process to its end, and the peak memory of each
kind of process. The plain process reads one file after the other, forecasts it and writes it. Every
row of every engine is compared with that of the plain process, and the files of the engines with
each other.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from explstm.apart import THREADS

H, LEVEL = 12, [80, 95]
STEPS = 60
N_COLUMNS = 1 + 2 * len(LEVEL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--files", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rows-per-part", type=int, default=1_000_000)
    parser.add_argument("--engines", nargs="+", default=["plain", "local", "ray"])
    parser.add_argument("--folder", help="where to keep everything; else it is removed")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        run_child(*asked.child, asked)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(asked.folder or temporary)
        data = make_data(folder / "data", asked.series, asked.files)
        rows, tables = [], {}
        for engine in asked.engines:
            rows.append(measure(engine, data, folder / engine, asked))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
            tables[engine] = read_table(folder / engine, asked.series)
        print(f"{asked.series:,} series of {STEPS} points in {asked.files} files, h={H}, {LEVEL}\n")
        print(pd.DataFrame(rows).to_string(index=False))
        compare(tables, folder)


def make_data(folder: Path, n_series: int, n_files: int) -> Path:
    """Monthly series that grow, each within one file."""
    if folder.exists():
        return folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    ds_T = pd.date_range("2020-01-01", periods=STEPS, freq="MS")
    for number, places in enumerate(np.array_split(np.arange(n_series), n_files)):
        shape = (len(places), STEPS)
        y_NT = np.exp(rng.normal(5, 2, (len(places), 1)) + rng.normal(0.01, 0.05, shape).cumsum(1))
        table = pd.DataFrame(
            {
                "unique_id": np.repeat([f"series-{place:09d}" for place in places], STEPS),
                "ds": np.tile(ds_T, len(places)),
                "y": y_NT.ravel(),
            }
        )
        table.to_parquet(folder / f"file-{number:05d}.parquet", index=False)
    return folder


def measure(engine: str, data: Path, out: Path, asked: argparse.Namespace) -> dict:
    """Run an engine in a process of its own, and watch it and what it starts."""
    told = out.with_suffix(".json")
    command = [
        *(sys.executable, __file__, "--workers", str(asked.workers)),
        *("--rows-per-part", str(asked.rows_per_part)),
        *("--child", engine, str(data), str(out), str(told)),
    ]
    began = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | dict.fromkeys(THREADS, "1"))
    peaks: dict[str, float] = {}
    watch = threading.Thread(target=watch_memory, args=(process, peaks))
    watch.start()
    process.wait()
    seconds = time.perf_counter() - began
    watch.join()
    if process.returncode:
        raise SystemExit(f"{engine} failed")
    stages = json.loads(told.read_text())
    return {
        "engine": engine,
        "seconds": round(seconds, 1),
        "series/s": round(asked.series / seconds),
        **{
            stage: round(stages.get(stage, float("nan")), 1) for stage in ("cutting", "forecasting")
        },
        **{f"{kind} MiB": round(peaks.get(kind, 0)) for kind in ("driver", "worker", "others")},
    }


def run_child(engine: str, data: str, out: str, told: str, asked: argparse.Namespace) -> None:
    stages: dict[str, float] = {}
    if engine == "plain":
        forecast_plainly(Path(data), Path(out))
    else:
        from explstm import scaleout

        scaleout.forecast(
            data, out, H, LEVEL,
            engine=engine, workers=asked.workers, rows_per_part=asked.rows_per_part,
            on_progress=lambda now: stages.update({now.stage: now.seconds}),
        )  # fmt: skip
    Path(told).write_text(json.dumps(stages))


def forecast_plainly(data: Path, out: Path) -> None:
    from explstm import ExpLSTM

    (out / "forecast").mkdir(parents=True)
    model = ExpLSTM()
    for path in sorted(data.iterdir()):
        forecast = model.predict(pd.read_parquet(path), H, LEVEL)
        forecast.to_parquet(out / "forecast" / path.name, index=False)


def watch_memory(process: subprocess.Popen, peaks: dict[str, float]) -> None:
    """Note the peaks of the driver, of the largest worker, and of all others together."""
    others: dict[int, float] = {}
    while process.poll() is None:
        try:
            below = psutil.Process(process.pid).children(recursive=True)
        except psutil.Error:
            break
        peaks["driver"] = max(peaks.get("driver", 0), read_peak(process.pid))
        for one in below:
            try:
                line = " ".join(one.cmdline())
            except psutil.Error:
                continue
            if "spawn_main" in line or "ray::do_task" in line or "ray::IDLE" in line:
                peaks["worker"] = max(peaks.get("worker", 0), read_peak(one.pid))
            else:
                others[one.pid] = max(others.get(one.pid, 0), read_peak(one.pid))
        time.sleep(0.25)
    peaks["others"] = sum(others.values())


def read_peak(pid: int) -> float:
    """Largest resident memory of a process, in MiB; 0 where it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return int(found[1]) / 1024 if found else 0.0


def read_table(out: Path, n_series: int) -> np.ndarray:
    """Every forecast at the place of its series and step; each must come once."""
    table = np.full((n_series, H, N_COLUMNS), np.nan)
    seen = np.zeros((n_series, H), dtype=int)
    for path in (out / "forecast").iterdir():
        part = pd.read_parquet(path)
        series = part["unique_id"].str[-9:].astype(int).to_numpy()
        month = part["ds"].dt.year * 12 + part["ds"].dt.month - 1
        step = month.to_numpy() - (2020 * 12 + STEPS)
        np.add.at(seen, (series, step), 1)
        table[series, step] = part.iloc[:, 2:].to_numpy()
    if not (seen == 1).all():
        raise SystemExit(f"{out}: {(seen == 0).sum()} rows lost, {(seen > 1).sum()} doubled")
    return table


def compare(tables: dict[str, np.ndarray], folder: Path) -> None:
    first, *others = tables
    for engine in others:
        largest = np.abs(tables[engine] / tables[first] - 1).max()
        same = (tables[engine] == tables[first]).mean()
        print(f"{engine} and {first}: {same:.4%} of all numbers equal, at most {largest:.1e} apart")
    in_parts = [engine for engine in tables if engine != "plain"]
    files = [
        {path.name: path.read_bytes() for path in (folder / engine / "forecast").iterdir()}
        for engine in in_parts
    ]
    if len(files) > 1:
        equal = all(one == files[0] for one in files[1:])
        print(f"files of {' and '.join(in_parts)}: {'the same' if equal else 'NOT the same'} bytes")


if __name__ == "__main__":
    main()

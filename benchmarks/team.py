"""Two workers of a Ray cluster against one process: the same weights, and what a step costs.

    python benchmarks/team.py                       # 2,000 series of 60 points, both frameworks
    python benchmarks/team.py --series 100000 --backends torch --steps 20   # memory of a worker

Generates the series, trains a network from scratch in one process and on two workers, first for ten
steps and then to the end, and prints how far the weights and the validation losses lie apart, the
median time of a step, and the peak memory of a worker.
"""

import argparse
import tempfile
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from explstm import ExpLSTM, ModelSpec
from explstm.scaleout import train
from explstm.scaleout.ray_engine import open_ray
from scaleout import make_data, read_peak

H = 12
FILES = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--series", type=int, default=2_000)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--backends", nargs="+", default=["torch", "tensorflow"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, open_ray(2, None):
        folder = Path(temporary)
        data = make_data(folder / "data", asked.series, FILES)
        rows = [
            compare(backend, steps, data, folder / f"{backend}-{steps}", asked.batch_size)
            for backend in asked.backends
            for steps in dict.fromkeys((10, asked.steps))
        ]
    print(f"{asked.series:,} series of 60 points, h={H}, batches of {asked.batch_size} series\n")
    print(pd.DataFrame(rows).to_string(index=False))


def compare(backend: str, steps: int, data: Path, checkpoints: Path, batch_size: int) -> dict:
    """Train in one process and on two workers."""
    spec = ModelSpec(hidden_sizes=(32, 32))
    model = ExpLSTM(
        backend=backend,
        init="random",
        spec=spec,
        max_steps=steps,
        batch_size=batch_size,
        val_size=H,
    )
    one = ExpLSTM(**model.get_params()).fit(pd.read_parquet(data), H)
    peaks: dict[int, float] = {}
    ended = threading.Event()
    watch = threading.Thread(target=watch_workers, args=(ended, peaks))
    watch.start()
    try:
        two = train(model, data, H, checkpoints=checkpoints).model
    finally:
        ended.set()
        watch.join()
    losses = [of.training_log_[-1].valid_loss for of in (one, two)]
    return {
        "backend": backend,
        "steps": steps,
        "weights apart": max(
            float(np.abs(two.weights_[name] - array).max()) for name, array in one.weights_.items()
        ),
        "validation": losses[0],
        "two workers": losses[1],
        "ms/step": median_step(one),
        "of two": median_step(two),
        "worker MiB": round(max(peaks.values())),
    }


def median_step(model: ExpLSTM) -> float:
    """Median time between two steps without a validation, in milliseconds."""
    log = model.training_log_
    times = [b.seconds - a.seconds for a, b in pairwise(log) if a.valid_loss is None]
    return round(1000 * float(np.median(times)), 1)


def watch_workers(ended: threading.Event, peaks: dict[int, float]) -> None:
    """Note the peak memory of every worker."""
    while not ended.wait(0.25):
        for one in psutil.process_iter(["cmdline"]):
            if "RayTrainWorker" in " ".join(one.info["cmdline"] or []):
                peaks[one.pid] = max(peaks.get(one.pid, 0), read_peak(one.pid))


if __name__ == "__main__":
    main()

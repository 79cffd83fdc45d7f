"""A training on two workers as a child to kill.

    python toy_training.py BACKEND DATA CHECKPOINTS ADDRESS

Prints every step that it is told of, then "done" and a digest of the weights.
"""

import hashlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from explstm import ExpLSTM, ModelSpec
from explstm.scaleout import training

H = 3
SPEC = ModelSpec(hidden_sizes=(6,), quantiles=(0.1, 0.5, 0.9))
SECONDS_PER_STEP = 0.05


@dataclass(frozen=True)
class SlowJob(training.FitJob):
    """A fit that takes long enough to be disturbed."""

    def run(self, folder, on_step, team):
        def tell_slowly(row):
            time.sleep(SECONDS_PER_STEP)
            if on_step is not None:
                on_step(row)

        return super().run(folder, tell_slowly, team)


def make_toy(backend: str, **changes) -> ExpLSTM:
    """A model that trains on batches of an odd number of series, and looks at what it holds out."""
    options = {"max_steps": 60, "val_check_steps": 5, "batch_size": 5, "val_size": H, **changes}
    return ExpLSTM(backend=backend, init="random", spec=SPEC, learning_rate=0.01, **options)


def train_toy(backend: str, data: Path, checkpoints, **options) -> training.Fitted:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "FitJob", SlowJob)
        options = {"workers": 2, "wait_seconds": 60, "checkpoints": checkpoints, **options}
        return training.train(make_toy(backend), data, H, **options)


def digest(model: ExpLSTM) -> str:
    arrays = (array for _, array in sorted(model.weights_.items()))
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


if __name__ == "__main__":
    backend, data, checkpoints, address = sys.argv[1:]
    fitted = train_toy(
        backend,
        Path(data),
        checkpoints,
        address=address,
        resume=True,
        on_step=lambda row: print(row.step, flush=True),
    )
    print("done", digest(fitted.model), flush=True)

"""A training on two workers as a child to kill: python toy_training.py BACKEND DATA CHECKPOINTS.

Prints every step, then "done" and a digest of the weights.
"""

import hashlib
import sys
from pathlib import Path

from explstm import ExpLSTM, ModelSpec
from explstm.scaleout import train

H = 3
SPEC = ModelSpec(hidden_sizes=(6,), quantiles=(0.1, 0.5, 0.9))


def make_toy(backend: str, **changes) -> ExpLSTM:
    options = {"max_steps": 30, "val_check_steps": 5, "batch_size": 5, "val_size": H, **changes}
    return ExpLSTM(backend=backend, init="random", spec=SPEC, learning_rate=0.01, **options)


def train_toy(backend: str, data: Path, checkpoints, model: ExpLSTM | None = None, **options):
    model = make_toy(backend) if model is None else model
    return train(model, data, H, checkpoints=checkpoints, workers=2, **options)


def digest(model: ExpLSTM) -> str:
    return hashlib.sha256(b"".join(a.tobytes() for _, a in sorted(model.weights_.items()))).hexdigest()


if __name__ == "__main__":
    backend, data, checkpoints = sys.argv[1:]
    fitted = train_toy(
        backend,
        Path(data),
        checkpoints,
        resume=True,
        on_step=lambda row: print(row.step, flush=True),
    )
    print("done", digest(fitted.model), flush=True)

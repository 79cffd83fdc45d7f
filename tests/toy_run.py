"""A small training run with dropout, early stopping and checkpoints; also run as a child to kill.

python toy_run.py BACKEND CHECKPOINT_DIR prints every step, then "done".
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from explstm.config import TrainingConfig
from explstm.models.engine import Engine, make_engine
from explstm.models.spec import ModelSpec, init_weights
from explstm.training import LogRow, TrainingResult, train

SPEC = ModelSpec(
    n_features=3,
    hidden_sizes=(4, 4),
    dense_sizes=(4,),
    batch_norm=True,
    horizon=2,
    quantiles=(0.1, 0.5, 0.9),
    dropout=0.2,
)
CONFIG = TrainingConfig(
    max_steps=40,
    learning_rate=0.02,
    lr_schedule="reduce_on_plateau",
    val_size=2,
    val_check_steps=4,
    early_stop_patience=6,
    random_seed=3,
)


@dataclass(frozen=True)
class ToyBatch:
    """What an engine needs of a batch."""

    features_BTF: np.ndarray
    origins_BT: np.ndarray
    targets_RH: np.ndarray
    weights_RH: np.ndarray


class ToyBatches:
    """Targets are sums of features; every batch is a pure function of the step."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def batch(self, step: int) -> ToyBatch:
        rng = np.random.default_rng((self.seed, step))
        features_BTF = rng.normal(size=(4, 6, 3)).astype(np.float32)
        targets_RH = features_BTF.sum(axis=2).reshape(-1, 1).repeat(2, axis=1)
        return ToyBatch(
            features_BTF, np.ones((4, 6), dtype=bool), targets_RH, np.ones_like(targets_RH)
        )


def validate(engine: Engine) -> float:
    return engine.evaluate(ToyBatches().batch(10**6))


def run_toy(
    backend: str, folder: Path | None, *, resume: bool = False, on_step=None
) -> TrainingResult:
    engine = make_engine(backend, SPEC, init_weights(SPEC, 3))
    return train(
        engine,
        ToyBatches(),
        CONFIG,
        validate=validate,
        checkpoint_dir=folder,
        resume=resume,
        on_step=on_step,
    )


def print_step(row: LogRow) -> None:
    print(row.step, flush=True)


if __name__ == "__main__":
    run_toy(sys.argv[1], Path(sys.argv[2]), resume=True, on_step=print_step)
    print("done", flush=True)

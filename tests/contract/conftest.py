"""Networks and batches that every engine is put through; the suite of one contract.

Axis letters: B series, T time, F features, R origins, H horizon, Q quantiles.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from explstm.models.engine import Engine, OptimizerConfig, make_engine
from explstm.models.losses import LossConfig
from explstm.models.numpy_engine import NumpyEngine
from explstm.models.spec import ModelSpec, Weights, init_weights
from explstm.origins import Batch

TRAINING_BACKENDS = ("torch", "tensorflow")
BACKENDS = ("numpy", *TRAINING_BACKENDS)
MSE = LossConfig("mse", 1.0)
PINBALL = LossConfig("pinball", 1.0)
SGD = OptimizerConfig("sgd", 0.0, 0.0, 1e-8, 0.0, None)
ADAM = OptimizerConfig("adam", 0.9, 0.999, 1e-8, 0.0, None)
ADAMW = replace(ADAM, name="adamw", weight_decay=0.1)

_BASE = {"n_features": 3, "horizon": 4, "quantiles": (0.1, 0.4, 0.5, 0.9)}
SPECS = {
    "one_layer": ModelSpec(**_BASE, hidden_sizes=(5,)),
    "two_layers": ModelSpec(**_BASE, hidden_sizes=(6, 4)),
    "three_layers": ModelSpec(**_BASE, hidden_sizes=(4, 5, 3), residual=False),
    "custom_cell": ModelSpec(
        **_BASE, hidden_sizes=(5, 4), activation="elu", recurrent_activation="hard_sigmoid"
    ),
    "own_output": ModelSpec(
        **_BASE, hidden_sizes=(5, 4), activation="silu", output_activation="softsign"
    ),
    "slstm": ModelSpec(**_BASE, cell="slstm", hidden_sizes=(5, 4)),
    "slstm_exp": ModelSpec(
        **_BASE,
        cell="slstm",
        hidden_sizes=(5,),
        forget_gate="exp",
        activation="elu",
        recurrent_activation="hard_sigmoid",
    ),
    "slstm_heads": ModelSpec(**_BASE, cell="slstm", hidden_sizes=(6, 4), n_heads=2),
    "dense": ModelSpec(**_BASE, hidden_sizes=(4,), dense_sizes=(6, 5), dense_activation="silu"),
    "batch_norm": ModelSpec(**_BASE, hidden_sizes=(4,), dense_sizes=(6, 5), batch_norm=True),
    "dropout": ModelSpec(**_BASE, hidden_sizes=(5, 4), dense_sizes=(6,), dropout=0.4),
    "point": ModelSpec(n_features=3, horizon=2, quantiles=(0.5,), hidden_sizes=(4,)),
}
DETERMINISTIC = tuple(name for name in SPECS if name != "dropout")


def draw_weights(spec: ModelSpec, seed: int = 1) -> Weights:
    """Initial weights with everything that starts constant moved, so that it is tested too."""
    rng = np.random.default_rng(seed)
    weights: Weights = {}
    for name, array in init_weights(spec, seed).items():
        noise = rng.uniform(-0.3, 0.3, array.shape)
        weights[name] = (array + (noise if array.ndim == 1 else 0)).astype(np.float32)
    return weights


def draw_batch(spec: ModelSpec, n_series: int = 4, n_steps: int = 7, seed: int = 0) -> Batch:
    """Random series of unequal lengths, the first of full length, with unknown targets among."""
    rng = np.random.default_rng(seed)
    lengths_B = rng.integers(3, n_steps + 1, n_series)
    lengths_B[0] = n_steps
    inside_BT = np.arange(n_steps) < lengths_B[:, None]
    features_BTF = rng.standard_normal((n_series, n_steps, spec.n_features))
    origins_BT = inside_BT & (rng.random((n_series, n_steps)) < 0.8)
    origins_BT[0, -1] = True
    shape = (int(origins_BT.sum()), spec.horizon)
    weights_RH = (rng.random(shape) < 0.8).astype(np.float32)
    weights_RH[0] = 1
    return Batch(
        features_BTF=(features_BTF * inside_BT[..., None]).astype(np.float32),
        lengths_B=lengths_B,
        origins_BT=origins_BT,
        targets_RH=(rng.standard_normal(shape) * weights_RH).astype(np.float32),
        weights_RH=weights_RH,
    )


@cache
def _engine(backend: str, spec: ModelSpec) -> Engine:
    return make_engine(backend, spec, draw_weights(spec))


@pytest.fixture
def engine_of() -> Callable[[str, ModelSpec], Engine]:
    """Engines by backend and specification, built once and given fresh weights for every test."""

    def build(backend: str, spec: ModelSpec) -> Engine:
        engine = _engine(backend, spec)
        engine.load_weights(draw_weights(spec))
        return engine

    return build


def reference(spec: ModelSpec, weights: Weights | None = None) -> NumpyEngine:
    """The truth: NumPy in double precision."""
    return NumpyEngine(spec, weights or draw_weights(spec), dtype=np.float64)


def largest_difference(ours: Weights, theirs: Weights) -> float:
    """Over all arrays, which must have the same names."""
    assert list(ours) == list(theirs)
    return max(float(np.max(np.abs(ours[name] - theirs[name]))) for name in ours)

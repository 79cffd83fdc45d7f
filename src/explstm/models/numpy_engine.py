"""The network in NumPy: forecasts only, no framework, and the truth in tests.

The projection of all inputs of a layer is one matrix product; only the recurrent part loops over
time. Series are handled in blocks that fit the cache, sorted by length where only their last step
is asked for, so that short series do not pay for long ones.

Axis letters: B series, T time, F features, C channels, R origins, H horizon, Q quantiles.
"""

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

from explstm.config import BackendName
from explstm.errors import UsageError
from explstm.models.engine import (
    Array,
    Arrays,
    OptimizerConfig,
    TrainingBatch,
    check_features,
    check_origins,
    check_weights,
    known_targets,
    last_origins,
    require_compiled,
)
from explstm.models.head import order_quantiles
from explstm.models.losses import LossConfig, weighted_loss
from explstm.models.spec import BATCH_NORM_EPSILON, ModelSpec

BLOCK = 128
"""Series that pass the recurrent layers together."""
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def sigmoid(x: Array) -> Array:
    """``1 / (1 + exp(-x))`` through tanh, which cannot overflow."""
    y = np.tanh(0.5 * x)
    y += 1
    y *= 0.5
    return y


def softplus(x: Array) -> Array:
    """``log(1 + exp(x))`` without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def elu(x: Array) -> Array:
    """``x`` above 0, ``exp(x) - 1`` below."""
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


ACTIVATION_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "relu": lambda x: np.maximum(x, 0),
    "elu": elu,
    "selu": lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0))),
    "softplus": softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "silu": lambda x: x * sigmoid(x),
}


class NumpyEngine:
    """One network in NumPy."""

    backend: BackendName = "numpy"

    def __init__(self, spec: ModelSpec, weights: Arrays, *, dtype: DTypeLike = np.float32) -> None:
        """Build the network.

        Args:
            spec: What to build.
            weights: Its weights under their canonical names.
            dtype: Precision of the arithmetic; float64 is for tests.
        """
        self.spec = spec
        self._dtype = np.dtype(dtype)
        self._loss: LossConfig | None = None
        self.load_weights(weights)

    def load_weights(self, weights: Arrays) -> None:
        """Replace all weights; raises ModelFileError where names, shapes or numbers are wrong."""
        check_weights(self.spec, weights)
        self._weights: dict[str, NDArray[Any]] = {
            parameter.name: np.array(weights[parameter.name], self._dtype, order="C")
            for parameter in self.spec.parameters
        }

    def dump_weights(self) -> dict[str, Array]:
        """Copies of all weights under their canonical names, float32."""
        return {name: array.astype(np.float32) for name, array in self._weights.items()}

    def predict_last(self, features_BTF: Array, lengths_B: Array) -> Array:
        """Quantiles (B, H, Q) from the last step of every series."""
        check_features(self.spec, features_BTF)
        last_BT = last_origins(features_BTF, lengths_B)
        shape = (len(features_BTF), self.spec.horizon, len(self.spec.quantiles))
        forecast_BHQ = np.empty(shape, self._dtype)
        by_length = np.argsort(lengths_B, kind="stable")
        for start in range(0, len(by_length), BLOCK):
            block = by_length[start : start + BLOCK]
            n_steps = int(np.max(lengths_B[block]))
            forecast_BHQ[block] = self._forecast(
                features_BTF[block, :n_steps], last_BT[block, :n_steps]
            )
        return forecast_BHQ

    def predict_origins(self, features_BTF: Array, origins_BT: Array) -> Array:
        """Quantiles (R, H, Q) from the picked steps."""
        check_features(self.spec, features_BTF)
        check_origins(features_BTF, origins_BT)
        return np.concatenate(
            [
                self._forecast(
                    features_BTF[start : start + BLOCK], origins_BT[start : start + BLOCK]
                )
                for start in range(0, max(len(features_BTF), 1), BLOCK)
            ]
        )

    def compile(self, optimizer: OptimizerConfig, loss: LossConfig, *, seed: int = 0) -> None:
        """Take the loss for :meth:`evaluate`; this engine does not train."""
        del optimizer, seed
        self._loss = loss

    def evaluate(self, batch: TrainingBatch) -> float:
        """The loss of a batch."""
        require_compiled(self._loss)
        assert self._loss is not None
        targets_RH, weights_RH = known_targets(self.spec, batch)
        quantiles_RHQ = self.predict_origins(batch.features_BTF, batch.origins_BT)
        quantiles_QRH = np.moveaxis(quantiles_RHQ, -1, 0)
        levels_Q = np.array(self.spec.quantiles, self._dtype)
        median = self.spec.median
        return float(
            weighted_loss(self._loss, quantiles_QRH, targets_RH, weights_RH, levels_Q, median, np)
        )

    def train_batch(self, batch: TrainingBatch, learning_rate: float) -> NoReturn:
        """Refused: raises UsageError."""
        raise _inference_only()

    def gradients(self, batch: TrainingBatch) -> NoReturn:
        """Refused: raises UsageError."""
        raise _inference_only()

    def dump_optimizer(self) -> NoReturn:
        """Refused: raises UsageError."""
        raise _inference_only()

    def load_optimizer(self, state: Arrays) -> NoReturn:
        """Refused: raises UsageError."""
        raise _inference_only()

    def _forecast(self, features_BTF: Array, origins_BT: Array) -> Array:
        features_BTF = np.asarray(features_BTF, self._dtype)
        hidden_TBC = features_BTF.transpose(1, 0, 2)
        for i in range(len(self.spec.hidden_sizes)):
            hidden_TBC = self._run_layer(i, hidden_TBC)
        series_R, time_R = np.nonzero(origins_BT)
        picked_RC = hidden_TBC[time_R, series_R]
        if self.spec.residual:
            picked_RC = np.concatenate([picked_RC, features_BTF[series_R, time_R]], axis=1)
        return self._run_dense(picked_RC)

    def _run_layer(self, i: int, inputs_TBC: Array) -> Array:
        """One LSTM over time. Source: Hochreiter & Schmidhuber (1997); Gers et al. (2000)."""
        kernel, recurrent, bias = (
            self._weights[f"lstm_{i}/{part}"] for part in ("kernel", "recurrent_kernel", "bias")
        )
        act = ACTIVATION_FUNCTIONS[self.spec.activation]
        gate = ACTIVATION_FUNCTIONS[self.spec.recurrent_activation]
        n_steps, n_series, width = inputs_TBC.shape
        size = len(recurrent)
        gates_TBG = (inputs_TBC.reshape(-1, width) @ kernel + bias).reshape(n_steps, n_series, -1)
        hidden_TBC = np.empty((n_steps, n_series, size), self._dtype)
        hidden_BC = cell_BC = np.zeros((n_series, size), self._dtype)
        for t, gates_BG in enumerate(gates_TBG):
            gates_BG += hidden_BC @ recurrent
            open_BG = gate(gates_BG[:, : 2 * size])
            candidate_BC = act(gates_BG[:, 2 * size : 3 * size])
            cell_BC = open_BG[:, size:] * cell_BC + open_BG[:, :size] * candidate_BC
            hidden_BC = np.multiply(gate(gates_BG[:, 3 * size :]), act(cell_BC), out=hidden_TBC[t])
        return hidden_TBC

    def _run_dense(self, x_RC: Array) -> Array:
        weights, spec = self._weights, self.spec
        for i in range(len(spec.dense_sizes)):
            x_RC = x_RC @ weights[f"dense_{i}/kernel"]
            x_RC = (
                self._normalise(i, x_RC) if spec.batch_norm else x_RC + weights[f"dense_{i}/bias"]
            )
            x_RC = ACTIVATION_FUNCTIONS[spec.dense_activation](x_RC)
        raw = x_RC @ weights["head/kernel"] + weights["head/bias"]
        raw_QRH = np.moveaxis(raw.reshape(-1, spec.horizon, len(spec.quantiles)), -1, 0)
        return np.moveaxis(order_quantiles(raw_QRH, spec.median, softplus, np), 0, -1)

    def _normalise(self, i: int, x_RC: Array) -> Array:
        gamma, beta, mean, variance = (
            self._weights[f"norm_{i}/{part}"]
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        normal_RC: Array = (x_RC - mean) / np.sqrt(variance + BATCH_NORM_EPSILON)
        return normal_RC * gamma + beta


def _inference_only() -> UsageError:
    return UsageError(
        "ENGINE_INFERENCE_ONLY",
        "backend='numpy' forecasts but does not train; use backend='torch' or 'tensorflow'.",
    )

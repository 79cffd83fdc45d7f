"""The network in NumPy: forecasts only, no framework, and the truth in tests.

Only the recurrent part loops over time: what the inputs of a layer give to its gates is one matrix
product for a whole piece of the sequence. Layers of one width go side by side, each a piece behind
the one below it, so that one round of calls is a step of them all. Series are handled in blocks
that fit the cache, sorted by length where only their last step is asked for, so that short series
do not pay for long ones.

Axis letters: L layers, B series, T time, F features, C channels, R origins, H horizon, Q quantiles.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
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
from explstm.models.numpy_cells import (
    ACTIVATION_FUNCTIONS,
    State,
    part_gates,
    part_recurrent_kernel,
    run_cell,
    softplus,
    start_state,
)
from explstm.models.spec import BATCH_NORM_EPSILON, ModelSpec

BLOCK = 128
"""Series that pass the recurrent layers together."""
GATES = 2**18
"""Gates, of all series, layers and steps of a piece, at most: they fit the cache."""
PIECES = 10
"""Pieces of a sequence at least: at its ends not all layers have one to read."""


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

        self._groups = list(_group_equal(self.spec.hidden_sizes))
        self._projections_L = [
            (self._part(i, "kernel", part_gates), self._part(i, "bias", part_gates)[:, None])
            for i in range(len(self.spec.hidden_sizes))
        ]
        self._kernels_L = [
            self._part(i, "recurrent_kernel", part_recurrent_kernel)
            for i in range(len(self.spec.hidden_sizes))
        ]

    def _part(self, i: int, name: str, part: Callable[[ModelSpec, Array], Array]) -> Array:
        return part(self.spec, self._weights[f"{self.spec.cell}_{i}/{name}"])

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
        forecasts = []
        for start in range(0, max(len(features_BTF), 1), BLOCK):
            origins = origins_BT[start : start + BLOCK]
            n_steps = int(np.flatnonzero(origins.any(axis=0)).max(initial=0)) + 1
            features = features_BTF[start : start + BLOCK, :n_steps]
            forecasts.append(self._forecast(features, origins[:, :n_steps]))
        return np.concatenate(forecasts)

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

    def start_states(self, n_series: int) -> tuple[State, ...]:
        """The state of every layer before the first step of so many series."""
        sizes = self.spec.hidden_sizes
        return tuple(start_state(self.spec, size, n_series, self._dtype) for size in sizes)

    def stream(
        self,
        features_BTF: Array,
        states: tuple[State, ...] | None = None,
        origins_BT: Array | None = None,
    ) -> tuple[Array, tuple[State, ...]]:
        """Read more steps of series without reading their past again.

        Args:
            features_BTF: The next steps, at least one, of series of equal length.
            states: What the previous call returned; None before the first step.
            origins_BT: Which of these steps to forecast from; None for the last of every series.

        Returns:
            Quantiles (R, H, Q) from the picked steps, series by series, and the state of every
            layer after the last step.

        Raises:
            UsageError: No step, or states that are not those of these series.
        """
        check_features(self.spec, features_BTF)
        n_series, n_steps, _ = features_BTF.shape
        sizes = [len(state[0]) for state in states or ()]
        if n_steps == 0 or (
            states is not None and sizes != [n_series] * len(self.spec.hidden_sizes)
        ):
            raise UsageError(
                "STREAM_SHAPE",
                f"stream was given {n_steps} steps of {n_series} series and states of {sizes} "
                "series by layer; pass at least one step, and what the call before returned.",
            )
        if origins_BT is None:
            origins_BT = last_origins(features_BTF, np.full(n_series, n_steps))
        check_origins(features_BTF, origins_BT)
        return self._read(features_BTF, origins_BT, states)

    def _forecast(self, features_BTF: Array, origins_BT: Array) -> Array:
        return self._read(features_BTF, origins_BT, None)[0]

    def _read(
        self, features_BTF: Array, origins_BT: Array, states: tuple[State, ...] | None
    ) -> tuple[Array, tuple[State, ...]]:
        features_BTF = np.asarray(features_BTF, self._dtype)
        hidden_TBC, states = self._run_layers(features_BTF, states)
        series_R, time_R = np.nonzero(origins_BT)
        picked_RC = self._skip(hidden_TBC[time_R, series_R], features_BTF[series_R, time_R])
        return self._run_dense(picked_RC), states

    def _run_layers(
        self, features_BTF: Array, states: tuple[State, ...] | None
    ) -> tuple[Array, tuple[State, ...]]:
        states_L = list(self.start_states(len(features_BTF)) if states is None else states)
        hidden_TBC = features_BTF.transpose(1, 0, 2)
        for group in self._groups:
            state = tuple(map(np.stack, zip(*states_L[group], strict=True)))
            hidden_TBC = self._run_group(group, hidden_TBC, state)
            states_L[group] = zip(*state, strict=True)
        return hidden_TBC, tuple(states_L)

    def _run_group(self, group: slice, input_TBC: Array, state: State) -> Array:
        """Hidden states of the last of some layers of one width; ``state`` (L, B, C) moves on."""
        n_steps, n_series, _ = input_TBC.shape
        kernel_4LCC = np.stack(self._kernels_L[group], axis=1)
        fitting = GATES // max(1, n_series * kernel_4LCC[..., 0].size)
        steps = max(1, min(fitting, -(-n_steps // PIECES)))
        odd = n_steps % steps  # a short piece, if there is one, comes first
        last_TBC = np.empty((n_steps, n_series, kernel_4LCC.shape[-1]), self._dtype)
        for part, size in ((slice(0, odd), odd), (slice(odd, n_steps), steps)):
            if part.stop != part.start:
                pieces = input_TBC[part].reshape(-1, size, *input_TBC.shape[1:])
                self._run_pieces(group, pieces, kernel_4LCC, state, last_TBC[part])
        return last_TBC

    def _run_pieces(
        self, group: slice, input_PTBC: Array, kernel_4LCC: Array, state: State, last_TBC: Array
    ) -> None:
        """Read pieces of equal length, each layer the one that the layer below has just left."""
        n_pieces, steps, n_series, _ = input_PTBC.shape
        _, n_layers, size, _ = kernel_4LCC.shape
        gates_4LSC = np.empty((4, n_layers, steps * n_series, size), self._dtype)
        gates_4LTBC = gates_4LSC.reshape(4, n_layers, steps, n_series, size)
        hidden_TLBC = np.empty((steps, n_layers, n_series, size), self._dtype)
        last_PTBC = last_TBC.reshape(n_pieces, steps, n_series, size)
        for wave in range(n_pieces + n_layers - 1):
            reading = slice(max(0, wave - n_pieces + 1), min(wave + 1, n_layers))
            for i in range(reading.start, reading.stop):
                below_TBC = hidden_TLBC[:, i - 1] if i else input_PTBC[wave]
                self._project(group.start + i, below_TBC, gates_4LSC[:, i])
            run_cell(
                self.spec,
                gates_4LTBC[:, reading],
                kernel_4LCC[:, reading],
                tuple(part_LBC[reading] for part_LBC in state),
                hidden_TLBC[:, reading],
            )
            if reading.stop == n_layers:
                last_PTBC[wave - n_layers + 1] = hidden_TLBC[:, -1]

    def _project(self, layer: int, input_TBC: Array, gates_4SC: Array) -> None:
        """What the inputs of a layer, step by step, give to its gates."""
        kernel_4FC, bias_41C = self._projections_L[layer]
        np.matmul(input_TBC.reshape(-1, input_TBC.shape[-1]), kernel_4FC, out=gates_4SC)
        gates_4SC += bias_41C

    def _skip(self, hidden_RC: Array, features_RF: Array) -> Array:
        if not self.spec.residual:
            return hidden_RC
        return np.concatenate([hidden_RC, features_RF], axis=1)

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


def _group_equal(sizes: Sequence[int]) -> Iterator[slice]:
    """Where layers of one width follow each other."""
    start = 0
    for _, equal in groupby(sizes):
        stop = start + len(list(equal))
        yield slice(start, stop)
        start = stop


def _inference_only() -> UsageError:
    return UsageError(
        "ENGINE_INFERENCE_ONLY",
        "backend='numpy' forecasts but does not train; use backend='torch' or 'tensorflow'.",
    )

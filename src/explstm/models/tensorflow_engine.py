"""The engine on TensorFlow: a network in Keras 3, given weights, batches and a seed.

:mod:`explstm.models.tensorflow_machine` builds the network and its graphs.

Axis letters: B series, T time, F features, R origins, H horizon, Q quantiles.
"""

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from explstm.config import BackendName
from explstm.models.engine import (
    Array,
    Arrays,
    OptimizerConfig,
    TrainingBatch,
    check_features,
    check_optimizer,
    check_origins,
    check_weights,
    known_targets,
    last_origins,
    require_compiled,
)
from explstm.models.losses import LossConfig
from explstm.models.spec import ModelSpec
from explstm.models.tensorflow_machine import TrainingGraphs, borrow_machine, return_machine


@dataclass
class Training:
    """What :meth:`TensorFlowEngine.compile` sets up."""

    config: OptimizerConfig
    seed: int
    graphs: TrainingGraphs
    step: int = 0


class TensorFlowEngine:
    """One network in Keras on TensorFlow."""

    backend: BackendName = "tensorflow"

    def __init__(self, spec: ModelSpec, weights: Arrays) -> None:
        """Build the network.

        Args:
            spec: What to build.
            weights: Its weights under their canonical names.
        """
        self.spec = spec
        self._machine = borrow_machine(spec)
        weakref.finalize(self, return_machine, self._machine).atexit = False
        self._native = self._machine.native
        self._training: Training | None = None
        self.load_weights(weights)

    def load_weights(self, weights: Arrays) -> None:
        """Replace all weights; raises ModelFileError where names, shapes or numbers are wrong."""
        check_weights(self.spec, weights)
        self._machine.load(weights)

    def dump_weights(self) -> dict[str, Array]:
        """Copies of all weights under their canonical names, float32."""
        return {p.name: _copy(self._native[p.name]) for p in self.spec.parameters}

    def predict_last(self, features_BTF: Array, lengths_B: Array) -> Array:
        """Quantiles (B, H, Q) from the last step of every series."""
        check_features(self.spec, features_BTF)
        return self._predict(features_BTF, last_origins(features_BTF, lengths_B))

    def predict_origins(self, features_BTF: Array, origins_BT: Array) -> Array:
        """Quantiles (R, H, Q) from the picked steps."""
        check_features(self.spec, features_BTF)
        check_origins(features_BTF, origins_BT)
        return self._predict(features_BTF, origins_BT)

    def compile(self, optimizer: OptimizerConfig, loss: LossConfig, *, seed: int = 0) -> None:
        """Make ready to train from step 0; dropout is a function of the seed and the step."""
        graphs = self._machine.prepare_training(optimizer, loss)
        self._training = Training(optimizer, seed, graphs)

    def train_batch(self, batch: TrainingBatch, learning_rate: float) -> float:
        """Take one step; returns the loss before it."""
        training = self._require_training()
        arrays = self._batch_arrays(batch)
        self._set_noise(training)
        loss = training.graphs.train(np.float32(learning_rate), *arrays)
        training.step += 1
        return float(loss)

    def gradients(self, batch: TrainingBatch) -> dict[str, Array]:
        """What the next step would follow, before clipping; changes nothing."""
        return self.differentiate(batch)[1]

    def differentiate(self, batch: TrainingBatch) -> tuple[float, dict[str, Array]]:
        """The loss that a step would return, and the gradients; changes nothing."""
        training = self._require_training()
        arrays = self._batch_arrays(batch)
        self._set_noise(training)
        statistics = {n: _copy(v) for n, v in self._native.items() if not v.trainable}
        loss, gradients = training.graphs.differentiate(*arrays)
        for name, value in statistics.items():  # Keras moves them in every pass of training
            self._native[name].assign(value)
        return float(loss), {
            name: _copy(gradient)
            for name, gradient in zip(self._machine.trainable(), gradients, strict=True)
        }

    def apply_gradients(self, gradients: Arrays, learning_rate: float) -> None:
        """Take a step along gradients, which are clipped first."""
        training = self._require_training()
        arrays = [np.asarray(gradients[name], np.float32) for name in self._machine.trainable()]
        training.graphs.apply(np.float32(learning_rate), *arrays)
        training.step += 1

    def evaluate(self, batch: TrainingBatch) -> float:
        """The loss without dropout and with the moving statistics of batch normalisation."""
        return float(self._require_training().graphs.evaluate(*self._batch_arrays(batch)))

    def dump_optimizer(self) -> dict[str, Array]:
        """The step count and the moments, under canonical names."""
        training = self._require_training()
        moments = {name: _copy(variable) for name, variable in self._moments(training)}
        return {"step": np.array(training.step, np.int64), **moments}

    def load_optimizer(self, state: Arrays) -> None:
        """Continue where :meth:`dump_optimizer` was; training then goes on to the same bits."""
        training = self._require_training()
        check_optimizer(self.spec, training.config, state)
        training.step = int(state["step"])
        training.graphs.keras_optimizer.iterations.assign(training.step)
        for name, variable in self._moments(training):
            variable.assign(np.asarray(state[name], np.float32))

    def _predict(self, features_BTF: Array, origins_BT: Array) -> Array:
        quantiles_QRH = self._machine.predict(*_inputs(features_BTF, origins_BT))
        return np.moveaxis(quantiles_QRH.numpy(), 0, -1).copy()

    def _batch_arrays(self, batch: TrainingBatch) -> tuple[Array, ...]:
        known = known_targets(self.spec, batch)
        return (*_inputs(batch.features_BTF, batch.origins_BT), *known)

    def _set_noise(self, training: Training) -> None:
        if self.spec.dropout == 0:
            return
        words = np.random.SeedSequence([training.seed, training.step]).generate_state(2)
        for i, drop in enumerate(self._machine.network.drops):
            drop.seed_generator.state.assign(words ^ np.uint32(i))

    def _moments(self, training: Training) -> Iterator[tuple[str, Any]]:
        names = [f"{moment}/{name}" for name in self._machine.trainable() for moment in "mv"]
        yield from zip(names, training.graphs.moments(), strict=False)  # none with "sgd"

    def _require_training(self) -> Training:
        require_compiled(self._training)
        assert self._training is not None
        return self._training


def _inputs(features_BTF: Array, origins_BT: Array) -> tuple[Array, Array]:
    """Features, time first, and the picked steps as positions in the flattened (T, B)."""
    series_R, time_R = np.nonzero(origins_BT)
    features_TBF = np.ascontiguousarray(np.swapaxes(features_BTF, 0, 1), np.float32)
    return features_TBF, time_R * len(origins_BT) + series_R


def _copy(tensor: Any) -> Array:
    """The values of a tensor or variable, in memory that TensorFlow does not share."""
    return np.array(tensor.numpy())

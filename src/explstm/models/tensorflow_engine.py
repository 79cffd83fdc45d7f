"""The network in native Keras 3 on TensorFlow.

Each of the four things a network does (forecast, score, differentiate, train) is one TensorFlow
graph with open batch and time axes, traced once whatever the shapes that follow. Layers are told
every default that Keras would otherwise take from its global state, so that this state, the random
states of the caller among it, is neither read nor changed.

Importing this module is silent. It switches oneDNN off where the environment does not say
otherwise: oneDNN announces itself on the terminal and does not make an LSTM faster. In a process
that also uses PyTorch, import torch first.

Axis letters: B series, T time, F features, C channels, R origins, H horizon, Q quantiles.
"""

import os
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from explstm.config import BackendName
from explstm.errors import UsageError
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
from explstm.models.losses import LossConfig, weighted_loss
from explstm.models.spec import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, ModelSpec


def _prepare_environment() -> None:
    """Have Keras run on TensorFlow, silently; raises UsageError where it already runs elsewhere."""
    keras_module = sys.modules.get("keras")
    if keras_module is None:
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        backend = os.environ["KERAS_BACKEND"]
    else:
        backend = keras_module.config.backend()
    if backend != "tensorflow":
        raise UsageError(
            "KERAS_BACKEND",
            f"Keras runs on {backend!r} in this process where 'tensorflow' is needed; "
            "start Python with KERAS_BACKEND=tensorflow or use backend='torch'.",
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


_prepare_environment()
_random_state = random.getstate()  # TensorFlow draws from it when imported

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

random.setstate(_random_state)

from explstm.models.tensorflow_cells import Recurrent  # noqa: E402
from explstm.models.tensorflow_head import order_quantiles  # noqa: E402


class Network(keras.Model):
    """The layers of a specification; their weights are zero until loaded."""

    def __init__(self, spec: ModelSpec) -> None:
        """Build the layers."""
        super().__init__(dtype="float32")
        self.spec = spec
        widths = (spec.n_features, *spec.hidden_sizes)
        self.recurrents = [_make_recurrent(spec, *sizes) for sizes in pairwise(widths)]
        self.denses = [
            _make_dense(*sizes, use_bias=not spec.batch_norm)
            for sizes in pairwise((spec.picked_size, *spec.dense_sizes))
        ]
        self.norms = [_make_norm(size) for size in spec.dense_sizes if spec.batch_norm]
        last = (spec.picked_size, *spec.dense_sizes)[-1]
        self.head = _make_dense(last, spec.horizon * len(spec.quantiles), use_bias=True)
        n_drops = len(self.recurrents) + len(self.denses)
        self.drops = [keras.layers.Dropout(spec.dropout, seed=i) for i in range(n_drops)]
        self.dense_activation = keras.activations.get(spec.dense_activation)
        self.built = True

    def call(self, features_TBF: Any, rows_R: Any, training: bool = False) -> Any:
        """Quantiles (Q, R, H) from picked steps, which are positions in the flattened (T, B)."""
        drops = iter(self.drops)
        hidden_TBC = features_TBF
        for i, recurrent in enumerate(self.recurrents):
            hidden_TBC = next(drops)(hidden_TBC, training=training) if i else hidden_TBC
            hidden_TBC = recurrent(hidden_TBC)
        x_RC = next(drops)(_pick(hidden_TBC, rows_R), training=training)
        if self.spec.residual:
            x_RC = tf.concat([x_RC, _pick(features_TBF, rows_R)], 1)
        for i, dense in enumerate(self.denses):
            x_RC = dense(x_RC)
            x_RC = self.norms[i](x_RC, training=training) if self.spec.batch_norm else x_RC
            x_RC = next(drops)(self.dense_activation(x_RC), training=training)
        raw_RHQ = tf.reshape(self.head(x_RC), (-1, self.spec.horizon, len(self.spec.quantiles)))
        raw_QRH = tf.transpose(raw_RHQ, (2, 0, 1))
        return order_quantiles(raw_QRH, self.spec.median)

    def native(self) -> Iterator[tuple[str, Any]]:
        """Every variable under its canonical name; Keras' layout is the canonical one."""
        for i, recurrent in enumerate(self.recurrents):
            yield f"{self.spec.cell}_{i}/kernel", recurrent.kernel
            yield f"{self.spec.cell}_{i}/recurrent_kernel", recurrent.recurrent_kernel
            yield f"{self.spec.cell}_{i}/bias", recurrent.bias
        for i, dense in enumerate(self.denses):
            yield f"dense_{i}/kernel", dense.kernel
            if not self.spec.batch_norm:
                yield f"dense_{i}/bias", dense.bias
        for i, norm in enumerate(self.norms):
            yield f"norm_{i}/gamma", norm.gamma
            yield f"norm_{i}/beta", norm.beta
            yield f"norm_{i}/moving_mean", norm.moving_mean
            yield f"norm_{i}/moving_variance", norm.moving_variance
        yield "head/kernel", self.head.kernel
        yield "head/bias", self.head.bias


class Graph:
    """A function of tensors, traced when first called, and never again."""

    def __init__(self, function: Callable[..., Any], signature: list[Any]) -> None:
        """Take the function, and the shapes and types of its arguments."""
        self._function = tf.function(function, input_signature=signature, autograph=False)

    @cached_property
    def _traced(self) -> Any:
        return self._function.get_concrete_function()

    def __call__(self, *arrays: Any) -> Any:
        """Run the graph."""
        return self._traced(*(tf.convert_to_tensor(array) for array in arrays))


@dataclass
class Training:
    """What :meth:`TensorFlowEngine.compile` sets up."""

    config: OptimizerConfig
    seed: int
    optimizer: Any
    train: Graph
    gradients: Graph
    apply: Graph
    evaluate: Graph
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
        self._network = Network(spec)
        self._native = dict(self._network.native())
        self._training: Training | None = None
        self._predict_graph = Graph(self._network, _input_signature(spec)[:2])
        self.load_weights(weights)

    def load_weights(self, weights: Arrays) -> None:
        """Replace all weights; raises ModelFileError where names, shapes or numbers are wrong."""
        check_weights(self.spec, weights)
        for name, variable in self._native.items():
            variable.assign(np.asarray(weights[name], np.float32))

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
        keras_optimizer = _make_optimizer(optimizer)
        trainable = list(self._trainable().values())
        keras_optimizer.build(trainable)
        if optimizer.name == "adamw":
            vectors = [variable for variable in trainable if len(variable.shape) != 2]
            keras_optimizer.exclude_from_weight_decay(var_list=vectors)
        graphs = self._make_graphs(loss, keras_optimizer, trainable)
        self._training = Training(optimizer, seed, keras_optimizer, *graphs)

    def train_batch(self, batch: TrainingBatch, learning_rate: float) -> float:
        """Take one step; returns the loss before it."""
        training = self._require_training()
        arrays = self._batch_arrays(batch)
        self._set_noise(training)
        loss = training.train(np.float32(learning_rate), *arrays)
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
        loss, gradients = training.gradients(*arrays)
        for name, value in statistics.items():  # Keras moves them in every pass of training
            self._native[name].assign(value)
        return float(loss), {
            name: _copy(gradient)
            for name, gradient in zip(self._trainable(), gradients, strict=True)
        }

    def apply_gradients(self, gradients: Arrays, learning_rate: float) -> None:
        """Take a step along gradients, which are clipped first."""
        training = self._require_training()
        arrays = [np.asarray(gradients[name], np.float32) for name in self._trainable()]
        training.apply(np.float32(learning_rate), *arrays)
        training.step += 1

    def evaluate(self, batch: TrainingBatch) -> float:
        """The loss without dropout and with the moving statistics of batch normalisation."""
        return float(self._require_training().evaluate(*self._batch_arrays(batch)))

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
        training.optimizer.iterations.assign(training.step)
        for name, variable in self._moments(training):
            variable.assign(np.asarray(state[name], np.float32))

    def _predict(self, features_BTF: Array, origins_BT: Array) -> Array:
        quantiles_QRH = self._predict_graph(*_inputs(features_BTF, origins_BT))
        return np.moveaxis(quantiles_QRH.numpy(), 0, -1).copy()

    def _make_graphs(
        self, loss: LossConfig, optimizer: Any, trainable: list[Any]
    ) -> tuple[Graph, Graph, Graph, Graph]:
        """Graphs that take a step, differentiate, follow gradients and score."""
        levels_Q = tf.constant(self.spec.quantiles, tf.float32)

        def score(training: bool, features: Any, rows: Any, targets: Any, weights: Any) -> Any:
            forecast = self._network(features, rows, training=training)
            return weighted_loss(
                loss, forecast, targets, weights, levels_Q, self.spec.median, keras.ops
            )

        def evaluate(*batch: Any) -> Any:
            return score(False, *batch)

        def differentiate(*batch: Any) -> tuple[Any, list[Any]]:
            with tf.GradientTape() as tape:
                value = score(True, *batch)
            return value, tape.gradient(value, [variable.value for variable in trainable])

        def apply(learning_rate: Any, *gradients: Any) -> None:
            optimizer.learning_rate.assign(learning_rate)
            optimizer.apply(gradients, trainable)

        def train(learning_rate: Any, *batch: Any) -> Any:
            value, gradients = differentiate(*batch)
            apply(learning_rate, *gradients)
            return value

        signature = _input_signature(self.spec)
        rate = tf.TensorSpec((), tf.float32)
        shapes = [tf.TensorSpec(variable.shape, tf.float32) for variable in trainable]
        return (
            Graph(train, [rate, *signature]),
            Graph(differentiate, signature),
            Graph(apply, [rate, *shapes]),
            Graph(evaluate, signature),
        )

    def _batch_arrays(self, batch: TrainingBatch) -> tuple[Array, ...]:
        known = known_targets(self.spec, batch)
        return (*_inputs(batch.features_BTF, batch.origins_BT), *known)

    def _set_noise(self, training: Training) -> None:
        if self.spec.dropout == 0:
            return
        words = np.random.SeedSequence([training.seed, training.step]).generate_state(2)
        for i, drop in enumerate(self._network.drops):
            drop.seed_generator.state.assign(words ^ np.uint32(i))

    def _moments(self, training: Training) -> Iterator[tuple[str, Any]]:
        if training.config.name == "sgd":
            return
        first, second = training.optimizer._momentums, training.optimizer._velocities
        for name, m, v in zip(self._trainable(), first, second, strict=True):
            yield f"m/{name}", m
            yield f"v/{name}", v

    def _trainable(self) -> dict[str, Any]:
        return {name: variable for name, variable in self._native.items() if variable.trainable}

    def _require_training(self) -> Training:
        require_compiled(self._training)
        assert self._training is not None
        return self._training


def _input_signature(spec: ModelSpec) -> list[Any]:
    return [
        tf.TensorSpec((None, None, spec.n_features), tf.float32),
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((None, spec.horizon), tf.float32),
        tf.TensorSpec((None, spec.horizon), tf.float32),
    ]


def _inputs(features_BTF: Array, origins_BT: Array) -> tuple[Array, Array]:
    """Features, time first, and the picked steps as positions in the flattened (T, B)."""
    series_R, time_R = np.nonzero(origins_BT)
    features_TBF = np.ascontiguousarray(np.swapaxes(features_BTF, 0, 1), np.float32)
    return features_TBF, time_R * len(origins_BT) + series_R


def _copy(tensor: Any) -> Array:
    """The values of a tensor or variable, in memory that TensorFlow does not share."""
    return np.array(tensor.numpy())


def _pick(sequence_TBC: Any, rows_R: Any) -> Any:
    return tf.gather(tf.reshape(sequence_TBC, (-1, sequence_TBC.shape[-1])), rows_R)


def _make_recurrent(spec: ModelSpec, input_size: int, size: int) -> Recurrent:
    recurrent = Recurrent(spec, size)
    recurrent.build((None, None, input_size))
    return recurrent


def _make_dense(input_size: int, size: int, *, use_bias: bool) -> Any:
    dense = keras.layers.Dense(size, use_bias=use_bias, kernel_initializer="zeros", dtype="float32")
    dense.build((None, input_size))
    return dense


def _make_norm(size: int) -> Any:
    norm = keras.layers.BatchNormalization(
        momentum=BATCH_NORM_MOMENTUM, epsilon=BATCH_NORM_EPSILON, dtype="float32"
    )
    norm.build((None, size))
    return norm


def _make_optimizer(config: OptimizerConfig) -> Any:
    if config.name == "sgd":
        return keras.optimizers.SGD(
            0.0, momentum=0.0, nesterov=False, global_clipnorm=config.clip_norm
        )
    adam = {
        "learning_rate": 0.0,
        "beta_1": config.beta_1,
        "beta_2": config.beta_2,
        "epsilon": config.epsilon,
        "amsgrad": False,
        "use_ema": False,
        "global_clipnorm": config.clip_norm,
    }
    if config.name == "adam":
        return keras.optimizers.Adam(**adam)
    return keras.optimizers.AdamW(**adam, weight_decay=config.weight_decay)

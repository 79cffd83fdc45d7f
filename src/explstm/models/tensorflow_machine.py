"""The network in native Keras 3 on TensorFlow, and the graphs that compute with it.

Each thing a network does (forecast, score, differentiate, follow gradients, train) is one
TensorFlow graph with open batch and time axes, traced once whatever the shapes that follow. Tracing
takes a hundred times as long as a short training, so a network with its graphs, a *machine*, is
lent to one engine at a time, and to the next one of its specification when that engine is gone.
Layers are told every default that Keras would otherwise take from its global state, so that this
state, the random states of the caller among it, is neither read nor changed.

Importing this module is silent. It switches oneDNN off where the environment does not say
otherwise: oneDNN announces itself on the terminal and does not make an LSTM faster. In a process
that also uses PyTorch, import torch first.

Axis letters: B series, T time, F features, C channels, R origins, H horizon, Q quantiles.
"""

import contextlib
import os
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from explstm.errors import UsageError
from explstm.models.engine import Arrays, OptimizerConfig
from explstm.models.losses import LossConfig, weighted_loss
from explstm.models.spec import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, ModelSpec

MOST_IDLE = 4
"""Networks with their graphs that are kept for engines to come; a few megabytes each."""


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


@dataclass(frozen=True)
class TrainingGraphs:
    """What trains a network in one way.

    Attributes:
        optimizer: How gradients become steps.
        loss: What they are gradients of.
        keras_optimizer: The optimizer in Keras, which holds the moments.
        train: Takes a step.
        differentiate: Gives the loss and its gradients.
        apply: Takes a step along gradients.
        evaluate: Gives the loss outside training.
        start_over: Forgets all steps.
    """

    optimizer: OptimizerConfig
    loss: LossConfig
    keras_optimizer: Any
    train: Graph
    differentiate: Graph
    apply: Graph
    evaluate: Graph
    start_over: Graph

    def moments(self) -> list[Any]:
        """The variables that change from step to step: both moments of each weight."""
        return _moments(self.optimizer, self.keras_optimizer)


class Machine:
    """A network with its graphs, which takes long to make; its weights are whatever was loaded."""

    def __init__(self, spec: ModelSpec) -> None:
        """Build the network."""
        self.spec = spec
        self.network = Network(spec)
        self.native = dict(self.network.native())
        self.predict = Graph(self.network, _input_signature(spec)[:2])
        shapes = [tf.TensorSpec(variable.shape, tf.float32) for variable in self.native.values()]
        self._load = Graph(self._assign, shapes)
        self._training: TrainingGraphs | None = None

    def load(self, weights: Arrays) -> None:
        """Take weights by canonical name."""
        self._load(*(np.asarray(weights[name], np.float32) for name in self.native))

    def _assign(self, *arrays: Any) -> None:
        for variable, array in zip(self.native.values(), arrays, strict=True):
            variable.assign(array)

    def trainable(self) -> dict[str, Any]:
        """The variables that training changes, by canonical name."""
        return {name: variable for name, variable in self.native.items() if variable.trainable}

    def prepare_training(self, optimizer: OptimizerConfig, loss: LossConfig) -> TrainingGraphs:
        """Graphs that train in the way asked for, at step 0; those made last are used again."""
        held = self._training
        if held is None or (held.optimizer, held.loss) != (optimizer, loss):
            held = self._training = self._make_training(optimizer, loss)
        held.start_over()
        return held

    def _make_training(self, optimizer: OptimizerConfig, loss: LossConfig) -> TrainingGraphs:
        keras_optimizer = _make_optimizer(optimizer)
        trainable = list(self.trainable().values())
        keras_optimizer.build(trainable)
        if optimizer.name == "adamw":
            vectors = [variable for variable in trainable if len(variable.shape) != 2]
            keras_optimizer.exclude_from_weight_decay(var_list=vectors)
        levels_Q = tf.constant(self.spec.quantiles, tf.float32)

        def score(training: bool, features: Any, rows: Any, targets: Any, weights: Any) -> Any:
            forecast = self.network(features, rows, training=training)
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
            keras_optimizer.learning_rate.assign(learning_rate)
            keras_optimizer.apply(gradients, trainable)

        def train(learning_rate: Any, *batch: Any) -> Any:
            value, gradients = differentiate(*batch)
            apply(learning_rate, *gradients)
            return value

        def start_over() -> None:
            keras_optimizer.iterations.assign(0)
            for moment in _moments(optimizer, keras_optimizer):
                moment.assign(tf.zeros_like(moment))

        signature = _input_signature(self.spec)
        rate = tf.TensorSpec((), tf.float32)
        shapes = [tf.TensorSpec(variable.shape, tf.float32) for variable in trainable]
        return TrainingGraphs(
            optimizer,
            loss,
            keras_optimizer,
            Graph(train, [rate, *signature]),
            Graph(differentiate, signature),
            Graph(apply, [rate, *shapes]),
            Graph(evaluate, signature),
            Graph(start_over, []),
        )


_idle_machines: list[Machine] = []  # whose engines are gone, the latest last


def borrow_machine(spec: ModelSpec) -> Machine:
    """Take an idle machine of a specification, or make one; nobody else has it."""
    for machine in reversed(_idle_machines.copy()):
        if machine.spec == spec:
            # An engine may end, or another thread take this one, at any moment.
            with contextlib.suppress(ValueError):
                _idle_machines.remove(machine)
                return machine
    return Machine(spec)


def return_machine(machine: Machine) -> None:
    """Keep a machine that nobody has any more, in place of the one that was idle longest."""
    _idle_machines.append(machine)
    del _idle_machines[:-MOST_IDLE]


def _moments(config: OptimizerConfig, keras_optimizer: Any) -> list[Any]:
    if config.name == "sgd":
        return []
    first, second = keras_optimizer._momentums, keras_optimizer._velocities
    return [moment for pair in zip(first, second, strict=True) for moment in pair]


def _input_signature(spec: ModelSpec) -> list[Any]:
    return [
        tf.TensorSpec((None, None, spec.n_features), tf.float32),
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((None, spec.horizon), tf.float32),
        tf.TensorSpec((None, spec.horizon), tf.float32),
    ]


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

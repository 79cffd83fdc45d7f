"""The recurrent cells as Keras layers whose gradients are written by hand.

:mod:`explstm.models.numpy_cells` defines the cells. A layer projects the inputs of all steps with
one product, and then loops over time twice: forwards it keeps what the way back needs, backwards it
follows the chain rule and collects the gradients of the gates, from which two more products over
all steps give those of the kernels. Derivatives come from the values of activations, wherever these
decide them. What nobody asks for (keeping, when nothing is differentiated; the gradient of the
features) TensorFlow prunes from its graph.

**sLSTM.** Its hidden state is a weighted mean, so the loops work with that mean ``y = c / n``, the
share ``a = exp(i - m) / n`` of the new candidate in it, and the logarithm ``l = m + log(n)`` of the
sum of all weights, which make the cell and its gradient short::

    y = y_before + a * (z - y_before)        a = exp(i - l)
    h = gate(o) * y                          l = log(exp(log_f + l_before) + exp(i))

Axis letters: B series, T time, F inputs, C channels, G gates (4 C), S steps of all series (T B).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from explstm.models.spec import Activation, ModelSpec, count_idle_biases, head_mask

UNSEEN = -1e30
"""Stabiliser before the first step: lower than any gate, yet finite, so that nothing is NaN."""

Tensors = tuple[Any, ...]


@dataclass(frozen=True)
class Nonlinearity:
    """An activation and its derivative.

    Attributes:
        function: The activation.
        gradient: The gradient before it, from what is kept of it and the gradient after it.
        keeps_input: Whether its argument is kept for the gradient, not its value.
    """

    function: Callable[[Any], Any]
    gradient: Callable[[Any, Any], Any]
    keeps_input: bool = False

    def keep(self, x: Any) -> tuple[Any, Any]:
        """The value, and what is kept."""
        y = self.function(x)
        return y, x if self.keeps_input else y

    def value(self, kept: Any) -> Any:
        """The value again."""
        return self.function(kept) if self.keeps_input else kept


NONLINEARITIES: dict[Activation, Nonlinearity] = {
    "linear": Nonlinearity(tf.identity, lambda y, dy: dy),
    "tanh": Nonlinearity(tf.tanh, lambda y, dy: tf.raw_ops.TanhGrad(y=y, dy=dy)),
    "sigmoid": Nonlinearity(tf.sigmoid, lambda y, dy: tf.raw_ops.SigmoidGrad(y=y, dy=dy)),
    "hard_sigmoid": Nonlinearity(
        lambda x: tf.nn.relu6(x + 3) / 6,
        lambda y, dy: tf.raw_ops.Relu6Grad(gradients=dy, features=6 * y) / 6,
    ),
    "relu": Nonlinearity(tf.nn.relu, lambda y, dy: tf.raw_ops.ReluGrad(gradients=dy, features=y)),
    "elu": Nonlinearity(tf.nn.elu, lambda y, dy: tf.raw_ops.EluGrad(gradients=dy, outputs=y)),
    "selu": Nonlinearity(tf.nn.selu, lambda y, dy: tf.raw_ops.SeluGrad(gradients=dy, outputs=y)),
    "softplus": Nonlinearity(tf.nn.softplus, lambda y, dy: -dy * tf.math.expm1(-y)),
    "softsign": Nonlinearity(tf.nn.softsign, lambda y, dy: dy * tf.square(1 - tf.abs(y))),
    "silu": Nonlinearity(
        tf.nn.silu,
        lambda x, dy: dy * tf.sigmoid(x) * (1 + x * tf.sigmoid(-x)),
        keeps_input=True,
    ),
}


class LSTMCell:
    """One step of an LSTM, forwards and backwards; its state is the cell state."""

    n_kept = 6  # arrays per step that the way back needs
    n_back = 1  # arrays of the state that have a gradient

    def __init__(self, spec: ModelSpec) -> None:
        """Take the activations."""
        self._activation = NONLINEARITIES[spec.activation]
        self._gate = NONLINEARITIES[spec.recurrent_activation]
        self._output = NONLINEARITIES[spec.cell_output]

    def start(self, zeros_BC: Any) -> Tensors:
        """The state before the first step."""
        return (zeros_BC,)

    def step(self, gates_BG: Any, state: Tensors) -> tuple[Any, Tensors, Tensors]:
        """The hidden state, the state after the step, and what :meth:`step_back` needs."""
        i_BC, f_BC, g_BC, o_BC = tf.split(gates_BG, 4, axis=1)
        (before_BC,) = state
        input_BC, kept_i = self._gate.keep(i_BC)
        forget_BC, kept_f = self._gate.keep(f_BC)
        candidate_BC, kept_g = self._activation.keep(g_BC)
        open_BC, kept_o = self._gate.keep(o_BC)
        cell_BC = forget_BC * before_BC + input_BC * candidate_BC
        output_BC, kept_c = self._output.keep(cell_BC)
        return (
            open_BC * output_BC,
            (cell_BC,),
            (kept_i, kept_f, kept_g, kept_o, kept_c, before_BC),
        )

    def step_back(self, d_hidden_BC: Any, d_state: Tensors, kept: Tensors) -> tuple[Any, Tensors]:
        """Gradients of the gates and of the state before the step."""
        kept_i, kept_f, kept_g, kept_o, kept_c, before_BC = kept
        (d_cell_BC,) = d_state
        d_o = self._gate.gradient(kept_o, d_hidden_BC * self._output.value(kept_c))
        d_output_BC = d_hidden_BC * self._gate.value(kept_o)
        d_cell_BC += self._output.gradient(kept_c, d_output_BC)
        d_i = self._gate.gradient(kept_i, d_cell_BC * self._activation.value(kept_g))
        d_f = self._gate.gradient(kept_f, d_cell_BC * before_BC)
        d_g = self._activation.gradient(kept_g, d_cell_BC * self._gate.value(kept_i))
        d_gates_BG = tf.concat([d_i, d_f, d_g, d_o], axis=1)
        return d_gates_BG, (d_cell_BC * self._gate.value(kept_f),)


class SLSTMCell:
    """One step of an sLSTM, forwards and backwards; its state is y, n and m."""

    n_kept = 6
    n_back = 2  # y and l

    def __init__(self, spec: ModelSpec) -> None:
        """Take the activations."""
        self._activation = NONLINEARITIES[spec.activation]
        self._gate = NONLINEARITIES[spec.recurrent_activation]
        self._exponential = spec.forget_gate == "exp"

    def start(self, zeros_BC: Any) -> Tensors:
        """The state before the first step."""
        return zeros_BC, zeros_BC, tf.fill(tf.shape(zeros_BC), UNSEEN)

    def step(self, gates_BG: Any, state: Tensors) -> tuple[Any, Tensors, Tensors]:
        """The hidden state, the state after the step, and what :meth:`step_back` needs."""
        i_BC, f_BC, g_BC, o_BC = tf.split(gates_BG, 4, axis=1)
        before_BC, normaliser_BC, stabiliser_BC = state
        old_BC = stabiliser_BC + (f_BC if self._exponential else log_sigmoid(f_BC))
        stabiliser_BC = tf.maximum(old_BC, i_BC)
        input_BC = tf.exp(i_BC - stabiliser_BC)
        normaliser_BC = tf.exp(old_BC - stabiliser_BC) * normaliser_BC + input_BC
        candidate_BC, kept_g = self._activation.keep(g_BC)
        open_BC, kept_o = self._gate.keep(o_BC)
        share_BC = input_BC / normaliser_BC
        mean_BC = before_BC + share_BC * (candidate_BC - before_BC)
        return (
            open_BC * mean_BC,
            (mean_BC, normaliser_BC, stabiliser_BC),
            (share_BC, f_BC, kept_g, kept_o, mean_BC, before_BC),
        )

    def step_back(self, d_hidden_BC: Any, d_state: Tensors, kept: Tensors) -> tuple[Any, Tensors]:
        """Gradients of the gates, and of y and l before the step."""
        share_BC, f_BC, kept_g, kept_o, mean_BC, before_BC = kept
        d_mean_BC, d_log_BC = d_state
        d_o = self._gate.gradient(kept_o, d_hidden_BC * mean_BC)
        d_mean_BC += d_hidden_BC * self._gate.value(kept_o)
        d_candidate_BC = d_mean_BC * share_BC
        d_g = self._activation.gradient(kept_g, d_candidate_BC)
        d_share_BC = d_mean_BC * (self._activation.value(kept_g) - before_BC)
        # a = sigmoid(i - log_f - l_before), and its derivative by i is that of l by both
        d_i = tf.raw_ops.SigmoidGrad(y=share_BC, dy=d_share_BC) + d_log_BC * share_BC
        d_log_BC -= d_i
        d_f = d_log_BC if self._exponential else d_log_BC * tf.sigmoid(-f_BC)
        d_gates_BG = tf.concat([d_i, d_f, d_g, d_o], axis=1)
        return d_gates_BG, (d_mean_BC - d_candidate_BC, d_log_BC)


def log_sigmoid(x: Any) -> Any:
    """``log(1 / (1 + exp(-x)))`` without overflow, from functions that TensorFlow has fast."""
    return tf.minimum(x, 0) + tf.math.log(tf.sigmoid(tf.abs(x)))


class Recurrent(keras.layers.Layer):
    """A layer of recurrent cells, from a sequence to the sequence of its hidden states."""

    def __init__(self, spec: ModelSpec, size: int) -> None:
        """Take the cell from a specification, and the width."""
        super().__init__(dtype="float32")
        self.size = size
        self._cell = LSTMCell(spec) if spec.cell == "lstm" else SLSTMCell(spec)
        self._n_heads, self._n_idle = spec.n_heads, count_idle_biases(spec, size)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the weights, all zero."""
        shapes = {
            "kernel": (input_shape[-1], 4 * self.size),
            "recurrent_kernel": (self.size // self._n_heads, 4 * self.size),
            "bias": (4 * self.size,),
        }
        self.kernel, self.recurrent_kernel, self.bias = (
            self.add_weight(name=name, shape=shape, initializer="zeros")
            for name, shape in shapes.items()
        )
        self.built = True

    def call(self, inputs_TBC: Any) -> Any:
        """Hidden states (T, B, C)."""
        recurrent_kernel = tf.convert_to_tensor(self.recurrent_kernel)
        if self._n_heads > 1:
            mask = head_mask(self.size, self._n_heads)
            recurrent_kernel = tf.tile(recurrent_kernel, (self._n_heads, 1)) * mask
        kernel, bias = tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.bias)
        if self._n_idle:
            idle = tf.stop_gradient(bias[: self._n_idle])
            bias = tf.concat([idle, bias[self._n_idle :]], axis=0)
        return run(self._cell, inputs_TBC, kernel, recurrent_kernel, bias)


def run(cell: Any, inputs_TBC: Any, kernel: Any, recurrent_kernel: Any, bias: Any) -> Any:
    """Hidden states (T, B, C) of a sequence, with the gradient of all arguments but the cell."""
    weights_KG = tf.concat([kernel, recurrent_kernel], axis=0)

    @tf.custom_gradient
    def layer(inputs_TBC: Any, weights_KG: Any, bias: Any) -> tuple[Any, Callable[[Any], Tensors]]:
        zeros_BC = tf.zeros((tf.shape(inputs_TBC)[1], recurrent_kernel.shape[0]))
        hidden_TBC, kept = run_forwards(cell, inputs_TBC, weights_KG, bias, zeros_BC)

        def gradient(d_hidden_TBC: Any) -> Tensors:
            return run_backwards(cell, d_hidden_TBC, kept, weights_KG, zeros_BC)

        return hidden_TBC, gradient

    return layer(inputs_TBC, weights_KG, bias)


def run_forwards(
    cell: Any, inputs_TBC: Any, weights_KG: Any, bias: Any, zeros_BC: Any
) -> tuple[Any, Tensors]:
    """Hidden states, and lists over time of what the way back needs."""
    n_steps = tf.shape(inputs_TBC)[0]

    def step(t: Any, hidden_BC: Any, state: Tensors, lists: Tensors) -> tuple[Any, ...]:
        read_BK = tf.concat([inputs_TBC[t], hidden_BC], axis=1)
        gates_BG = tf.nn.bias_add(read_BK @ weights_KG, bias)
        hidden_BC, state, kept = cell.step(gates_BG, state)
        written = zip(lists, (hidden_BC, read_BK, *kept), strict=True)
        return t + 1, hidden_BC, state, tuple(items.write(t, x) for items, x in written)

    n_series, size = zeros_BC.shape
    widths = (size, weights_KG.shape[0], *[size] * cell.n_kept)
    _, _, _, lists = tf.while_loop(
        lambda t, *_: t < n_steps,
        step,
        (
            tf.constant(0),
            zeros_BC,
            cell.start(zeros_BC),
            tuple(_list(n_steps, n_series, width) for width in widths),
        ),
        parallel_iterations=1,
    )
    return lists[0].stack(), lists[1:]


def run_backwards(
    cell: Any, d_hidden_TBC: Any, kept: Tensors, weights_KG: Any, zeros_BC: Any
) -> Tensors:
    """Gradients of the inputs, the kernels one above the other, and the bias."""
    n_steps = tf.shape(d_hidden_TBC)[0]
    n_series, size = zeros_BC.shape
    n_inputs = weights_KG.shape[0] - size

    def step(t: Any, d_hidden_BC: Any, d_state: Tensors, sums: Tensors, d_inputs: Any) -> Any:
        read_BK, *kept_here = (items.read(t) for items in kept)
        d_hidden_BC += d_hidden_TBC[t]
        d_gates_BG, d_state = cell.step_back(d_hidden_BC, d_state, kept_here)
        d_read_BK = tf.matmul(d_gates_BG, weights_KG, transpose_b=True)
        d_inputs_BC, d_hidden_BC = tf.split(d_read_BK, (n_inputs, size), axis=1)
        d_weights_KG, d_bias = sums
        d_weights_KG += tf.matmul(read_BK, d_gates_BG, transpose_a=True)
        d_bias += tf.raw_ops.BiasAddGrad(out_backprop=d_gates_BG)
        return t - 1, d_hidden_BC, d_state, (d_weights_KG, d_bias), d_inputs.write(t, d_inputs_BC)

    sums = tf.zeros_like(weights_KG), tf.zeros(weights_KG.shape[1])
    _, _, _, sums, d_inputs = tf.while_loop(
        lambda t, *_: t >= 0,
        step,
        (
            n_steps - 1,
            zeros_BC,
            (zeros_BC,) * cell.n_back,
            sums,
            _list(n_steps, n_series, n_inputs),
        ),
        parallel_iterations=1,
    )
    return d_inputs.stack(), *sums


def _list(n_steps: Any, n_series: int | None, width: int) -> tf.TensorArray:
    return tf.TensorArray(tf.float32, n_steps, element_shape=(n_series, width))

"""The recurrent cells in NumPy: their definition, one step at a time.

A cell turns the gates of all steps (what the inputs contribute, bias included) and the state before
them into hidden states and the state after them, so that a sequence can be read in pieces. Its four
gates lie side by side in the canonical weights, in the order input, forget, candidate, output, and
apart from each other here, as :func:`part_gates` makes them. Layers of one width take their steps
together, each in a piece of its own: few series make steps so small that calls, copies and numbers
turned into arrays are what they cost.

**LSTM** (Hochreiter & Schmidhuber 1997; forget gate: Gers, Schmidhuber & Cummins 2000)::

    c = gate(f) * c + gate(i) * activation(g)
    h = gate(o) * output_activation(c)

**sLSTM** (Beck et al. 2024, xLSTM, eqs. 8 to 17): an exponential input gate, a normaliser n and a
stabiliser m that keeps both within float range and leaves h as it is::

    log_f = log(sigmoid(f)), or f with ``forget_gate="exp"``
    m     = max(log_f + m, i)
    c     = exp(log_f + m_before - m) * c + exp(i - m) * activation(g)
    n     = exp(log_f + m_before - m) * n + exp(i - m)
    h     = gate(o) * c / n

It starts from ``m = -inf``, nothing seen, so that h is a weighted mean of the candidates so far and
the first step has n = 1. One of the two exponentials is always exactly 1, so n is never below 1.

Axis letters: L layers, B series, T time, C channels, 4 gates.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from explstm.models.spec import ModelSpec, head_mask

Array = NDArray[Any]
State = tuple[Array, ...]

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805
LINEAR = 80
"""From here on softplus(x) is x in any precision, and exp(x) is within that of float32."""


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


def start_state(spec: ModelSpec, size: int, n_series: int, dtype: DTypeLike) -> State:
    """The state of one layer before the first step: hidden, cell and, for sLSTM, n and m."""
    starts = (0, 0) if spec.cell == "lstm" else (0, 0, 0, -np.inf)
    return tuple(np.full((n_series, size), start, dtype) for start in starts)


def part_gates(spec: ModelSpec, weights: Array) -> Array:
    """Canonical weights (..., 4 C) of a kernel or a bias as the steps here take them.

    Returns:
        (4, ..., C), a copy. For sLSTM in the order forget, input, candidate, output, with the sign
        of a sigmoid forget gate turned, as ``log(sigmoid(f)) = -softplus(-f)``, and the output gate
        halved where :func:`squashes_together`; both are exact.
    """
    parted = weights.reshape(*weights.shape[:-1], 4, -1)
    i, f, g, o = np.moveaxis(parted, -2, 0)
    if spec.cell == "lstm":
        return np.stack([i, f, g, o])
    f = -f if spec.forget_gate == "sigmoid" else f
    o = o / 2 if squashes_together(spec) else o
    return np.stack([f, i, g, o])


def part_recurrent_kernel(spec: ModelSpec, kernel: Array) -> Array:
    """A canonical recurrent kernel (C / heads, 4 C) as (4, C, C), see :func:`part_gates`."""
    if spec.n_heads > 1:
        kernel = np.tile(kernel, (spec.n_heads, 1))
        kernel = kernel * head_mask(len(kernel), spec.n_heads).astype(kernel.dtype)
    return part_gates(spec, kernel)


def squashes_together(spec: ModelSpec) -> bool:
    """Whether a tanh does for candidate and output gate: ``sigmoid(x) = (1 + tanh(x / 2)) / 2``."""
    return (spec.activation, spec.recurrent_activation) == ("tanh", "sigmoid")


def run_cell(
    spec: ModelSpec, gates_4LTBC: Array, kernel_4LCC: Array, state: State, hidden_TLBC: Array
) -> None:
    """Read a sequence, or one for each layer of one width.

    Args:
        spec: Which cell, with which activations.
        gates_4LTBC: What the inputs contribute to the gates, bias included, from parted weights.
        kernel_4LCC: Recurrent kernels, from :func:`part_recurrent_kernel`.
        state: Before the first step, each part (L, B, C); becomes that after the last.
        hidden_TLBC: Becomes the hidden states.
    """
    run = run_lstm if spec.cell == "lstm" else run_slstm
    run(spec, np.moveaxis(gates_4LTBC, 2, 0), kernel_4LCC, state, hidden_TLBC)
    state[0][...] = hidden_TLBC[-1]


def run_lstm(
    spec: ModelSpec, gates_T4LBC: Array, kernel_4LCC: Array, state: State, hidden_TLBC: Array
) -> None:
    """Read a sequence with LSTM cells; arguments as of :func:`run_cell`."""
    activation, gate, output = (
        ACTIVATION_FUNCTIONS[name]
        for name in (spec.activation, spec.recurrent_activation, spec.cell_output)
    )
    hidden_LBC, cell_LBC = state
    for t in range(len(hidden_TLBC)):
        gates_4LBC = hidden_LBC @ kernel_4LCC
        gates_4LBC += gates_T4LBC[t]
        i_LBC, f_LBC = gate(gates_4LBC[:2])
        cell_LBC *= f_LBC
        cell_LBC += i_LBC * activation(gates_4LBC[2])
        hidden_LBC = np.multiply(gate(gates_4LBC[3]), output(cell_LBC), out=hidden_TLBC[t])


def run_slstm(
    spec: ModelSpec, gates_T4LBC: Array, kernel_4LCC: Array, state: State, hidden_TLBC: Array
) -> None:
    """Read a sequence with sLSTM cells; arguments as of :func:`run_cell`."""
    hidden_LBC, cell_LBC, normaliser_LBC, stabiliser_LBC = state
    gates_4LBC = np.empty_like(gates_T4LBC[0])
    f_LBC, i_LBC, g_LBC, o_LBC = gates_4LBC
    squash, soften = _make_squash(spec, gates_4LBC[2:]), _make_softplus(f_LBC)
    for t in range(len(hidden_TLBC)):
        np.matmul(hidden_LBC, kernel_4LCC, out=gates_4LBC)
        gates_4LBC += gates_T4LBC[t]
        squash()
        if spec.forget_gate == "sigmoid":
            np.subtract(stabiliser_LBC, soften(), out=f_LBC)
        else:
            f_LBC += stabiliser_LBC
        np.maximum(f_LBC, i_LBC, out=stabiliser_LBC)
        f_LBC -= stabiliser_LBC
        i_LBC -= stabiliser_LBC
        np.exp(gates_4LBC[:2], out=gates_4LBC[:2])
        normaliser_LBC *= f_LBC
        normaliser_LBC += i_LBC
        g_LBC *= i_LBC
        cell_LBC *= f_LBC
        cell_LBC += g_LBC
        hidden_LBC = np.divide(cell_LBC, normaliser_LBC, out=hidden_TLBC[t])
        hidden_LBC *= o_LBC


def _make_squash(spec: ModelSpec, go_2LBC: Array) -> Callable[[], None]:
    """What squashes candidate and output gate of a step where they are."""
    g_LBC, o_LBC = go_2LBC
    activation = ACTIVATION_FUNCTIONS[spec.activation]
    gate = ACTIVATION_FUNCTIONS[spec.recurrent_activation]
    half_LBC, ones_LBC = np.full_like(o_LBC, 0.5), np.ones_like(o_LBC)

    def squash_together() -> None:
        nonlocal o_LBC
        np.tanh(go_2LBC, out=go_2LBC)
        o_LBC += ones_LBC
        o_LBC *= half_LBC

    def squash_apart() -> None:
        g_LBC[...] = activation(g_LBC)
        o_LBC[...] = gate(o_LBC)

    return squash_together if squashes_together(spec) else squash_apart


def _make_softplus(x_LBC: Array) -> Callable[[], Array]:
    """What makes the :func:`softplus` of an array that changes, in room of its own."""
    room_LBC, linear_LBC = np.empty_like(x_LBC), np.full_like(x_LBC, LINEAR)

    def soften() -> Array:
        np.minimum(x_LBC, linear_LBC, out=room_LBC)
        np.exp(room_LBC, out=room_LBC)
        np.log1p(room_LBC, out=room_LBC)
        return np.maximum(room_LBC, x_LBC, out=room_LBC)

    return soften

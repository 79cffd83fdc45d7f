"""The recurrent cells in NumPy: their definition, one step at a time.

A cell turns the gates of all steps (what the inputs contribute, bias included) and the state before
them into hidden states and the state after them, so that a sequence can be read in pieces. Its four
gates, in the order input, forget, candidate, output, lie side by side in the canonical weights, and
apart from each other here (:func:`part_gates`): few series make steps so small that calls, copies
and numbers turned into arrays are what they cost.

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

Axis letters: B series, T time, C channels, 4 gates.
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
    zeros_BC = np.zeros((n_series, size), dtype)
    if spec.cell == "lstm":
        return zeros_BC, zeros_BC
    return zeros_BC, zeros_BC, zeros_BC, np.full_like(zeros_BC, -np.inf)


def part_gates(weights: Array) -> Array:
    """Canonical weights (..., 4 C) of a kernel or a bias as (4, ..., C), a copy."""
    parted = weights.reshape(*weights.shape[:-1], 4, -1)
    return np.moveaxis(parted, -2, 0).copy()


def run_cell(
    spec: ModelSpec, gates_4TBC: Array, recurrent_kernel: Array, state: State
) -> tuple[Array, State]:
    """Read a sequence.

    Args:
        spec: Which cell, with which activations.
        gates_4TBC: What the inputs contribute to the gates, bias included; overwritten.
        recurrent_kernel: Canonical, (C / heads, 4 C).
        state: Before the first step.

    Returns:
        Hidden states (T, B, C), and the state after the last step.
    """
    run = run_lstm if spec.cell == "lstm" else run_slstm
    if spec.n_heads > 1:
        mask = head_mask(gates_4TBC.shape[3], spec.n_heads)
        recurrent_kernel = np.tile(recurrent_kernel, (spec.n_heads, 1)) * mask
    kernel_4CC = part_gates(recurrent_kernel.astype(gates_4TBC.dtype, copy=False))
    return run(spec, gates_4TBC, kernel_4CC, state)


def run_lstm(
    spec: ModelSpec, gates_4TBC: Array, kernel_4CC: Array, state: State
) -> tuple[Array, State]:
    """Read a sequence with LSTM cells; arguments as of :func:`run_cell`, the kernel parted."""
    activation, gate, output = (
        ACTIVATION_FUNCTIONS[name]
        for name in (spec.activation, spec.recurrent_activation, spec.cell_output)
    )
    hidden_TBC = np.empty_like(gates_4TBC[0])
    hidden_BC, cell_BC = state
    for t in range(len(hidden_TBC)):
        gates_4BC = hidden_BC @ kernel_4CC
        gates_4BC += gates_4TBC[:, t]
        i_BC, f_BC = gate(gates_4BC[:2])
        cell_BC = f_BC * cell_BC + i_BC * activation(gates_4BC[2])
        hidden_BC = np.multiply(gate(gates_4BC[3]), output(cell_BC), out=hidden_TBC[t])
    return hidden_TBC, (hidden_BC, cell_BC)


def run_slstm(
    spec: ModelSpec, gates_4TBC: Array, kernel_4CC: Array, state: State
) -> tuple[Array, State]:
    """Read a sequence with sLSTM cells; arguments as of :func:`run_cell`, the kernel parted.

    The kernel is overwritten, too.
    """
    hidden_TBC = np.empty_like(gates_4TBC[0])
    gates_4BC = np.empty_like(gates_4TBC[:, 0])
    i_BC, f_BC, g_BC, o_BC = gates_4BC
    squash = _choose_squash(spec, gates_4TBC, kernel_4CC, gates_4BC)
    hidden_BC, cell_BC, normaliser_BC, stabiliser_BC = (
        state[0],
        *(part.copy() for part in state[1:]),
    )
    room_BC, zeros_BC = np.empty_like(cell_BC), np.zeros_like(cell_BC)
    for t in range(len(hidden_TBC)):
        np.matmul(hidden_BC, kernel_4CC, out=gates_4BC)
        gates_4BC += gates_4TBC[:, t]
        squash()
        if spec.forget_gate == "sigmoid":
            _log_sigmoid(f_BC, room_BC, zeros_BC)
        f_BC += stabiliser_BC
        np.maximum(f_BC, i_BC, out=stabiliser_BC)
        f_BC -= stabiliser_BC
        i_BC -= stabiliser_BC
        np.exp(f_BC, out=f_BC)
        np.exp(i_BC, out=i_BC)
        normaliser_BC *= f_BC
        normaliser_BC += i_BC
        i_BC *= g_BC
        cell_BC *= f_BC
        cell_BC += i_BC
        hidden_BC = np.divide(cell_BC, normaliser_BC, out=hidden_TBC[t])
        hidden_BC *= o_BC
    return hidden_TBC, (hidden_BC, cell_BC, normaliser_BC, stabiliser_BC)


def _choose_squash(
    spec: ModelSpec, gates_4TBC: Array, kernel_4CC: Array, gates_4BC: Array
) -> Callable[[], None]:
    """How candidate and output gate of a step (4, B, C) are squashed, in place.

    The usual pair takes one call, as ``sigmoid(x) = (1 + tanh(x / 2)) / 2``: what makes the output
    gate is halved here, before the steps.
    """
    go_2BC = gates_4BC[2:]
    g_BC, o_BC = go_2BC
    activation = ACTIVATION_FUNCTIONS[spec.activation]
    gate = ACTIVATION_FUNCTIONS[spec.recurrent_activation]
    half_BC, ones_BC = np.full_like(o_BC, 0.5), np.ones_like(o_BC)

    def squash_together() -> None:
        nonlocal o_BC
        np.tanh(go_2BC, out=go_2BC)
        o_BC += ones_BC
        o_BC *= half_BC

    def squash_apart() -> None:
        g_BC[...] = activation(g_BC)
        o_BC[...] = gate(o_BC)

    if (spec.activation, spec.recurrent_activation) != ("tanh", "sigmoid"):
        return squash_apart
    gates_4TBC[3] *= half_BC
    kernel_4CC[3] *= half_BC.dtype.type(0.5)
    return squash_together


def _log_sigmoid(x_BC: Array, room_BC: Array, zeros_BC: Array) -> None:
    """``log(sigmoid(x))`` in place, without overflow; ``room`` is an array to work in."""
    np.abs(x_BC, out=room_BC)
    np.negative(room_BC, out=room_BC)
    np.exp(room_BC, out=room_BC)
    np.log1p(room_BC, out=room_BC)
    np.minimum(x_BC, zeros_BC, out=x_BC)
    x_BC -= room_BC

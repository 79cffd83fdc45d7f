"""The recurrent cells in PyTorch: whole sequences forward, and backward by hand.

``torch.nn.LSTM`` knows one set of activations and no exponential gates, and a plain loop lets
autograd make and keep a dozen small arrays per step. Here a step is one matrix product and a few
passes over arrays that stay where they are from batch to batch, whatever the cell: allocating them
anew cost as much as a third of a training step.

A layer keeps, for every step, the column ``[input; hidden state before; 1]`` of each series, so
that all gates come from one product with ``[kernel; recurrent kernel; bias]`` and so do all
gradients of the weights. Series come last: what is computed gate by gate then lies in one piece.

The equations are those of :mod:`explstm.models.numpy_cells`. The stabiliser of sLSTM is a constant
to its gradient, because the hidden state does not depend on it.

Axis letters: T time, B series, C channels, G gates (4 C: input, forget, output, candidate),
K columns (inputs, hidden states, 1).
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from explstm.models.spec import ModelSpec, head_mask
from explstm.models.torch_activations import ACTIVATIONS, MINUS_ONE, apply_log_sigmoid

SERIES_PER_BLOCK = {True: 1024, False: 256}
"""Series that pass a layer together, with gradients and without; more of them leave the cache."""

INSIDE = [0, 1, 3, 2]
"""The order of the gates inside a layer: input, forget, output, candidate."""


class Workspace:
    """Arrays that keep their memory from one batch to the next."""

    def __init__(self) -> None:
        """Start empty."""
        self._storage: dict[str, Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """An array with undefined values, which is the same memory as last time if that is enough.

        Args:
            name: Which one.
            shape: Its shape.
            like: Gives the type and the device.
        """
        size = torch.Size(shape).numel()
        storage = self._storage.get(name)
        if storage is None or storage.numel() < size:
            storage = self._storage[name] = like.new_empty(size)
        return storage[:size].view(shape)


class Gates:
    """The gates of every step, before and after their activations.

    Inside a layer they lie in the order input, forget, output, candidate, so that those with one
    activation lie together. Before the activations they are kept only where a derivative needs it.

    Attributes:
        raw: For each step, what the product of weights and columns fills (G, B).
        active: For each step, what the activations and then the gradients fill (G, B).
    """

    def __init__(
        self, spec: ModelSpec, shape: tuple[int, int, int], workspace: Workspace, like: Tensor
    ) -> None:
        """Find room for the gates of a sequence of shape (T, G, B)."""
        n_steps, *one_step = shape
        used = (spec.activation, spec.recurrent_activation)
        kept = any(ACTIVATIONS[name].reads_input for name in used)
        raw = workspace.take("raw", (n_steps if kept else 1, *one_step), like).unbind(0)
        self.raw = raw if kept else raw * n_steps
        self.active = workspace.take("gates", shape, like).unbind(0)
        # tanh(x) is 2 sigmoid(2 x) - 1: beside sigmoid gates, one pass serves all four
        self.as_one = used == ("tanh", "sigmoid")


class LSTMSteps:
    """The steps of LSTM cells, forward and backward. Source: Gers et al. (2000)."""

    def __init__(self, spec: ModelSpec, gates: Gates, workspace: Workspace) -> None:
        """Take the gates, which every step forward finds filled and leaves active."""
        self._activation = ACTIVATIONS[spec.activation]
        self._gate = ACTIVATIONS[spec.recurrent_activation]
        self._output = ACTIVATIONS[spec.cell_output]
        self._gates, self._n_open = gates, 3 * len(gates.raw[0]) // 4
        n_gates, n_series = gates.raw[0].shape
        shape, n_steps = (n_gates // 4, n_series), len(gates.raw)
        cells_TCB = workspace.take("cells", (n_steps + 1, *shape), gates.raw[0])
        cells_TCB[0] = 0
        self._cells = cells_TCB.unbind(0)
        self._outputs = workspace.take("outputs", (n_steps, *shape), gates.raw[0]).unbind(0)
        self._d_cell = workspace.take("d_cell", shape, gates.raw[0]).zero_()
        self._scratch = workspace.take("scratch", (n_gates, n_series), gates.raw[0])

    def forward(self, t: int, hidden_CB: Tensor) -> None:
        """Turn the gates of step t into its hidden state."""
        raw, active, cell, output = (
            self._gates.raw[t],
            self._gates.active[t],
            self._cells[t + 1],
            self._outputs[t],
        )
        i, f, o, g = active.chunk(4)
        if self._gates.as_one:
            torch.sigmoid(raw, out=active)
            torch.add(MINUS_ONE, g, alpha=2, out=g)
        else:
            self._gate.apply(raw[: self._n_open], active[: self._n_open])
            self._activation.apply(raw[self._n_open :], g)
        torch.mul(f, self._cells[t], out=cell)
        cell.addcmul_(i, g)
        self._output.apply(cell, output)
        torch.mul(o, output, out=hidden_CB)

    def backward(self, t: int, d_hidden_CB: Tensor) -> None:
        """Turn the gates of step t into their gradients, from last step to first."""
        raw, active, scratch = self._gates.raw[t], self._gates.active[t], self._scratch
        i, f, o, g = active.chunk(4)
        d_i, d_f, d_o, d_g = scratch.chunk(4)
        cell, output, d_cell = self._cells[t + 1], self._outputs[t], self._d_cell
        torch.mul(d_hidden_CB, o, out=d_i)
        self._output.pull(d_i, cell, output, d_i)
        d_cell.add_(d_i)
        torch.mul(d_hidden_CB, output, out=d_o)
        torch.mul(d_cell, g, out=d_i)
        torch.mul(d_cell, self._cells[t], out=d_f)
        torch.mul(d_cell, i, out=d_g)
        d_cell.mul_(f)
        open_, n_open = active[: self._n_open], self._n_open
        self._activation.pull(d_g, raw[n_open:], g, g)
        self._gate.pull(scratch[:n_open], raw[:n_open], open_, open_)


class SLSTMSteps:
    """The steps of sLSTM cells, forward and backward. Source: Beck et al. (2024), eqs. 8 to 17.

    Cell state and normaliser lie together, as do the exponential input gate and what is kept of
    both (the forget gate after the stabiliser): what happens to both happens in one pass.
    """

    def __init__(self, spec: ModelSpec, gates: Gates, workspace: Workspace) -> None:
        """Take the gates, which every step forward finds filled and leaves active."""
        self._activation = ACTIVATIONS[spec.activation]
        self._gate = ACTIVATIONS[spec.recurrent_activation]
        self._has_sigmoid = spec.forget_gate == "sigmoid"
        self._gates = gates
        n_gates, n_series = gates.raw[0].shape
        shape, n_steps = (2, n_gates // 4, n_series), len(gates.raw)
        states = workspace.take("states", (n_steps + 1, *shape), gates.raw[0])
        states[0] = 0
        self._states = states.unbind(0)
        self._factors = workspace.take("factors", (n_steps, *shape), gates.raw[0]).unbind(0)
        self._d_states = workspace.take("d_states", shape, gates.raw[0]).zero_()
        self._one, self._two, self._stabiliser = workspace.take(
            "scratch", (3, *shape[1:]), gates.raw[0]
        ).unbind(0)
        self._stabiliser.fill_(-torch.inf)

    def forward(self, t: int, hidden_CB: Tensor) -> None:
        """Turn the gates of step t into its hidden state."""
        raw_i, raw_f, raw_o, raw_g = self._gates.raw[t].chunk(4)
        _, f, o, g = self._gates.active[t].chunk(4)
        stabiliser, states, factors = self._stabiliser, self._states[t + 1], self._factors[t]
        (cell, normaliser), (added, kept) = states.unbind(0), factors.unbind(0)
        if self._gates.as_one:
            size = len(f)
            torch.sigmoid(self._gates.raw[t][size:], out=self._gates.active[t][size:])
            torch.add(MINUS_ONE, g, alpha=2, out=g)
        else:
            torch.sigmoid(raw_f, out=f)
            self._gate.apply(raw_o, o)
            self._activation.apply(raw_g, g)
        log_f = apply_log_sigmoid(raw_f, f, out=self._one) if self._has_sigmoid else raw_f
        torch.add(log_f, stabiliser, out=kept)
        torch.maximum(kept, raw_i, out=stabiliser)
        torch.sub(raw_i, stabiliser, out=added)
        kept.sub_(stabiliser)
        factors.exp_()
        torch.mul(kept, self._states[t], out=states)
        cell.addcmul_(added, g)
        normaliser.add_(added)
        torch.div(cell, normaliser, out=hidden_CB)
        hidden_CB.mul_(o)

    def backward(self, t: int, d_hidden_CB: Tensor) -> None:
        """Turn the gates of step t into their gradients, from last step to first."""
        raw_g, raw_o = self._gates.raw[t].chunk(4)[3], self._gates.raw[t].chunk(4)[2]
        i, f, o, g = self._gates.active[t].chunk(4)
        (cell, normaliser), (added, kept) = (
            self._states[t + 1].unbind(0),
            self._factors[t].unbind(0),
        )
        before, normaliser_before = self._states[t].unbind(0)
        d_cell, d_normaliser = self._d_states.unbind(0)
        one, two = self._one, self._two
        torch.div(cell, normaliser, out=one)
        torch.mul(d_hidden_CB, o, out=two).div_(normaliser)
        d_cell.add_(two)
        d_normaliser.addcmul_(two, one, value=-1)
        self._gate.pull(one.mul_(d_hidden_CB), raw_o, o, o)
        torch.addcmul(d_normaliser, d_cell, g, out=i).mul_(added)
        torch.mul(d_cell, added, out=two)
        self._activation.pull(two, raw_g, g, g)
        torch.mul(d_normaliser, normaliser_before, out=one).addcmul_(d_cell, before).mul_(kept)
        if self._has_sigmoid:
            torch.addcmul(one, one, f, value=-1, out=f)
        else:
            f.copy_(one)
        self._d_states.mul_(kept)


STEPS: dict[str, type[LSTMSteps] | type[SLSTMSteps]] = {"lstm": LSTMSteps, "slstm": SLSTMSteps}


@dataclass
class Tape:
    """A sequence that was run forward, and all that the way back needs."""

    columns_TKB: Tensor
    gates: Gates
    steps: LSTMSteps | SLSTMSteps
    workspace: Workspace

    @classmethod
    def record(
        cls, spec: ModelSpec, inputs_TCB: Tensor, weights_KG: Tensor, workspace: Workspace
    ) -> Self:
        """Run all steps forward."""
        n_steps, width, n_series = inputs_TCB.shape
        n_columns, n_gates = weights_KG.shape
        columns_TKB = workspace.take("columns", (n_steps + 1, n_columns, n_series), weights_KG)
        columns_TKB[:-1, :width] = inputs_TCB
        columns_TKB[0, width:-1] = 0
        columns_TKB[:, -1] = 1
        gates = Gates(spec, (n_steps, n_gates, n_series), workspace, weights_KG)
        tape = cls(columns_TKB, gates, STEPS[spec.cell](spec, gates, workspace), workspace)
        weights_GK = weights_KG.T.clone(memory_format=torch.contiguous_format)
        if gates.as_one:
            weights_GK[3 * n_gates // 4 :] *= 2
        columns, hidden = columns_TKB.unbind(0), columns_TKB[1:, width:-1].unbind(0)
        for t in range(n_steps):
            torch.mm(weights_GK, columns[t], out=gates.raw[t])
            tape.steps.forward(t, hidden[t])
        return tape

    def rewind(self, d_hidden_TCB: Tensor, weights_KG: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """Run all steps backward, once: the gates become their gradients.

        Args:
            d_hidden_TCB: Gradients of the hidden states.
            weights_KG: The weights it was recorded with.
            first: First column whose gradient is wanted.

        Returns:
            Gradients of the columns from ``first`` on (T, M, B), and of the weights (K, G).
        """
        n_steps, size, n_series = d_hidden_TCB.shape
        weights_MG = weights_KG[first:-1]
        shape = (n_steps, len(weights_MG), n_series)
        d_columns_TMB = self.workspace.take("d_columns", shape, weights_KG)
        d_columns, d_hidden = d_columns_TMB.unbind(0), d_hidden_TCB.unbind(0)
        columns, gates = self.columns_TKB.unbind(0), self.gates.active
        d_weights_KG = torch.zeros_like(weights_KG)
        d_hidden_CB = d_hidden[-1].clone()
        for t in range(n_steps - 1, -1, -1):
            self.steps.backward(t, d_hidden_CB)
            d_weights_KG.addmm_(columns[t], gates[t].T)
            torch.mm(weights_MG, gates[t], out=d_columns[t])
            if t:
                torch.add(d_columns[t][-size:], d_hidden[t - 1], out=d_hidden_CB)
        return d_columns_TMB, d_weights_KG


class Sequence(torch.autograd.Function):
    """A layer over whole sequences: inputs (T, C, B) and weights (K, G) to hidden states."""

    @staticmethod
    def forward(
        ctx: Any, inputs_TCB: Tensor, weights_KG: Tensor, spec: ModelSpec, pool: list[Workspace]
    ) -> Tensor:
        """Run all steps, in the memory of a workspace of the pool."""
        workspace = pool.pop() if pool else Workspace()
        ctx.tape = Tape.record(spec, inputs_TCB, weights_KG, workspace)
        ctx.weights_KG, ctx.pool = weights_KG, pool
        return ctx.tape.columns_TKB[1:, inputs_TCB.shape[1] : -1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Run all steps back, once, and give the workspace back to the pool."""
        tape, ctx.tape = ctx.tape, None
        if tape is None:
            raise RuntimeError("the gradients of a sequence can be taken once; run it again")
        (d_hidden_TCB,) = gradients
        width = len(ctx.weights_KG) - d_hidden_TCB.shape[1] - 1
        first = 0 if ctx.needs_input_grad[0] else width
        d_columns_TMB, d_weights_KG = tape.rewind(d_hidden_TCB, ctx.weights_KG, first)
        ctx.pool.append(tape.workspace)
        d_inputs_TCB = d_columns_TMB[:, :width] if first == 0 else None
        return d_inputs_TCB, d_weights_KG, None, None


def _run(inputs_TCB: Tensor, weights_KG: Tensor, spec: ModelSpec, pool: list[Workspace]) -> Tensor:
    """Hidden states where nothing learns."""
    workspace = pool.pop() if pool else Workspace()
    tape = Tape.record(spec, inputs_TCB, weights_KG, workspace)
    pool.append(workspace)
    return tape.columns_TKB[1:, inputs_TCB.shape[1] : -1].clone()


class Recurrent(nn.Module):
    """One recurrent layer; its weights, in the canonical layout, are undefined until loaded."""

    def __init__(self, spec: ModelSpec, input_size: int, size: int) -> None:
        """Take the cell and the widths."""
        super().__init__()
        self._spec = spec
        self.kernel = nn.Parameter(torch.empty(input_size, 4 * size))
        self.recurrent_kernel = nn.Parameter(torch.empty(size // spec.n_heads, 4 * size))
        self.bias = nn.Parameter(torch.empty(4 * size))
        self._pool: list[Workspace] = []

    def forward(self, inputs_TCB: Tensor) -> Tensor:
        """Hidden states (T, C, B) of all steps, valid until gradients have been taken."""
        weights_KG = torch.cat([self.kernel, self._all_heads(), self.bias[None]])
        weights_KG = weights_KG.unflatten(1, (4, -1))[:, INSIDE].flatten(1)
        learning = weights_KG.requires_grad
        run = Sequence.apply if learning else _run
        blocks = inputs_TCB.split(SERIES_PER_BLOCK[learning], 2)
        hidden = [run(block_TCB, weights_KG, self._spec, self._pool) for block_TCB in blocks]
        return torch.cat(hidden, 2) if len(hidden) > 1 else hidden[0]

    def _all_heads(self) -> Tensor:
        """The recurrent kernel with zeros where a unit belongs to another head."""
        n_heads = self._spec.n_heads
        if n_heads == 1:
            return self.recurrent_kernel
        size = self.recurrent_kernel.shape[1] // 4
        mask = torch.from_numpy(head_mask(size, n_heads)).to(self.recurrent_kernel.device)
        return self.recurrent_kernel.tile(n_heads, 1) * mask

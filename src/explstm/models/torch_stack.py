"""Stacks of recurrent layers in PyTorch: whole sequences forward, and back by hand.

For every tick, the columns ``[inputs; 1; hidden of layer 0; 1; hidden of layer 1; ...]`` of all
series lie on top of each other. The gates of a layer come from one product of its weights
``[kernel; bias; recurrent kernel]`` and the rows of its inputs, the 1 and its own hidden state,
which are neighbours; so do the gradients of its weights.

Axis letters: T time, L layers, B series, C channels, G gates (4 C: input, forget, output,
candidate), K columns (inputs, 1, hidden states).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from explstm.models import torch_library
from explstm.models.spec import ModelSpec, count_idle_biases, head_mask
from explstm.models.torch_cells import STEPS, has_one_activation
from explstm.models.torch_room import Gates, Room, Ticks, Workspace, take_raw

SERIES_PER_BLOCK = {True: 1024, False: 256}
"""Series that pass a stack together, with gradients and without; more of them leave the cache."""


class Tape:
    """A sequence run forward through a stack, and all that the way back needs."""

    def __init__(
        self, spec: ModelSpec, inputs_TCB: Tensor, weights: Sequence[Tensor], workspace: Workspace
    ) -> None:
        """Run all steps forward.

        Args:
            spec: Which cell.
            inputs_TCB: What the first layer reads.
            weights: Of every layer, (K, G), rows ``[kernel; bias; recurrent kernel]``.
            workspace: Where the arrays are.
        """
        self._n_steps, self._width, self._n_series = inputs_TCB.shape
        self._n_layers, self._size = len(weights), weights[0].shape[1] // 4
        self._ticks, self.workspace = Ticks(self._n_steps, self._n_layers), workspace
        room = Room(spec, self._ticks, self._size, self._n_series, workspace, weights[0])
        columns_TKB = self._take_columns("columns", len(self._ticks) + 1, weights[0])
        self._columns = [columns_TKB[:, rows].unbind(0) for rows in self._rows()]
        self.hidden_TCB = columns_TKB[self._n_layers :, -self._size :]
        self._raw = Gates(room, take_raw(room))
        self._gates = Gates(room, room.layers("gates", len(self._ticks), widths=4))
        self._steps = STEPS[spec.cell](room, self._raw, self._gates)
        self._doubles_candidate = has_one_activation(room)
        self._start(columns_TKB, inputs_TCB)
        self._run(self._hidden(columns_TKB)[1:], weights)

    def rewind(
        self, d_hidden_TCB: Tensor, weights: Sequence[Tensor], inputs_learn: bool
    ) -> tuple[Tensor | None, list[Tensor]]:
        """Run all steps backward, once: the gates become their gradients.

        Args:
            d_hidden_TCB: Gradients of the hidden states of the last layer.
            weights: What the sequence was run with.
            inputs_learn: Whether the gradients of the inputs are wanted.

        Returns:
            Gradients of the inputs (T, C, B), and of the weights of every layer.
        """
        n_ticks = len(self._ticks)
        n_kept = n_ticks + 1 if inputs_learn else 2  # else they stay in the cache
        d_columns_TKB = self._take_columns("d_columns", n_kept, weights[0])
        d_columns = d_columns_TKB.unbind(0)
        kept = [tick % n_kept for tick in range(n_ticks + 1)]
        d_hidden = self._hidden(d_columns_TKB)
        d_hidden_by_tick = self._ticks.of([d_hidden[k] for k in kept[1:]])
        d_outputs, wanted = d_hidden_TCB.unbind(0), self._rows()
        if not inputs_learn:
            wanted[0] = slice(self._width + 1, wanted[0].stop)
        d_rows = [d_columns_TKB[:, rows].unbind(0) for rows in wanted]
        back = [w[-(rows.stop - rows.start) :] for w, rows in zip(weights, wanted, strict=True)]
        d_weights = [torch.zeros_like(weight_KG) for weight_KG in weights]
        d_columns[kept[-1]].zero_()
        for tick in range(n_ticks - 1, -1, -1):
            if tick >= self._n_layers - 1:
                d_columns[kept[tick + 1]][-self._size :] += d_outputs[tick - self._n_layers + 1]
            self._steps.backward(tick, d_hidden_by_tick[tick])
            d_columns[kept[tick]].zero_()
            gates = self._gates.all[tick].unbind(0)
            for layer, gates_GB in zip(self._ticks.layers(tick), gates, strict=True):
                d_weights[layer].addmm_(self._columns[layer][tick], gates_GB.T)
                d_rows[layer][kept[tick]].addmm_(back[layer], gates_GB)
        return d_columns_TKB[: self._n_steps, : self._width] if inputs_learn else None, d_weights

    def _take_columns(self, name: str, n_ticks: int, like: Tensor) -> Tensor:
        n_columns = self._width + self._n_layers * (self._size + 1)
        return self.workspace.take(name, (n_ticks, n_columns, self._n_series), like)

    def _rows(self) -> list[slice]:
        """Where the inputs, the 1 and the hidden state of each layer lie among the columns."""
        ends = [self._width + (n + 1) * (self._size + 1) for n in range(self._n_layers)]
        return [slice(end - 2 * self._size - 1 if n else 0, end) for n, end in enumerate(ends)]

    def _hidden(self, columns_TKB: Tensor) -> tuple[Tensor, ...]:
        """The hidden states (L, C, B) among the columns of every tick."""
        layers = columns_TKB[:, self._width :].unflatten(1, (self._n_layers, -1))
        return layers[:, :, 1:].unbind(0)

    def _start(self, columns_TKB: Tensor, inputs_TCB: Tensor) -> None:
        """Fill in the inputs, the 1 and the hidden states before the first steps."""
        columns_TKB[: self._n_steps, : self._width] = inputs_TCB
        columns_TKB[:, self._width :: self._size + 1] = 1
        for layer, hidden_LCB in enumerate(self._hidden(columns_TKB[: self._n_layers])):
            hidden_LCB[layer] = 0

    def _run(self, hidden: Sequence[Tensor], weights: Sequence[Tensor]) -> None:
        forward = [
            weight_KG.T.clone(memory_format=torch.contiguous_format) for weight_KG in weights
        ]
        if self._doubles_candidate:
            for weight_GK in forward:
                weight_GK[3 * self._size :] *= 2
        for tick, hidden_LCB in enumerate(self._ticks.of(hidden)):
            raw = self._raw.all[tick].unbind(0)
            for layer, raw_GB in zip(self._ticks.layers(tick), raw, strict=True):
                torch.mm(forward[layer], self._columns[layer][tick], out=raw_GB)
            self._steps.forward(tick, hidden_LCB)


class Run(torch.autograd.Function):
    """A stack over whole sequences: inputs (T, C, B) and weights (K, G) to hidden states."""

    @staticmethod
    def forward(
        ctx: Any, inputs_TCB: Tensor, spec: ModelSpec, pool: list[Workspace], *weights: Tensor
    ) -> Tensor:
        """Run all steps, in the memory of a workspace of the pool."""
        ctx.tape = Tape(spec, inputs_TCB, weights, pool.pop() if pool else Workspace())
        ctx.weights, ctx.pool = weights, pool
        hidden_TCB: Tensor = ctx.tape.hidden_TCB
        return hidden_TCB

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Run all steps back, once, and give the workspace back to the pool."""
        tape, ctx.tape = ctx.tape, None
        if tape is None:
            raise RuntimeError("the gradients of a sequence can be taken once; run it again")
        d_inputs_TCB, d_weights = tape.rewind(*gradients, ctx.weights, ctx.needs_input_grad[0])
        ctx.pool.append(tape.workspace)
        return d_inputs_TCB, None, None, *d_weights


class Layer(nn.Module):
    """The weights of one recurrent layer in the canonical layout, undefined until loaded."""

    def __init__(self, spec: ModelSpec, input_size: int, size: int) -> None:
        """Take the cell and the widths."""
        super().__init__()
        self._n_heads, self._n_idle = spec.n_heads, count_idle_biases(spec, size)
        self.kernel = nn.Parameter(torch.empty(input_size, 4 * size))
        self.recurrent_kernel = nn.Parameter(torch.empty(size // spec.n_heads, 4 * size))
        self.bias = nn.Parameter(torch.empty(4 * size))

    def forward(self) -> Tensor:
        """All weights (K, G) as a stack wants them: gates of one activation beside each other."""
        recurrent_CG: Tensor = self.recurrent_kernel
        if self._n_heads > 1:  # zeros where a unit belongs to another head
            mask = head_mask(self.bias.numel() // 4, self._n_heads)
            recurrent_CG = recurrent_CG.tile(self._n_heads, 1) * torch.from_numpy(mask).to(
                self.bias
            )
        bias_G = torch.cat([self.bias[: self._n_idle].detach(), self.bias[self._n_idle :]])
        i, f, g, o = torch.cat([self.kernel, bias_G[None], recurrent_CG]).chunk(4, 1)
        return torch.cat([i, f, o, g], 1)


class Stack(nn.Module):
    """Recurrent layers of one width."""

    def __init__(self, spec: ModelSpec, input_size: int, sizes: Sequence[int]) -> None:
        """Take the cell, the width of the inputs and that of each layer, which is the same."""
        super().__init__()
        self._spec = spec
        self._size = sizes[0]
        inputs = (input_size, *sizes)
        self._layers = [Layer(spec, *widths) for widths in pairwise(inputs)]
        self.layers = nn.ModuleList(self._layers)  # so that PyTorch finds their parameters
        self._pool: list[Workspace] = []

    def forward(self, inputs_TCB: Tensor) -> Tensor:
        """Hidden states (T, C, B) of the last layer, valid until gradients have been taken."""
        learning = torch.is_grad_enabled()
        if learning and torch_library.suits(self._spec, inputs_TCB, self._size):
            return torch_library.run(inputs_TCB, self._layers)
        weights = [layer() for layer in self._layers]
        hidden = [
            self._learn(block_TCB, weights) if learning else self._read(block_TCB, weights)
            for block_TCB in inputs_TCB.split(SERIES_PER_BLOCK[learning], 2)
        ]
        return torch.cat(hidden, 2) if len(hidden) > 1 else hidden[0]

    def _learn(self, inputs_TCB: Tensor, weights: list[Tensor]) -> Tensor:
        hidden_TCB: Tensor = Run.apply(inputs_TCB, self._spec, self._pool, *weights)
        return hidden_TCB

    def _read(self, inputs_TCB: Tensor, weights: list[Tensor]) -> Tensor:
        workspace = self._pool.pop() if self._pool else Workspace()
        tape = Tape(self._spec, inputs_TCB, weights, workspace)
        self._pool.append(workspace)
        return tape.hidden_TCB.clone()

"""The recurrent cells in PyTorch: stacks of layers over whole sequences, and back by hand.

``torch.nn.LSTM`` knows one set of activations and no exponential gates, and a plain loop lets
autograd make and keep a dozen small arrays per step. Here a step is one matrix product and a few
passes over arrays that stay where they are from batch to batch, whatever the cell: allocating them
anew cost as much as a third of a training step.

Layers of one width run together: at tick k layer l computes its step ``k - l``, so that each pass
over the gates serves all layers. Series come last: what is computed gate by gate then lies in one
piece. For every tick, the columns ``[inputs; 1; hidden of layer 0; 1; hidden of layer 1; ...]`` of
all series lie on top of each other. The gates of a layer come from one product of its weights
``[kernel; bias; recurrent kernel]`` and the rows of its inputs, the 1 and its own hidden state,
which are neighbours.

The equations are those of :mod:`explstm.models.numpy_cells`. The stabiliser of sLSTM is a constant
to its gradient, because the hidden state does not depend on it.

Axis letters: T time, L layers, B series, C channels, G gates (4 C: input, forget, output,
candidate), K columns (inputs, 1, hidden states).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from explstm.models.spec import ModelSpec, head_mask
from explstm.models.torch_activations import ACTIVATIONS, MINUS_ONE, apply_log_sigmoid

SERIES_PER_BLOCK = {True: 1024, False: 256}
"""Series that pass a stack together, with gradients and without; more of them leave the cache."""


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


@dataclass(frozen=True)
class Ticks:
    """Which layers of a stack are at work at each tick.

    Attributes:
        n_steps: Steps of the sequence, T.
        n_layers: Layers of the stack, L.
    """

    n_steps: int
    n_layers: int

    def __len__(self) -> int:
        return self.n_steps + self.n_layers - 1

    def layers(self, tick: int) -> range:
        """The layers that have a step at a tick."""
        return range(max(0, tick - self.n_steps + 1), min(self.n_layers, tick + 1))

    def of(self, arrays: Sequence[Tensor]) -> list[Tensor]:
        """One array (..., L, C, B) per tick, cut to the layers at work."""
        cut = []
        for tick in range(len(self)):
            layers = self.layers(tick)
            whole = len(layers) == self.n_layers
            array = arrays[tick]
            cut.append(array if whole else array[..., layers.start : layers.stop, :, :])
        return cut


@dataclass(frozen=True)
class Room:
    """Where a stack computes: its shape, its memory, and the ticks of its steps."""

    spec: ModelSpec
    ticks: Ticks
    size: int
    n_series: int
    workspace: Workspace
    like: Tensor

    def take(self, name: str, *shape: int) -> Tensor:
        """An array with undefined values, the same memory as last time."""
        return self.workspace.take(name, shape, self.like)

    def take_layers(self, name: str) -> Tensor:
        """An array (L, C, B)."""
        return self.take(name, self.ticks.n_layers, self.size, self.n_series)

    def each_tick(self, name: str, *axes: int, widths: int = 1) -> tuple[Tensor, ...]:
        """An array (*axes, L, widths C, B) for every tick."""
        n_layers, width = self.ticks.n_layers, widths * self.size
        return self.take(name, len(self.ticks), *axes, n_layers, width, self.n_series).unbind(0)

    def states(self, name: str, *axes: int) -> tuple[Tensor, ...]:
        """Arrays (*axes, L, C, B) before every tick and after the last, 0 before a layer starts."""
        n_layers = self.ticks.n_layers
        shape = (len(self.ticks) + 1, *axes, n_layers, self.size, self.n_series)
        states = self.take(name, *shape).unbind(0)
        for layer in range(n_layers):
            states[layer][..., layer, :, :] = 0
        return states


class Gates:
    """The gates of every tick, before and after their activations.

    Before the activations they are kept only where a derivative needs it.

    Attributes:
        raw: For each tick, what the products of weights and columns fill (L, G, B).
        active: For each tick, what the activations and then the gradients fill (L, G, B).
        parts: For each tick, the four gates in ``active`` (L, C, B).
        as_one: Whether one sigmoid serves all gates: tanh(x) is 2 sigmoid(2 x) - 1.
    """

    def __init__(self, room: Room) -> None:
        """Find room for the gates of a sequence."""
        used = (room.spec.activation, room.spec.recurrent_activation)
        kept = any(ACTIVATIONS[name].reads_input for name in used)
        n_ticks, shape = len(room.ticks), (room.ticks.n_layers, 4 * room.size, room.n_series)
        raw = room.take("raw", n_ticks if kept else 1, *shape).unbind(0)
        self.raw = room.ticks.of(raw if kept else raw * n_ticks)
        self.active = room.ticks.of(room.each_tick("gates", widths=4))
        self.parts = [active.chunk(4, 1) for active in self.active]
        self.as_one = used == ("tanh", "sigmoid")


class LSTMSteps:
    """The steps of LSTM cells, forward and backward. Source: Gers et al. (2000)."""

    def __init__(self, room: Room, gates: Gates) -> None:
        """Take the gates, which every tick forward finds filled and leaves active."""
        self._activation = ACTIVATIONS[room.spec.activation]
        self._gate = ACTIVATIONS[room.spec.recurrent_activation]
        self._output = ACTIVATIONS[room.spec.cell_output]
        self._gates, self._n_open, ticks = gates, 3 * room.size, room.ticks
        cells = room.states("cells")
        self._before, self._after = ticks.of(cells[:-1]), ticks.of(cells[1:])
        self._outputs = ticks.of(room.each_tick("outputs"))
        n_ticks = len(ticks)
        self._d_cell = ticks.of([room.take_layers("d_cell").zero_()] * n_ticks)
        scratch = room.take("scratch", ticks.n_layers, 4 * room.size, room.n_series)
        self._scratch = ticks.of([scratch] * n_ticks)
        self._d_parts = [scratch.chunk(4, 1) for scratch in self._scratch]

    def forward(self, tick: int, hidden_LCB: Tensor) -> None:
        """Turn gates into hidden states."""
        raw, active = self._gates.raw[tick], self._gates.active[tick]
        i, f, o, g = self._gates.parts[tick]
        cell, output = self._after[tick], self._outputs[tick]
        if self._gates.as_one:
            torch.sigmoid(raw, out=active)
            torch.add(MINUS_ONE, g, alpha=2, out=g)
        else:
            self._gate.apply(raw[:, : self._n_open], active[:, : self._n_open])
            self._activation.apply(raw[:, self._n_open :], g)
        torch.mul(f, self._before[tick], out=cell)
        cell.addcmul_(i, g)
        self._output.apply(cell, output)
        torch.mul(o, output, out=hidden_LCB)

    def backward(self, tick: int, d_hidden_LCB: Tensor) -> None:
        """Turn gates into their gradients, from last tick to first."""
        raw, active = self._gates.raw[tick], self._gates.active[tick]
        i, f, _, g = self._gates.parts[tick]
        d_i, d_f, d_o, d_g = self._d_parts[tick]
        output, d_cell = self._outputs[tick], self._d_cell[tick]
        torch.mul(d_hidden_LCB, self._gates.parts[tick][2], out=d_i)
        self._output.pull(d_i, self._after[tick], output, d_i)
        d_cell.add_(d_i)
        torch.mul(d_hidden_LCB, output, out=d_o)
        torch.mul(d_cell, g, out=d_i)
        torch.mul(d_cell, self._before[tick], out=d_f)
        torch.mul(d_cell, i, out=d_g)
        d_cell.mul_(f)
        open_, d_open = active[:, : self._n_open], self._scratch[tick][:, : self._n_open]
        self._gate.pull(d_open, raw[:, : self._n_open], open_, open_)
        self._activation.pull(d_g, raw[:, self._n_open :], g, g)


class SLSTMSteps:
    """The steps of sLSTM cells, forward and backward. Source: Beck et al. (2024), eqs. 8 to 17.

    Cell state and normaliser lie together, as do the factors of what is added to both and of what
    both keep: the input gate and the forget gate behind the stabiliser.
    """

    def __init__(self, room: Room, gates: Gates) -> None:
        """Take the gates, which every tick forward finds filled and leaves active."""
        self._activation = ACTIVATIONS[room.spec.activation]
        self._gate = ACTIVATIONS[room.spec.recurrent_activation]
        self._has_sigmoid = room.spec.forget_gate == "sigmoid"
        self._gates, self._size, ticks = gates, room.size, room.ticks
        self._raw = [raw.chunk(4, 1) for raw in gates.raw]
        states = room.states("states", 2)
        self._before, self._after = ticks.of(states[:-1]), ticks.of(states[1:])
        self._factors = ticks.of(room.each_tick("factors", 2))
        alone = ("stabiliser", "one", "two")
        stabiliser, one, two = (room.take_layers(name) for name in alone)
        stabiliser.fill_(-torch.inf)
        self._alone = [ticks.of([array] * len(ticks)) for array in (stabiliser, one, two)]
        d_states = room.take("d_states", 2, *one.shape).zero_()
        self._d_states = ticks.of([d_states] * len(ticks))

    def forward(self, tick: int, hidden_LCB: Tensor) -> None:
        """Turn gates into hidden states."""
        raw_i, raw_f, _, _ = self._raw[tick]
        _, f, o, g = self._gates.parts[tick]
        stabiliser, one, _ = (arrays[tick] for arrays in self._alone)
        states, factors = self._after[tick], self._factors[tick]
        (cell, normaliser), (added, kept) = states.unbind(0), factors.unbind(0)
        self._activate(tick)
        log_f = apply_log_sigmoid(raw_f, f, out=one) if self._has_sigmoid else raw_f
        torch.add(log_f, stabiliser, out=kept)
        torch.maximum(kept, raw_i, out=stabiliser)
        torch.sub(raw_i, stabiliser, out=added)
        kept.sub_(stabiliser)
        factors.exp_()
        torch.mul(kept, self._before[tick], out=states)
        cell.addcmul_(added, g)
        normaliser.add_(added)
        torch.div(cell, normaliser, out=hidden_LCB)
        hidden_LCB.mul_(o)

    def _activate(self, tick: int) -> None:
        """Fill the output gate, the candidate and the sigmoid of the forget gate."""
        _, raw_f, raw_o, raw_g = self._raw[tick]
        _, f, o, g = self._gates.parts[tick]
        if self._gates.as_one:
            first = self._size
            torch.sigmoid(self._gates.raw[tick][:, first:], out=self._gates.active[tick][:, first:])
            torch.add(MINUS_ONE, g, alpha=2, out=g)
            return
        torch.sigmoid(raw_f, out=f)
        self._gate.apply(raw_o, o)
        self._activation.apply(raw_g, g)

    def backward(self, tick: int, d_hidden_LCB: Tensor) -> None:
        """Turn gates into their gradients, from last tick to first."""
        _, _, raw_o, raw_g = self._raw[tick]
        i, f, o, g = self._gates.parts[tick]
        (cell, normaliser), (added, kept) = (
            self._after[tick].unbind(0),
            self._factors[tick].unbind(0),
        )
        cell_before, normaliser_before = self._before[tick].unbind(0)
        d_cell, d_normaliser = self._d_states[tick].unbind(0)
        _, one, two = (arrays[tick] for arrays in self._alone)
        torch.div(cell, normaliser, out=one)
        torch.mul(d_hidden_LCB, o, out=two).div_(normaliser)
        d_cell.add_(two)
        d_normaliser.addcmul_(two, one, value=-1)
        self._gate.pull(one.mul_(d_hidden_LCB), raw_o, o, o)
        torch.addcmul(d_normaliser, d_cell, g, out=i).mul_(added)
        torch.mul(d_cell, added, out=two)
        self._activation.pull(two, raw_g, g, g)
        torch.mul(d_normaliser, normaliser_before, out=one).addcmul_(d_cell, cell_before)
        one.mul_(kept)
        if self._has_sigmoid:
            torch.addcmul(one, one, f, value=-1, out=f)
        else:
            f.copy_(one)
        self._d_states[tick].mul_(kept)


STEPS: dict[str, type[LSTMSteps] | type[SLSTMSteps]] = {"lstm": LSTMSteps, "slstm": SLSTMSteps}


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
        self._gates = Gates(room)
        self._steps = STEPS[spec.cell](room, self._gates)
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
            gates = self._gates.active[tick].unbind(0)
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
        if self._gates.as_one:
            for weight_GK in forward:
                weight_GK[3 * self._size :] *= 2
        for tick, hidden_LCB in enumerate(self._ticks.of(hidden)):
            raw = self._gates.raw[tick].unbind(0)
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
        self._n_heads = spec.n_heads
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
        i, f, g, o = torch.cat([self.kernel, self.bias[None], recurrent_CG]).chunk(4, 1)
        return torch.cat([i, f, o, g], 1)


class Stack(nn.Module):
    """Recurrent layers of one width."""

    def __init__(self, spec: ModelSpec, input_size: int, sizes: Sequence[int]) -> None:
        """Take the cell, the width of the inputs and that of each layer, which is the same."""
        super().__init__()
        self._spec = spec
        inputs = (input_size, *sizes)
        self.layers = nn.ModuleList(Layer(spec, *widths) for widths in pairwise(inputs))
        self._pool: list[Workspace] = []

    def forward(self, inputs_TCB: Tensor) -> Tensor:
        """Hidden states (T, C, B) of the last layer, valid until gradients have been taken."""
        weights = [layer() for layer in self.layers]
        learning = weights[0].requires_grad
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

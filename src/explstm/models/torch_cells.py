"""The recurrent cells in PyTorch: one tick forward, and back by hand.

``torch.nn.LSTM`` knows one set of activations and no exponential gates, and a plain loop lets
autograd make and keep a dozen small arrays per step. Here a tick is a few passes over arrays that
are there already. The equations are those of :mod:`explstm.models.numpy_cells`; the stabiliser of
sLSTM is a constant to its gradient, because the hidden state does not depend on it.

Axis letters: L layers at work, B series, C channels, G gates (4 C: input, forget, output,
candidate).
"""

import torch
from torch import Tensor

from explstm.models.torch_activations import ACTIVATIONS, MINUS_ONE, apply_log_sigmoid
from explstm.models.torch_room import Gates, Room


def has_one_activation(room: Room) -> bool:
    """Whether one sigmoid serves all gates: tanh(x) is 2 sigmoid(2 x) - 1.

    The candidate is then expected doubled.
    """
    return (room.spec.activation, room.spec.recurrent_activation) == ("tanh", "sigmoid")


class LSTMSteps:
    """The steps of LSTM cells. Source: Gers et al. (2000)."""

    def __init__(self, room: Room, raw: Gates, gates: Gates) -> None:
        """Take the gates: what is filled before each tick, and what its activations fill."""
        self._activation = ACTIVATIONS[room.spec.activation]
        self._gate = ACTIVATIONS[room.spec.recurrent_activation]
        self._output = ACTIVATIONS[room.spec.cell_output]
        self._as_one = has_one_activation(room)
        self._raw, self._gates = raw, gates
        self._before, self._after = room.states("cells")
        self._outputs = room.by_tick(room.layers("outputs", len(room.ticks)))
        self._d_gates = Gates(room, room.layers("d_gates", widths=4))
        self._d_cell = room.each_tick(room.layers("d_cell").zero_())

    def forward(self, tick: int, hidden_LCB: Tensor) -> None:
        """Turn raw gates into hidden states."""
        i, f, o, g = self._gates.parts[tick]
        cell, output = self._after[tick], self._outputs[tick]
        if self._as_one:
            torch.sigmoid(self._raw.all[tick], out=self._gates.all[tick])
            torch.add(MINUS_ONE, g, alpha=2, out=g)
        else:
            self._gate.apply(self._raw.open[tick], self._gates.open[tick])
            self._activation.apply(self._raw.parts[tick][3], g)
        torch.mul(f, self._before[tick], out=cell)
        cell.addcmul_(i, g)
        self._output.apply(cell, output)
        torch.mul(o, output, out=hidden_LCB)

    def backward(self, tick: int, d_hidden_LCB: Tensor) -> None:
        """Turn gates into their gradients, from last tick to first."""
        i, f, o, g = self._gates.parts[tick]
        d_i, d_f, d_o, d_g = self._d_gates.parts[tick]
        output, d_cell = self._outputs[tick], self._d_cell[tick]
        torch.mul(d_hidden_LCB, o, out=d_i)
        self._output.pull(d_i, self._after[tick], output, d_i)
        d_cell.add_(d_i)
        torch.mul(d_hidden_LCB, output, out=d_o)
        torch.mul(d_cell, g, out=d_i)
        torch.mul(d_cell, self._before[tick], out=d_f)
        torch.mul(d_cell, i, out=d_g)
        d_cell.mul_(f)
        opened = self._gates.open[tick]
        self._gate.pull(self._d_gates.open[tick], self._raw.open[tick], opened, opened)
        self._activation.pull(d_g, self._raw.parts[tick][3], g, g)


class SLSTMSteps:
    """The steps of sLSTM cells. Source: Beck et al. (2024), eqs. 8 to 17.

    Cell state and normaliser lie together, as do the factors of what is added to both and of what
    both keep: the input gate and the forget gate behind the stabiliser.
    """

    def __init__(self, room: Room, raw: Gates, gates: Gates) -> None:
        """Take the gates: what is filled before each tick, and what its activations fill."""
        self._activation = ACTIVATIONS[room.spec.activation]
        self._gate = ACTIVATIONS[room.spec.recurrent_activation]
        self._as_one = has_one_activation(room)
        self._has_sigmoid = room.spec.forget_gate == "sigmoid"
        self._raw, self._gates = raw, gates
        self._before, self._after = room.states("states", 2)
        self._factors = room.by_tick(room.layers("factors", len(room.ticks), 2))
        self._stabiliser = room.each_tick(room.layers("stabiliser").fill_(-torch.inf))
        self._one, self._two = (room.each_tick(room.layers(name)) for name in ("one", "two"))
        self._d_states = room.each_tick(room.layers("d_states", 2).zero_())

    def forward(self, tick: int, hidden_LCB: Tensor) -> None:
        """Turn raw gates into hidden states."""
        raw_i, raw_f, _, _ = self._raw.parts[tick]
        _, f, o, g = self._gates.parts[tick]
        states, factors, stabiliser = self._after[tick], self._factors[tick], self._stabiliser[tick]
        (cell, normaliser), (added, kept) = states.unbind(0), factors.unbind(0)
        self._activate(tick)
        log_f = apply_log_sigmoid(raw_f, f, out=self._one[tick]) if self._has_sigmoid else raw_f
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
        _, raw_f, raw_o, raw_g = self._raw.parts[tick]
        _, f, o, g = self._gates.parts[tick]
        if self._as_one:
            torch.sigmoid(self._raw.behind[tick], out=self._gates.behind[tick])
            torch.add(MINUS_ONE, g, alpha=2, out=g)
            return
        torch.sigmoid(raw_f, out=f)
        self._gate.apply(raw_o, o)
        self._activation.apply(raw_g, g)

    def backward(self, tick: int, d_hidden_LCB: Tensor) -> None:
        """Turn gates into their gradients, from last tick to first."""
        _, _, raw_o, raw_g = self._raw.parts[tick]
        i, f, o, g = self._gates.parts[tick]
        (cell, normaliser), (added, kept) = (
            self._after[tick].unbind(0),
            self._factors[tick].unbind(0),
        )
        cell_before, normaliser_before = self._before[tick].unbind(0)
        d_cell, d_normaliser = self._d_states[tick].unbind(0)
        one, two = self._one[tick], self._two[tick]
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

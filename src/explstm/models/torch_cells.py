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

    Their hidden state is a gated mean of all candidates so far. The arrays are that mean
    ``y = c / n``, the share ``a = exp(i - m) / n`` of the new candidate in it, and n and m; the
    gradient goes through y and the logarithm ``l = m + log(n)`` of the sum of all weights::

        y = y_before + a * (candidate - y_before)    h = gate(o) * y
        a = exp(i - l)                               l = log(exp(log_f + l_before) + exp(i))
    """

    def __init__(self, room: Room, raw: Gates, gates: Gates) -> None:
        """Take the gates: what is filled before each tick, and what its activations fill."""
        self._activation = ACTIVATIONS[room.spec.activation]
        self._gate = ACTIVATIONS[room.spec.recurrent_activation]
        self._as_one = has_one_activation(room)
        self._has_sigmoid = room.spec.forget_gate == "sigmoid"
        self._raw, self._gates = raw, gates
        self._before, self._after = room.states("means")
        self._stabiliser = room.each_tick(room.layers("stabiliser").fill_(-torch.inf))
        started = ("normaliser", "d_mean", "d_log")
        self._normaliser, self._d_mean, self._d_log = (
            room.each_tick(room.layers(name).zero_()) for name in started
        )
        self._one, self._two = (room.each_tick(room.layers(name)) for name in ("one", "two"))

    def forward(self, tick: int, hidden_LCB: Tensor) -> None:
        """Turn raw gates into hidden states; the share takes the place of the input gate."""
        raw_i, raw_f, _, _ = self._raw.parts[tick]
        share, f, o, g = self._gates.parts[tick]
        stabiliser, normaliser, kept = (
            self._stabiliser[tick],
            self._normaliser[tick],
            self._one[tick],
        )
        self._activate(tick)
        log_f = apply_log_sigmoid(raw_f, f, out=kept) if self._has_sigmoid else raw_f
        torch.add(log_f, stabiliser, out=kept)
        torch.maximum(kept, raw_i, out=stabiliser)
        kept.sub_(stabiliser).exp_()
        torch.sub(raw_i, stabiliser, out=share).exp_()
        normaliser.mul_(kept).add_(share)
        share.div_(normaliser)
        torch.lerp(self._before[tick], g, share, out=self._after[tick])
        torch.mul(o, self._after[tick], out=hidden_LCB)

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
        share, f, o, g = self._gates.parts[tick]
        d_mean, d_log = self._d_mean[tick], self._d_log[tick]
        one, two = self._one[tick], self._two[tick]
        d_mean.addcmul_(d_hidden_LCB, o)
        torch.mul(d_hidden_LCB, self._after[tick], out=one)
        self._gate.pull(one, raw_o, o, o)
        torch.sub(g, self._before[tick], out=one).mul_(d_mean)
        torch.mul(d_mean, share, out=two)
        d_mean.sub_(two)
        self._activation.pull(two, raw_g, g, g)
        # a = sigmoid(i - log_f - l_before), and the derivative of l by i is a
        ACTIVATIONS["sigmoid"].pull(one, share, share, one)
        d_i = torch.addcmul(one, d_log, share, out=share)
        d_log.sub_(d_i)
        if self._has_sigmoid:
            torch.addcmul(d_log, d_log, f, value=-1, out=f)
        else:
            f.copy_(d_log)


STEPS: dict[str, type[LSTMSteps] | type[SLSTMSteps]] = {"lstm": LSTMSteps, "slstm": SLSTMSteps}

"""Where a stack of recurrent layers computes: memory that is kept, cut into pieces per tick.

Layers of one width run together: at tick k layer l computes its step ``k - l``, so that each pass
over the gates serves all layers. Series come last: what is computed gate by gate then lies in one
piece. Arrays stay where they are from batch to batch: allocating them anew cost as much as a third
of a training step.

Axis letters: T time, L layers, B series, C channels, G gates (4 C: input, forget, output,
candidate: inside a stack those with one activation lie together).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from explstm.models.spec import ModelSpec
from explstm.models.torch_activations import ACTIVATIONS


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
        cut = list(arrays)
        few = range(self.n_layers - 1)  # layers start one by one, and end so
        for tick in {*few, *(self.n_steps + k for k in few)}:
            layers = self.layers(tick)
            cut[tick] = cut[tick][..., layers.start : layers.stop, :, :]
        return cut


@dataclass(frozen=True)
class Room:
    """The shape of a sequence in a stack, and the memory for it.

    Attributes:
        spec: Which cell.
        ticks: When which layer is at work.
        size: Channels of a layer, C.
        n_series: B.
        workspace: The memory.
        like: Gives the type and the device.
    """

    spec: ModelSpec
    ticks: Ticks
    size: int
    n_series: int
    workspace: Workspace
    like: Tensor

    def take(self, name: str, *shape: int) -> Tensor:
        """An array with undefined values, the same memory as last time."""
        return self.workspace.take(name, shape, self.like)

    def layers(self, name: str, *axes: int, widths: int = 1) -> Tensor:
        """An array (*axes, L, widths C, B)."""
        return self.take(name, *axes, self.ticks.n_layers, widths * self.size, self.n_series)

    def states(self, name: str, *axes: int) -> tuple[list[Tensor], list[Tensor]]:
        """Arrays (*axes, L, C, B) before and after each tick, 0 before a layer starts."""
        states = self.layers(name, len(self.ticks) + 1, *axes).unbind(0)
        for layer in range(self.ticks.n_layers):
            states[layer][..., layer, :, :] = 0
        return self.ticks.of(states[:-1]), self.ticks.of(states[1:])

    def by_tick(self, array: Tensor) -> list[Tensor]:
        """Pieces of an array (ticks, ..., L, C, B), cut to the layers at work."""
        return self.ticks.of(array.unbind(0))

    def each_tick(self, array: Tensor) -> list[Tensor]:
        """The same array (..., L, C, B) for every tick, cut to the layers at work."""
        return self.ticks.of([array] * len(self.ticks))


class Gates:
    """An array of gates (ticks, L, G, B), or one (L, G, B) for all ticks, in pieces per tick.

    Attributes:
        all: All gates (L, G, B).
    """

    def __init__(self, room: Room, array: Tensor) -> None:
        """Take an array, to be cut when asked."""
        self._array, self._size = array, room.size
        self._pieces = room.by_tick if array.ndim == 4 else room.each_tick
        self.all = self._pieces(array)

    @cached_property
    def open(self) -> list[Tensor]:
        """The input, forget and output gates."""
        return self._pieces(self._array[..., : 3 * self._size, :])

    @cached_property
    def behind(self) -> list[Tensor]:
        """All but the input gate."""
        return self._pieces(self._array[..., self._size :, :])

    @cached_property
    def parts(self) -> list[tuple[Tensor, ...]]:
        """The four gates one by one."""
        parts = self._array.unflatten(-2, (4, self._size)).unbind(-3)
        return list(zip(*(self._pieces(part) for part in parts), strict=True))


def take_raw(room: Room) -> Tensor:
    """Raw gates, of one tick (L, G, B), or of all where a derivative needs them."""
    names = (room.spec.activation, room.spec.recurrent_activation)
    kept = any(ACTIVATIONS[name].reads_input for name in names)
    return room.layers("raw", *((len(room.ticks),) if kept else ()), widths=4)

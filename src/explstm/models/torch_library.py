"""The plain LSTM in PyTorch's own kernel, which is faster where a batch is small.

One call runs a layer over the whole sequence and back (oneDNN). With few series a tick of
:mod:`explstm.models.torch_stack` is mostly overhead of its operations; with many, the kernel is
half as fast (``benchmarks/steps.py``). It knows tanh and sigmoid only.

Axis letters: T time, B series, C channels.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from explstm.models.spec import ModelSpec

LARGEST = 480_000
"""Hidden states of a layer (T, C, B), in numbers, up to which the kernel is the faster one."""


class Layer(Protocol):
    """The weights of a layer in the canonical layout."""

    @property
    def kernel(self) -> Tensor:
        """Weights of the inputs (K, 4 C)."""
        ...

    @property
    def recurrent_kernel(self) -> Tensor:
        """Weights of the hidden state (C, 4 C)."""
        ...

    @property
    def bias(self) -> Tensor:
        """Biases (4 C,)."""
        ...


def suits(spec: ModelSpec, inputs_TCB: Tensor, size: int) -> bool:
    """Whether the hidden states of a batch are few, and the cell is the one that PyTorch has."""
    steps, _, n_series = inputs_TCB.shape
    cell = (spec.cell, spec.activation, spec.cell_output, spec.recurrent_activation)
    known = cell == ("lstm", "tanh", "tanh", "sigmoid")
    return known and steps * size * n_series <= LARGEST and inputs_TCB.device.type == "cpu"


def run(inputs_TCB: Tensor, layers: Sequence[Layer]) -> Tensor:
    """Hidden states (T, C, B) of the last of some layers of one width."""
    size = layers[0].bias.numel() // 4
    start_LBC = inputs_TCB.new_zeros(len(layers), inputs_TCB.shape[2], size)
    no_bias_G = torch.zeros_like(layers[0].bias)
    weights = [
        array
        for layer in layers
        for array in (layer.kernel.T, layer.recurrent_kernel.T, layer.bias, no_bias_G)
    ]
    hidden_TBC: Tensor = torch.lstm(
        inputs_TCB.transpose(1, 2).contiguous(),
        (start_LBC, start_LBC),
        weights,
        has_biases=True,
        num_layers=len(layers),
        dropout=0.0,
        train=True,
        bidirectional=False,
        batch_first=False,
    )[0]
    return hidden_TBC.transpose(1, 2)

"""Activations in PyTorch, and their derivatives, written into memory that is already there.

``torch.tanh`` takes several times as long as ``torch.sigmoid`` on a CPU, so it is computed as
``2 * sigmoid(2 x) - 1``, to an absolute error of float32 rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

aten = torch.ops.aten  # by overload: to find it again at each call takes longer than to run it
MINUS_ONE = torch.tensor(-1.0)

SMALLEST = 1e-30
"""What ``sigmoid(x)`` is not counted below; where it is, ``log(sigmoid(x))`` is x to rounding."""
SELU = (1.6732632423543772, 1.0507009873554805, 1.0)
"""Alpha, scale and input scale. Source: Klambauer et al. (2017)."""
ELU = (1.0, 1.0, 1.0)
SOFTPLUS = (1.0, 20.0)
"""Beta, and the input above which the function is the identity to float32 rounding."""


@dataclass(frozen=True)
class Activation:
    """A function and the product of a gradient with its derivative.

    Attributes:
        function: As autograd knows it.
        apply: ``apply(x, out)``; ``out`` may be ``x``.
        pull: ``pull(gradient, x, y, out)`` for ``y = function(x)``; ``out`` may be any of them.
        reads_input: Whether ``pull`` needs ``x``; otherwise ``x`` may be gone.
    """

    function: Callable[[Tensor], Tensor]
    apply: Callable[[Tensor, Tensor], object]
    pull: Callable[[Tensor, Tensor, Tensor, Tensor], object]
    reads_input: bool = False


def apply_tanh(x: Tensor, out: Tensor) -> None:
    """``2 * sigmoid(2 x) - 1``; a tensor of no axes spares the conversion of a number."""
    torch.add(x, x, out=out)
    torch.add(MINUS_ONE, out.sigmoid_(), alpha=2, out=out)


def apply_log_sigmoid(x: Tensor, opened: Tensor, out: Tensor) -> Tensor:
    """``log(sigmoid(x))`` of any x from ``opened = sigmoid(x)``; ``out`` may be ``x``."""
    return torch.minimum(x, torch.clamp_min(opened, SMALLEST).log_(), out=out)


def apply_softsign(x: Tensor, out: Tensor) -> None:
    """``x / (1 + |x|)``."""
    torch.div(x, x.abs().add_(1), out=out)


def pull_softsign(gradient: Tensor, x: Tensor, y: Tensor, out: Tensor) -> None:
    """The derivative is ``(1 - |y|)**2``."""
    root = y.abs().sub_(1)
    torch.mul(gradient, root.square_(), out=out)


def keep(x: Tensor, out: Tensor) -> None:
    """The identity."""
    if out is not x:
        out.copy_(x)


ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(lambda x: x, keep, lambda gradient, x, y, out: keep(gradient, out)),
    "tanh": Activation(
        torch.tanh,
        apply_tanh,
        lambda gradient, x, y, out: aten.tanh_backward.grad_input(gradient, y, grad_input=out),
    ),
    "sigmoid": Activation(
        torch.sigmoid,
        lambda x, out: torch.sigmoid(x, out=out),
        lambda gradient, x, y, out: aten.sigmoid_backward.grad_input(gradient, y, grad_input=out),
    ),
    "hard_sigmoid": Activation(
        functional.hardsigmoid,
        lambda x, out: aten.hardsigmoid.out(x, out=out),
        lambda gradient, x, y, out: aten.hardsigmoid_backward.grad_input(
            gradient, x, grad_input=out
        ),
        reads_input=True,
    ),
    "relu": Activation(
        functional.relu,
        lambda x, out: torch.clamp_min(x, 0, out=out),
        lambda gradient, x, y, out: aten.threshold_backward.grad_input(
            gradient, y, 0, grad_input=out
        ),
    ),
    "elu": Activation(
        functional.elu,
        lambda x, out: aten.elu.out(x, *ELU, out=out),
        lambda gradient, x, y, out: aten.elu_backward.grad_input(
            gradient, *ELU, True, y, grad_input=out
        ),
    ),
    "selu": Activation(
        functional.selu,
        lambda x, out: aten.elu.out(x, *SELU, out=out),
        lambda gradient, x, y, out: aten.elu_backward.grad_input(
            gradient, *SELU, True, y, grad_input=out
        ),
    ),
    "softplus": Activation(
        functional.softplus,
        lambda x, out: aten.softplus.out(x, *SOFTPLUS, out=out),
        lambda gradient, x, y, out: aten.softplus_backward.grad_input(
            gradient, x, *SOFTPLUS, grad_input=out
        ),
        reads_input=True,
    ),
    "softsign": Activation(functional.softsign, apply_softsign, pull_softsign),
    "silu": Activation(
        functional.silu,
        lambda x, out: aten.silu.out(x, out=out),
        lambda gradient, x, y, out: aten.silu_backward.grad_input(gradient, x, grad_input=out),
        reads_input=True,
    ),
}

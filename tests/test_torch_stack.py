"""Gradients written by hand against finite differences, in double precision."""

import pytest
import torch

from explstm.models import torch_library, torch_stack
from explstm.models.spec import ACTIVATIONS, ModelSpec
from explstm.models.torch_stack import Stack

N_STEPS, N_INPUTS, SIZE, N_SERIES = 4, 2, 4, 3


@pytest.fixture(autouse=True)
def by_hand(monkeypatch):
    """Small batches too, which PyTorch's own kernel would take."""
    monkeypatch.setattr(torch_library, "LARGEST", 0)


def make_layer(n_layers=1, **values) -> Stack:
    layer = Stack(ModelSpec(hidden_sizes=(SIZE,), **values), N_INPUTS, [SIZE] * n_layers).double()
    generator = torch.Generator().manual_seed(3)
    for parameter in layer.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.7)
    return layer


def draw_inputs(n_series=N_SERIES) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    inputs = torch.randn(N_STEPS, N_INPUTS, n_series, generator=generator, dtype=torch.float64)
    return inputs.requires_grad_()


CELLS = {
    **{
        f"candidate {name}": {"activation": name, "output_activation": "tanh"}
        for name in ACTIVATIONS
    },
    **{f"output {name}": {"output_activation": name} for name in ACTIVATIONS},
    **{f"gates {name}": {"recurrent_activation": name} for name in ACTIVATIONS},
    "slstm": {"cell": "slstm"},
    "slstm exp": {"cell": "slstm", "forget_gate": "exp"},
    "slstm heads": {"cell": "slstm", "n_heads": 2},
    "two layers": {"n_layers": 2},
    "six layers, more than steps": {"n_layers": 6, "activation": "elu"},
    "slstm, three layers": {"cell": "slstm", "n_layers": 3},
    "slstm silu": {"cell": "slstm", "activation": "silu", "recurrent_activation": "softplus"},
}


def slopes(function, array, step=1e-6):
    """Central differences of a function of an array, number by number."""
    found = torch.zeros_like(array)
    numbers, each = array.detach().view(-1), found.view(-1)
    with torch.no_grad():
        for k in range(len(numbers)):
            middle = numbers[k].item()
            numbers[k] = middle + step
            above = function()
            numbers[k] = middle - step
            each[k] = (above - function()) / (2 * step)
            numbers[k] = middle
    return found


def run_and_back(layer, inputs):
    """Hidden states, and the gradients of inputs and weights."""
    layer.zero_grad(), setattr(inputs, "grad", None)
    hidden = layer(inputs)
    hidden.square().sum().backward()
    return [hidden.detach().clone(), inputs.grad, *(p.grad for p in layer.parameters())]


@pytest.mark.parametrize("name", CELLS)
def test_gradients_are_the_slopes(name):
    layer, inputs = make_layer(**CELLS[name]), draw_inputs()
    weight = torch.linspace(-1, 1, N_STEPS * SIZE * N_SERIES, dtype=torch.float64)

    def score():
        return layer(inputs).flatten() @ weight

    score().backward()
    for array in (inputs, *layer.parameters()):
        torch.testing.assert_close(array.grad, slopes(score, array), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("cell", ["lstm", "slstm"])
def test_series_in_blocks_are_series_together(monkeypatch, cell):
    layer, inputs = make_layer(cell=cell), draw_inputs(n_series=5)

    together = run_and_back(layer, inputs)
    monkeypatch.setattr(torch_stack, "SERIES_PER_BLOCK", {True: 2, False: 2})
    torch.testing.assert_close(run_and_back(layer, inputs), together)
    with torch.no_grad():
        torch.testing.assert_close(layer(inputs), together[0])


def test_batches_of_any_shape_share_memory_without_a_trace():
    layer = make_layer(cell="slstm")
    fresh = [make_layer(cell="slstm") for _ in range(3)]
    for (n_steps, n_series), other in zip(((4, 3), (2, 2), (3, 3)), fresh, strict=True):
        inputs = draw_inputs()[:n_steps, :, :n_series]
        gradients = []
        for each in (layer, other):
            hidden = each(inputs)
            gradients.append(torch.autograd.grad(hidden.square().sum(), list(each.parameters())))
        torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_a_sequence_goes_back_once():
    layer = make_layer()
    loss = layer(draw_inputs()).square().sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="gradients of a sequence can be taken once"):
        loss.backward()


def test_gradients_stay_finite_where_exponentials_do_not():
    layer = make_layer(cell="slstm").float()
    inputs = 1e4 * torch.randn(200, N_INPUTS, 2, generator=torch.Generator().manual_seed(5))
    hidden = layer(inputs.requires_grad_())
    hidden.square().sum().backward()
    assert torch.isfinite(hidden).all()
    assert torch.isfinite(inputs.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters())


@pytest.mark.parametrize("n_layers", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_small_batches_in_the_kernel_of_pytorch_are_those_by_hand(monkeypatch, n_layers, dtype):
    layer, inputs = make_layer(n_layers).to(dtype), draw_inputs().to(dtype).detach()
    inputs.requires_grad_()

    expected = run_and_back(layer, inputs)
    calls = []
    kernel = torch.lstm
    monkeypatch.setattr(torch, "lstm", lambda *a, **k: calls.append(1) or kernel(*a, **k))
    monkeypatch.setattr(torch_library, "LARGEST", N_STEPS * SIZE * N_SERIES)
    for ours, by_hand in zip(run_and_back(layer, inputs), expected, strict=True):
        torch.testing.assert_close(ours, by_hand)
    assert calls
    monkeypatch.setattr(torch_library, "LARGEST", N_STEPS * SIZE * N_SERIES - 1)
    run_and_back(layer, inputs)
    assert len(calls) == 1


@pytest.mark.parametrize(
    "name", ["candidate elu", "output softsign", "gates hard_sigmoid", "slstm"]
)
def test_cells_that_pytorch_does_not_have_stay_by_hand(monkeypatch, name):
    layer, inputs = make_layer(**CELLS[name]), draw_inputs()
    expected = layer(inputs).detach().clone()
    monkeypatch.setattr(torch_library, "LARGEST", 10**9)
    torch.testing.assert_close(layer(inputs).detach(), expected, rtol=0, atol=0)

"""Learning rates against their published formulas and against PyTorch's schedulers."""

import math

import pytest
import torch

from explstm.schedules import Plateau, learning_rate


def torch_rates(scheduler_class, n_steps, **arguments):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = scheduler_class(optimizer, **arguments)
    rates = []
    for _ in range(n_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_constant_and_reduce_on_plateau_start_from_the_peak():
    for name in ("constant", "reduce_on_plateau"):
        assert [learning_rate(name, step, 3, 0.5) for step in range(3)] == [0.5, 0.5, 0.5]


def test_cosine_by_hand():
    rates = [learning_rate("cosine", step, 4, 0.5) for step in range(4)]
    half = math.sqrt(0.5)
    assert rates == pytest.approx([0.5, 0.25 * (1 + half), 0.25, 0.25 * (1 - half)])


def test_cosine_agrees_with_torch():
    rates = [learning_rate("cosine", step, 50, 0.5) for step in range(50)]
    expected = torch_rates(torch.optim.lr_scheduler.CosineAnnealingLR, 50, T_max=50)
    assert rates == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n_steps", [10, 37, 200])
def test_one_cycle_agrees_with_torch(n_steps):
    rates = [learning_rate("one_cycle", step, n_steps, 0.5) for step in range(n_steps)]
    expected = torch_rates(
        torch.optim.lr_scheduler.OneCycleLR, n_steps - 1, max_lr=0.5, total_steps=n_steps
    )
    assert rates[:-1] == pytest.approx(expected, rel=1e-9)
    assert rates[-1] == pytest.approx(0.5 / 25 / 1e4)


@pytest.mark.parametrize("name", ["constant", "cosine", "one_cycle", "reduce_on_plateau"])
@pytest.mark.parametrize("n_steps", [1, 2, 3, 4, 5])
def test_short_runs_have_positive_rates_up_to_the_peak(name, n_steps):
    rates = [learning_rate(name, step, n_steps, 0.5) for step in range(n_steps)]
    assert all(0 < rate <= 0.5 for rate in rates)


def test_plateau_agrees_with_torch():
    losses = [1.0, 0.9, 0.9, 0.89999, 0.95, 0.91, 0.9, 0.9, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
    plateau, rates, expected = Plateau(), [], []
    for loss in losses:
        plateau = plateau.after(loss)
        scheduler.step(loss)
        rates.append(plateau.scale)
        expected.append(optimizer.param_groups[0]["lr"])
    assert rates == expected
    assert rates[-1] == 0.0625


def test_plateau_never_falls_below_a_hundredth():
    plateau = Plateau()
    for _ in range(100):
        plateau = plateau.after(1.0)
    assert plateau.scale == 0.01

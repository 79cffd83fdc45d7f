"""The guard against runs that have gone wrong for good."""

import pytest

from explstm.divergence import Guard, advise
from explstm.models.spec import ModelSpec


def steps_until_diverging(losses: list[float]) -> int | None:
    guard = Guard()
    for step, loss in enumerate(losses, 1):
        guard = guard.after(loss)
        if guard.is_diverging:
            return step
    return None


def test_a_loss_that_stays_ten_times_above_its_best_level_diverges():
    assert steps_until_diverging([1.0] * 30 + [10.5] * 30) == 50


def test_a_loss_nine_times_above_its_best_level_goes_on():
    assert steps_until_diverging([1.0] * 30 + [9.0] * 100) is None


def test_an_explosion_that_recovers_goes_on():
    assert steps_until_diverging(([1.0] * 5 + [1e6] * 19) * 5 + [1.0] * 10) is None


def test_fluctuations_of_a_nearly_perfect_fit_go_on():
    falling = [0.5**k for k in range(40)]
    assert steps_until_diverging([*falling, *[1e-3] * 50]) is None
    assert steps_until_diverging([*falling, *[0.2] * 50]) == 60


@pytest.mark.parametrize(
    ("last", "exploded"),
    [
        ([], False),
        ([90.0], False),  # one spike: the level is 0.9 + 9, below 10 times the best
        ([110.0], True),
        ([30.0] * 3, False),
        ([30.0] * 4, True),  # the level is 1 + 29 (1 - 0.9^4) = 10.97
        ([1e9, 1.0], False),  # it came back
    ],
)
def test_a_run_that_ends_far_above_its_best_level_has_exploded(last, exploded):
    guard = Guard()
    for loss in [1.0] * 30 + last:
        guard = guard.after(loss)
    assert guard.is_exploded is exploded


def test_a_run_without_a_step_has_not_exploded():
    assert not Guard().is_exploded


@pytest.mark.parametrize(
    ("network", "advice"),
    [
        ({}, "lower learning_rate=0.5"),
        ({"activation": "softsign"}, "lower learning_rate=0.5"),
        (
            {"activation": "relu"},
            "lower learning_rate=0.5, or use activation='tanh', which is bounded, for 'relu'",
        ),
        (
            {"output_activation": "elu"},
            "lower learning_rate=0.5, or use output_activation='tanh', which is bounded, for 'elu'",
        ),
        (
            {"cell": "slstm", "activation": "linear"},
            "lower learning_rate=0.5, or use activation='tanh', which is bounded, for 'linear'",
        ),
        (
            {"recurrent_activation": "softplus"},
            "lower learning_rate=0.5, or use recurrent_activation='sigmoid', which is bounded, for "
            "'softplus'",
        ),
    ],
)
def test_the_advice_names_the_activation_that_has_no_bound(network, advice):
    assert advise(ModelSpec(**network), 0.5) == advice

"""The guard against runs that have gone wrong for good."""

from explstm.divergence import Guard


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

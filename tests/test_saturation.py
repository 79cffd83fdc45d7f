"""The course of growth: few false alarms, ceilings and breaks found where they are."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from explstm.saturation import MIN_STEPS, TEST_LEVEL, judge_growth
from growth_cases import logistic

TIME = np.arange(120)


def walk(rng: np.random.Generator, mean=0.01, size=0.03) -> np.ndarray:
    return np.cumsum(rng.normal(mean, size, len(TIME)))


def around_curve(rng: np.random.Generator) -> np.ndarray:
    return 0.02 * TIME + rng.normal(0, 0.05, len(TIME))


def persistent(rng: np.random.Generator) -> np.ndarray:
    rates_T = rng.normal(0.0, 0.02, len(TIME))
    for t in range(1, len(TIME)):
        rates_T[t] += 0.5 * rates_T[t - 1]
    return np.cumsum(0.01 + rates_T)


def straight_line(rng: np.random.Generator) -> np.ndarray:
    return np.log(1 + 0.05 * TIME) + rng.normal(0, 0.02, len(TIME))


def count_words(make: Callable, n: int) -> Counter:
    return Counter(judge_growth(make(np.random.default_rng([3, i]))).word for i in range(n))


@pytest.mark.slow
@pytest.mark.parametrize("make", [walk, around_curve, persistent])
def test_growth_that_goes_on_is_rarely_called_saturating_or_broken(make):
    """At most 7 % of 200 at the 5 % level; 9 % for both departures together with slowing."""
    words = count_words(make, 200)
    assert words["saturating"] <= 14
    assert words["broken"] <= 14
    assert words["steady"] >= 180


@pytest.mark.slow
def test_a_straight_line_slows_but_has_no_ceiling():
    words = count_words(straight_line, 100)
    assert words["saturating"] <= 10
    assert words["slowing"] >= 80


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: logistic(120, 50.0, 0.9) + rng.normal(0, 0.05, 120),
        lambda rng: np.log(50) - 3 * np.exp(-0.04 * TIME) + rng.normal(0, 0.05, 120),
    ],
    ids=["logistic", "Gompertz"],
)
def test_a_ceiling_is_found_past_the_middle(make):
    found = [judge_growth(make(np.random.default_rng([4, i]))) for i in range(20)]
    assert sum(each.word == "saturating" for each in found) >= 19
    tops = [np.exp(each.ceiling.level) for each in found if each.ceiling]
    assert np.median(tops) == pytest.approx(50, rel=0.05)
    assert all(each.p_unbounded <= TEST_LEVEL for each in found if each.ceiling)


def test_a_break_is_found_at_its_place_with_both_rates():
    rng = np.random.default_rng(8)
    rates_T = np.where(TIME[1:] < 70, 0.03, -0.01) + rng.normal(0, 0.01, len(TIME) - 1)
    judged = judge_growth(np.concatenate([[5.0], 5.0 + np.cumsum(rates_T)]))
    assert judged.word == "broken" and judged.p_break <= TEST_LEVEL
    assert abs(judged.broken.step - 70) <= 2
    place = judged.broken.step - 1
    assert judged.broken.before == pytest.approx(rates_T[:place].mean())
    assert judged.broken.after == pytest.approx(rates_T[place:].mean())


def test_changes_of_any_size_are_judged_alike_without_a_ceiling(rng):
    y_J = np.cumsum(np.where(TIME < 60, 3.0, -1.0) + rng.normal(0, 1.0, len(TIME)))
    small, large = (judge_growth(scale * y_J, ceiling=False) for scale in (1.0, 2.0**900))
    assert small.word == large.word == "broken"
    assert small.p_exponential is None and small.ceiling is None
    assert large.broken.before == pytest.approx(2.0**900 * small.broken.before)


def test_exact_growth_is_steady():
    for z_J in (np.log(1.02) * TIME, np.zeros(120), -0.3 * TIME, np.log(1e300) - 0.001 * TIME):
        judged = judge_growth(z_J)
        assert judged.word == "steady", judged
        assert judged.p_exponential > TEST_LEVEL and judged.p_break > TEST_LEVEL


def test_few_steps_cannot_be_told_from_and_the_reason_is_given():
    judged = judge_growth(np.arange(MIN_STEPS - 1.0))
    assert judged.word == "unknown" and judged.p_break is None
    assert "20 steps, found 19" in judged.reason
    assert judge_growth(np.arange(float(MIN_STEPS))).word == "steady"


def test_only_the_last_steps_are_looked_at_and_breaks_are_counted_from_the_first(rng):
    rates_T = np.where(np.arange(900) < 700, 0.02, 0.0) + rng.normal(0, 0.01, 900)
    judged = judge_growth(np.concatenate([[0.0], np.cumsum(rates_T)]))
    assert judged.word == "broken" and abs(judged.broken.step - 701) <= 5


def test_equal_series_have_equal_results(rng):
    z_J = walk(rng)
    assert judge_growth(z_J) == judge_growth(z_J.copy())

"""Intervals that nest, and the rank that holds a level: by hand, and by chance."""

import numpy as np
import pytest

from explstm import DataError
from explstm.conformity import LARGEST_SCORE, Intervals, rank_of, read_scores, scores_needed


def make_intervals(median, lower, upper, positive):
    shape = (1, 1, len(lower))
    return Intervals(
        np.full((1, 1, 1), float(median)),
        np.reshape(np.array(lower, float), shape),
        np.reshape(np.array(upper, float), shape),
        np.full(shape, positive),
    )


@pytest.mark.parametrize(
    ("n", "level", "rank"),
    [(4, 80, 4), (9, 80, 8), (10, 80, 9), (19, 95, 19), (20, 95, 20), (39, 95, 38), (99, 99, 99)],
)
def test_the_rank_is_the_part_of_n_plus_one_rounded_up(n, level, rank):
    assert rank_of(n, level) == rank
    scores_LGRH = np.random.default_rng(n).permutation(np.arange(1.0, n + 1)).reshape(1, 1, n, 1)
    factor_LGH, n_GH = read_scores(scores_LGRH, [level])
    assert factor_LGH.item() == rank and n_GH.item() == n


def test_so_many_scores_are_needed_and_fewer_are_refused():
    assert [scores_needed(level) for level in (50, 80, 90, 95, 99)] == [1, 4, 9, 19, 99]
    with pytest.raises(DataError, match=r"95 % needs 19 past forecasts .*, and there are 18"):
        read_scores(np.ones((1, 1, 18, 2)), [95])


def test_scores_that_are_missing_are_not_counted():
    scores_LGRH = np.array([1.0, np.nan, 3, 2, np.nan, 4]).reshape(1, 1, 6, 1)
    factor_LGH, n_GH = read_scores(scores_LGRH, [60])  # 5 times 0.6: the third of four
    assert factor_LGH.item() == 3 and n_GH.item() == 4


@pytest.mark.parametrize(("n", "level"), [(4, 80), (12, 80), (19, 95), (37, 90)])
def test_a_level_holds_on_exchangeable_scores_and_is_not_exceeded_by_much(n, level):
    """Lei et al. (2018), theorem 2.2: between the level and 1 / (n + 1) more; 20,000 draws."""
    trials = 20_000
    drawn = np.random.default_rng(n).standard_t(2, (n + 1, trials)) ** 2
    factor_LGH, _ = read_scores(drawn[:n].reshape(1, 1, n, trials), [level])
    held = (drawn[n] <= factor_LGH[0, 0]).mean()
    noise = 4 * np.sqrt(0.25 / trials)
    assert level / 100 - noise <= held <= level / 100 + 1 / (n + 1) + noise
    exact = rank_of(n, level) / (n + 1)
    assert held == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / trials))


def test_distances_are_multiplied_and_a_factor_of_one_changes_nothing():
    line = make_intervals(10, [9, 6], [12, 15], positive=False)
    lower, upper = line.reach(np.array([2.0, 1.0]))
    assert lower.tolist() == [[[8, 6]]] and upper.tolist() == [[[14, 15]]]
    ratio = make_intervals(10, [5, 8], [12, 15], positive=True)
    # 10 / 5 is 1 above 1: three times that is 10 / 2.5. 10 / 8 is 0.25 above 1: 10 / 8 again.
    lower, upper = ratio.reach(np.array([3.0, 1.0]))
    np.testing.assert_allclose(lower, [[[2.5, 8.0]]])
    np.testing.assert_allclose(upper, [[[16.0, 15.0]]])


@pytest.mark.parametrize("positive", [True, False])
def test_a_score_is_the_factor_that_just_reaches_a_value(positive):
    given = make_intervals(10, [8, 5], [11, 17], positive)
    for value in (0.001, 3.0, 9.99, 10.0, 10.5, 400.0):
        score_NHL = given.score(np.full((1, 1, 1), value))
        lower, upper = given.reach(score_NHL)
        reached = upper if value >= 10 else lower
        within = score_NHL < LARGEST_SCORE
        np.testing.assert_allclose(reached[within], value, rtol=1e-9)
    assert given.score(np.full((1, 1, 1), 8.0))[0, 0, 0] == pytest.approx(1)
    assert given.score(np.full((1, 1, 1), 17.0))[0, 0, 1] == pytest.approx(1)


def test_what_has_to_stay_positive_does_however_wide():
    given = make_intervals(10, [8], [12], positive=True)
    for factor in (0.0, 1.0, 50.0, LARGEST_SCORE, 1e300):
        lower, upper = given.reach(np.array([factor]))
        assert 0 <= lower.item() <= 10 <= upper.item() and np.isfinite(upper.item())
    assert given.reach(np.array([LARGEST_SCORE]))[0].item() > 0
    for value in (0.0, -3.0):
        assert given.score(np.full((1, 1, 1), value)).item() == LARGEST_SCORE


def test_an_interval_without_width_has_no_score():
    given = make_intervals(10, [10], [11], positive=True)
    assert np.isnan(given.score(np.full((1, 1, 1), 9.0))).all()
    assert given.score(np.full((1, 1, 1), 13.0)).item() == 3

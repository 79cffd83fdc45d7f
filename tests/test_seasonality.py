import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explstm.errors import UsageError
from explstm.seasonality import (
    DECAY,
    TEST_LEVEL,
    carry_on,
    future,
    future_error,
    moving_trend,
    past,
    remove_seasonality,
)


def starts_of(*series):
    return np.concatenate(([0], np.cumsum([len(z) for z in series])))


def fit(*series, season_length):
    return remove_seasonality(np.concatenate(series), starts_of(*series), season_length)


def slow_trend(z, m):
    """Centred moving average by its definition, then straight lines at both ends."""
    half, n = m // 2, len(z)
    weights = np.ones(2 * half + 1)
    if m % 2 == 0:
        weights[[0, -1]] = 0.5
    trend = np.full(n, np.nan)
    for t in range(half, n - half):
        trend[t] = np.sum(weights * z[t - half : t + half + 1]) / m
    low, high = half, n - 1 - half
    reach = min(m, high - low)
    up = (trend[low + reach] - trend[low]) / reach if reach else 0.0
    down = (trend[high] - trend[high - reach]) / reach if reach else 0.0
    for t in range(low):
        trend[t] = trend[low] + up * (t - low)
    for t in range(high + 1, n):
        trend[t] = trend[high] + down * (t - high)
    return trend


def slow_index(z, m, longest=None):
    """The index of one season by its definition, places counted from the step after the end."""
    n = len(z)
    if n < 2 * m:
        return np.zeros(m)
    rest = z - slow_trend(z, m)
    pairs = n - m
    covariance = sum(rest[t] * rest[t - m] for t in range(m, n)) / pairs
    if covariance <= TEST_LEVEL / np.sqrt(pairs) * np.mean(rest**2):
        return np.zeros(m)
    weights = np.array([DECAY ** ((n - 1 - t) // m * m / (longest or m)) for t in range(n)])
    place = np.array([(t - n) % m for t in range(n)])
    index = np.array([np.average(rest[place == p], weights=weights[place == p]) for p in range(m)])
    index -= index.mean()
    spread, freedom, error = 0.0, 0.0, 0.0
    for p in range(m):
        w = weights[place == p]
        spread += np.sum(w * (rest[place == p] - index[p]) ** 2)
        freedom += w.sum() - np.sum(w**2) / w.sum()
        error += np.sum(w**2) / w.sum() ** 2 / m
    return index * max(0.0, 1.0 - spread / freedom * error / np.mean(index**2))


@pytest.mark.parametrize("m", [2, 4, 5, 7, 12])
def test_indices_match_a_slow_loop_in_a_panel_of_many_lengths(m, rng):
    season = rng.normal(size=m)
    series = [
        0.01 * np.arange(n) + season[np.arange(n) % m] + rng.normal(0, 0.5, n)
        for n in (1, m, 2 * m - 1, 2 * m, 2 * m + 1, 3 * m + 2, 10 * m, 11 * m - 1)
    ]
    seasonality, left_S = fit(*series, season_length=m)
    starts_N1 = starts_of(*series)
    for place, z in enumerate(series):
        index_M = slow_index(z, m)
        np.testing.assert_allclose(seasonality.indices[0][place], index_M, rtol=1e-9, atol=1e-12)
        removed = z - left_S[starts_N1[place] : starts_N1[place + 1]]
        expected = [index_M[(t - len(z)) % m] for t in range(len(z))]
        np.testing.assert_allclose(removed, expected, rtol=1e-9, atol=1e-12)
    assert seasonality.found_N(m).any()


@pytest.mark.parametrize("m", [3, 4])
def test_the_trend_matches_its_definition_and_keeps_a_straight_line(m, rng):
    z = 1e6 + rng.normal(size=3 * m + 1)
    padded_BT = np.concatenate((np.zeros(2), z))[None]
    inside_BT = np.arange(len(z) + 2)[None] >= 2
    trend = moving_trend(padded_BT, inside_BT, m)[0, 2:]
    np.testing.assert_allclose(trend, slow_trend(z, m), rtol=1e-14)
    line = 3.0 - 0.25 * np.arange(2.0 * m)
    full_BT = np.ones((1, 2 * m), dtype=bool)
    np.testing.assert_allclose(moving_trend(line[None], full_BT, m)[0], line, atol=1e-12)


def test_a_pure_season_on_a_trend_is_found_almost_exactly():
    season = np.array([0.3, -0.1, -0.4, 0.2])
    z = 0.02 * np.arange(40) + np.tile(season, 10)
    seasonality, left_S = fit(z, season_length=4)
    np.testing.assert_allclose(seasonality.indices[0][0], season, atol=1e-12)
    np.testing.assert_allclose(left_S, 0.02 * np.arange(40), atol=1e-12)


def test_the_future_continues_the_season_from_the_last_step():
    season = np.array([0.3, -0.1, -0.4, 0.2])
    z = np.tile(season, 11)[:42]  # the step after the last has place 2
    seasonality, _ = fit(z, season_length=4)
    np.testing.assert_allclose(future(seasonality, 6), [season[[2, 3, 0, 1, 2, 3]]], atol=1e-12)


@given(st.integers(2, 13), st.integers(4, 80), st.integers(0, 2**32 - 1))
def test_indices_sum_to_zero_and_nothing_else_is_taken(m, n, seed):
    z = np.random.default_rng(seed).normal(size=n) + np.resize(np.arange(m), n)
    seasonality, left_S = fit(z, season_length=m)
    index_M = seasonality.indices[0][0]
    assert abs(index_M.sum()) < 1e-9
    expected = [z[t] - index_M[(t - n) % m] for t in range(n)]
    np.testing.assert_allclose(left_S, expected, atol=1e-12)


def test_recent_seasons_weigh_more():
    old, new = np.array([1.0, -1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0, -1.0])
    z = np.concatenate((np.tile(old, 10), np.tile(new, 10)))
    index_M = fit(z, season_length=4)[0].indices[0][0]
    assert np.abs(index_M - new).max() < 0.3 < np.abs(index_M - old).max()


def test_noise_shrinks_the_index_and_a_walk_keeps_next_to_none(rng):
    season = np.tile([0.5, -0.5, 0.2, -0.2], 12)
    sizes = []
    for noise in (0.0, 0.3, 1.0):
        series = [season + rng.normal(0, noise, 48) for _ in range(200)]
        sizes.append(np.mean(fit(*series, season_length=4)[0].indices[0] @ [0.5, -0.5, 0.2, -0.2]))
    assert sizes[0] > sizes[1] > sizes[2] > 0
    walks = [np.cumsum(rng.normal(size=120)) for _ in range(200)]
    found_N = fit(*walks, season_length=12)[0].found_N(12)
    assert found_N.mean() < 0.35


def test_with_several_seasons_the_longest_that_fits_sets_the_memory_of_all(rng):
    long, short = (np.resize([2.0, -1.0, -1.0], n) + rng.normal(size=n) for n in (60, 23))
    seasonality, _ = fit(long, short, season_length=(3, 12))
    expected = [slow_index(long, 3, longest=12), slow_index(short, 3)]
    np.testing.assert_allclose(seasonality.indices[0], expected, rtol=1e-9)


def test_two_seasons_are_separated(rng):
    hours, days = rng.normal(size=24), np.repeat(rng.normal(size=7), 24)
    days -= days.mean()
    n = 168 * 6
    z = hours[np.arange(n) % 24] + days[np.arange(n) % 168]
    seasonality, left_S = fit(z, np.arange(30.0), season_length=[168, 24])
    assert seasonality.lengths == (24, 168)
    assert np.std(left_S[:n]) < 0.05 * np.std(z)
    np.testing.assert_allclose(
        future(seasonality, 336)[0], z[:336] - hours.mean(), atol=0.2 * np.std(z)
    )
    assert not future(seasonality, 336)[1].any()


@pytest.mark.parametrize("season_length", [1, (1,), [], np.array([1])])
def test_a_season_of_one_step_is_none(season_length):
    z = np.array([1.0, 5.0, 1.0, 5.0, 1.0, 5.0])
    seasonality, left_S = fit(z, season_length=season_length)
    assert seasonality.lengths == ()
    assert left_S.tolist() == z.tolist()
    assert future(seasonality, 3).tolist() == [[0.0, 0.0, 0.0]]


def test_constant_and_short_series_have_no_season():
    seasonality, left_S = fit(np.full(50, 3.0), [2.0], [1.0, 2.0], season_length=(2, 12))
    assert not any(index_NM.any() for index_NM in seasonality.indices)
    assert left_S.tolist() == [3.0] * 50 + [2.0, 1.0, 2.0]


@pytest.mark.parametrize("season_length", [0, -12, 2.5, "12", (12, 0), True, 10**12])
def test_a_season_length_that_is_not_a_count_is_refused(season_length):
    with pytest.raises(
        UsageError, match="season_length needs whole numbers from 1 to 1000000, found"
    ):
        fit(np.arange(30.0), season_length=season_length)


def test_the_input_is_not_changed():
    z = np.tile([1.0, 2.0, 3.0, 9.0], 6)
    before = z.copy()
    fit(z, season_length=4)
    assert z.tolist() == before.tolist()


def test_the_error_of_an_index_is_what_it_turns_out_to_be(rng):
    """Monthly seasons of known shape under noise of 0.1: errors found against errors stated."""
    n_series, years = 300, 6
    season_NM = rng.normal(0, 0.3, (n_series, 12))
    season_NM -= season_NM.mean(axis=1, keepdims=True)
    z_NT = np.tile(season_NM, years) + rng.normal(0, 0.1, (n_series, 12 * years))
    starts_N1 = np.arange(n_series + 1) * 12 * years
    seasonality, _ = remove_seasonality(z_NT.ravel(), starts_N1, 12)
    error_NM = seasonality.indices[0] - season_NM
    stated_N = future_error(seasonality)
    assert np.sqrt(np.mean(error_NM**2)) == pytest.approx(np.sqrt(np.mean(stated_N**2)), rel=0.15)


def test_without_a_season_there_is_no_error_of_one(rng):
    z_S = np.cumsum(rng.normal(0, 1, 60))
    nothing, _ = remove_seasonality(z_S, np.array([0, 60]), 1)
    short, _ = remove_seasonality(z_S[:20], np.array([0, 20]), 12)
    assert future_error(nothing).tolist() == future_error(short).tolist() == [0.0]


def test_indices_are_carried_on_to_what_comes_next(rng):
    """Two series, two seasons, and so many steps later; past and future tell one story."""
    t = np.arange(96)
    y = [
        (n + 1) * np.sin(t / 3) + np.cos(t * np.pi / 6) + np.resize([0.5, -0.5], 96) for n in (0, 1)
    ]
    seasonality, left_S = fit(*y, season_length=(2, 12))
    assert seasonality.found_N(2).all() and seasonality.found_N(12).all()
    starts_N1, ahead_NH = starts_of(*y), future(seasonality, 40)
    np.testing.assert_allclose(past(seasonality, starts_N1), np.concatenate(y) - left_S, atol=1e-12)
    later = carry_on(seasonality, np.array([7, 15]))
    np.testing.assert_array_equal(future(later, 20)[0], ahead_NH[0, 7:27])
    np.testing.assert_array_equal(future(later, 20)[1], ahead_NH[1, 15:35])
    np.testing.assert_array_equal(
        past(later, np.array([0, 7, 22])), np.concatenate((ahead_NH[0, :7], ahead_NH[1, :15]))
    )
    np.testing.assert_array_equal(future_error(later), future_error(seasonality))

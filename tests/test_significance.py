"""Tests of significance against hand computations, slow loops, other libraries and simulation."""

import math

import numpy as np
import pytest
from scipy import special, stats
from statsmodels.stats.multitest import multipletests
from statsmodels.tsa.stattools import diebold_mariano_test

from explstm import significance
from explstm.errors import UsageError
from explstm.significance import adjust_for_trials, bootstrap_series, diebold_mariano


def student_p(t: float, degrees: int) -> float:
    """Two-sided p of Student's t with 3 degrees of freedom or 2, in closed form."""
    if degrees == 2:
        return 1 - abs(t) / math.sqrt(2 + t**2)
    angle = math.atan(abs(t) / math.sqrt(3))
    return 1 - 2 / math.pi * (angle + math.sin(angle) * math.cos(angle))


def slow_statistic(difference, lags):
    """The corrected statistic as its formulae are written, one pair of windows at a time."""
    n, k = len(difference), lags + 1
    mean = sum(difference) / n
    weights = {"rectangular": lambda lag: 1.0, "bartlett": lambda lag: 1 - lag / k}
    for weigh in weights.values():
        variance = 0.0
        for i in range(n):
            for j in range(n):
                if abs(i - j) <= lags:
                    product = (difference[i] - mean) * (difference[j] - mean)
                    variance += weigh(abs(i - j)) * product / n
        if variance > 1e-9:
            break
    return mean / math.sqrt(variance / n) * math.sqrt((n + 1 - 2 * k + k * (k - 1) / n) / n)


# ------------------------------------------------------------------------------- Diebold & Mariano


def test_windows_apart_by_hand():
    # Mean 2, variance 1/2 over 4 windows: 2 / sqrt(1/8), times sqrt(3/4), is sqrt(24).
    test = diebold_mariano([1, 3, 2, 2], h=12, step_size=12)
    assert (test.mean, test.n, test.lags, test.reason) == (2, 4, 0, "")
    assert test.statistic == pytest.approx(math.sqrt(24), rel=1e-12)
    assert test.p_value == pytest.approx(student_p(math.sqrt(24), 3), abs=1e-12)


def test_overlapping_windows_by_hand():
    # Autocovariances 5/2 and 3/4: 2 / sqrt(4 / 4), times sqrt((4 + 1 - 4 + 2/4) / 4).
    test = diebold_mariano([0, 1, 3, 4], h=2, step_size=1)
    assert test.lags == 1
    assert test.statistic == pytest.approx(2 * math.sqrt(1.5 / 4), rel=1e-12)
    assert test.p_value == pytest.approx(student_p(test.statistic, 3), abs=1e-12)


def test_a_variance_that_is_not_positive_takes_the_weights_of_bartlett_by_hand():
    # 1/2 - 2/4 is 0, so 1/2 - 1/4: 2 / sqrt(1/16), times sqrt(6)/4.
    test = diebold_mariano([1, 3, 2, 2], h=2, step_size=1)
    assert test.statistic == pytest.approx(8 * math.sqrt(6) / 4, rel=1e-12)


@pytest.mark.parametrize(
    ("h", "step_size", "lags"), [(12, 12, 0), (12, 13, 0), (12, 11, 1), (12, 6, 1), (12, 1, 11)]
)
def test_the_lags_are_the_earlier_windows_that_a_window_overlaps(h, step_size, lags):
    overlapping = sum(back * step_size < h for back in range(1, 99))
    assert diebold_mariano(np.arange(99.0), h=h, step_size=step_size).lags == lags == overlapping


def test_random_differences_agree_with_a_slow_loop(rng):
    bartlett = 0
    for n, lags in [(3, 0), (3, 1), (8, 0), (8, 3), (13, 5), (40, 2), (40, 11)] * 10:
        difference_W = rng.normal(0.3, 1, n)
        test = diebold_mariano(difference_W, h=lags + 1, step_size=1)
        assert test.statistic == pytest.approx(slow_statistic(list(difference_W), lags), rel=1e-9)
        assert test.p_value == pytest.approx(
            special.stdtr(n - 1, -abs(test.statistic)) * 2, abs=1e-9
        )
        centred_W = difference_W - difference_W.mean()
        kept = np.correlate(centred_W, centred_W, "full")[n - 1 - lags : n + lags]
        bartlett += kept.sum() <= 0
    assert bartlett >= 3  # both kinds of weights were seen


def test_windows_apart_are_the_paired_t_test(rng):
    difference_W = rng.normal(0.5, 1, 9)
    test, expected = (
        diebold_mariano(difference_W, h=5, step_size=5),
        stats.ttest_1samp(difference_W, 0),
    )
    assert test.statistic == pytest.approx(expected.statistic, rel=1e-9)
    assert test.p_value == pytest.approx(expected.pvalue, rel=1e-9)


def test_the_weights_of_bartlett_are_those_of_statsmodels():
    rng = np.random.default_rng(5)
    seen = 0
    for _ in range(200):
        loss_W, other_W = rng.normal(size=(2, 9))
        ours = diebold_mariano(loss_W - other_W, h=4, step_size=1)
        theirs = diebold_mariano_test(
            np.zeros(9), loss_W, other_W, lags=3, horizon=4, harvey_adj=True, criterion=_as_they_are
        )
        if slow_statistic(list(loss_W - other_W), 3) == pytest.approx(theirs.statistic):
            assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-9)
            assert ours.p_value == pytest.approx(theirs.pvalue, abs=1e-9)
            seen += 1
    assert seen >= 5


def _as_they_are(y, loss):
    return y + loss


def test_values_published_with_the_package_dieboldmariano():
    """The example on its page of the package index; its p-value is one-sided."""
    y = np.array([10, 20, 30, 40, 50])
    one, other = np.array([11, 21, 29, 42, 53]), np.array([13, 26, 24, 40, 59])
    test = diebold_mariano((y - one) ** 2 - (y - other) ** 2, h=1, step_size=1)
    assert test.statistic == pytest.approx(-2.2229922805746782, rel=1e-9)
    assert test.p_value / 2 == pytest.approx(0.04515565862099125, rel=1e-9)


def test_values_of_dm_test_in_r():
    """Values that forecast::dm.test gave for the following script in R.

    set.seed(123); y <- cumsum(rnorm(100)); past <- c(0, y[-100])
    e1 <- y - (past + rnorm(100, sd = 0.5)); e2 <- y - (past + rnorm(100, sd = 1.5))
    dm.test(e1, e2, h = 1, power = 2); dm.test(e1, e2, h = 1, power = 1)
    dm.test(e1, e2, h = 3, power = 2)

    Published in R/data/diebold_mariano.csv of github.com/sipemu/anofox-statistics-rs.
    """
    shock, noise, more_noise = r_normals(123, 300).reshape(3, 100)
    one, other = shock - 0.5 * noise, shock - 1.5 * more_noise
    for h, power, statistic, p_value in (
        (1, 2, -5.19425848151562, 1.10163618973918e-06),
        (1, 1, -5.68608096176618, 1.3175500842911e-07),
        (3, 2, -5.47560424036964, 3.30643651414324e-07),
    ):
        test = diebold_mariano(np.abs(one) ** power - np.abs(other) ** power, h=h, step_size=1)
        assert test.statistic == pytest.approx(statistic, rel=1e-9)
        assert test.p_value == pytest.approx(p_value, rel=1e-8)  # 15 digits of t give 9 of p


def r_normals(seed: int, n: int) -> np.ndarray:
    """What R draws after ``set.seed(seed)``: Mersenne Twister, and inversion with 53 bits."""
    for _ in range(50):
        seed = (69069 * seed + 1) % 2**32
    key = []
    for _ in range(625):
        seed = (69069 * seed + 1) % 2**32
        key.append(seed)
    generator = np.random.RandomState()
    generator.set_state(("MT19937", np.array(key[1:], dtype=np.uint32), 624))
    uniform = generator.randint(0, 2**32, size=2 * n, dtype=np.uint32) * 2.3283064365386963e-10
    high, low = np.floor(2**27 * uniform[::2]), uniform[1::2]
    return special.ndtri((high + low) / 2**27)


@pytest.mark.parametrize(
    ("n", "overlap", "most"), [(5, 1, 0.07), (12, 1, 0.07), (40, 2, 0.08), (60, 3, 0.08)]
)
def test_equal_forecasts_are_seldom_called_different(n, overlap, most):
    """Windows that share steps: moving sums of independent differences, as MA(overlap - 1)."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(1000, n + overlap - 1))
    drawn = [np.convolve(one, np.ones(overlap), "valid") for one in noise]
    called = [diebold_mariano(one, h=overlap, step_size=1).p_value <= 0.05 for one in drawn]
    assert 0.03 <= np.mean(called) <= most
    if overlap > 1:  # the lags are what holds it
        blind = [diebold_mariano(one, h=1, step_size=1).p_value <= 0.05 for one in drawn]
        assert np.mean(blind) > 1.5 * most


def test_equal_differences_leave_no_doubt():
    same = diebold_mariano(np.zeros(5), h=1, step_size=1)
    assert (same.mean, same.statistic, same.p_value) == (0, 0, 1)
    worse = diebold_mariano(np.full(5, 0.1), h=3, step_size=1)
    assert (worse.statistic, worse.p_value) == (math.inf, 0)
    assert diebold_mariano(np.full(5, -0.1), h=1, step_size=1).statistic == -math.inf


@pytest.mark.parametrize(
    ("difference_W", "h", "reason"),
    [
        ([], 1, "0 windows, where a test needs 3"),
        ([1.0], 1, "1 window, where a test needs 3"),
        ([1.0, 2.0], 1, "2 windows, where a test needs 3"),
        ([1.0, 2.0, 4.0], 3, "3 windows that all overlap, where a test needs 4"),
        ([1.0, math.nan, 4.0], 1, "a difference is not finite"),
        ([1.0, math.inf, 4.0], 1, "a difference is not finite"),
    ],
)
def test_what_cannot_be_tested_has_a_reason(difference_W, h, reason):
    test = diebold_mariano(difference_W, h=h, step_size=1)
    assert math.isnan(test.p_value) and math.isnan(test.statistic)
    assert (test.reason, test.n) == (reason, len(difference_W))


@pytest.mark.parametrize(("h", "step_size", "name"), [(0, 1, "h=0"), (1, 0, "step_size=0")])
def test_arguments_below_one_are_refused(h, step_size, name):
    with pytest.raises(UsageError, match=name):
        diebold_mariano([1.0, 2.0, 3.0], h=h, step_size=step_size)


# ------------------------------------------------------------------------------------- bootstrap


def slow_bootstrap(difference, resamples, rng):
    """Bootstrap-t with a loop: the p-value, and the width of the interval at 95 %."""
    n = len(difference)
    mean, error = np.mean(difference), np.std(difference, ddof=1) / math.sqrt(n)
    drawn = []
    for _ in range(resamples):
        one = difference[rng.integers(0, n, n)]
        drawn.append(abs(np.mean(one) - mean) / (np.std(one, ddof=1) / math.sqrt(n)))
    p_value = (1 + sum(t >= abs(mean) / error for t in drawn)) / (resamples + 1)
    return p_value, np.quantile(drawn, 0.95) * error


@pytest.mark.parametrize("n", [10, 15])
def test_the_bootstrap_agrees_with_a_slow_loop(n):
    rng = np.random.default_rng(n)
    difference_N = rng.normal(0.4, 1, n)
    test = bootstrap_series(difference_N, resamples=20_000)
    p_value, width = slow_bootstrap(difference_N, 20_000, rng)
    assert test.mean == pytest.approx(difference_N.mean()) and test.n == n
    assert test.p_value == pytest.approx(p_value, abs=0.01)
    assert test.high - test.mean == pytest.approx(width, rel=0.03)
    assert test.mean - test.low == pytest.approx(width, rel=0.03)


def test_zero_is_outside_of_the_interval_exactly_where_p_says_so(rng):
    outside = 0
    for level in (50, 90, 95):
        for _ in range(60):
            test = bootstrap_series(rng.normal(0.4, 1, 12), level=level, resamples=199)
            assert (not test.low <= 0 <= test.high) == (test.p_value <= 1 - level / 100 + 1e-12)
            outside += not test.low <= 0 <= test.high
    assert 30 <= outside <= 150  # both happened


def test_equal_forecasts_are_seldom_called_different_over_ten_series():
    rng = np.random.default_rng(2)
    called = {"bootstrap": 0, "percentile": 0}
    for _ in range(400):
        difference_N = rng.normal(size=10)
        called["bootstrap"] += bootstrap_series(difference_N, resamples=399).p_value <= 0.05
        means = difference_N[rng.integers(0, 10, (399, 10))].mean(axis=1)
        called["percentile"] += not np.quantile(means, 0.025) <= 0 <= np.quantile(means, 0.975)
    assert 0.02 * 400 <= called["bootstrap"] <= 0.07 * 400
    assert called["percentile"] > 0.08 * 400  # why it is not the percentile bootstrap


def test_memory_is_bounded_without_a_change_of_the_result(rng, monkeypatch):
    difference_N = rng.normal(0.1, 1, 50)
    whole = bootstrap_series(difference_N)
    sizes = []
    draw = significance._import_stats().bootstrap

    def record(data, statistic, **options):
        def watched(drawn, axis):
            sizes.append(drawn.size)
            return statistic(drawn, axis)

        return draw(data, watched, **options)

    monkeypatch.setattr(stats, "bootstrap", record)
    monkeypatch.setattr(significance, "DRAWN_AT_ONCE", 1000)
    assert bootstrap_series(difference_N) == whole
    assert max(sizes) == 1000


def test_the_seed_decides_the_draws(rng):
    difference_N = rng.normal(0.3, 1, 15)
    assert bootstrap_series(difference_N, seed=1) == bootstrap_series(difference_N, seed=1)
    assert bootstrap_series(difference_N, seed=1) != bootstrap_series(difference_N, seed=2)


def test_series_that_all_differ_alike_leave_no_doubt():
    same, better = bootstrap_series(np.zeros(10)), bootstrap_series(np.full(10, -0.25))
    assert (same.mean, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    assert (better.mean, better.low, better.high, better.p_value) == (-0.25, -0.25, -0.25, 0)


def test_one_series_that_differs_is_not_enough():
    """A third of the draws leave it out and have no spread, so that nothing bounds the mean."""
    test = bootstrap_series([5.0] + [0.0] * 9)
    assert test.p_value > 0.3
    assert (test.low, test.high) == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("difference_N", "reason"),
    [
        ([], "0 series, where a bootstrap needs 10"),
        ([0.1] * 9, "9 series, where a bootstrap needs 10"),
        ([0.1] * 10 + [math.nan], "a difference is not finite"),
    ],
)
def test_a_bootstrap_that_is_not_made_has_a_reason(difference_N, reason):
    test = bootstrap_series(difference_N)
    assert test.reason == reason and test.n == len(difference_N)
    assert all(math.isnan(value) for value in (test.p_value, test.low, test.high))


# ------------------------------------------------------------------------------------ several tests


def test_holm_by_hand_and_as_statsmodels_has_it(rng):
    adjusted = adjust_for_trials([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(adjusted, [0.03, 0.06, 0.06, 0.02], rtol=1e-12)
    p_values = rng.uniform(size=8)
    np.testing.assert_allclose(
        adjust_for_trials(p_values), multipletests(p_values, method="holm")[1], rtol=1e-9
    )
    assert adjust_for_trials([]).shape == (0,)


def test_without_scipy_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "scipy.stats", None)
    with pytest.raises(ImportError, match=r"pip install 'explstm\[metrics\]'"):
        diebold_mariano([1.0, 2.0, 4.0], h=1, step_size=1)

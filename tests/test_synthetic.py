"""The synthetic prior: repeatable, finite, and what its documentation says of each family."""

from dataclasses import replace

import numpy as np
import pytest

from explstm import synthetic
from explstm.errors import UsageError
from explstm.synthetic import FAMILIES, Prior, draw_levels

QUIET = Prior(
    heavy_tails=0.0,
    moving_volatility=0.0,
    level_dependence=0.0,
    level_shifts=0.0,
    slope_breaks=0.0,
    outliers=0.0,
    upward=1.0,
    additive=0.0,
)


def draw(prior=QUIET, n_series=400, n_steps=100, seed=1):
    return draw_levels(prior, np.random.default_rng(seed), n_series, n_steps)


@pytest.fixture
def only(monkeypatch):
    """Draw one family alone, with its trend as given."""

    def choose(name, **dynamics):
        family = FAMILIES[name]
        if dynamics:

            def fixed(rng, n):
                given = {key: np.full(n, value) for key, value in dynamics.items()}
                return synthetic._dynamics(rng, n, **given)

            family = replace(family, dynamics=fixed)
        monkeypatch.setattr(synthetic, "FAMILIES", {name: family})

    return choose


def test_equal_seeds_give_equal_series_and_others_do_not():
    np.testing.assert_array_equal(draw(Prior()), draw(Prior()))
    assert not np.array_equal(draw(Prior()), draw(Prior(), seed=2))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gives_finite_series_that_move(name, only):
    only(name)
    z_NT = draw(Prior())
    assert z_NT.shape == (400, 100)
    assert np.isfinite(z_NT).all()
    assert (np.abs(np.diff(z_NT)).sum(axis=1) > 0).all()


def test_one_step_and_one_series_can_be_drawn():
    assert np.isfinite(draw(Prior(), n_series=1, n_steps=1)).all()


def test_with_alpha_0_and_1_the_level_is_noise_and_a_random_walk(only):
    """The steps of white noise have autocorrelation -1/2, those of a random walk 0."""
    for alpha, expected in ((0.0, -0.5), (1.0, 0.0)):
        only("local level", alpha_N=alpha)
        step_NT = np.diff(draw(n_series=1000))
        together = (step_NT[:, 1:] * step_NT[:, :-1]).sum(axis=1)
        correlation_N = together / (step_NT**2).sum(axis=1)
        assert np.mean(correlation_N) == pytest.approx(expected, abs=0.02)


def test_the_recursion_is_that_of_the_documentation(only):
    """Undone by scalars in a loop, a damped trend leaves independent shocks of size 1."""
    only("damped trend", alpha_N=0.7, beta_N=0.2, phi_N=0.8, drift_N=0.5)
    prior = QUIET.model_copy(update={"log_scale_deviation": 0.0})
    z_NT = draw(prior, n_series=20, n_steps=100)
    shocks_NT = np.array([_undo(z_T / np.exp(prior.log_scale_mean)) for z_T in z_NT])
    assert np.mean(shocks_NT) == pytest.approx(0.0, abs=0.07)
    assert np.std(shocks_NT) == pytest.approx(1.0, abs=0.05)
    for lag in (1, 2, 5):
        neighbours = shocks_NT[:, lag:].ravel(), shocks_NT[:, :-lag].ravel()
        assert abs(np.corrcoef(*neighbours)[0, 1]) < 0.07


def _undo(x_T):
    """The shocks of a damped trend, from its definition."""
    level, slope, shocks = 0.0, 0.5, []
    for x in x_T:
        expected = level + slope
        shocks.append(x - expected)
        level = expected + 0.7 * shocks[-1]
        slope = 0.5 + 0.8 * (slope - 0.5) + 0.2 * shocks[-1]
    return np.array(shocks)


@pytest.mark.parametrize("name", ["exponential", "gompertz", "power"])
def test_curves_that_only_rise_do_so_where_the_prior_says_upward(name, only):
    only(name, alpha_N=0.0)
    z_NT = draw()
    rises_N = z_NT[:, -20:].mean(axis=1) > z_NT[:, :20].mean(axis=1)
    assert rises_N.mean() > 0.98
    z_NT = draw(QUIET.model_copy(update={"upward": 0.25}))
    rises_N = z_NT[:, -20:].mean(axis=1) > z_NT[:, :20].mean(axis=1)
    assert rises_N.mean() == pytest.approx(0.25, abs=0.07)


def test_a_logistic_curve_slows_towards_its_end(only):
    only("logistic", alpha_N=0.0)
    z_NT = draw(n_steps=400)
    first, last = z_NT[:, 100] - z_NT[:, 0], z_NT[:, -1] - z_NT[:, -101]
    assert np.mean(last < first) > 0.6


@pytest.mark.parametrize(("upward", "direction"), [(1.0, 1), (0.0, -1)])
def test_series_that_add_change_by_equal_amounts_and_stay_positive(upward, direction, only):
    only("drift", alpha_N=0.0, drift_N=1.0)  # and noise of a shock at each end
    prior = QUIET.model_copy(update={"upward": upward, "log_scale_deviation": 0.0, "additive": 1.0})
    y_NT = np.exp(draw(prior, n_series=1000))
    step = direction * np.exp(prior.log_scale_mean)  # drift of a shock a step
    for first, last in ((0, 49), (50, 99)):
        found_N = (y_NT[:, last] - y_NT[:, first]) / 49
        assert found_N == pytest.approx(np.full(1000, step), rel=0.15)
    starts = (1.0, 1.0) if direction > 0 else (0.02 - 100 * step, 0.5 - 100 * step)
    assert y_NT[:, 0].min() == pytest.approx(starts[0], abs=0.25)
    assert y_NT[:, 0].max() == pytest.approx(starts[1], abs=0.25)
    assert (np.ptp(y_NT[:, 0]) > 0.4) == (direction < 0)  # how near to 0 a fall ends is drawn
    assert y_NT.min() > 0.0


def test_so_many_series_add_as_the_prior_says(only):
    """What grows by amounts slows down in logarithms, from 4 % a step to 1 %."""
    only("drift", alpha_N=0.0, drift_N=1.0)
    z_NT = draw(QUIET.model_copy(update={"log_scale_deviation": 0.0, "additive": 0.3}), 1000)
    slows_N = z_NT[:, 99] - z_NT[:, 50] < 0.7 * (z_NT[:, 49] - z_NT[:, 0])
    assert slows_N.mean() == pytest.approx(0.3, abs=0.05)


def test_outliers_pass_and_level_shifts_stay(only):
    only("local level", alpha_N=0.0)
    for event, stays in (("outliers", False), ("level_shifts", True)):
        z_NT = draw(QUIET.model_copy(update={event: 1.0}), n_series=2000)
        step_NT = np.diff(z_NT)
        size_N1 = np.median(np.abs(step_NT), axis=1)[:, None]
        jumps_NT = np.abs(step_NT) > 8 * size_N1
        moved_N = np.abs(z_NT[:, -10:].mean(axis=1) - z_NT[:, :10].mean(axis=1)) / size_N1[:, 0]
        assert jumps_NT.any(axis=1).mean() > 0.05
        assert bool(np.mean(moved_N > 2) > 0.1) is stays


def test_values_that_cannot_be_used_are_refused():
    with pytest.raises(UsageError, match=r"upward=1\.5"):
        Prior(upward=1.5)
    with pytest.raises(UsageError, match="outlier is not an option; did you mean outliers"):
        Prior(outlier=1.0)

"""Noise of growth rates: the recursions agree with dense covariance matrices."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from explstm import growth_noise
from explstm.growth_noise import (
    NOISES,
    draw_rates,
    log_likelihoods,
    observe,
    passing_noise,
    passing_spread,
    whiten,
)
from growth_cases import covariance

STEPS = 15


@pytest.mark.parametrize("kind", range(len(NOISES)))
def test_whitening_is_the_inverse_of_the_cholesky_factor(rng, kind):
    rates_AT = rng.normal(size=(3, STEPS))
    factor = np.linalg.cholesky(covariance(kind, STEPS))
    white_KAT = whiten(rates_AT)
    np.testing.assert_allclose(white_KAT[kind], np.linalg.solve(factor, rates_AT.T).T, atol=1e-12)
    back = growth_noise._color(white_KAT[kind], np.full(3, kind))
    np.testing.assert_allclose(back, rates_AT, atol=1e-12)


@pytest.mark.parametrize("kind", range(len(NOISES)))
def test_the_likelihood_is_that_of_scipy_at_the_best_spread(rng, kind):
    rates_T = rng.normal(size=STEPS)
    squares_KA = (whiten(rates_T[None]) ** 2).sum(axis=2)
    variance = squares_KA[kind, 0] / STEPS
    truth = multivariate_normal(np.zeros(STEPS), variance * covariance(kind, STEPS)).logpdf(rates_T)
    constant = -0.5 * STEPS * (np.log(2 * np.pi) + 1 - np.log(STEPS))
    assert log_likelihoods(squares_KA, STEPS)[kind, 0] + constant == pytest.approx(truth, abs=1e-9)


@pytest.mark.parametrize("kind", range(len(NOISES)))
def test_what_passes_is_the_conditional_mean_of_what_the_level_will_lose(rng, kind):
    rates_T = rng.normal(size=STEPS)
    noise = NOISES[kind]
    inverse = np.linalg.inv(covariance(kind, STEPS))
    # The last error stands in the last rate alone, so its covariance with the rates is a unit.
    expected = -noise.theta * (inverse @ rates_T)[-1] + noise.phi / (1 - noise.phi) * rates_T[-1]
    assert passing_noise(whiten(rates_T[None]))[kind, 0] == pytest.approx(expected, abs=1e-10)
    # Noise of variance theta around a walk of variance (1 - theta)² gives this covariance.
    spread = noise.theta - noise.theta**2 * inverse[-1, -1]
    assert passing_spread(STEPS)[kind] == pytest.approx(spread, abs=1e-10)


def test_drawn_rates_scatter_around_the_mean_as_the_observed_ones_do(rng):
    noise_T = rng.normal(0, 0.05, 200)
    around_curve = draw_rates(rng, observe(0.01 + np.diff(noise_T)), np.full(199, 0.01), 400)
    walk = draw_rates(rng, observe(0.01 + noise_T[1:]), np.full(199, 0.01), 400)
    assert abs(around_curve.mean() - 0.01) < 0.001
    assert np.corrcoef(around_curve[:, 1:].ravel(), around_curve[:, :-1].ravel())[0, 1] < -0.45
    assert abs(np.corrcoef(walk[:, 1:].ravel(), walk[:, :-1].ravel())[0, 1]) < 0.15
    assert walk.std() == pytest.approx(noise_T[1:].std(), rel=0.1)

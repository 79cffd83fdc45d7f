"""Families of growth: shapes as by their formulae, the likeliest member as by trying all."""

import numpy as np
import pytest

from explstm.growth_curves import (
    bounded,
    bounded_level,
    exponential,
    fine_bounded,
    fine_shape,
    fit_break,
    fit_family,
    step_places,
    unbounded,
)
from explstm.growth_noise import NOISES, whiten
from growth_cases import covariance

STEPS = 30


def try_all(shapes, least, rates_T) -> tuple[float, float]:
    """Log-likelihood and amplitude of the best member, one least squares after the other."""
    best = (-np.inf, np.nan)
    for kind in range(len(NOISES)):
        factor = np.linalg.cholesky(covariance(kind, STEPS))
        half_log_det = np.log(np.diag(factor)).sum()
        x = np.linalg.solve(factor, rates_T)
        for shape, smallest in zip(shapes, least, strict=True):
            s = np.linalg.solve(factor, shape)
            amplitude = max(np.linalg.lstsq(s[:, None], x, rcond=None)[0][0], smallest)
            square = ((x - amplitude * s) ** 2).sum()
            best = max(best, (-0.5 * STEPS * np.log(square) - half_log_det, amplitude))
    return best


@pytest.mark.parametrize("family", [exponential, unbounded, bounded])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_likeliest_member_is_found_as_by_trying_all(family, seed):
    rng = np.random.default_rng(seed)
    rates_T = 0.1 * 0.9 ** np.arange(STEPS) + rng.normal(0, 0.02, STEPS)
    grid = family(STEPS)
    fit = fit_family(grid, whiten(np.stack([-rates_T, rates_T])))
    likelihood, amplitude = try_all(grid.shapes_GT, grid.least_G, rates_T)
    assert fit.likelihood_A[1] == pytest.approx(likelihood, abs=1e-9)
    assert fit.amplitude_A[1] == pytest.approx(amplitude, rel=1e-9)


def test_the_likeliest_break_is_found_as_by_two_means_at_every_place(rng):
    rates_T = np.where(np.arange(STEPS) < 12, 0.05, 0.01) + rng.normal(0, 0.005, STEPS)
    best = (-np.inf, 0, 0.0)
    for kind in range(len(NOISES)):
        factor = np.linalg.cholesky(covariance(kind, STEPS))
        for place in step_places(STEPS):
            after = np.arange(STEPS) >= place
            regressors = np.linalg.solve(factor, np.stack([np.ones(STEPS), after], axis=1))
            x = np.linalg.solve(factor, rates_T)
            found = np.linalg.lstsq(regressors, x, rcond=None)[0]
            square = ((x - regressors @ found) ** 2).sum()
            value = -0.5 * STEPS * np.log(square) - np.log(np.diag(factor)).sum()
            best = max(best, (value, int(place), found[1]))
    fit = fit_break(whiten(rates_T[None]))
    assert fit.likelihood_A[0] == pytest.approx(best[0], abs=1e-9)
    assert step_places(STEPS)[fit.shape_A[0]] == best[1] == 12
    assert fit.amplitude_A[0] == pytest.approx(best[2], rel=1e-9)


def test_shapes_are_those_of_verhulst_gompertz_and_the_straight_line():
    t_J = np.arange(STEPS + 1) / STEPS
    logistic = np.log(1 / (1 + np.exp(-5 * (t_J - 0.4))))
    np.testing.assert_allclose(bounded_level(t_J, np.log(5), 0.4), logistic, atol=1e-12)
    gompertz = np.log(np.exp(-np.exp(-5 * t_J)))
    np.testing.assert_allclose(bounded_level(t_J, np.log(5)), gompertz, atol=1e-12)
    y_GJ = np.exp(np.cumsum(np.pad(unbounded(STEPS).shapes_GT[1:], ((0, 0), (1, 0))), axis=1))
    steps_GT = np.diff(y_GJ, axis=1)
    np.testing.assert_allclose(steps_GT, np.broadcast_to(steps_GT[:, :1], steps_GT.shape))
    place = 100
    level_J = bounded_level(t_J, *fine_shape(place))
    np.testing.assert_allclose(fine_bounded(STEPS).shapes_GT[place], np.diff(level_J), atol=1e-12)

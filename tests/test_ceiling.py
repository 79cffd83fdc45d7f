"""Ceilings: exact where the curve is, those of scipy's least squares, and intervals that hold."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from explstm.ceiling import find_ceiling
from explstm.growth_noise import observe
from growth_cases import logistic


@pytest.mark.parametrize("reached", [0.6, 0.9, 0.999])
def test_the_ceiling_of_an_exact_curve_is_found(reached):
    z_J = logistic(80, 250.0, reached)
    found = find_ceiling(z_J[-1], observe(np.diff(z_J)), 80.0)
    assert np.exp(found.level) == pytest.approx(250.0, rel=2e-3)


@pytest.mark.parametrize("reached", [0.97, 0.9999])
def test_the_ceiling_is_that_of_least_squares_where_noise_is_independent(reached):
    """scipy knows that the noise is independent; our interval may be wider, never much closer."""
    t_J = np.linspace(0, 1, 200)

    def richards(t, top, size, speed, middle):
        return top - size * np.log1p(np.exp(-speed * (t - middle)))

    ratios = []
    for seed in range(9):
        noise_J = np.random.default_rng(seed).normal(0, 0.03, 200)
        z_J = logistic(200, 250.0, reached, middle=0.4) + noise_J
        start = [np.log(250), 1, np.log(reached / (1 - reached)) / 0.6, 0.4]
        (top, *_), covariance = curve_fit(richards, t_J, z_J, p0=start)
        found = find_ceiling(z_J[-1], observe(np.diff(z_J)), 80.0)
        half = (found.high - found.low) / 2
        assert abs(found.level - top) < 2 * half
        ratios.append(half / (1.2816 * np.sqrt(covariance[0, 0])))
    assert min(ratios) > 0.8
    assert np.median(ratios) < 2.0


def test_a_ceiling_more_than_a_hundred_times_away_has_no_upper_end():
    z_J = logistic(80, 250.0, 0.008, middle=1.2)
    found = find_ceiling(z_J[-1], observe(np.diff(z_J)), 80.0)
    assert found.high == np.inf
    assert np.exp(found.level) == pytest.approx(250.0, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("reached", [0.75, 0.9])
def test_eighty_per_cent_intervals_hold_the_ceiling_about_as_often(reached):
    held = []
    for seed in range(150):
        noise_J = np.random.default_rng(seed).normal(0, 0.05, 120)
        z_J = logistic(120, 1.0, reached) + noise_J
        found = find_ceiling(z_J[-1], observe(np.diff(z_J)), 80.0)
        held.append(found.low <= 0.0 <= found.high)
    assert 0.70 <= np.mean(held) <= 0.95

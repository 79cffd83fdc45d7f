"""Paths and noise of growth for tests, written as their formulae stand in the sources."""

import numpy as np

from explstm.growth_noise import NOISES


def covariance(kind: int, steps: int) -> np.ndarray:
    """Of the rates, in units of the variance of e."""
    noise = NOISES[kind]
    lag = np.abs(np.subtract.outer(np.arange(steps), np.arange(steps)))
    if noise.phi:
        return noise.phi**lag / (1 - noise.phi**2)
    return np.where(lag == 0, 1 + noise.theta**2, np.where(lag == 1, -noise.theta, 0.0))


def logistic(steps: int, ceiling: float, reached: float, middle: float = 0.6) -> np.ndarray:
    """Logarithm of a logistic curve whose last step is at a share of its ceiling."""
    speed = np.log(reached / (1 - reached)) / (1 - middle)
    return np.log(ceiling) - np.log1p(np.exp(-speed * (np.linspace(0, 1, steps) - middle)))

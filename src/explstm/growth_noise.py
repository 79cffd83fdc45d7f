"""How growth rates scatter around their path: the errors that the tests of growth allow for.

Contract: growth rates ``d_t = z_t - z_{t-1}`` scatter around their mean as one of ``NOISES``:

| theta | phi | what the level z does |
|---|---|---|
| 1 | 0 | independent noise around a curve |
| between | 0 | a random walk seen through noise: ``d_t = mean + e_t - theta e_{t-1}`` |
| 0 | 0 | a random walk |
| 0 | above 0 | growth that persists: ``d_t - mean`` is phi times the one before, plus ``e_t`` |

Which one is never assumed: likelihoods are taken over all of them, and simulated series draw theirs
from the likelihood of the observed one, because an estimate alone piles up at theta = 1.

Source: innovations form of a moving average: Brockwell & Davis (1991), Time Series: Theory and
Methods, 2nd ed., section 5.2; pile-up: Sargan & Bhargava (1983), Econometrica 51(3).

Axes: K kinds of noise, A anything, B draws, T growth rates.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
SMALLEST = 1e-9  # growth rates are known no better than this, in units of z


@dataclass(frozen=True)
class Noise:
    """One kind of noise; at most one of both is not 0."""

    theta: float
    phi: float


NOISES = tuple(Noise(theta, 0.0) for theta in (1.0, 0.96, 0.9, 0.8, 0.65, 0.45, 0.2, 0.0)) + tuple(
    Noise(0.0, phi) for phi in (0.25, 0.5, 0.7, 0.85)
)


@lru_cache(maxsize=64)
def innovation_spreads(steps: int) -> FloatArray:
    """Standard deviation (K, T) of each rate given the ones before, in units of that of e."""
    spread_KT = np.ones((len(NOISES), steps))
    for k, noise in enumerate(NOISES):
        variance = 1.0 + noise.theta**2
        for t in range(steps):
            spread_KT[k, t] = np.sqrt(variance)
            variance = 1.0 + noise.theta**2 - noise.theta**2 / variance
        if noise.phi:
            spread_KT[k, 0] = 1.0 / np.sqrt(1.0 - noise.phi**2)
    return spread_KT


def whiten(rates_AT: FloatArray) -> FloatArray:
    """Turn rates (A, T) into what is independent with equal spread under each noise (K, A, T)."""
    n_rows, steps = rates_AT.shape
    spread_KT = innovation_spreads(steps)
    theta_K1, phi_K1 = np.array([[n.theta, n.phi] for n in NOISES]).T[:, :, None]
    white_TKA = np.empty((steps, len(NOISES), n_rows))
    rates_TA = np.ascontiguousarray(rates_AT.T)
    carried_KA = np.zeros((len(NOISES), n_rows))
    for t in range(steps):
        surprise_KA = rates_TA[t] + carried_KA
        white_TKA[t] = surprise_KA / spread_KT[:, t, None]
        carried_KA = theta_K1 / spread_KT[:, t, None] ** 2 * surprise_KA - phi_K1 * rates_TA[t]
    return np.ascontiguousarray(white_TKA.transpose(1, 2, 0))


def log_likelihoods(squares_KA: FloatArray, steps: int) -> FloatArray:
    """Log-likelihood (K, A) with the spread of e at its best, from sums of squared whitened errors.

    Source: Brockwell & Davis (1991), equation 8.7.4, up to a constant.
    """
    floor = steps * SMALLEST**2
    determinant_K1 = np.log(innovation_spreads(steps)).sum(axis=1)[:, None]
    return -0.5 * steps * np.log(np.maximum(squares_KA, floor)) - determinant_K1


def passing_noise(white_KAT: FloatArray) -> FloatArray:
    """What the level still moves by (K, A) as the last errors pass.

    Of the last error a random walk keeps all and independent noise nothing; growth that persists
    adds ``phi / (1 - phi)`` times the last rate's distance from its mean.
    """
    theta_K1, phi_K1 = np.array([[n.theta, n.phi] for n in NOISES]).T[:, :, None]
    spread_KT = innovation_spreads(white_KAT.shape[2])
    passing_KA = -theta_K1 / spread_KT[:, -1:] * white_KAT[:, :, -1]
    memory_KT = phi_K1 ** np.arange(white_KAT.shape[2])[::-1] * spread_KT
    deviation_KA = (white_KAT * memory_KT[:, None, :]).sum(axis=2)
    return passing_KA + phi_K1 / (1.0 - phi_K1) * deviation_KA


def passing_spread(steps: int) -> FloatArray:
    """Variance (K,) of what passes, given all the rates, in units of that of e.

    A random walk seen through noise has noise of variance theta in these units; its last value
    stands in the last rate alone, so ``theta - theta² / variance of the last innovation`` is left.

    Source: Harvey (1989), Forecasting, Structural Time Series Models and the Kalman Filter,
        section 2.4.1 (theta and the variances of level and noise).
    """
    theta_K = np.array([n.theta for n in NOISES])
    return np.maximum(theta_K - (theta_K / innovation_spreads(steps)[:, -1]) ** 2, 0.0)


@dataclass(frozen=True, eq=False)
class Observed:
    """The growth rates of a series.

    Attributes:
        rates_T: The rates.
        white_K1T: The same, whitened.
    """

    rates_T: FloatArray
    white_K1T: FloatArray


def observe(rates_T: FloatArray) -> Observed:
    """Whiten the rates of a series."""
    return Observed(rates_T, whiten(rates_T[None]))


def draw_rates(
    rng: np.random.Generator, seen: Observed, mean_T: FloatArray, n_draws: int
) -> FloatArray:
    """Draw growth rates (B, T) that scatter around a mean as the observed ones do around it.

    Each draw takes its noise from the likelihood (weight of kind k: its restricted likelihood
    given the mean) and its errors from the whitened observed ones, with replacement.
    """
    steps = len(mean_T)
    mean_KT, path_KT = whiten(np.stack([mean_T, np.ones(steps)])).transpose(1, 0, 2)
    white_KT = seen.white_K1T[:, 0] - mean_KT
    square_K = (path_KT**2).sum(axis=1)
    white_KT -= ((white_KT * path_KT).sum(axis=1) / square_K)[:, None] * path_KT
    likelihood_K = log_likelihoods((white_KT**2).sum(axis=1)[:, None], steps)[:, 0]
    likelihood_K -= 0.5 * np.log(square_K)
    weight_K = np.exp(likelihood_K - likelihood_K.max())
    kind_B = rng.choice(len(NOISES), size=n_draws, p=weight_K / weight_K.sum())
    place_BT = rng.integers(0, steps, size=(n_draws, steps))
    errors_BT = white_KT[kind_B[:, None], place_BT] * np.sqrt(steps / (steps - 1))
    return mean_T + _color(errors_BT, kind_B)


def _color(errors_BT: FloatArray, kind_B: NDArray[np.int64]) -> FloatArray:
    """The way back of :func:`whiten`, each row with its own noise."""
    steps = errors_BT.shape[1]
    spread_BT = innovation_spreads(steps)[kind_B]
    theta_B, phi_B = np.array([[NOISES[k].theta, NOISES[k].phi] for k in kind_B]).T
    rates_BT = np.empty_like(errors_BT)
    carried_B = np.zeros(len(errors_BT))
    for t in range(steps):
        surprise_B = errors_BT[:, t] * spread_BT[:, t]
        rates_BT[:, t] = surprise_B - carried_B
        carried_B = theta_B / spread_BT[:, t] ** 2 * surprise_B - phi_B * rates_BT[:, t]
    return rates_BT

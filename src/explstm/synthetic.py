"""The synthetic prior: what the pretrained model believes series do, before it has seen one.

Contract: :func:`draw_levels` returns levels z of made series, the logarithm of what a user would
bring; equal seeds give equal series. Each series belongs to one *family*, which says how its trend
moves, and may be struck by *events*. Everything is drawn in units of the series' own shocks and
then scaled, so that calm and violent series share their shapes. All distributions stand in
``FAMILIES`` and in :class:`Prior`, and nowhere else.

Families with random trends follow one recursion, the innovation form of exponential smoothing, with
shocks e_t, level l, slope b, drift d and a stationary part u::

    u_t = ar1 * u_{t-1} + ar2 * u_{t-2} + cycle * e'_t
    x_t = l_{t-1} + b_{t-1} + e_t + u_t
    l_t = l_{t-1} + b_{t-1} + alpha * e_t
    b_t = d_t + phi * (b_{t-1} - d_t) + beta * e_t

With alpha = 0 it is noise about a trend, with 1 a random walk, above 1 a walk whose steps resemble
their neighbours, as sums and means over longer periods have it (Working 1960). Families with a
curve add it, in log units, to such noise. What was drawn so is the level z itself; in *additive*
series it is added to 1, or to more where it falls, and z is the logarithm of the sum.

Source: Hyndman, Koehler, Ord & Snyder (2008), ch. 3; Working (1960), Note on the correlation of
first differences of averages in a random chain; Verhulst (1838); Gompertz (1825).

Axes: N series, T time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from explstm.config import Configuration
from explstm.ragged import FloatArray

Random = np.random.Generator
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, le=100)]


@dataclass(frozen=True)
class Dynamics:
    """How the random trend of each series moves; every field has one number per series."""

    alpha_N: FloatArray
    beta_N: FloatArray
    phi_N: FloatArray
    drift_N: FloatArray
    ar1_N: FloatArray
    ar2_N: FloatArray
    cycle_N: FloatArray


@dataclass(frozen=True)
class Family:
    """One kind of series.

    Attributes:
        share: Of all series drawn, relative to the other families.
        dynamics: Draws the random trend of n series.
        curve: Draws n curves in log units over T steps; None for none.
    """

    share: float
    dynamics: Callable[[Random, int], Dynamics]
    curve: Callable[[Random, int, FloatArray], FloatArray] | None = None


class Prior(Configuration):
    """How violent series are, and what may strike them.

    Attributes:
        log_scale_mean: Mean of the logarithm of a series' shock size, in log units of the level.
        log_scale_deviation: Its standard deviation.
        heavy_tails: Share of series whose shocks follow Student's t, 3 to 8 degrees of freedom.
        moving_volatility: Share whose shock size wanders (its logarithm is an AR(1)).
        level_dependence: Share whose shocks shrink as the level grows, as additive noise does.
        level_shifts: Mean number of level shifts per 100 steps, in the struck half of all series.
        slope_breaks: Mean number of changes of the drift per 100 steps, in the struck half.
        outliers: Mean number of single outliers per 100 steps, in the struck third.
        upward: Share of drifts and curves that grow; the others shrink.
        additive: Share of series that change by amounts and not by rates.
    """

    log_scale_mean: Annotated[float, Field(ge=-20, le=2)] = -3.2
    log_scale_deviation: Annotated[float, Field(ge=0, le=5)] = 1.3
    heavy_tails: Share = 0.35
    moving_volatility: Share = 0.3
    level_dependence: Share = 0.2
    level_shifts: Rate = 0.2
    slope_breaks: Rate = 0.2
    outliers: Rate = 0.6
    upward: Share = 0.9
    additive: Share = 0.5


def draw_levels(prior: Prior, rng: Random, n_series: int, n_steps: int) -> FloatArray:
    """Draw series.

    Args:
        prior: Distributions.
        rng: Source of randomness; equal states give equal series.
        n_series: Number of series, N.
        n_steps: Steps of each, T.

    Returns:
        Levels ``z_NT``, in log units, in random order of families.
    """
    shares = np.array([family.share for family in FAMILIES.values()])
    counts = rng.multinomial(n_series, shares / shares.sum())
    time_T = np.arange(n_steps, dtype=np.float64)
    dynamics, curves = [], []
    for family, count in zip(FAMILIES.values(), counts, strict=True):
        dynamics.append(family.dynamics(rng, count))
        drawn = (
            np.zeros((count, n_steps)) if family.curve is None else family.curve(rng, count, time_T)
        )
        curves.append(drawn)
    together = _concatenate(dynamics)
    curve_NT = np.concatenate(curves)
    sign_N1 = np.where(rng.random(n_series) < prior.upward, 1.0, -1.0)[:, None]
    scale_N1 = _draw_scale(prior, rng, curve_NT)
    x_NT = _run(prior, rng, together, scale_N1, n_steps)
    z_NT = sign_N1 * (scale_N1 * x_NT + curve_NT)
    return rng.permutation(_let_add(prior, rng, z_NT))


def _draw_scale(prior: Prior, rng: Random, curve_NT: FloatArray) -> FloatArray:
    """Size of the shocks; about a curve, in proportion to the steepest tenth of its steps."""
    n_series = len(curve_NT)
    scale_N = np.exp(rng.normal(prior.log_scale_mean, prior.log_scale_deviation, n_series))
    if curve_NT.shape[1] > 1:
        steep_N = np.quantile(np.abs(np.diff(curve_NT)), 0.9, axis=1)
        noisy_N = steep_N * _log_uniform(rng, n_series, 0.01, 2.0)
        scale_N = np.where(steep_N > 0, noisy_N, scale_N)
    return np.clip(scale_N, 1e-5, 1.0)[:, None]


def _run(
    prior: Prior, rng: Random, dynamics: Dynamics, scale_N1: FloatArray, n_steps: int
) -> FloatArray:
    """Follow the recursion, in units of the shocks."""
    n_series = len(scale_N1)
    shock_TN = _draw_shocks(prior, rng, n_series, n_steps)
    cycle_TN = dynamics.cycle_N * rng.standard_normal((n_steps, n_series))
    drift_TN = _draw_drifts(prior, rng, dynamics.drift_N, n_steps)
    shrinks_N = np.where(rng.random(n_series) < prior.level_dependence, rng.random(n_series), 0.0)
    shrinks_N *= scale_N1[:, 0]
    x_TN = np.empty((n_steps, n_series))
    level_N, slope_N = np.zeros(n_series), drift_TN[0].copy()
    u_N, u_before_N = np.zeros(n_series), np.zeros(n_series)
    for t in range(n_steps):
        e_N = shock_TN[t] * np.exp(-np.clip(shrinks_N * level_N, -1.5, 1.5))
        u_N, u_before_N = (
            dynamics.ar1_N * u_N + dynamics.ar2_N * u_before_N + cycle_TN[t],
            u_N,
        )
        level_N = level_N + slope_N
        x_TN[t] = level_N + e_N + u_N
        level_N += dynamics.alpha_N * e_N
        slope_N = drift_TN[t] + dynamics.phi_N * (slope_N - drift_TN[t]) + dynamics.beta_N * e_N
    x_TN += _draw_jumps(prior, rng, n_series, n_steps)
    return x_TN.T


def _draw_shocks(prior: Prior, rng: Random, n_series: int, n_steps: int) -> FloatArray:
    """Shocks (T, N) of typical size 1."""
    shock_TN = rng.standard_normal((n_steps, n_series))
    freedom_N = rng.uniform(3.0, 8.0, n_series)
    mixing_TN = freedom_N / (2.0 * rng.standard_gamma(freedom_N / 2.0, (n_steps, n_series)))
    is_heavy_N = rng.random(n_series) < prior.heavy_tails
    shock_TN *= np.where(is_heavy_N, np.sqrt(mixing_TN), 1.0)
    moves_N = rng.random(n_series) < prior.moving_volatility
    memory_N = rng.uniform(0.8, 0.99, n_series)
    noise_TN = rng.standard_normal((n_steps, n_series)) * np.sqrt(1.0 - memory_N**2)
    size_N = rng.standard_normal(n_series)
    spread_N = np.where(moves_N, rng.uniform(0.2, 0.8, n_series), 0.0)
    for t in range(n_steps):
        shock_TN[t] *= np.exp(spread_N * size_N)
        size_N = memory_N * size_N + noise_TN[t]
    return shock_TN


def _draw_drifts(prior: Prior, rng: Random, drift_N: FloatArray, n_steps: int) -> FloatArray:
    """The drift at every step (T, N): constant between breaks, redrawn or turned at them."""
    n_series = len(drift_N)
    struck_N = rng.random(n_series) < 0.5
    breaks_TN = rng.random((n_steps, n_series)) < struck_N * prior.slope_breaks / 100.0
    breaks_TN[0] = False
    change_TN = np.where(
        breaks_TN,
        (np.abs(drift_N) + 0.2 * rng.random(n_series)) * rng.standard_normal((n_steps, n_series)),
        0.0,
    )
    return drift_N + np.cumsum(change_TN, axis=0)


def _draw_jumps(prior: Prior, rng: Random, n_series: int, n_steps: int) -> FloatArray:
    """Level shifts, which stay, and outliers, which pass: (T, N) in units of the shocks."""
    shape = (n_steps, n_series)
    total_TN = np.zeros(shape)
    for rate, struck, stays in (
        (prior.level_shifts, 0.5, True),
        (prior.outliers, 0.33, False),
    ):
        struck_N = rng.random(n_series) < struck
        hits_TN = rng.random(shape) < struck_N * rate / 100.0
        n_hits = int(hits_TN.sum())
        jump_TN = np.zeros(shape)
        jump_TN[hits_TN] = _log_uniform(rng, n_hits, 2.0, 15.0) * rng.choice((-1.0, 1.0), n_hits)
        total_TN += np.cumsum(jump_TN, axis=0) if stays else jump_TN
    return total_TN


def _let_add(prior: Prior, rng: Random, z_NT: FloatArray) -> FloatArray:
    """Let some series change by amounts: they are 1 + z, or as much more as keeps them > 0."""
    n_series = len(z_NT)
    adds_N1 = (rng.random(n_series) < prior.additive)[:, None]
    lowest_N = rng.uniform(0.02, 0.5, n_series)
    base_N = np.maximum(1.0, lowest_N - z_NT.min(axis=1))
    return np.where(adds_N1, np.log(base_N[:, None] + z_NT), z_NT)


# ------------------------------------------------------------------------------------- families


def _log_uniform(rng: Random, n: int, low: float, high: float) -> FloatArray:
    return np.exp(rng.uniform(np.log(low), np.log(high), n))


def _dynamics(rng: Random, n: int, **given: FloatArray) -> Dynamics:
    """Fields given, the others as of noise about a fixed level."""
    zero, one = np.zeros(n), np.ones(n)
    rest = {"alpha_N": zero, "beta_N": zero, "phi_N": one, "drift_N": zero, "ar1_N": zero}
    return Dynamics(**{**rest, "ar2_N": zero, "cycle_N": zero, **given})


def _draw_alpha(rng: Random, n: int) -> FloatArray:
    """Three fifths below 1 and most of these near 0, a fifth random walks, a fifth above."""
    kind_N = rng.random(n)
    low_N = np.where(kind_N < 0.6, rng.random(n) ** 3, 1.0)
    return np.where(kind_N > 0.8, rng.uniform(1.0, 1.35, n), low_N)


def _draw_drift(rng: Random, n: int) -> FloatArray:
    """Drift in shocks per step, from hardly any to many."""
    return np.abs(rng.standard_normal(n)) * _log_uniform(rng, n, 0.02, 3.0)


def _local_level(rng: Random, n: int) -> Dynamics:
    """Wanders without a trend."""
    return _dynamics(rng, n, alpha_N=_draw_alpha(rng, n))


def _drift(rng: Random, n: int) -> Dynamics:
    """Wanders about a constant growth rate."""
    return _dynamics(rng, n, alpha_N=_draw_alpha(rng, n), drift_N=_draw_drift(rng, n))


def _local_trend(rng: Random, n: int) -> Dynamics:
    """The growth rate itself wanders."""
    alpha_N = _draw_alpha(rng, n)
    beta_N = _log_uniform(rng, n, 0.003, 0.5)
    return _dynamics(rng, n, alpha_N=alpha_N, beta_N=beta_N, drift_N=_draw_drift(rng, n))


def _damped_trend(rng: Random, n: int) -> Dynamics:
    """The growth rate wanders and returns to a drift, or to none."""
    alpha_N, phi_N = _draw_alpha(rng, n), rng.uniform(0.5, 0.99, n)
    beta_N = _log_uniform(rng, n, 0.02, 0.8)
    drift_N = np.where(rng.random(n) < 0.5, 0.0, _draw_drift(rng, n))
    return _dynamics(rng, n, alpha_N=alpha_N, beta_N=beta_N, phi_N=phi_N, drift_N=drift_N)


def _arma(rng: Random, n: int) -> Dynamics:
    """Returns to a trend, directly or in cycles of 4 to 60 steps."""
    radius_N, period_N = rng.uniform(0.3, 0.98, n), _log_uniform(rng, n, 4.0, 60.0)
    cycles_N = rng.random(n) < 0.5
    ar1_N = np.where(cycles_N, 2.0 * radius_N * np.cos(2.0 * np.pi / period_N), radius_N)
    ar2_N = np.where(cycles_N, -(radius_N**2), 0.0)
    alpha_N = np.where(rng.random(n) < 0.5, 0.0, 0.3 * rng.random(n))
    drift_N = np.where(rng.random(n) < 0.5, 0.0, _draw_drift(rng, n))
    cycle_N = _log_uniform(rng, n, 0.3, 3.0)
    return _dynamics(
        rng, n, alpha_N=alpha_N, drift_N=drift_N, ar1_N=ar1_N, ar2_N=ar2_N, cycle_N=cycle_N
    )


def _around_curve(rng: Random, n: int) -> Dynamics:
    """Noise about a curve: independent, or a random walk in part."""
    return _dynamics(rng, n, alpha_N=np.where(rng.random(n) < 0.4, 0.0, _draw_alpha(rng, n)))


def _exponential(rng: Random, n: int, time_T: FloatArray) -> FloatArray:
    """A constant rate of 0.1 % to 30 % a step."""
    return _log_uniform(rng, n, 0.001, 0.3)[:, None] * time_T


def _logistic(rng: Random, n: int, time_T: FloatArray) -> FloatArray:
    """Exponential at first, towards a ceiling; some from a floor."""
    rate_N1 = _log_uniform(rng, n, 0.02, 0.5)[:, None]
    middle_N1 = rng.uniform(-0.2, 1.5, n)[:, None] * len(time_T)
    floor_N1 = np.where(rng.random(n) < 0.5, 0.0, _log_uniform(rng, n, 1e-3, 0.5))[:, None]
    return np.log(
        floor_N1 + 1.0 / (1.0 + np.exp(-np.clip(rate_N1 * (time_T - middle_N1), -50, 50)))
    )


def _gompertz(rng: Random, n: int, time_T: FloatArray) -> FloatArray:
    """A rate that falls exponentially, towards a ceiling."""
    rate_N1 = _log_uniform(rng, n, 0.01, 0.2)[:, None]
    return -_log_uniform(rng, n, 0.5, 6.0)[:, None] * np.exp(-rate_N1 * time_T)


def _linear(rng: Random, n: int, time_T: FloatArray) -> FloatArray:
    """Constant steps of 0.1 % to 100 % of the first value; a third falls to between 0.1 and 1."""
    slope_N = _log_uniform(rng, n, 0.001, 1.0)
    end_N = rng.uniform(0.1, 1.0, n)
    falls_N = rng.random(n) < 0.33
    slope_N = np.where(falls_N, (end_N - 1.0) / len(time_T), slope_N)
    return np.log1p(slope_N[:, None] * time_T)


def _power(rng: Random, n: int, time_T: FloatArray) -> FloatArray:
    """A power of the age, 0.2 to 3, begun 1 to 50 steps before."""
    before_N1 = _log_uniform(rng, n, 1.0, 50.0)[:, None]
    return rng.uniform(0.2, 3.0, n)[:, None] * np.log1p(time_T / before_N1)


FAMILIES: dict[str, Family] = {
    "local level": Family(2.0, _local_level),
    "drift": Family(5.0, _drift),
    "local trend": Family(1.5, _local_trend),
    "damped trend": Family(2.5, _damped_trend),
    "arma": Family(1.5, _arma),
    "exponential": Family(0.4, _around_curve, _exponential),
    "logistic": Family(0.8, _around_curve, _logistic),
    "gompertz": Family(0.5, _around_curve, _gompertz),
    "linear": Family(0.8, _around_curve, _linear),
    "power": Family(0.5, _around_curve, _power),
}


def _concatenate(parts: list[Dynamics]) -> Dynamics:
    names = Dynamics.__dataclass_fields__
    return Dynamics(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})

"""Paths that growth can take, and how well each explains the growth rates of a series.

Contract: a family is a grid of shapes of growth rates; its members are a shape times an amplitude,
or a step up or down. :func:`fit_family` finds the likeliest member for many series of one
length at once, over all kinds of noise (:mod:`explstm.growth_noise`), without iterating.

| family | level z_t, t from 0 at the first step to 1 at the last | amplitude |
|---|---|---|
| exponential | a + g t | g, free |
| unbounded | a + r log(1 + c t), and exponential; y is a straight line at r = 1 | r at least 1 |
| bounded | a - r log(1 + exp(-k (t - m))), a - r exp(-k t) | r above 0 |
| broken | a + g t until a step, from there another g | both free |

Source: Richards (1959), A flexible growth function for empirical use, Journal of Experimental
Botany 10(2); with r = 1 it is Verhulst's logistic (1838), the second form is Gompertz (1825).

Axes: K kinds of noise, G shapes, A series, T growth rates, J ends of the steps (T + 1).
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from explstm.growth_noise import FloatArray, log_likelihoods, whiten

IntArray = NDArray[np.int64]
SPEEDS = (0.7, 40.0)
"""k of the bounded family: how many times the distance to the ceiling falls by e in the series."""
MIDDLES = (0.0, 1.25)
"""m of the bounded family, where half of the ceiling is reached if r = 1."""
STARTS = (0.05, 2000.0)
"""c of the unbounded family: how many times its first value a straight line of y gains."""
FINE = (24, 31)
"""Speeds and middles of the grid that curves are measured on."""
TRIM = 0.15
"""Share of the steps at either end where no break is sought."""


@dataclass(frozen=True, eq=False)
class Family:
    """A grid of shapes.

    Attributes:
        shapes_GT: Growth rates at amplitude 1.
        least_G: Smallest amplitude allowed.
        white_KGT: The shapes, whitened.
    """

    shapes_GT: FloatArray
    least_G: FloatArray
    white_KGT: FloatArray


@dataclass(frozen=True, eq=False)
class Fit:
    """The likeliest member of a family for each series.

    Attributes:
        likelihood_A: Its log-likelihood.
        noise_A: Which kind of noise.
        shape_A: Which shape.
        amplitude_A: Its amplitude.
    """

    likelihood_A: FloatArray
    noise_A: IntArray
    shape_A: IntArray
    amplitude_A: FloatArray


@lru_cache(maxsize=64)
def exponential(steps: int) -> Family:
    """Constant growth."""
    return _make_family(np.ones((1, steps)), np.array([-np.inf]))


@lru_cache(maxsize=64)
def unbounded(steps: int) -> Family:
    """Growth from exponential down to a straight line of y."""
    t_J = np.arange(steps + 1) / steps
    start_G1 = np.geomspace(*STARTS, 24)[:, None]
    shapes_GT = np.vstack([np.ones((1, steps)), np.diff(np.log1p(start_G1 * t_J), axis=1)])
    least_G = np.concatenate([[-np.inf], np.ones(len(start_G1))])
    return _make_family(shapes_GT, least_G)


def bounded_level(t: FloatArray, log_speed: float, middle: float | None = None) -> FloatArray:
    """Level of the bounded family at amplitude 1, less the ceiling; Gompertz without a middle."""
    if middle is None:
        return -np.exp(-np.exp(log_speed) * t)
    return -np.logaddexp(0.0, -np.exp(log_speed) * (t - middle))


@lru_cache(maxsize=64)
def bounded(steps: int) -> Family:
    """Growth towards a ceiling, on a grid wide enough to find it."""
    return _make_bounded(steps, _bounded_grid(12, 6))


@lru_cache(maxsize=4)
def fine_bounded(steps: int) -> Family:
    """Growth towards a ceiling, on a grid close enough to measure it from."""
    return _make_bounded(steps, _bounded_grid(*FINE))


def fine_shape(place: int) -> tuple[float, ...]:
    """Log speed, and middle where there is one, of a shape of :func:`fine_bounded`."""
    return _bounded_grid(*FINE)[place]


@lru_cache(maxsize=4)
def _bounded_grid(n_speeds: int, n_middles: int) -> tuple[tuple[float, ...], ...]:
    speeds = np.log(np.geomspace(SPEEDS[0], SPEEDS[1], n_speeds)).tolist()
    middles = np.linspace(MIDDLES[0], MIDDLES[1], n_middles).tolist()
    return (*((speed,) for speed in speeds), *product(speeds, middles))


def _make_bounded(steps: int, grid: tuple[tuple[float, ...], ...]) -> Family:
    t_J = np.arange(steps + 1) / steps
    shapes_GT = np.diff([bounded_level(t_J, *place) for place in grid], axis=1)
    return _make_family(shapes_GT, np.zeros(len(grid)))


@lru_cache(maxsize=64)
def step_places(steps: int) -> IntArray:
    """The rates that a break may begin with, counted from 0."""
    edge = max(int(np.ceil(TRIM * steps)), 3)
    return np.arange(edge, steps - edge + 1)


@lru_cache(maxsize=64)
def broken(steps: int) -> Family:
    """The part after the break alone, without what constant growth explains of it."""
    shapes_GT = (np.arange(steps) >= step_places(steps)[:, None]).astype(np.float64)
    white_KGT, flat_KGT = whiten(shapes_GT), whiten(np.ones((1, steps)))
    flat_KGT /= np.sqrt((flat_KGT**2).sum(axis=2, keepdims=True))
    white_KGT -= (white_KGT * flat_KGT).sum(axis=2, keepdims=True) * flat_KGT
    return Family(shapes_GT, np.full(len(shapes_GT), -np.inf), white_KGT)


def fit_family(family: Family, white_KAT: FloatArray) -> Fit:
    """Find the likeliest member for each of some series, whitened.

    For one shape the sum of squares at amplitude r is ``|x|² - 2 r x·s + r² |s|²``; the best r is
    ``x·s / |s|²``, or the smallest allowed.
    """
    steps = white_KAT.shape[2]
    both_KAG = white_KAT @ family.white_KGT.transpose(0, 2, 1)
    square_K1G = (family.white_KGT**2).sum(axis=2)[:, None, :]
    amplitude_KAG = np.maximum(both_KAG / square_K1G, family.least_G)
    gain_KAG = amplitude_KAG * (2.0 * both_KAG - amplitude_KAG * square_K1G)
    shape_KA = gain_KAG.argmax(axis=2)
    gain_KA = np.take_along_axis(gain_KAG, shape_KA[:, :, None], axis=2)[:, :, 0]
    likelihood_KA = log_likelihoods((white_KAT**2).sum(axis=2) - gain_KA, steps)
    noise_A = likelihood_KA.argmax(axis=0)
    places = (noise_A, np.arange(len(noise_A)))
    shape_A = shape_KA[places]
    return Fit(likelihood_KA[places], noise_A, shape_A, amplitude_KAG[(*places, shape_A)])


def fit_break(white_KAT: FloatArray) -> Fit:
    """Find the likeliest break for each of some series; the amplitude is the change of rate."""
    flat_KGT = exponential(white_KAT.shape[2]).white_KGT
    share_KA1 = (white_KAT @ flat_KGT.transpose(0, 2, 1)) / (flat_KGT**2).sum(axis=2)[:, :, None]
    return fit_family(broken(white_KAT.shape[2]), white_KAT - share_KA1 * flat_KGT)


def member_rates(family: Family, fit: Fit, series: int = 0) -> FloatArray:
    """The growth rates (T,) of the likeliest member."""
    return fit.amplitude_A[series] * family.shapes_GT[fit.shape_A[series]]


def _make_family(shapes_GT: FloatArray, least_G: FloatArray) -> Family:
    return Family(shapes_GT, least_G, whiten(shapes_GT))

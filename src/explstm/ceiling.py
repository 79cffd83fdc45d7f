"""Where growth that bends towards a ceiling ends, with an interval.

Contract: :func:`find_ceiling` starts at the likeliest shape of a fine grid
(:func:`explstm.growth_curves.fine_bounded`), moves on by damped least squares on the whitened
rates, and takes the interval from the curvature there (delta method), on the scale of z. It is the
ceiling as things stand: where errors add up as in a random walk, they will move it.

Source: Levenberg (1944), Quarterly of Applied Mathematics 2(2); delta method for functions of
parameters of nonlinear regression: Seber & Wild (1989), Nonlinear Regression, section 5.1.

Axes: P parameters (amplitude, log speed, and the middle where the curve has one), T growth rates.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from explstm.growth_curves import (
    SPEEDS,
    bounded_level,
    fine_bounded,
    fine_shape,
    fit_family,
)
from explstm.growth_noise import (
    FloatArray,
    Observed,
    log_likelihoods,
    passing_noise,
    passing_spread,
    whiten,
)

ROUNDS = 12
NUDGE = 1e-4  # of a parameter, for slopes
LARGEST_GAIN = np.log(100.0)
"""Ends of the interval further above the last level than this count as none."""


@dataclass(frozen=True)
class Ceiling:
    """Where growth ends, in z.

    Attributes:
        level: The ceiling.
        low: Lower end of its interval.
        high: Upper end; infinite where none can be given.
    """

    level: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class _Point:
    """A curve: its parameters, whitened errors, and what z still gains under it."""

    value_P: FloatArray
    error_T: FloatArray
    gain: float


def find_ceiling(last: float, seen: Observed, level: float) -> Ceiling:
    """Find the ceiling of the likeliest curve of growth.

    Args:
        last: The last level z.
        seen: The growth rates up to it.
        level: Coverage of the interval, in per cent.
    """
    steps = len(seen.rates_T)
    fit = fit_family(fine_bounded(steps), seen.white_K1T)
    kind = int(fit.noise_A[0])
    start_P = np.array([fit.amplitude_A[0], *fine_shape(int(fit.shape_A[0]))])
    point, *_ = _descend(_evaluate([start_P], seen, kind)[0], seen, kind)
    # What the grid missed looked like noise that lingers: choose it anew at the better curve.
    kind = _likeliest_noise(point.value_P, seen)
    again = _evaluate([point.value_P], seen, kind)[0]
    point, slope_TP, gain_P = _descend(again, seen, kind)
    variance = float(point.error_T @ point.error_T) / (steps - len(start_P))
    spread = gain_P @ np.linalg.pinv(slope_TP.T @ slope_TP) @ gain_P + passing_spread(steps)[kind]
    reach = NormalDist().inv_cdf(0.5 + level / 200.0) * np.sqrt(variance * spread)
    high = point.gain + reach
    lost = high > LARGEST_GAIN or point.value_P[1] < np.log(SPEEDS[0])
    top = last + point.gain
    return Ceiling(float(top), float(top - reach), np.inf if lost else float(last + high))


def _descend(point: _Point, seen: Observed, kind: int) -> tuple[_Point, FloatArray, FloatArray]:
    """The best point nearby, with the slopes of its errors (T, P) and of its gain (P,)."""
    damping = 1e-3
    slope_TP, gain_P = _slopes(point, seen, kind)
    for _ in range(ROUNDS):
        square_PP = slope_TP.T @ slope_TP
        damped_PP = square_PP + damping * np.diag(np.diag(square_PP) + 1e-12)
        step_P = np.clip(np.linalg.solve(damped_PP, -slope_TP.T @ point.error_T), -0.5, 0.5)
        (other,) = _evaluate([point.value_P + step_P], seen, kind)
        if not other.error_T @ other.error_T < point.error_T @ point.error_T:
            damping *= 10.0
            continue
        settled = np.abs(step_P).max() < NUDGE
        point, damping = other, damping / 10.0
        slope_TP, gain_P = _slopes(point, seen, kind)
        if settled:
            break
    return point, slope_TP, gain_P


def _slopes(point: _Point, seen: Observed, kind: int) -> tuple[FloatArray, FloatArray]:
    nudged = _evaluate(list(point.value_P + NUDGE * np.eye(len(point.value_P))), seen, kind)
    slope_TP = np.stack([(near.error_T - point.error_T) / NUDGE for near in nudged], axis=1)
    return slope_TP, np.array([(near.gain - point.gain) / NUDGE for near in nudged])


def _likeliest_noise(value_P: FloatArray, seen: Observed) -> int:
    _, white_KPT = _whiten_errors([value_P], seen)
    squares_KP = (white_KPT**2).sum(axis=2)
    return int(log_likelihoods(squares_KP, white_KPT.shape[2]).argmax())


def _whiten_errors(values: list[FloatArray], seen: Observed) -> tuple[FloatArray, FloatArray]:
    """Levels of some curves (P, J), and the whitened errors of their rates (K, P, T)."""
    t_J = np.arange(len(seen.rates_T) + 1) / len(seen.rates_T)
    levels_PJ = np.stack([v[0] * bounded_level(t_J, *v[1:]) for v in values])
    return levels_PJ, seen.white_K1T - whiten(np.diff(levels_PJ, axis=1))


def _evaluate(values: list[FloatArray], seen: Observed, kind: int) -> list[_Point]:
    levels_PJ, white_KPT = _whiten_errors(values, seen)
    gains = passing_noise(white_KPT)[kind] - levels_PJ[:, -1]
    return [
        _Point(value_P, white_KPT[kind, place], float(gains[place]))
        for place, value_P in enumerate(values)
    ]

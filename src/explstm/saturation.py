"""Does growth run into a ceiling, or has its rate changed at once? Tests on one series.

Contract: :func:`judge_growth` sees the level z of one series without its season and says whether
its growth is constant, bends towards a ceiling, or broke at some step. All three are likelihood
ratios, with critical values from series simulated under the hypothesis of growth that goes on
(parametric bootstrap; seeded by the values themselves, so that equal series have equal results).

A ceiling is found only where growth is told both from exponential growth and from every path
between it and a straight line of y: a straight line's growth *rate* falls too, without a ceiling.
Growth is told from the course of the rate over time, not from its regression on the level: under a
random walk with drift that one is a Dickey-Fuller regression, whose t does not follow Student.

What it cannot tell: while less than half of the ceiling is reached, a ceiling is seldom told, but
one told then is mostly too low; growth that is slower than a straight line, like a square root, may
be taken for one that ends (``benchmarks/saturation.py`` measures both).

Source: ratio of non-nested hypotheses by simulation: Williams (1970), Discrimination between
regression models to determine the pattern of enzyme synthesis, Biometrics 26(1); largest ratio over
all places of a break: Andrews (1993), Tests for parameter instability and structural change with
unknown change point, Econometrica 61(4); stopping early: Besag & Clifford (1991), Sequential Monte
Carlo p-values, Biometrika 78(2).

Axes: J steps, T growth rates (J - 1), K kinds of noise, G shapes, A series.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from explstm.ceiling import Ceiling, find_ceiling
from explstm.growth_curves import (
    Fit,
    bounded,
    exponential,
    fine_bounded,
    fit_break,
    fit_family,
    member_rates,
    step_places,
    unbounded,
)
from explstm.growth_noise import (
    FloatArray,
    Observed,
    draw_rates,
    observe,
    whiten,
)

TEST_LEVEL = 0.05
MIN_STEPS = 20
MAX_STEPS = 400
"""Steps that are looked at, the last ones: breaks and ceilings of long ago are history."""
FIRST_DRAWS, ALL_DRAWS = 19, 199
SETTLED = 5
"""With so many of the first draws above the observed ratio, more would not change the word."""


@dataclass(frozen=True)
class Break:
    """A change of the growth rate.

    Attributes:
        step: The first step that grew at the new rate, counted from 0 at the first step of z.
        before: Mean growth per step before, in z.
        after: Mean growth per step from then on, in z.
    """

    step: int
    before: float
    after: float


@dataclass(frozen=True)
class Judgement:
    """What the course of growth looks like.

    Attributes:
        word: ``"steady"``: no departure from constant growth was found; ``"saturating"``: towards
            a ceiling; ``"slowing"``: the rate falls, a ceiling was not found; ``"broken"``: the
            rate changed at one step; ``"unknown"``.
        p_exponential: How often constant growth looks as bounded as this by chance.
        p_unbounded: The same for growth from exponential to a straight line; None if not tested.
        p_break: How often constant growth looks as broken as this by chance.
        ceiling: Where ``"saturating"``.
        broken: Where ``"broken"``.
        reason: Why ``"unknown"``.
    """

    word: str
    p_exponential: float | None = None
    p_unbounded: float | None = None
    p_break: float | None = None
    ceiling: Ceiling | None = None
    broken: Break | None = None
    reason: str = ""


def judge_growth(z_J: FloatArray, *, level: float = 80.0, ceiling: bool = True) -> Judgement:
    """Judge the course of growth of one series.

    Args:
        z_J: Levels without their season; logarithms, or any other scale without ``ceiling``.
        level: Coverage of the interval of the ceiling, in per cent.
        ceiling: Look for a ceiling, not only for a break.
    """
    if len(z_J) < MIN_STEPS:
        return Judgement("unknown", reason=f"the tests need {MIN_STEPS} steps, found {len(z_J)}")
    skipped = max(len(z_J) - MAX_STEPS, 0)
    unit = 1.0 if ceiling else float(np.abs(np.diff(z_J)).max()) or 1.0
    z_J = z_J[skipped:] / unit
    rates_T = np.diff(z_J)
    rng = np.random.default_rng(zlib.crc32(rates_T.tobytes()))
    steady, bent = exponential(len(rates_T)), bounded(len(rates_T))
    seen = observe(rates_T)
    mean_T = member_rates(steady, fit_family(steady, seen.white_K1T))

    def compare(white_KAT: FloatArray) -> FloatArray:
        flat_A = fit_family(steady, white_KAT).likelihood_A
        break_A = fit_break(white_KAT).likelihood_A - flat_A
        curve_A = fit_family(bent, white_KAT).likelihood_A - flat_A if ceiling else 0 * flat_A
        return np.stack([curve_A, break_A])

    p_curve, p_break = _simulated_p(rng, seen, mean_T, compare)
    of_break = fit_break(seen.white_K1T)
    curved = ceiling and p_curve <= TEST_LEVEL
    snapped = p_break <= TEST_LEVEL
    if curved and snapped:  # a bend looks broken and a break bent: the better account is told
        curved = _prefer_bend(seen, of_break)
        snapped = not curved
    found = Judgement("steady", p_exponential=p_curve if ceiling else None, p_break=p_break)
    if snapped:
        change = _tell_break(rates_T, of_break, unit, skipped)
        return replace(found, word="broken", broken=change)
    if not curved:
        return found
    p_unbounded = _test_unbounded(rng, seen)
    if p_unbounded > TEST_LEVEL:
        return replace(found, word="slowing", p_unbounded=p_unbounded)
    top = find_ceiling(float(z_J[-1]), seen, level)
    return replace(found, word="saturating", p_unbounded=p_unbounded, ceiling=top)


def _simulated_p(
    rng: np.random.Generator,
    seen: Observed,
    mean_T: FloatArray,
    compare: Callable[[FloatArray], FloatArray],
) -> list[float]:
    """Share of simulated series whose ratio is at least the observed one, which counts too."""
    observed = compare(seen.white_K1T)
    above, n_draws = np.zeros(len(observed)), 0
    for wanted in (FIRST_DRAWS, ALL_DRAWS - FIRST_DRAWS):
        ratios = compare(whiten(draw_rates(rng, seen, mean_T, wanted)))
        above += (ratios >= observed - 1e-9).sum(axis=1)
        n_draws += wanted
        if (above >= SETTLED).all():
            break
    return [float(share) for share in (1 + above) / (1 + n_draws)]


def _test_unbounded(rng: np.random.Generator, seen: Observed) -> float:
    free, bent = unbounded(len(seen.rates_T)), bounded(len(seen.rates_T))

    def compare(white_KAT: FloatArray) -> FloatArray:
        ratio_A = fit_family(bent, white_KAT).likelihood_A
        return (ratio_A - fit_family(free, white_KAT).likelihood_A)[None]

    mean_T = member_rates(free, fit_family(free, seen.white_K1T))
    return _simulated_p(rng, seen, mean_T, compare)[0]


def _prefer_bend(seen: Observed, of_break: Fit) -> bool:
    """Whether a smooth curve has the smaller Bayesian information criterion.

    Source: Schwarz (1978), Annals of Statistics 6(2); the place of a break counts as a parameter:
    Yao (1988), Statistics & Probability Letters 6(3).
    """
    steps = len(seen.rates_T)
    likelihoods = {
        3: fit_family(fine_bounded(steps), seen.white_K1T).likelihood_A[0],  # speed, middle, size
        2: fit_family(unbounded(steps), seen.white_K1T).likelihood_A[0],  # start, size
    }
    bend = max(value - 0.5 * n * np.log(steps) for n, value in likelihoods.items())
    return bool(bend >= of_break.likelihood_A[0] - 0.5 * 3 * np.log(steps))


def _tell_break(rates_T: FloatArray, fit: Fit, unit: float, skipped: int) -> Break:
    place = int(step_places(len(rates_T))[fit.shape_A[0]])
    before, after = rates_T[:place].mean(), rates_T[place:].mean()
    return Break(skipped + place + 1, float(before * unit), float(after * unit))

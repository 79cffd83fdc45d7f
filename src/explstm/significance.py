"""Whether a mean difference in accuracy can be luck: over windows, and over series.

Contract: a difference is the loss of one forecast less that of another; what is tested is that its
mean is 0, from both sides. A test that cannot be made has a p-value of NaN and a reason, never a
guess. Differences that are all 0 have p = 1. Nothing here knows of tables or of models.

Axis letters: N series, W windows (forecasts from successive cutoffs), R resamples.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from explstm.errors import BackendNotInstalledError, UsageError

FEWEST_WINDOWS = 3
FEWEST_SERIES = 10
"""Below these a test is not made: so few say nothing of their own spread."""
RESAMPLES = 1_999
DRAWN_AT_ONCE = 2_000_000
"""Differences drawn at a time, which bounds the memory: 16 MB for each array of them."""
FARTHEST = 1e150
"""Stands for an infinite statistic where percentiles are taken."""
ROUNDING = 1e-12
"""A variance below so much of the plain one is 0 but for rounding."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DieboldMariano:
    """What the test over windows found.

    Attributes:
        mean: Mean difference.
        statistic: The corrected statistic, to be held against Student's t with n - 1 degrees of
            freedom; infinite where all differences are equal and not 0.
        p_value: Two-sided; NaN where the test cannot be made.
        n: Windows.
        lags: Autocovariances that entered the variance of the mean.
        reason: Why the test cannot be made; else empty.
    """

    mean: float
    statistic: float
    p_value: float
    n: int
    lags: int
    reason: str = ""


@dataclass(frozen=True)
class SeriesBootstrap:
    """What the bootstrap over series found.

    Attributes:
        mean: Mean difference.
        low: Lower end of the confidence interval of the mean; -inf where nothing bounds it.
        high: Its upper end; inf likewise.
        level: Its level, in per cent.
        p_value: Two-sided; at most 1 - level / 100 where 0 lies outside of the interval; NaN where
            the bootstrap is not made.
        n: Series.
        reason: Why the bootstrap is not made; else empty.
    """

    mean: float
    low: float
    high: float
    level: float
    p_value: float
    n: int
    reason: str = ""


def diebold_mariano(difference_W: npt.ArrayLike, *, h: int, step_size: int) -> DieboldMariano:
    """Test whether two forecasts are equally good, over the windows of a backtest.

    Forecasts of ``h`` steps from cutoffs that are ``step_size`` apart overlap with the
    ceil(h / step_size) - 1 windows before them, so that many autocovariances enter the variance of
    the mean, all with weight 1. Where that variance is not positive they enter with the weights of
    Bartlett, with which it is. Windows that do not overlap make it the paired t-test.

    Args:
        difference_W: Differences in loss by window, oldest first.
        h: Steps of every forecast.
        step_size: Steps between two cutoffs.

    Returns:
        The test. Differences that are all equal leave no doubt: p = 1 where they are 0, else p = 0.
        It is undefined for fewer than 3 windows, where every window overlaps with every other, and
        for differences that are not finite.

    Raises:
        UsageError: ``h`` or ``step_size`` is below 1.
        BackendNotInstalledError: SciPy is not installed.

    Source: Diebold & Mariano 1995, statistic S1; corrected by Harvey, Leybourne & Newbold 1997,
        statistic S1*, whose factor (n + 1 - 2k + k(k - 1) / n) / n for k = lags + 1 is
        (n - k)(n - k + 1) / n²; weights: Newey & West 1987, Econometrica 55(3).
    """
    for name, value in (("h", h), ("step_size", step_size)):
        if value < 1:
            raise UsageError("CONFIG_VALUE", f"{name}={value} is below 1; use 1 or more.")
    difference_W = np.asarray(difference_W, dtype=np.float64)
    n, lags = len(difference_W), math.ceil(h / step_size) - 1
    mean = float(difference_W.mean()) if n else math.nan
    reason = _refuse_windows(difference_W, lags)
    if reason:
        return DieboldMariano(mean, math.nan, math.nan, n, lags, reason)
    if np.ptp(difference_W) == 0:
        statistic = math.copysign(math.inf, mean) if mean else 0.0
    else:
        correction = math.sqrt((n - lags - 1) * (n - lags)) / n
        statistic = correction * mean / math.sqrt(_long_run_variance(difference_W, lags) / n)
    p_value = float(2 * _import_stats().t.sf(abs(statistic), n - 1))
    return DieboldMariano(mean, statistic, p_value, n, lags)


def _refuse_windows(difference_W: Values, lags: int) -> str:
    n = len(difference_W)
    if n < FEWEST_WINDOWS:
        return f"{n} window{'s' * (n != 1)}, where a test needs {FEWEST_WINDOWS}"
    if not np.isfinite(difference_W).all():
        return "a difference is not finite"
    if n <= lags + 1:
        return f"{n} windows that all overlap, where a test needs {lags + 2}"
    return ""


def _long_run_variance(difference_W: Values, lags: int) -> float:
    n = len(difference_W)
    centred_W = difference_W - difference_W.mean()
    covariances = [float(centred_W[k:] @ centred_W[: n - k]) / n for k in range(lags + 1)]
    variance = covariances[0] + 2 * sum(covariances[1:])
    if variance > ROUNDING * covariances[0]:
        return variance
    weights = 1 - np.arange(lags + 1) / (lags + 1)
    return 2 * float(weights @ covariances) - covariances[0]


def bootstrap_series(
    difference_N: npt.ArrayLike, *, level: float = 95, seed: int = 0, resamples: int = RESAMPLES
) -> SeriesBootstrap:
    """Test whether two forecasts are equally good, over the series of a panel.

    Series are drawn with replacement, and the mean of each draw is compared with that of the panel
    in units of its own standard error: the symmetric bootstrap-t. With 10 series it calls equal
    forecasts different in 1 to 7 % of trials at the 5 % level, where the percentile and the BCa
    bootstrap do in 11 to 18 % (``benchmarks/verdict.py --sizes --trials 2000``): both take the
    spread that 10 series happen to show for the true one.

    Args:
        difference_N: Difference in loss of each series, mean over its windows.
        level: Of the confidence interval, in per cent.
        seed: Equal arguments give equal results.
        resamples: How many draws; the smallest p-value is 1 / (resamples + 1).

    Returns:
        The test, with 0 outside of the interval exactly where p is at most 1 - level / 100.
        Differences that are all equal leave no doubt: p = 1 where they are 0, else p = 0. It is
        undefined for fewer than 10 series and for differences that are not finite.

    Raises:
        BackendNotInstalledError: SciPy is not installed.

    Source: Efron & Tibshirani 1993, section 12.5 (bootstrap-t); symmetric: Hall 1988, JRSS B 50(1);
        p-value: Davison & Hinkley 1997, eq. 4.11.
    """
    difference_N = np.asarray(difference_N, dtype=np.float64)
    n = len(difference_N)
    mean = float(difference_N.mean()) if n else math.nan
    reason = _refuse_series(difference_N)
    if reason:
        return SeriesBootstrap(mean, math.nan, math.nan, level, math.nan, n, reason)
    if np.ptp(difference_N) == 0:
        return SeriesBootstrap(mean, mean, mean, level, float(mean == 0), n)
    error = float(difference_N.std(ddof=1)) / math.sqrt(n)
    drawn_R = np.sort(np.abs(_draw_statistics(difference_N, seed, resamples)))
    beyond = resamples - int(np.searchsorted(drawn_R, abs(mean) / error, side="left"))
    outside = int((1 - level / 100) * (resamples + 1) + ROUNDING)
    farthest = float(drawn_R[resamples - outside]) if outside else FARTHEST
    width = math.inf if farthest == FARTHEST else farthest * error
    p_value = (1 + beyond) / (resamples + 1)
    return SeriesBootstrap(mean, mean - width, mean + width, level, p_value, n)


def _refuse_series(difference_N: Values) -> str:
    if len(difference_N) < FEWEST_SERIES:
        return f"{len(difference_N)} series, where a bootstrap needs {FEWEST_SERIES}"
    return "" if np.isfinite(difference_N).all() else "a difference is not finite"


def _draw_statistics(difference_N: Values, seed: int, resamples: int) -> Values:
    """Student's t of each draw, about the mean of all series (R)."""
    mean, root = difference_N.mean(), math.sqrt(len(difference_N))

    def studentise(drawn: Values, axis: int) -> Values:
        with np.errstate(divide="ignore", invalid="ignore"):
            t = root * (drawn.mean(axis) - mean) / drawn.std(axis, ddof=1)
        # A draw of equal values has no spread: it is as far off as can be, unless it is the mean.
        return np.nan_to_num(t, nan=0.0, posinf=FARTHEST, neginf=-FARTHEST)

    drawn = _import_stats().bootstrap(
        (difference_N,),
        studentise,
        n_resamples=resamples,
        batch=max(1, DRAWN_AT_ONCE // len(difference_N)),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return np.asarray(drawn.bootstrap_distribution)


def adjust_for_trials(p_values: npt.ArrayLike) -> Values:
    """The p-values of several tests, adjusted for how many were made.

    Where all that are at most alpha are called significant, the chance that some true null
    hypothesis is among them is at most alpha.

    Source: Holm 1979, Scandinavian Journal of Statistics 6(2).
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_values, kind="stable")
    steps = (len(order) - np.arange(len(order))) * p_values[order]
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def _import_stats() -> Any:
    try:
        import scipy.stats
    except ModuleNotFoundError:
        raise BackendNotInstalledError(
            "METRICS_NOT_INSTALLED",
            "tests of significance need SciPy, which is not installed; run "
            "pip install 'explstm[metrics]'.",
        ) from None
    return scipy.stats

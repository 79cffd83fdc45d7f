"""What the forecasts of a backtest got wrong, beyond one number: intervals and residuals.

Contract: facts only, from a backtest table ``unique_id, ds, cutoff, y`` with one column per method
and its intervals; a *forecast* here is one series from one cutoff. Nothing is fitted.

The band of chance around a level is that of a binomial count with one trial per forecast, not per
value: the values of one forecast tend to lie above or below it together. Over all steps the band is
therefore wider than that of independent values; at one step it is exact where forecasts are
independent.

Autocorrelations are those of one-step residuals, pooled over series: residuals of later steps of
one forecast share their shocks, and would look correlated even if the method missed nothing.

Axes: S rows of the table, G forecasts, L levels, K lags.
"""

import numpy as np
import pandas as pd

from explstm.coverage import count_covered, pool_coverage
from explstm.ends import interval_levels
from explstm.errors import BackendNotInstalledError

CHANCE = 0.95
"""How much of what chance makes lies within its band."""
FEWEST_PAIRS = 20
"""Pairs of residuals below which a correlation says nothing."""
MOST_LAGS = 24
GROUP = ["unique_id", "cutoff"]


def measure_coverage(forecasts: pd.DataFrame, method: str) -> pd.DataFrame:
    """How many values fell within the intervals of a method, and what chance would explain.

    Args:
        forecasts: The backtest table.
        method: One that has intervals.

    Returns:
        model, step, level (in per cent), covered, values, coverage, low, high. Step 0 stands for
        all steps together.

    Raises:
        BackendNotInstalledError: SciPy is not installed.
    """
    levels = interval_levels(list(forecasts.columns), method)
    number_S = forecasts.groupby(GROUP, sort=False).ngroup()
    counts = count_covered(forecasts.assign(unique_id=number_S), method, levels)
    by_step = pd.DataFrame([vars(count) for count in counts])
    tables = [
        pool_coverage(by_step.assign(step=0), ["step", "level"]),
        pool_coverage(by_step, ["step", "level"]),
    ]
    table = pd.concat(tables, ignore_index=True).assign(model=method)
    low_S, high_S = _bound_chance(table["level"].to_numpy() / 100, number_S.nunique())
    table = table.assign(low=low_S, high=high_S)
    return table[["model", "step", "level", "covered", "values", "coverage", "low", "high"]]


def _bound_chance(share_L: np.ndarray, trials: int) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the band of shares that chance makes."""
    try:
        from scipy.stats import binom
    except ImportError:
        raise BackendNotInstalledError(
            "METRICS_NOT_INSTALLED",
            "the band of chance needs scipy, which is not installed; run pip install "
            "'explstm[metrics]'.",
        ) from None
    tail = (1 - CHANCE) / 2
    low_L, high_L = (binom.ppf(end, trials, share_L) / trials for end in (tail, 1 - tail))
    return np.asarray(low_L), np.asarray(high_L)


def recover_scales(by_series: pd.DataFrame) -> pd.DataFrame:
    """The unit of MASE of every forecast, which is MAE / MASE of any method.

    Args:
        by_series: unique_id, cutoff, model, metric, value.

    Returns:
        unique_id, cutoff, scale; no row where the scale is unknown.
    """
    wide = by_series.pivot_table(
        index=[*GROUP, "model"], columns="metric", values="value", sort=False
    )
    if not {"MAE", "MASE"} <= set(wide.columns):
        return pd.DataFrame(columns=[*GROUP, "scale"])
    scale = wide["MAE"] / wide["MASE"].where(wide["MASE"] > 0)
    return scale.dropna().groupby(level=GROUP, sort=False).first().rename("scale").reset_index()


def collect_residuals(
    forecasts: pd.DataFrame, method: str, scales: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Actual minus forecast, step by step.

    Args:
        forecasts: The backtest table.
        method: Its column.
        scales: unique_id, cutoff, scale: the unit of residuals and forecasts; that of the data
            unless given. Forecasts without a scale are left out.

    Returns:
        unique_id, ds, cutoff, step, forecast, residual, without what is missing.
    """
    table = forecasts[[*GROUP, "ds"]].assign(
        step=forecasts.groupby(GROUP, sort=False).cumcount() + 1,
        forecast=forecasts[method],
        residual=forecasts["y"] - forecasts[method],
    )
    if scales is not None:
        table = table.merge(scales, how="left", on=GROUP)
        table[["forecast", "residual"]] = table[["forecast", "residual"]].div(
            table["scale"], axis=0
        )
    columns = ["unique_id", "ds", "cutoff", "step", "forecast", "residual"]
    return table[columns].dropna(subset=["forecast", "residual"]).reset_index(drop=True)


def autocorrelate(residuals: pd.DataFrame, step_size: int) -> pd.DataFrame:
    """Correlations of one-step residuals with earlier ones of the same series.

    With e the one-step residuals less their mean over all series, the correlation at lag k is the
    sum of e_t e_{t-k} over the pairs of all series, over the number of pairs times the mean of e².

    Args:
        residuals: As :func:`collect_residuals` makes them.
        step_size: Steps from one cutoff of a series to the next.

    Returns:
        lag (in steps), autocorrelation, bound (1.96 / root of the pairs), pairs; only lags of at
        least ``FEWEST_PAIRS`` pairs, at most ``MOST_LAGS``.

    Source: bound of white noise: Bartlett (1946), Supplement to the JRSS 8(1).
    """
    first = residuals[residuals["step"] == 1]
    wide = first.pivot_table(index="cutoff", columns="unique_id", values="residual", sort=True)
    columns = [wide[name].dropna().to_numpy() for name in wide.columns]
    largest = max((float(np.abs(values).max()) for values in columns if len(values)), default=0.0)
    if largest == 0:
        return pd.DataFrame(columns=["lag", "autocorrelation", "bound", "pairs"])
    columns = [values / largest for values in columns]  # squares of the largest floats are none
    everything = np.concatenate(columns)
    mean = everything.mean()
    variance = ((everything - mean) ** 2).mean()
    rows = []
    for k in range(1, MOST_LAGS + 1):
        products = [(values[k:] - mean) * (values[:-k] - mean) for values in columns]
        pairs = sum(len(product) for product in products)
        if pairs < FEWEST_PAIRS or variance == 0:
            break
        correlation = sum(product.sum() for product in products) / (pairs * variance)
        rows.append((k * step_size, float(correlation), 1.96 / np.sqrt(pairs), pairs))
    return pd.DataFrame(rows, columns=["lag", "autocorrelation", "bound", "pairs"])

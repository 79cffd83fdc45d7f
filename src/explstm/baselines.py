"""The forecasts that every model must beat: one formula each, for all series at once.

With y_1..y_n a series, m its season and k = 1..h:

| name | forecast k steps ahead | falls back to, where |
|---|---|---|
| Naive | y_n | |
| SeasonalNaive | the last value of the same season, y_{n - m + 1 + (k-1) mod m} | Naive, n < m |
| Drift | y_n + k (y_n - y_1) / (n - 1) | Naive, n = 1 |
| LogDrift | y_n (y_n / y_1)^{k / (n - 1)}: constant growth | Drift, some value not positive |

Source: Hyndman & Athanasopoulos (2021), Forecasting: Principles and Practice, 3rd ed., section 5.2.

Axis letters: N series in a panel, S steps of all series laid end to end, H horizon.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from explstm.errors import UsageError

if TYPE_CHECKING:
    from explstm.frame import Panel

NAIVE = {
    "Naive": "the last value",
    "SeasonalNaive": "the value of one season ago",
    "Drift": "the straight line through first and last value",
    "LogDrift": "constant growth",
}
"""The naive forecasts in plain words."""
LARGEST = np.finfo(np.float64).max


def naive_forecasts(panel: "Panel", h: int, season_length: int) -> dict[str, NDArray[np.float64]]:
    """Forecast every series with every baseline.

    Args:
        panel: The series.
        h: Steps ahead, at least 1.
        season_length: Steps in a season; with 1, SeasonalNaive is Naive.

    Returns:
        Forecasts (N, h) in data units by name. Growth beyond the largest float stays at it.

    Raises:
        UsageError: ``h`` or ``season_length`` is below 1.
    """
    for name, value in (("h", h), ("season_length", season_length)):
        if value < 1:
            raise UsageError("BASELINE_RANGE", f"{name}={value} is below 1; use 1 or more.")
    return {
        "Naive": _forecast_naive(panel, h),
        "SeasonalNaive": _forecast_seasonal_naive(panel, h, season_length),
        "Drift": _forecast_drift(panel, h),
        "LogDrift": _forecast_log_drift(panel, h),
    }


def _forecast_naive(panel: "Panel", h: int) -> NDArray[np.float64]:
    return np.repeat(panel.y_S[panel.starts_N1[1:] - 1][:, None], h, axis=1)


def _forecast_seasonal_naive(panel: "Panel", h: int, season_length: int) -> NDArray[np.float64]:
    season_N1 = np.where(panel.lengths_N < season_length, 1, season_length)[:, None]
    steps_NH = np.arange(h) % season_N1
    return panel.y_S[panel.starts_N1[1:, None] - season_N1 + steps_NH]


def _forecast_drift(panel: "Panel", h: int) -> NDArray[np.float64]:
    first_N, last_N, gaps_N = _ends(panel)
    with np.errstate(over="ignore"):
        slope_N = last_N / gaps_N - first_N / gaps_N
        forecast_NH = last_N[:, None] + np.arange(1, h + 1) * slope_N[:, None]
    return np.clip(forecast_NH, -LARGEST, LARGEST)


def _forecast_log_drift(panel: "Panel", h: int) -> NDArray[np.float64]:
    first_N, last_N, gaps_N = _ends(panel)
    positive_N = np.minimum.reduceat(panel.y_S, panel.starts_N1[:-1]) > 0
    z_first_N, z_last_N = (np.log(np.where(positive_N, y_N, 1.0)) for y_N in (first_N, last_N))
    rate_N = (z_last_N - z_first_N) / gaps_N
    with np.errstate(over="ignore"):
        growth_NH = np.exp(np.arange(1, h + 1) * rate_N[:, None])
        forecast_NH = np.minimum(last_N[:, None] * growth_NH, LARGEST)
    return np.where(positive_N[:, None], forecast_NH, _forecast_drift(panel, h))


def _ends(panel: "Panel") -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """First and last value of each series, and the steps between them (1 for a single value)."""
    first_N, last_N = panel.y_S[panel.starts_N1[:-1]], panel.y_S[panel.starts_N1[1:] - 1]
    return first_N, last_N, np.maximum(panel.lengths_N - 1, 1)

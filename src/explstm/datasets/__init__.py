"""Series to try things on: one famous, the others made, with their truth known.

Contract: :func:`load_air_passengers` returns the monthly totals that airline forecasting has been
measured by since 1970. :func:`make_growth_series` draws series of a stated kind of growth from a
seed and returns them with the path they would take without noise. Both return long pandas tables
``unique_id, ds, y``.

Axes: N series, T time.
"""

from collections.abc import Callable
from importlib import resources

import numpy as np
import numpy.typing as npt
import pandas as pd

from explstm.config import check_whole
from explstm.errors import UsageError

Array = npt.NDArray[np.float64]


def load_air_passengers() -> pd.DataFrame:
    """International airline passengers, monthly totals in thousands, January 1949 to December 1960.

    Source: Box, G. E. P. & Jenkins, G. M. (1970), Time Series Analysis: Forecasting and Control,
        Holden-Day, Series G.
    """
    with resources.files(__name__).joinpath("air_passengers.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, parse_dates=["ds"], dtype={"y": "float64"})


def _exponential(rng: np.random.Generator, time_T: Array) -> Array:
    """Constant rate, -1 % to 8 % a step."""
    return np.exp(rng.uniform(-0.01, 0.08) * time_T)


def _logistic(rng: np.random.Generator, time_T: Array) -> Array:
    """Exponential at first, towards a ceiling (Verhulst 1838)."""
    rate, middle = rng.uniform(0.05, 0.3), rng.uniform(0.3, 0.8) * len(time_T)
    return 100.0 / (1.0 + np.exp(-rate * (time_T - middle)))


def _gompertz(rng: np.random.Generator, time_T: Array) -> Array:
    """A rate that falls exponentially, towards a ceiling (Gompertz 1825)."""
    rate, displacement = rng.uniform(0.02, 0.1), rng.uniform(2.0, 6.0)
    return 100.0 * np.exp(-displacement * np.exp(-rate * time_T))


def _linear(rng: np.random.Generator, time_T: Array) -> Array:
    """Constant steps, 0 % to 10 % of the first value."""
    return 1.0 + rng.uniform(0.0, 0.1) * time_T


def _power(rng: np.random.Generator, time_T: Array) -> Array:
    """A power of the age, between its square root and its square."""
    return (1.0 + time_T) ** rng.uniform(0.5, 2.0)


def _damped(rng: np.random.Generator, time_T: Array) -> Array:
    """A log trend whose slope shrinks by a constant factor (Gardner & McKenzie 1985)."""
    slope, damping = rng.uniform(0.02, 0.1), rng.uniform(0.85, 0.99)
    return np.exp(slope * damping * (1.0 - damping**time_T) / (1.0 - damping))


def _random_walk(rng: np.random.Generator, time_T: Array) -> Array:
    """A random walk of the logarithm with drift; the walk itself is the truth."""
    steps_T = rng.normal(rng.uniform(-0.01, 0.03), 0.03, len(time_T))
    return np.exp(np.cumsum(steps_T) - steps_T[0])


def _seasonal(rng: np.random.Generator, time_T: Array) -> Array:
    """Constant rate times a season of twelve steps that keeps its share."""
    season_12 = rng.normal(0.0, 0.15, 12)
    season_T = (season_12 - season_12.mean())[time_T.astype(int) % 12]
    return np.exp(rng.uniform(0.0, 0.03) * time_T + season_T)


_PATHS: dict[str, Callable[[np.random.Generator, Array], Array]] = {
    "exponential": _exponential,
    "logistic": _logistic,
    "gompertz": _gompertz,
    "linear": _linear,
    "power": _power,
    "damped": _damped,
    "random_walk": _random_walk,
    "seasonal": _seasonal,
}
KINDS = tuple(_PATHS)
"""Kinds of growth that :func:`make_growth_series` knows."""


def make_growth_series(
    kind: str = "exponential",
    n_series: int = 10,
    length: int = 120,
    noise: float = 0.05,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw monthly series of one kind of growth.

    Args:
        kind: One of :data:`KINDS`.
        n_series: Number of series.
        length: Steps of each.
        noise: Standard deviation of independent normal noise on the logarithm; 0.05 is about 5 %.
        seed: Equal arguments give equal series; the path of a series depends on neither ``noise``
            nor ``n_series``.

    Returns:
        The series, and the same table with the noise-free path as ``y``. All values are positive;
        the first path value is drawn log-uniformly between 1 and 10,000 times that of the kind.

    Raises:
        UsageError: An unknown kind, or a number out of range.
    """
    if kind not in _PATHS:
        raise UsageError(
            "CONFIG_VALUE", f"kind={kind!r} is unknown; use one of {', '.join(KINDS)}."
        )
    for name, value, least in (("n_series", n_series, 1), ("length", length, 1), ("seed", seed, 0)):
        check_whole("CONFIG_VALUE", name, value, least)
    if not 0 <= noise < np.inf:
        raise UsageError(
            "CONFIG_VALUE", f"noise={noise} cannot be used; it must be 0 or a positive number."
        )
    time_T = np.arange(length, dtype=np.float64)
    path_NT = np.empty((n_series, length))
    shock_NT = np.empty((n_series, length))
    for i in range(n_series):
        rng = np.random.default_rng([seed, KINDS.index(kind), i])
        path_NT[i] = np.exp(rng.uniform(0.0, np.log(10_000.0))) * _PATHS[kind](rng, time_T)
        shock_NT[i] = rng.normal(0.0, 1.0, length)
    return _tabulate(kind, path_NT * np.exp(noise * shock_NT)), _tabulate(kind, path_NT)


def _tabulate(kind: str, y_NT: Array) -> pd.DataFrame:
    n_series, length = y_NT.shape
    width = len(str(n_series - 1))
    ids = np.array([f"{kind}-{i:0{width}d}" for i in range(n_series)], dtype=object)
    dates_T = pd.date_range("2000-01-01", periods=length, freq="MS")
    return pd.DataFrame(
        {
            "unique_id": np.repeat(ids, length),
            "ds": np.tile(dates_T.to_numpy(), n_series),
            "y": y_NT.ravel(),
        }
    )

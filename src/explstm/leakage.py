"""Leakage audit: everything after a cutoff is altered, and what was made at it must stay.

Contract: :func:`audit_leakage` asks any forecaster for rolling origins again and again, each time
with another future (:mod:`explstm.alterations`), and compares. Where the same data give the same
forecast twice, a forecast that knows its past alone stays the same to the last bit; this is so for
all engines here with one thread and a seed. A framework with several threads may add in another
order: its forecasts differ even without any alteration, the audit says so, and ``tolerance`` lets
differences of that size pass.

What hands out only pasts cannot leak through its forecasts; what happens before them (the split of
a training, growth space, batches) is audited stage by stage in :mod:`explstm.stages`.

Source: Kapoor & Narayanan (2023), Leakage and the reproducibility crisis in machine-learning-based
science, Patterns 4(9), leak type L3.1 (temporal), for what is looked for; the test is ours.

Axes: N series, W windows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explstm.alterations import ALTERATIONS, alter_future
from explstm.config import check_whole, choose
from explstm.errors import UsageError
from explstm.forecaster import ExpLSTM
from explstm.frame import Panel, as_panel, panel_frame
from explstm.panel import show_date
from explstm.parsing import quote
from explstm.prediction import check_horizon
from explstm.windows import CUTOFF, cut_windows, window_frame

CrossValidate = Callable[[Any, int, int, int], Any]
"""``cross_validate(df, h, n_windows, step_size)`` to a table with a column ``cutoff``."""
Seen = Mapping[str, Sequence[NDArray[Any]]]
"""What was made, by the name of the check: an array for every series, or one for all together."""
ALL_SERIES = ""
FORECAST = "forecast"


@dataclass(frozen=True)
class Cutoff:
    """Where a panel with some future is looked at.

    Attributes:
        past: The series up to there, with the future as it is.
        n_windows: How many windows the panel is cut into.
        window: Which of them begins there.
    """

    past: Panel
    n_windows: int
    window: int


Probe = Callable[[Panel, Cutoff], Seen]
"""What is made at a cutoff of a panel."""


@dataclass(frozen=True)
class LeakageReport:
    """What an audit found.

    Attributes:
        table: One row for each check, alteration, series (``""`` where they cannot be told apart)
            and cutoff: ``change``, the largest relative change, infinite where the shape or the
            kind changed, and ``leaks``.
        checks: What was checked, in the order in which data pass through it.
    """

    table: pd.DataFrame
    checks: tuple[str, ...]

    @property
    def leaks(self) -> bool:
        """Whether anything depends on its future."""
        return bool(self.table["leaks"].any())

    @property
    def leaking(self) -> tuple[str, ...]:
        """The checks that found a leak, in order: the first is where it begins."""
        found = set(self.table.loc[self.table["leaks"], "check"])
        return tuple(check for check in self.checks if check in found)

    @property
    def sentence(self) -> str:
        """What was found, in one sentence."""
        cutoffs = self.table[["unique_id", "cutoff"]].drop_duplicates()
        if not self.leaks:
            return (
                f"No leak found: with {self.table['alteration'].nunique()} other futures "
                f"({', '.join(self.table['alteration'].unique())}) at {len(cutoffs)} cutoffs, "
                f"nothing changed in: {', '.join(self.checks)}."
            )
        first, *later = self.leaking
        rows = self.table[self.table["leaks"] & (self.table["check"] == first)]
        worst = rows.loc[rows["change"].idxmax()]
        who = f"series {quote(worst['unique_id'])}" if worst["unique_id"] else "all series together"
        follows = f"; what follows changes too: {', '.join(later)}" if later else ""
        size = f"by {worst['change']:.2g} of itself" if np.isfinite(worst["change"]) else "its form"
        return (
            f"Leak found, it begins in: {first}: {who} at cutoff {worst['cutoff']} changed {size} "
            f"when the future was altered ({worst['alteration']}){follows}."
        )


def audit_leakage(
    data: Any,
    h: int,
    *,
    forecast: CrossValidate | None = None,
    n_windows: int = 3,
    step_size: int = 1,
    seed: int = 1,
    alterations: Sequence[str] = ALTERATIONS,
    tolerance: float = 0.0,
    **columns: Any,
) -> LeakageReport:
    """Ask a forecaster for rolling origins with one future and with others, and compare.

    Args:
        data: Long table, pandas or polars, or a panel.
        h: Steps of a window.
        forecast: The forecaster: called with a table of the kind of ``data``, ``h``,
            ``n_windows`` and ``step_size``, it returns a table with id, date, ``cutoff`` and its
            columns, as ``ExpLSTM(...).cross_validation`` does, the pretrained one by default.
        n_windows: Cutoffs of each series, counted back from its end.
        step_size: Steps from one to the next.
        seed: Of the altered futures.
        alterations: Some of :data:`explstm.alterations.ALTERATIONS`.
        tolerance: Relative change that is let pass; 0 asks for the same bits.
        **columns: How to read a table, see :func:`explstm.frame.build_panel`.

    Raises:
        UsageError: An argument that cannot be used; a forecaster that fails on altered data, whose
            table lacks rows, or that does not repeat itself on the same data.
        DataError: Data that cannot be used.
    """
    panel = as_panel(data, **columns)
    h = check_horizon(h)
    cross_validate = ExpLSTM().cross_validation if forecast is None else forecast

    def probe(panel: Panel, at: Cutoff) -> Seen:
        table = cross_validate(panel_frame(panel), h, at.n_windows, step_size)
        return {FORECAST: _pick_window(table, window_frame(panel, [at.past], h, {}), panel)}

    return run_audit(
        panel, h, probe, n_windows=n_windows, step_size=step_size, seed=seed,
        alterations=alterations, tolerance=tolerance,
    )  # fmt: skip


def run_audit(
    panel: Panel,
    h: int,
    probe: Probe,
    *,
    n_windows: int,
    step_size: int,
    seed: int,
    alterations: Sequence[str],
    tolerance: float,
) -> LeakageReport:
    """Look through a probe at every cutoff, with one future and with others, and compare."""
    check_whole("CONFIG_VALUE", "seed", seed, least=0)
    for name in alterations:
        choose("alterations", name, ALTERATIONS)
    rows: list[dict[str, Any]] = []
    checks: dict[str, None] = {}
    for window, past in enumerate(cut_windows(panel, h, n_windows, step_size)):
        at = Cutoff(past, n_windows, window)
        seen = probe(panel, at)
        checks |= dict.fromkeys(seen)
        _refuse_random(_compare(seen, probe(panel, at), past), tolerance)
        for name in alterations:
            other = alter_future(panel, past.lengths_N, name, h=h, more=step_size, seed=seed)
            later = int(other.lengths_N[0] - past.lengths_N[0]) - h
            at = Cutoff(past, window + 1 + later // step_size, window)
            found = _probe_altered(probe, other, at, name)
            rows += [{"alteration": name, **row} for row in _compare(seen, found, past)]
    names = ["check", "alteration", "unique_id", "cutoff", "change"]
    table = pd.DataFrame(rows, columns=names)
    return LeakageReport(table.assign(leaks=table["change"] > tolerance), tuple(checks))


def largest_change(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest relative change between two arrays; infinite where they cannot be compared."""
    if one.shape != other.shape:
        return np.inf
    if one.dtype.kind not in "fiub":
        return 0.0 if np.array_equal(one, other) else np.inf
    one, other = one.astype(np.float64), other.astype(np.float64)
    differ = (one != other) & ~(np.isnan(one) & np.isnan(other))
    if not differ.any():
        return 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.maximum(np.abs(one[differ]), np.abs(other[differ]))
        change = np.abs(one[differ] / size - other[differ] / size)
    return float(np.where(np.isnan(change), np.inf, change).max())


def _probe_altered(probe: Probe, panel: Panel, at: Cutoff, name: str) -> Seen:
    try:
        return probe(panel, at)
    except Exception as error:  # whatever a forecaster raises
        raise UsageError(
            "AUDIT_FAILED",
            f"what is audited failed where the future was altered ({name}: {error}); let it look "
            f"at the past alone, or leave {name!r} out of alterations.",
        ) from error


def _compare(one: Seen, other: Seen, past: Panel) -> list[dict[str, Any]]:
    """A row for every series of every check that both hold."""
    last = past.ds_S[past.starts_N1[1:] - 1]
    rows = []
    for check in [check for check in one if check in other]:
        single = len(one[check]) != past.n_series
        for place, arrays in enumerate(zip(one[check], other[check], strict=True)):
            rows.append(
                {
                    "check": check,
                    "unique_id": ALL_SERIES if single else str(past.ids_N[place]),
                    "cutoff": show_date(last.max() if single else last[place]),
                    "change": largest_change(*arrays),
                }
            )
    return rows


def _refuse_random(rows: list[dict[str, Any]], tolerance: float) -> None:
    """Tell what is random from what leaks."""
    worst = max(rows, key=lambda row: row["change"])
    if worst["change"] > tolerance:
        raise UsageError(
            "AUDIT_NOT_REPEATABLE",
            f"{worst['check']} differs by {worst['change']:.2g} of itself from one run to the next "
            "on the same data, so that nothing can be told; set its seed, run with one thread "
            "(OMP_NUM_THREADS=1), or pass a larger tolerance.",
        )


def _pick_window(table: Any, expected: Any, panel: Panel) -> list[NDArray[Any]]:
    """The forecasts of one window, an array (H, columns) for every series."""
    layout = panel.layout
    keys = [layout.id_col, layout.time_col, CUTOFF]
    found, wanted = _to_pandas(table), _to_pandas(expected)[keys]
    for key in keys:
        if key not in found:
            raise UsageError(
                "AUDIT_TABLE",
                f"the table of forecasts has no column {key!r}, found {', '.join(found)}; return "
                "id, date, cutoff and the forecasts.",
            )
    names = [name for name in found if name not in (*keys, layout.target_col)]
    joined = wanted.merge(found.drop_duplicates(keys), on=keys, how="left", indicator=True)
    missing = joined["_merge"] == "left_only"
    if missing.any():
        row = joined[missing].iloc[0]
        raise UsageError(
            "AUDIT_TABLE",
            f"the table of forecasts has no row for series {quote(str(row[keys[0]]))}, date "
            f"{row[keys[1]]} and cutoff {row[keys[2]]}; return every step of every window.",
        )
    values_SC = joined[names].to_numpy(dtype=np.float64)
    return np.split(values_SC, panel.n_series)


def _to_pandas(table: Any) -> pd.DataFrame:
    """A table of any kind by the plain values of its columns."""
    native = nw.from_native(table, eager_only=True)
    if native.implementation.is_pandas():
        return pd.DataFrame(table)
    return pd.DataFrame({name: native[name].to_list() for name in native.columns})

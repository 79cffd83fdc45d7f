"""The classic competitions, forecast by the pretrained model beside the forecasts to beat.

Contract: every group of series of one frequency is forecast once from the end of its training part,
by every model on the same series, and scored as :mod:`explstm.metrics` says; MASE and sMAPE are
those of the competitions, means over series. MASE counts errors in units of the mean change over a
season, over the shortest where there are several (M4 hourly: 24 of 24 and 168); M4 weekly is told
its season of 52 but scaled by the change of a step. Both are M4's own rules. ``held_out`` scores
the ends of the training parts instead: choices are made there, and the test parts are for
reporting.

The scaled quantile loss of a series is its quantile loss in units of the same change, as MASE is of
the absolute error. The AutoETS, AutoTheta and their median of
statsforecast take part when asked.

Axes: N series, H horizon.
"""

import copy
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from explstm.baselines import naive_forecasts
from explstm.classical import forecast_classical
from explstm.coverage import Coverage, count_covered, pool_groups
from explstm.datasets.competitions import SHORTEST_HELD_OUT, Group, load_groups
from explstm.ends import name_ends
from explstm.errors import DataError
from explstm.forecaster import ExpLSTM
from explstm.frame import Panel, build_panel, future_ds, panel_frame
from explstm.metrics import evaluate_forecast
from explstm.panel import count_more, show_date
from explstm.parsing import quote

LEVELS = (50, 80, 95)
NAIVE = ("Naive", "SeasonalNaive", "Drift")
CLASSICAL = ("AutoETS", "AutoTheta")
BOTH = "Median of both"
SCALED_LOSS = "scaled quantile loss"


@dataclass(frozen=True)
class Score:
    """How good one model was on one group.

    Attributes:
        competition: Such as ``"M3"``.
        group: Such as ``"yearly"``.
        model: Name of the model.
        series: How many series were forecast.
        forecasts: How many values were.
        metrics: Mean over series of every metric that is defined, by name.
        seconds: Wall time of all forecasts of the group.
        coverage: What its intervals held, by step and level; empty without intervals.
    """

    competition: str
    group: str
    model: str
    series: int
    forecasts: int
    metrics: dict[str, float]
    seconds: float
    coverage: tuple[Coverage, ...] = ()


@dataclass(frozen=True)
class Report:
    """What a benchmark found, as tables.

    Attributes:
        scores: One row per group and model, the metrics as columns.
        coverage: What :func:`to_coverage_table` makes.
    """

    scores: pd.DataFrame
    coverage: pd.DataFrame


def run_benchmark(
    competition: str,
    model: ExpLSTM | None = None,
    *,
    groups: Sequence[Group] | None = None,
    classical: bool = False,
    held_out: bool = False,
) -> list[Score]:
    """Forecast and score a competition.

    Args:
        competition: One of :data:`explstm.datasets.competitions.COMPETITIONS`, or any name for
            groups of one's own.
        model: The model; by default the pretrained one.
        groups: Groups of one's own.
        classical: Whether AutoETS, AutoTheta and their median take part.
        held_out: Score the ends of the training parts instead of the test parts.

    Raises:
        UsageError: An unknown competition.
        BackendNotInstalledError: The data, or the classical models, are not installed.
        DataError: The data cannot be downloaded.
    """
    model = model or ExpLSTM()
    scores: list[Score] = []
    for group in load_groups(competition) if groups is None else groups:
        part = group.held_out(SHORTEST_HELD_OUT) if held_out else group
        scores += score_group(competition, part, model, classical)
    return scores


def make_group(name: str, past: Panel, future: Panel, season_length: Sequence[int]) -> Group:
    """A group of one's own, from the panels of its training part and its test part.

    Raises:
        DataError: The series of the parts differ, the test series differ in length, or their dates
            are not those that follow.
    """
    horizon = int(future.lengths_N[0])
    if not np.array_equal(past.ids_N, future.ids_N) or (future.lengths_N != horizon).any():
        raise DataError(
            "BENCHMARK_PARTS",
            f"the test part must hold the {past.n_series} series of the training part, each with "
            f"as many steps, found {future.n_series} series of {future.lengths_N.min()} to "
            f"{future.lengths_N.max()} steps; give both parts of the same series.",
        )
    expected_NH = future_ds(past, horizon)
    wrong_NH = future.ds_S.reshape(expected_NH.shape) != expected_NH
    if wrong_NH.any():
        row, step = np.argwhere(wrong_NH)[0]
        raise DataError(
            "BENCHMARK_PARTS",
            f"series {quote(past.ids_N[row])} has {show_date(future.ds_S[row * horizon + step])} "
            f"as step {step + 1} of the test part, where {show_date(expected_NH[row, step])} "
            f"follows the training part{count_more(wrong_NH.any(axis=1))}; give the steps that "
            "follow.",
        )
    first, *longer = sorted(season_length)
    tables = panel_frame(past), panel_frame(future)
    return Group(name, first, horizon, *tables, tuple(longer))


def score_group(competition: str, group: Group, model: ExpLSTM, classical: bool) -> list[Score]:
    """Forecast one group with every model, and score the forecasts."""
    panel = build_panel(group.train)
    tables, seconds = {}, {}
    seasons = [group.season_length, *group.longer_seasons]
    ours = copy.copy(model).set_params(season_length=seasons)
    started = time.perf_counter()
    table = ours.predict(panel, h=group.horizon, level=LEVELS)
    tables[model.alias], seconds[model.alias] = table, time.perf_counter() - started
    started = time.perf_counter()
    naive = naive_forecasts(panel, group.horizon, group.season_length)
    seconds |= dict.fromkeys(NAIVE, time.perf_counter() - started)  # all of them together
    for name in NAIVE:
        tables[name] = table.iloc[:, :2].assign(**{name: naive[name].ravel()})
    if classical:
        tables, seconds = _add_classical(panel, group, tables, seconds)
    return [
        score_forecast(competition, group, name, tables[name], seconds[name], len(panel.ids_N))
        for name in tables
    ]


def score_forecast(
    competition: str, group: Group, name: str, table: pd.DataFrame, seconds: float, n_series: int
) -> Score:
    """Score a table of forecasts of one group, with intervals of all ``LEVELS`` or with none."""
    judged = table.merge(group.test, on=["unique_id", "ds"], validate="one_to_one")
    level = LEVELS if name_ends(name, LEVELS[0])[0] in table else ()
    series, overall = evaluate_forecast(
        judged, [name], train=group.train, season_length=group.mase_lag, level=level
    )
    metrics = dict(zip(overall["metric"], overall["value"].tolist(), strict=True))
    if level:
        wide = series.pivot(index="unique_id", columns="metric", values="value")
        scale = (wide["MAE"] / wide["MASE"]).replace(0.0, np.nan)
        metrics[SCALED_LOSS] = float((wide["quantile_loss"] / scale).mean())
    return Score(
        competition, group.name, name, n_series, len(judged),
        {key: value for key, value in metrics.items() if np.isfinite(value)}, seconds,
        tuple(count_covered(judged, name, level)),
    )  # fmt: skip


def _add_classical(
    panel: Panel, group: Group, tables: dict[str, Any], seconds: dict[str, float]
) -> tuple[dict[str, Any], dict[str, float]]:
    """The automatic models of statsforecast, each timed alone, and the median of both."""
    tables, seconds = dict(tables), dict(seconds)
    for name in CLASSICAL:
        started = time.perf_counter()
        tables[name] = forecast_classical(name, panel, group.horizon, group.season_length, LEVELS)
        seconds[name] = time.perf_counter() - started
    both = np.median([tables[name][name] for name in CLASSICAL], axis=0)
    tables[BOTH] = tables[CLASSICAL[0]].iloc[:, :2].assign(**{BOTH: both})
    seconds[BOTH] = sum(seconds[name] for name in CLASSICAL)
    return tables, seconds


def make_report(scores: Sequence[Score]) -> Report:
    """Tabulate what :func:`run_benchmark` returned."""
    return Report(to_table(scores), to_coverage_table(scores))


def to_table(scores: Sequence[Score]) -> pd.DataFrame:
    """One row per group and model, the metrics as columns."""
    return pd.DataFrame(
        [
            {
                "competition": score.competition,
                "group": score.group,
                "model": score.model,
                "series": score.series,
                "forecasts": score.forecasts,
                "seconds": score.seconds,
                **score.metrics,
            }
            for score in scores
        ]
    )


def to_coverage_table(scores: Sequence[Score]) -> pd.DataFrame:
    """One row per group, model, step and level; all groups together behind them.

    Columns: competition, group, model, step, level, covered and values (counts), coverage (their
    ratio; NaN where nothing was judged).
    """
    rows = [
        {"competition": score.competition, "group": score.group, "model": score.model} | asdict(one)
        for score in scores
        for one in score.coverage
    ]
    return pool_groups(pd.DataFrame(rows))

"""Every method on the same windows: the LSTM in its forms, and the forecasts it has to beat.

Contract: a window is forecast by every method from the same past, and nothing after a cutoff
reaches any of them: the LSTM is trained on what comes before the first window, or with ``refit``
before each; the classical models are fitted anew before each. Each training has a process of its
own.

| method | what it is |
|---|---|
| Pretrained | the model of the package, as it is |
| FineTuned/torch, FineTuned/tensorflow | the same, fine-tuned on these series |
| Scratch/torch, Scratch/tensorflow | a network trained on these series alone |
| Naive, SeasonalNaive, Drift, LogDrift | :mod:`explstm.baselines` |
| AutoETS, AutoTheta, AutoARIMA | :mod:`explstm.classical` |
| MedianOfClassical | the median of these three, where all take part |

Axes: N series, W windows, H horizon.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from explstm.apart import run_apart
from explstm.baselines import NAIVE, naive_forecasts
from explstm.classical import AUTO, forecast_classical
from explstm.config import choose
from explstm.conformal import INTERVALS, ConformalForecaster
from explstm.errors import UsageError
from explstm.forecaster import TRAINING_FIELDS, ExpLSTM
from explstm.frame import Panel, forecast_frame, keep_steps, panel_frame
from explstm.holdout import validation_size
from explstm.metrics import evaluate_forecast
from explstm.models.engine import FRAMEWORK_MODULES
from explstm.ragged import FloatArray, mean_change
from explstm.tables import Layout
from explstm.verdict import Judgement, judge_all
from explstm.windows import CUTOFF, cut_windows, forecast_windows, window_frame

PRETRAINED = "Pretrained"
TRAINED = {
    "FineTuned/torch": ("torch", "pretrained"),
    "FineTuned/tensorflow": ("tensorflow", "pretrained"),
    "Scratch/torch": ("torch", "random"),
    "Scratch/tensorflow": ("tensorflow", "random"),
}
MEDIAN = "MedianOfClassical"
CHOOSABLE = (PRETRAINED, *TRAINED, *AUTO)
"""Methods that are asked for; the naive forecasts always take part."""
LSTM_METHODS = (PRETRAINED, *TRAINED)
LEVELS = (80, 95)
OF_WHOLE_WINDOWS = ("R2", "RMSLE", "growth_error")
"""Metrics that a single step ahead has not."""


@dataclass(frozen=True)
class Task:
    """What to forecast, and how.

    Attributes:
        panel: The series, of a pandas table with the columns unique_id, ds and y.
        h: Steps of a window.
        n_windows: How many windows.
        step_size: Steps from one window to the next.
        season_length: Seasons in steps; the first is that of the seasonal naive forecast, the
            classical models and MASE.
        level: Intervals, in per cent.
        refit: Whether the LSTM is trained before every window.
        seed: Of its training.
        intervals: ``"model"`` for those of the LSTM itself, ``"conformal"`` for such as its errors
            before each cutoff ask for (:mod:`explstm.conformal`).
        settings: Keyword arguments of :class:`explstm.ExpLSTM`, without backend, init and seed.
            Those of a training do not concern the pretrained model.
    """

    panel: Panel
    h: int
    n_windows: int
    step_size: int
    season_length: tuple[int, ...]
    level: tuple[float, ...] = LEVELS
    refit: bool = False
    seed: int = 1
    intervals: str = "model"
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Backtest:
    """What every method forecast, and how good it was.

    Attributes:
        forecasts: unique_id, ds, cutoff, y, and the columns of every method with its intervals.
        methods: Their names.
        by_series: unique_id, cutoff, model, metric, value, reason.
        scores: model, metric, value, n_series, n_undefined, reason; means over series and cutoffs.
        by_horizon: model, step, metric, value; means over series and cutoffs.
        scales: unique_id, cutoff, scale: the mean change over a season before the cutoff, the unit
            of MASE; missing where it is 0 or unknown.
        judgement: Whether each method beats the naive forecasts, and which to use; None where there
            is nothing beside these.
        seconds: model, seconds.
    """

    forecasts: pd.DataFrame
    methods: tuple[str, ...]
    by_series: pd.DataFrame
    scores: pd.DataFrame
    by_horizon: pd.DataFrame
    scales: pd.DataFrame
    judgement: Judgement | None
    seconds: pd.DataFrame


def installed_methods() -> tuple[str, ...]:
    """The methods whose packages are installed, of those that can be asked for."""
    lacking = {
        engine
        for engine, modules in FRAMEWORK_MODULES.items()
        if any(find_spec(module) is None for module in modules)
    }
    trained = [name for name, (engine, _) in TRAINED.items() if engine not in lacking]
    classical = AUTO if find_spec("statsforecast") else ()
    return (PRETRAINED, *trained, *classical)


def check_methods(methods: Sequence[str]) -> tuple[str, ...]:
    """Methods by their names in any case, each once, in the order of the table above.

    Raises:
        UsageError: An unknown name.
    """
    known = {name.lower(): name for name in CHOOSABLE}
    for name in methods:
        choose("method", name.lower(), list(known))
    asked = {known[name.lower()] for name in methods}
    return tuple(name for name in CHOOSABLE if name in asked)


def run_backtest(
    task: Task, methods: Sequence[str], on_method: Callable[[str], None] | None = None
) -> Backtest:
    """Forecast all windows with the naive forecasts and with the methods asked for, and score them.

    Args:
        task: What to forecast.
        methods: Of :data:`CHOOSABLE`.
        on_method: Called with the name of a method when it is done.

    Raises:
        UsageError: An argument that cannot be used.
        BackendNotInstalledError: A method needs a package that is not installed.
        DataError: A series has no step before its first window.
        TrainingError: A training diverged, or its process was killed.
    """
    _check(task)
    pasts = cut_windows(task.panel, task.h, task.n_windows, task.step_size)
    columns: dict[str, FloatArray] = {}
    seconds: dict[str, float] = {}
    methods = check_methods(methods)
    for name in (*methods, "naive"):
        started = time.perf_counter()
        columns |= _forecast(task, name, pasts)
        seconds[name] = time.perf_counter() - started
        if on_method is not None:
            on_method(name)
    if set(AUTO) <= set(methods):
        columns[MEDIAN] = np.median([columns[name] for name in AUTO], axis=0)
        seconds[MEDIAN] = sum(seconds[name] for name in AUTO)
    everything = tuple(name for name in (*CHOOSABLE, MEDIAN, *NAIVE) if name in columns)
    forecasts = window_frame(task.panel, pasts, task.h, columns)
    scales = measure_scales(pasts, task.season_length[0])
    by_series, scores = evaluate_forecast(
        forecasts,
        everything,
        train=panel_frame(task.panel),
        season_length=task.season_length[0],
        level=task.level,
    )
    tried = [name for name in everything if name not in NAIVE]
    judgement = None
    if tried:
        judgement = judge_all(forecasts, scales, h=task.h, step_size=task.step_size, methods=tried)
    return Backtest(
        forecasts=forecasts,
        methods=everything,
        by_series=by_series,
        scores=scores,
        by_horizon=score_by_horizon(forecasts, everything, scales, task.level),
        scales=scales,
        judgement=judgement,
        seconds=pd.DataFrame(seconds.items(), columns=["model", "seconds"]),
    )


def _check(task: Task) -> None:
    """Refuse what a backtest cannot read, before anything is forecast."""
    choose("intervals", task.intervals, INTERVALS)
    if not isinstance(task.panel, Panel) or not _is_plain(task.panel.layout):
        raise UsageError(
            "BACKTEST_PANEL",
            f"panel is a {type(task.panel).__name__} that is no panel of a pandas table with the "
            "columns unique_id, ds and y; pass explstm.frame.build_panel(df) of such a table.",
        )
    seasons = task.season_length
    if not isinstance(seasons, tuple) or not seasons:
        raise UsageError(
            "BACKTEST_SEASON",
            f"season_length={seasons!r} is no tuple of seasons; pass for example (12,), or (1,).",
        )


def _is_plain(layout: Layout) -> bool:
    names = (layout.id_col, layout.time_col, layout.target_col)
    return layout.kind == "pandas" and names == ("unique_id", "ds", "y")


def _forecast(task: Task, name: str, pasts: Sequence[Panel]) -> dict[str, FloatArray]:
    """Arrays (N, W, H) by column of one method, or of all naive forecasts."""
    season = task.season_length[0]
    if name == "naive":
        return forecast_windows(pasts, task.h, lambda past: _forecast_naive(past, task.h, season))
    if name in AUTO:
        return forecast_windows(
            pasts,
            task.h,
            lambda past: forecast_classical(name, past, task.h, season, task.level),
        )
    if name == PRETRAINED:
        return _cross_validate((task, name))
    doing = f"forecast {name}"
    return next(run_apart(_cross_validate, [(task, name)], doing))


def _forecast_naive(past: Panel, h: int, season_length: int) -> Any:
    return forecast_frame(past, h, naive_forecasts(past, h, season_length))


def _cross_validate(work: tuple[Task, str]) -> dict[str, FloatArray]:
    """The columns of one LSTM."""
    task, name = work
    backend, init = TRAINED.get(name, ("numpy", "pretrained"))
    model = ExpLSTM(
        backend=backend, init=init, random_seed=task.seed, alias=name, **_settings_of(task, name)
    )
    knows_quantiles = model.loss == "pinball"
    forecaster = model if task.intervals == "model" else ConformalForecaster(model)
    table = forecaster.cross_validation(
        task.panel,
        task.h,
        task.n_windows,
        task.step_size,
        task.refit,
        list(task.level) if knows_quantiles else None,
    )
    shape = (task.panel.n_series, task.n_windows, task.h)
    return {column: table[column].to_numpy().reshape(shape) for column in table.columns[4:]}


def _settings_of(task: Task, name: str) -> dict[str, Any]:
    """Those of the settings that concern a method, and what it has to know about the data."""
    scratch = name in TRAINED and TRAINED[name][1] == "random"
    strange = set() if scratch else {"spec"}
    if name == PRETRAINED:
        strange |= TRAINING_FIELDS
    held_out = {}
    if scratch:
        shortest = int(task.panel.lengths_N.min()) - (task.n_windows - 1) * task.step_size - task.h
        held_out = {"val_size": validation_size(shortest, task.h)}
    asked = {key: value for key, value in task.settings.items() if key not in strange}
    return {"season_length": list(task.season_length), **held_out, **asked}


# ------------------------------------------------------------------------------------------- scores


def measure_scales(pasts: Sequence[Panel], season_length: int) -> pd.DataFrame:
    """The mean change over a season of every past, which is the unit of MASE.

    Returns:
        unique_id, cutoff, scale, one row per window of a series; missing where it is 0, or the
        past no longer than a season.
    """
    tables = []
    for past in pasts:
        scale_N = mean_change(past.y_S, past.starts_N1, season_length)
        last = keep_steps(past, past.lengths_N - 1, past.lengths_N)
        table = panel_frame(last, {"scale": np.where(scale_N > 0, scale_N, np.nan)})
        tables.append(table.rename(columns={"ds": CUTOFF})[["unique_id", CUTOFF, "scale"]])
    return pd.concat(tables, ignore_index=True)


def score_by_horizon(
    forecasts: pd.DataFrame,
    methods: Sequence[str],
    scales: pd.DataFrame,
    level: Sequence[float] = (),
) -> pd.DataFrame:
    """Score every step ahead over all series and cutoffs.

    Returns:
        model, step, metric, value, without what is undefined.
    """
    step_S = forecasts.groupby(["unique_id", CUTOFF], sort=False).cumcount() + 1
    table = forecasts.drop(columns=["ds", CUTOFF]).assign(unique_id=step_S)
    scores, _ = evaluate_forecast(table, methods, level=level)
    scale_S = forecasts[["unique_id", CUTOFF]].merge(scales, how="left")["scale"].to_numpy()
    scaled = table[["unique_id", "y", *methods]].copy()
    scaled.iloc[:, 1:] = scaled.iloc[:, 1:].div(scale_S, axis=0)
    scaled = scaled[np.isfinite(scale_S)]
    if len(scaled):
        in_scale, _ = evaluate_forecast(scaled, methods)
        mase = in_scale[in_scale["metric"] == "MAE"].assign(metric="MASE")
        scores = pd.concat([scores, mase], ignore_index=True)
    scores = scores.rename(columns={"unique_id": "step"}).dropna(subset="value")
    kept = ~scores["metric"].isin(OF_WHOLE_WINDOWS)
    return scores.loc[kept, ["model", "step", "metric", "value"]].reset_index(drop=True)

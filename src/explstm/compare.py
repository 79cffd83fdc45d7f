"""Both frameworks on the same task: same initial weights, same batches, same held-out steps.

Contract: the last ``horizon`` steps of every series are held out; what each framework learns, and
what the baselines continue, are the steps before. Facts only: nothing is drawn or written here.

Axis letters: N series, H horizon; R, Q as in :mod:`explstm.trial`.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from explstm.baselines import naive_forecasts
from explstm.config import BackendName
from explstm.forecaster import ExpLSTM
from explstm.frame import Panel, drop_last, keep_steps, panel_frame
from explstm.metrics import evaluate_forecast
from explstm.trial import LEVEL, Trial, TrialResult, require_engine, run_trials

ENGINES: tuple[BackendName, ...] = ("torch", "tensorflow")
PRETRAINED_NAME = "Pretrained"
ABOUT_DATA = ("freq", "season_length", "growth")
"""Settings that say how to look at the data, rather than how to train."""
JUDGE = "MASE"
UNDERSTUDY = "MAE"
"""Where MASE is undefined, because the history of a series repeats itself."""


@dataclass(frozen=True)
class Comparison:
    """The facts that the tables and figures of a comparison show.

    Attributes:
        accuracy: model, metric, mean over the series (and seeds), spread (standard deviation over
            the seeds; missing where a model has none), n_seeds.
        cost: engine, seconds_first_step, seconds_per_step, seconds_per_epoch,
            seconds_per_training, peak_memory_mib.
        agreement: quantity, largest_difference of the frameworks over all seeds, relative.
        forecasts: unique_id, ds, y, the pretrained model, the baselines, the median over the seeds
            of each engine with its interval, and every seed of every engine, over the held-out
            steps.
        history: unique_id, ds, y before them.
        training: engine, seed, and the training log.
        verdict: One sentence.
    """

    accuracy: pd.DataFrame
    cost: pd.DataFrame
    agreement: pd.DataFrame
    forecasts: pd.DataFrame
    history: pd.DataFrame
    training: pd.DataFrame
    verdict: str


def compare_engines(
    panel: Panel,
    horizon: int,
    *,
    seeds: Sequence[int],
    season_length: int,
    settings: Mapping[str, Any],
    engines: Sequence[BackendName] = ENGINES,
    on_trial: Callable[[Trial], None] | None = None,
) -> Comparison:
    """Train every engine with every seed, from scratch, and judge the forecasts.

    Beside them stand the baselines and the pretrained model, which is not trained on these series.

    Args:
        panel: The series, of a pandas table, with the steps that will be held out.
        horizon: Steps at the end of each series to hold out and forecast.
        seeds: Seeds of weights and batches, the same for every engine.
        season_length: Season of the seasonal naive forecast and of MASE.
        settings: Keyword arguments of :class:`explstm.ExpLSTM`, without backend and seed.
        engines: The frameworks to compare.
        on_trial: Called when a trial has ended.

    Raises:
        BackendNotInstalledError: A framework is not installed; raised before anything is trained.
        DataError: A series is too short to hold out ``horizon`` steps.
    """
    for engine in engines:
        require_engine(engine)
    settings = {"init": "random", **settings}
    past = drop_last(panel, horizon)
    history = panel_frame(past)
    trials = [
        Trial(engine, seed, history, horizon, settings) for engine in engines for seed in seeds
    ]
    baselines = {
        PRETRAINED_NAME: forecast_pretrained(past, horizon, settings),
        **naive_forecasts(past, horizon, season_length),
    }
    results = list(run_trials(trials, on_trial))
    forecasts = panel_frame(
        keep_steps(panel, panel.lengths_N - horizon, panel.lengths_N),
        {name: forecast_NH.ravel() for name, forecast_NH in baselines.items()}
        | _name_columns(results),
    )
    accuracy = measure_accuracy(forecasts, list(baselines), results, history, season_length)
    return Comparison(
        accuracy=accuracy,
        cost=measure_cost(results),
        agreement=measure_agreement(results),
        forecasts=forecasts,
        history=history,
        training=collect_training(results),
        verdict=state_verdict(accuracy, engines, horizon),
    )


def forecast_pretrained(past: Panel, horizon: int, settings: Mapping[str, Any]) -> np.ndarray:
    """What the pretrained model says without training (N, H)."""
    about_data = {name: settings[name] for name in ABOUT_DATA if name in settings}
    forecast = ExpLSTM(**about_data).predict(past, h=horizon)
    return np.asarray(forecast["ExpLSTM"].to_numpy().reshape(-1, horizon))


def name_trial(engine: str, seed: int) -> str:
    """The column of one trial's forecast."""
    return f"{engine}/{seed}"


def _name_columns(results: Sequence[TrialResult]) -> dict[str, np.ndarray]:
    """Every forecast under the name of its trial, and the median over the seeds of each engine."""
    columns = {}
    for engine in dict.fromkeys(result.engine for result in results):
        mine = [result for result in results if result.engine == engine]
        for part in mine[0].forecast.columns:
            suffix = part.removeprefix("ExpLSTM")
            values = [result.forecast[part].to_numpy() for result in mine]
            columns[engine + suffix] = np.median(values, axis=0)
            for result, value in zip(mine, values, strict=True):
                columns[name_trial(engine, result.seed) + suffix] = value
    return columns


def measure_accuracy(
    forecasts: pd.DataFrame,
    baselines: Sequence[str],
    results: Sequence[TrialResult],
    history: pd.DataFrame,
    season_length: int,
) -> pd.DataFrame:
    """Score every trial and every baseline; mean and spread over the seeds of an engine."""
    source = {name_trial(result.engine, result.seed): result.engine for result in results}
    score = {"train": history, "season_length": season_length}
    _, of_trials = evaluate_forecast(forecasts, list(source), level=[LEVEL], **score)
    _, of_baselines = evaluate_forecast(forecasts, list(baselines), **score)
    scores = pd.concat([of_trials.assign(model=of_trials["model"].map(source)), of_baselines])
    groups = scores.groupby(["model", "metric"], sort=False)["value"]
    table = groups.agg(mean="mean", spread="std", n_seeds="size").reset_index()
    table.loc[table["model"].isin(baselines), "n_seeds"] = 0
    return table


def measure_cost(results: Sequence[TrialResult]) -> pd.DataFrame:
    """Seconds and memory of each engine; the median over the seeds, the peak over all of them."""
    rows = []
    for engine in dict.fromkeys(result.engine for result in results):
        mine = [result for result in results if result.engine == engine]
        seconds = [result.log.loc[result.log["step"] > 0, "seconds"].to_numpy() for result in mine]
        step = float(np.median(np.concatenate([np.diff(run) for run in seconds])))
        rows.append(
            {
                "engine": engine,
                "seconds_first_step": statistics.median(float(run[0]) for run in seconds),
                "seconds_per_step": step,
                "seconds_per_epoch": step * mine[0].steps_per_epoch,
                "seconds_per_training": statistics.median(float(run[-1]) for run in seconds),
                "steps": int(statistics.median(len(run) for run in seconds)),
                "peak_memory_mib": max(result.peak_memory_mib for result in mine),
            }
        )
    return pd.DataFrame(rows)


def measure_agreement(results: Sequence[TrialResult]) -> pd.DataFrame:
    """How far the engines are apart at the same seed, at worst, relative to the largest value.

    Outputs and gradients are those of the untrained network on the first batch, where the engines
    have to agree to rounding. Trained forecasts drift apart step by step.
    """
    by_seed: dict[int, list[TrialResult]] = {}
    for result in results:
        by_seed.setdefault(result.seed, []).append(result)
    pairs = [pair for group in by_seed.values() for pair in combinations(group, 2)]
    quantities: dict[str, Callable[[TrialResult], np.ndarray]] = {
        "outputs before training": lambda result: result.first_outputs_RHQ,
        "gradients before training": lambda result: _flatten(result.first_gradients),
        "forecasts after training": lambda result: result.forecast["ExpLSTM"].to_numpy(),
    }
    return pd.DataFrame(
        [
            (name, max(_relative_difference(read(a), read(b)) for a, b in pairs))
            for name, read in quantities.items()
            if pairs
        ],
        columns=["quantity", "largest_difference"],
    )


def collect_training(results: Sequence[TrialResult]) -> pd.DataFrame:
    """The training logs, below each other."""
    logs = [result.log.assign(engine=result.engine, seed=result.seed) for result in results]
    table = pd.concat(logs, ignore_index=True)
    return table[["engine", "seed", *results[0].log.columns]]


def collect_residuals(forecasts: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """Actual minus forecast of every held-out step: model, unique_id, ds, horizon, residual."""
    horizon = forecasts.groupby("unique_id", sort=False).cumcount() + 1
    parts = [
        forecasts[["unique_id", "ds"]].assign(
            model=model, horizon=horizon, residual=forecasts["y"] - forecasts[model]
        )
        for model in models
    ]
    table = pd.concat(parts, ignore_index=True)
    return table[["model", "unique_id", "ds", "horizon", "residual"]]


def average_by_horizon(residuals: pd.DataFrame) -> pd.DataFrame:
    """Mean absolute error at every step ahead: model, horizon, mae."""
    sizes = residuals.assign(mae=residuals["residual"].abs())
    return sizes.groupby(["model", "horizon"], sort=False)["mae"].mean().reset_index()


def state_verdict(accuracy: pd.DataFrame, engines: Sequence[str], horizon: int) -> str:
    """Say in one sentence which other forecasts the LSTM of each engine beats."""
    means = accuracy.pivot(index="model", columns="metric", values="mean")
    judge = JUDGE if means[JUDGE].notna().all() else UNDERSTUDY
    score = means[judge]
    baselines = [model for model in accuracy["model"].unique() if model not in engines]
    clauses: dict[str, list[str]] = {}
    for engine in engines:
        outcome = _compare_scores(score[engine], score[baselines])
        clauses.setdefault(outcome, []).append(f"{engine} ({score[engine]:.3g})")
    spoken = "; ".join(
        f"the LSTM in {_enumerate(names)} {outcome}" for outcome, names in clauses.items()
    )
    return f"By mean {judge} over the {horizon} held-out steps, {spoken}."


def _compare_scores(own: float, others: pd.Series) -> str:
    beaten = [f"{name} ({value:.3g})" for name, value in others.items() if own < value]
    ahead = [f"{name} ({value:.3g})" for name, value in others.items() if not own < value]
    if not ahead:
        return f"beat every other forecast: {_enumerate(beaten)}"
    if not beaten:
        return f"lost to every other forecast: {_enumerate(ahead)}"
    return f"beat {_enumerate(beaten)} but lost to {_enumerate(ahead)}"


def _enumerate(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _flatten(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([arrays[name].ravel() for name in sorted(arrays)])


def _relative_difference(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one.astype(np.float64), other.astype(np.float64)
    return float(np.max(np.abs(one - other)) / max(np.max(np.abs(one)), np.finfo(float).tiny))

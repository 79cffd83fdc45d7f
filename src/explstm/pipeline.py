"""The whole path: read -> panel -> model -> forecast -> metrics -> run folder.

One function per command. Each opens its run folder before it works, so that a place that cannot be
written is told at once, and the folder appears when everything in it is complete.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from explstm.baselines import naive_forecasts
from explstm.checkpoint import delete_checkpoints
from explstm.config import choose
from explstm.conformal import INTERVALS, ConformalForecaster
from explstm.divergence import DIVERGED
from explstm.errors import TrainingError, UsageError
from explstm.forecaster import TRAINING_FIELDS, ExpLSTM
from explstm.frame import Panel, drop_last, keep_steps, panel_frame
from explstm.metrics import evaluate_forecast
from explstm.options import DataOptions
from explstm.runfolder import RECORD, RunFolder, describe_run, find_run, holds_record, open_run
from explstm.windows import earliest_end, is_seen

if TYPE_CHECKING:
    pass

MODEL = "model"
OnStep = Callable[[Any], None]
DRAWN_HORIZONS = 3
"""How much history a forecast is drawn with, in horizons."""


@dataclass(frozen=True)
class Outcome:
    """What a command shows.

    Attributes:
        forecast: The forecast, if one was made.
        metrics: model, metric, value, where held-out steps were forecast.
        findings: In words, what was repaired in the data or noticed about them.
    """

    forecast: pd.DataFrame | None
    metrics: pd.DataFrame | None
    findings: tuple[str, ...]


def forecast_file(
    file: Path,
    horizon: int,
    out: Path,
    data: DataOptions,
    *,
    saved: Path | None = None,
    backend: str | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 1,
    level: Sequence[float] = (),
    intervals: str = "model",
    evaluate: bool = False,
    plot: bool = False,
    force: bool = False,
    on_step: OnStep | None = None,
) -> Outcome:
    """Forecast a file with the pretrained model, a saved one, or one trained on it first.

    Args:
        file: CSV or Parquet.
        horizon: Steps to forecast.
        out: The run folder to make.
        data: How to read the file.
        saved: A saved model, or a run folder that holds one.
        backend: The engine; numpy unless given. Without a saved model, the others train first.
        settings: Keyword arguments of :class:`explstm.ExpLSTM`; none with a saved model.
        seed: Seed of the training.
        level: Intervals, in per cent.
        intervals: ``"model"`` for the model's own, ``"conformal"`` for such as its errors at
            earlier cutoffs ask for (:mod:`explstm.conformal`).
        evaluate: Hold out the last ``horizon`` steps, forecast these, and score the forecast.
        plot: Draw the forecast.
        force: Replace an older run folder.
        on_step: Called with every row of the training log.
    """
    arguments = dict(locals())
    if saved is not None and settings:
        raise UsageError(
            "CONFIG_CONFLICT",
            f"--set would not change the saved model {saved}; leave it away, or fit a model with "
            "it.",
        )
    choose("intervals", intervals, INTERVALS)
    plots = import_module("explstm.plots") if plot else None
    with open_run(out, force=force) as run:
        panel = data.read(file)
        past = drop_last(panel, horizon) if evaluate else panel
        if saved is None:
            trains = backend not in (None, "numpy")
            if not trains:
                refuse_training(settings or {})
            model = new_model(backend, seed, model_settings(panel, data, settings or {}))
            if trains:
                model.fit(past, h=horizon, on_step=on_step)
        else:
            model = ExpLSTM.load(find_model(saved), "numpy" if backend is None else backend)
            model.set_params(freq=panel.freq)  # that of these data, so that another one is told
            if evaluate:
                refuse_seen(model, past)
        predictor = model if intervals == "model" else ConformalForecaster(model)
        forecast = predictor.predict(past, h=horizon, level=list(level) or None)
        metrics = None
        if evaluate:
            forecast = panel_frame(last_steps(panel, horizon), dict(forecast.iloc[:, 2:].items()))
            metrics = judge_forecast(forecast, past, data.first_season(panel), level)
            run.write_json("metrics.json", nest_metrics(metrics, "value"))
        run.write_table("forecast.csv", forecast)
        if plots is not None:
            facts = join_tables(panel_frame(past), forecast, horizon)
            plots.save_figure(plots.draw_forecast(facts, [model.alias]), facts, run.path, "figure")
        write_record(run, "forecast", arguments)
    return Outcome(forecast, metrics, describe_findings(panel, model))


def judge_forecast(
    forecast: pd.DataFrame, past: Panel, season_length: int, level: Sequence[float] = ()
) -> pd.DataFrame:
    """Metrics of a forecast of the model and of the naive ones, over known steps."""
    horizon = len(forecast) // past.n_series
    naive = naive_forecasts(past, horizon, season_length)
    judged = forecast.assign(**{name: y_NH.ravel() for name, y_NH in naive.items()})
    score = {"train": panel_frame(past), "season_length": season_length}
    return evaluate_forecast(judged, ["ExpLSTM", *naive], level=level, **score)[1]


def try_pretrained(file: Path, horizon: int, data: DataOptions) -> pd.DataFrame:
    """Metrics of the pretrained model on the last steps of a file; nothing is written."""
    panel = data.read(file)
    past = drop_last(panel, horizon)
    found = ExpLSTM(**model_settings(panel, data, {})).predict(past, h=horizon)
    known = panel_frame(last_steps(panel, horizon), {"ExpLSTM": found["ExpLSTM"].to_numpy()})
    return judge_forecast(known, past, data.first_season(panel))


def refuse_training(settings: Mapping[str, Any]) -> None:
    """Refuse settings of a training where nothing is trained.

    Raises:
        UsageError: Names the first one.
    """
    for name, value in settings.items():
        if name in TRAINING_FIELDS or name in ("spec", "init"):
            raise UsageError(
                "CONFIG_CONFLICT",
                f"--set {_asked_name(name, value)} would not change the pretrained model, which "
                "forecasts without training; leave it away, or give --backend torch or --backend "
                "tensorflow.",
            )


def _asked_name(name: str, value: Any) -> str:
    """A setting under the name it was given by: those of the network arrive as one ``spec``."""
    return ", ".join(sorted(value.model_fields_set)) if name == "spec" else name


def refuse_seen(model: ExpLSTM, past: Panel) -> None:
    """Refuse to score a saved model on steps that it may have been trained on.

    Raises:
        UsageError: Some held-out step is not later than the last date of the training.
    """
    if is_seen(past, model.trained_until_):
        raise UsageError(
            "EVALUATE_SEEN",
            f"the saved model was trained on steps up to {model.trained_until_}, and --evaluate "
            f"would score it on steps after {earliest_end(past)}; leave --model away, or fit a "
            "model on earlier steps.",
        )


def fit_file(
    file: Path,
    horizon: int,
    out: Path,
    data: DataOptions,
    *,
    backend: str | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 1,
    resume: bool = False,
    plot: bool = False,
    force: bool = False,
    on_step: OnStep | None = None,
) -> Outcome:
    """Train a model on a file and save it in ``out/model``.

    Checkpoints are kept in ``OUT.checkpoint`` until the model is saved or the run has diverged;
    ``resume`` continues there, ``force`` without it throws them away. The other arguments are those
    of :func:`forecast_file`.
    """
    arguments = dict(locals())
    plots = import_module("explstm.plots") if plot else None
    with open_run(out, force=force) as run, kept_checkpoint(run, out, resume, force) as checkpoint:
        panel = data.read(file)
        model = new_model(backend, seed, model_settings(panel, data, settings or {}))
        model.fit(panel, h=horizon, on_step=on_step, checkpoint_dir=checkpoint, resume=resume)
        model.save(run.path / MODEL)
        log = pd.DataFrame([asdict(row) for row in model.training_log_])
        run.write_table("training.csv", log)
        if plots is not None:
            facts = log.assign(engine=model.backend, seed=seed)
            plots.save_figure(plots.draw_training(facts), facts, run.path, "training-figure")
        write_record(run, "fit", arguments)
    taken = f"the model holds {model.share_:.0%} of what fine-tuning changed"
    findings = describe_findings(panel, model)
    return Outcome(None, None, findings if model.share_ == 1 else (*findings, taken))


@contextmanager
def kept_checkpoint(run: RunFolder, out: Path, resume: bool, force: bool) -> Iterator[Path]:
    """The folder of checkpoints beside a run folder.

    It goes when the run has diverged, or is done and in its place, so that a kill costs nothing.

    An older one is continued with ``resume`` and thrown away with ``force``.
    """
    checkpoint = out.with_name(f"{out.name}.checkpoint")
    if checkpoint.exists() and not checkpoint.is_dir():
        raise UsageError(
            "CHECKPOINT_EXISTS",
            f"{checkpoint} is a file, but checkpoints are kept there; move it, or use another out.",
        )
    if force and not resume:
        delete_checkpoints(checkpoint)
    try:
        yield checkpoint
    except TrainingError as error:
        if error.code == DIVERGED:  # going on from there would diverge again
            delete_checkpoints(checkpoint)
        raise
    finally:
        with suppress(OSError):
            checkpoint.rmdir()  # where nothing was kept
    run.spent.append(partial(delete_checkpoints, checkpoint))


def model_settings(panel: Panel, data: DataOptions, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of the model: its own, and what it has to know about the data."""
    about_data = {"freq": panel.freq, "season_length": data.season_length}
    return {**about_data, **settings}


def new_model(backend: str | None, seed: int, settings: Mapping[str, Any]) -> ExpLSTM:
    """A model that was not fitted; a network of its own is trained from scratch."""
    start = {"init": "random"} if "spec" in settings else {}
    return ExpLSTM(backend=backend or "numpy", random_seed=seed, **{**start, **settings})


def find_model(path: Path) -> Path:
    """The model folder itself, or the one within a run folder."""
    path = find_run(path)
    return path / MODEL if holds_record(path) else path


def join_tables(history: pd.DataFrame, forecast: pd.DataFrame, horizon: int) -> pd.DataFrame:
    """The end of the history and the forecast below it, series by series."""
    recent = history.groupby("unique_id", sort=False).tail(DRAWN_HORIZONS * horizon)
    both = pd.concat([recent, forecast], ignore_index=True)
    return both.sort_values(["unique_id", "ds"], kind="stable", ignore_index=True)


def nest_metrics(table: pd.DataFrame, column: str) -> dict[str, dict[str, float]]:
    """Metrics of each model, by name."""
    groups = table.groupby("model", sort=False)
    return {
        str(model): dict(zip(rows["metric"], rows[column].tolist(), strict=True))
        for model, rows in groups
    }


def last_steps(panel: Panel, k: int) -> Panel:
    """The last ``k`` steps of each series."""
    return keep_steps(panel, panel.lengths_N - k, panel.lengths_N)


def describe_findings(panel: Panel, model: ExpLSTM) -> tuple[str, ...]:
    """What was repaired in the data or noticed about them, a sentence per series."""
    findings = dict.fromkeys([*panel.findings, *model.findings_])
    return tuple(f"{found.unique_id}: {found.text} ({found.count})" for found in findings)


def write_record(run: RunFolder, command: str, arguments: Mapping[str, Any]) -> None:
    """Write what was run; seeds come from the arguments ``seed`` or ``seeds``, where there are."""
    seeds, seed = arguments.get("seeds"), arguments.get("seed")
    run.write_json(
        RECORD,
        describe_run(
            command,
            {name: value for name, value in arguments.items() if not name.startswith("on_")},
            arguments.get("file"),
            list(range(1, seeds + 1)) if seeds else [] if seed is None else [seed],
        ),
    )

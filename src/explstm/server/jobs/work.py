"""What a job does: the commands, one after the other, in the folder of the job.

Contract: works in the current folder, under names of its own, so that no path of the machine gets
into what is downloaded. A run folder that is there is complete and is not made again; a training
goes on from its checkpoint. Nothing is caught: a failure ends the job.
"""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from explstm.backtest import PRETRAINED, check_methods, installed_methods
from explstm.calendar import default_season_length
from explstm.checkpoint import has_checkpoint
from explstm.commands.backtest import DEFAULT_WINDOWS, backtest_file
from explstm.finetuning import PARTS
from explstm.forecaster import ExpLSTM
from explstm.options import DataOptions
from explstm.panel import Panel
from explstm.pipeline import fit_file, forecast_file
from explstm.runfolder import RECORD, RunFolder
from explstm.server.jobs import kinds
from explstm.windows import count_windows

Progress = Callable[[dict[str, Any]], None]
REPORT_PARTS = 4
MAX_SENTENCES = 1000


def do_job(request: kinds.JobRequest, panel: Panel, progress: Progress) -> dict[str, Any]:
    """Do a job in the current folder.

    Args:
        request: What was asked for.
        panel: The series.
        progress: Called with what a follower may want to see; often.

    Returns:
        What came of it, in short, as JSON values.
    """
    data = _keep_data(request, panel)
    match request:
        case kinds.FineTune():
            return _fine_tune(request, data, progress)
        case kinds.Backtest():
            methods = check_methods(request.methods) or installed_methods()
            settings = {} if request.max_steps is None else {"max_steps": request.max_steps}
            windows = _plan_windows(request, panel)
            return _backtest(request, data, methods, windows, progress, settings)
        case kinds.Tune():
            return _tune(request, data, progress)
        case kinds.Report():
            return _report(request, data, _plan_windows(request, panel), progress)


@dataclass(frozen=True)
class _Windows:
    n: int
    step_size: int


def _plan_windows(request: kinds.Backtest | kinds.Report, panel: Panel) -> _Windows:
    """Those asked for, or as many as the data allow."""
    step_size = getattr(request, "step_size", None) or request.h
    season, *_ = request.season_length or default_season_length(panel.freq)
    n = request.n_windows or count_windows(panel, request.h, step_size, season, DEFAULT_WINDOWS)
    return _Windows(n, step_size)


def _keep_data(request: kinds.JobRequest, panel: Panel) -> DataOptions:
    """Write the series where every command finds them, and say how to read them."""
    from explstm.frame import panel_frame

    if not Path(kinds.DATA).exists():
        aside = f".{kinds.DATA}"
        RunFolder(Path()).write_table(aside, panel_frame(panel))
        Path(aside).replace(kinds.DATA)
    return DataOptions(freq=str(panel.plain_freq), season_length=request.season_length)


def _is_made(run: str) -> bool:
    return (Path(run) / RECORD).is_file()


def _fine_tune(request: kinds.FineTune, data: DataOptions, progress: Progress) -> dict[str, Any]:
    asked = request.model_dump(include={"init", "max_steps", "learning_rate", "batch_size"})
    settings = {name: value for name, value in asked.items() if value is not None}
    findings: tuple[str, ...] = ()
    if not _is_made(kinds.FIT):
        findings = fit_file(
            Path(kinds.DATA),
            request.h,
            Path(kinds.FIT),
            data,
            backend=request.backend,
            settings=settings,
            seed=request.seed,
            resume=True,
            on_step=_tell_steps(request, settings, progress),
        ).findings
    progress({"stage": "forecast"})
    _forecast(request, data, kinds.FIT)
    return {"sentences": list(findings)[:MAX_SENTENCES], "training": _last_losses()}


def _tell_steps(
    request: kinds.FineTune, settings: Mapping[str, Any], progress: Progress
) -> Callable[[Any], None]:
    """Tell of training steps, and of how many there are at most.

    Fine-tuning has two runs, of which the second starts at 1 again.
    """
    most = {
        "of": ExpLSTM(backend=request.backend, **settings).training_config().max_steps,
        "parts": 1 if request.init == "random" else len(PARTS),
    }
    in_second = has_checkpoint(Path(f"{kinds.FIT}.checkpoint", PARTS[1]))
    part, last_step, valid_loss = 2 if in_second else 1, -1, None

    def tell(row: Any) -> None:
        nonlocal part, last_step, valid_loss
        if row.step <= last_step:
            part, valid_loss = part + 1, None
        last_step = row.step
        valid_loss = valid_loss if row.valid_loss is None else row.valid_loss
        told = {**asdict(row), "valid_loss": valid_loss}
        progress({"stage": "training", "part": part, **most, **told})

    return tell


def _last_losses() -> dict[str, float | None]:
    """The last row of the training log."""
    with Path(kinds.FIT, "training.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: float(text) if text else None for name, text in rows[-1].items()} if rows else {}


def _forecast(
    request: kinds.FineTune | kinds.Tune | kinds.Report,
    data: DataOptions,
    saved: str | None = None,
    plot: bool = False,
) -> None:
    if not _is_made(kinds.FORECAST):
        forecast_file(
            Path(kinds.DATA),
            request.h,
            Path(kinds.FORECAST),
            data,
            saved=None if saved is None else Path(saved),
            level=request.level,
            plot=plot,
        )


def _backtest(
    request: kinds.Backtest | kinds.Report,
    data: DataOptions,
    methods: tuple[str, ...],
    windows: _Windows,
    progress: Progress,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    done: list[str] = []

    def tell(method: str) -> None:
        done.append(method)
        progress({"stage": "backtest", "method": method, "done": len(done), "of": len(methods) + 1})

    if not _is_made(kinds.BACKTEST):
        backtest_file(
            Path(kinds.DATA),
            request.h,
            Path(kinds.BACKTEST),
            data,
            windows=windows.n,
            step_size=windows.step_size,
            methods=methods,
            level=request.level,
            settings=settings,
            seed=request.seed,
            on_method=tell,
        )
    verdict = Path(kinds.BACKTEST, "verdict.json")
    judgement = json.loads(verdict.read_bytes()) if verdict.exists() else {}
    return {"n_windows": windows.n, **judgement}


def _tune(request: kinds.Tune, data: DataOptions, progress: Progress) -> dict[str, Any]:
    from explstm.commands.tune import tune_file

    def tell(trial: Any) -> None:
        best = {"trial": trial.number, "value": trial.value, "state": trial.state}
        progress({"stage": "tuning", "done": trial.number + 1, "of": request.n_trials, **best})

    settings: Mapping[str, Any] = (
        {} if request.max_steps is None else {"max_steps": request.max_steps}
    )
    if not _is_made(kinds.TUNE):
        tune_file(
            Path(kinds.DATA),
            request.h,
            Path(kinds.TUNE),
            data,
            backend=request.backend,
            trials=request.n_trials,
            windows=request.n_windows,
            settings=settings,
            seed=request.seed,
            plot=False,
            on_trial=tell,
        )
    progress({"stage": "forecast"})
    _forecast(request, data, kinds.TUNE)
    return dict(json.loads(Path(kinds.TUNE, "best.json").read_bytes()))


def _report(
    request: kinds.Report, data: DataOptions, windows: _Windows, progress: Progress
) -> dict[str, Any]:
    from explstm.commands.growth import report_file_growth

    make_report = import_module("explstm.commands.report").make_report

    def stage(name: str, done: int) -> None:
        progress({"stage": name, "done": done, "of": REPORT_PARTS})

    stage("forecast", 0)
    _forecast(request, data)
    stage("growth", 1)
    if not _is_made(kinds.GROWTH):
        report_file_growth(Path(kinds.DATA), request.h, Path(kinds.GROWTH), data, plot=False)
    stage("backtest", 2)
    verdict = _backtest(request, data, (PRETRAINED,), windows, lambda _: None)
    stage("report", 3)
    others = [
        path
        for job in request.jobs
        for runs in kinds.RUNS.values()
        for path in (Path("..", job, run) for run in runs)
        if path.is_dir()
    ]
    own = [Path(run) for run in (kinds.FORECAST, kinds.GROWTH, kinds.BACKTEST)]
    if not _is_made(kinds.REPORT):
        make_report([*own, *others], Path(kinds.REPORT))
    return verdict

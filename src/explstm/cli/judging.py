"""The commands that judge: backtest, compare, demo, benchmark."""

from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Literal

import typer

from explstm.cli.arguments import (
    Debug,
    File,
    Force,
    Horizon,
    Intervals,
    Json,
    Out,
    Plot,
    Seed,
    Settings,
    spread_options,
)
from explstm.errors import UsageError
from explstm.options import DataOptions, parse_settings
from explstm.screen import Screen

DEMO_HORIZON = 24
LEAKING = 1


@spread_options
def backtest(
    file: File,
    horizon: Horizon,
    data: DataOptions,
    windows: Annotated[int, typer.Option(min=1, max=1000, help="Windows to forecast.")] = 8,
    step_size: Annotated[
        int | None,
        typer.Option(min=1, help="Steps from one window to the next; the horizon if not given."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="Pretrained, FineTuned/torch, FineTuned/tensorflow, Scratch/torch, "
            "Scratch/tensorflow, AutoETS, AutoTheta or AutoARIMA, beside the naive forecasts; all "
            "that are installed if not given. Repeatable."
        ),
    ] = None,
    level: Annotated[
        list[float] | None, typer.Option(help="Interval in per cent; 80 and 95. Repeatable.")
    ] = None,
    intervals: Intervals = "model",
    refit: Annotated[bool, typer.Option("--refit", help="Train before every window.")] = False,
    out: Out = Path("explstm-backtest"),
    settings: Settings = None,
    seed: Seed = 1,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Forecast the past of a file with every method, and say whether any beats the naive ones."""
    from explstm.commands.backtest import backtest_file

    screen = Screen(as_json)
    with screen.progress("forecasting", total=len(method) + 1 if method else None) as on_method:
        result = backtest_file(
            file,
            horizon,
            out,
            data,
            windows=windows,
            step_size=step_size,
            methods=method or (),
            level=level or (),
            intervals=intervals,
            refit=refit,
            settings=parse_settings(settings or []),
            seed=seed,
            force=force,
            on_method=on_method,
        )
    screen.show_backtest(result, out)


@spread_options
def audit(
    file: File,
    horizon: Horizon,
    data: DataOptions,
    windows: Annotated[int, typer.Option(min=1, max=1000, help="Cutoffs of each series.")] = 3,
    step_size: Annotated[int, typer.Option(min=1, help="Steps from one cutoff to the next.")] = 1,
    backend: Annotated[
        Literal["numpy", "torch", "tensorflow"],
        typer.Option(help="Engine; torch and tensorflow also train, a few steps each time."),
    ] = "numpy",
    growth: Annotated[str, typer.Option(help="Curve between data units and levels.")] = "auto",
    tolerance: Annotated[
        float, typer.Option(min=0, help="Relative change that is let pass; 0 for equal bits.")
    ] = 0.0,
    out: Out = Path("explstm-audit"),
    seed: Seed = 1,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Alter the future of a file's series, and say whether any forecast made before it changes."""
    from explstm.commands.audit import audit_file

    report = audit_file(
        file,
        horizon,
        out,
        data,
        windows=windows,
        step_size=step_size,
        backend=backend,
        growth=growth,
        seed=seed,
        tolerance=tolerance,
        force=force,
    )
    Screen(as_json).show_audit(report, out)
    if report.leaks:  # shown, and told to whoever reads only the exit code
        raise typer.Exit(LEAKING)


def benchmark(
    competition: Annotated[
        str,
        typer.Argument(
            help="m1, m3, tourism, m4-hourly or m4-weekly; with --train and --test, any name."
        ),
    ],
    train: Annotated[
        Path | None, typer.Option(help="File of the training part, for data of your own.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="File of the steps to forecast.")] = None,
    season_length: Annotated[
        list[int] | None, typer.Option(help="Season of these files. Repeatable.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Saved model; the pretrained one if not given.")
    ] = None,
    classical: Annotated[
        bool, typer.Option("--classical", help="AutoETS and AutoTheta take part; minutes.")
    ] = False,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Score the ends of the training parts instead.")
    ] = False,
    out: Out = Path("explstm-benchmark"),
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Score the pretrained model, or a saved one, on a forecasting competition.

    M4 is downloaded when it is first asked for, into EXPLSTM_CACHE or the user's cache folder.
    """
    from explstm.commands.benchmark import benchmark_competition

    if (train is None) != (test is None):
        raise UsageError("BENCHMARK_PARTS", "--train and --test belong together; give both.")
    if season_length and train is None:
        text = (
            "--season-length is for files of your own; leave it away, or give --train and --test."
        )
        raise UsageError("BENCHMARK_SEASON", text)
    report = benchmark_competition(
        competition,
        out,
        parts=None if train is None or test is None else (train, test),
        season_length=season_length or (),
        saved=model,
        classical=classical,
        held_out=held_out,
        force=force,
    )
    Screen(as_json).show_scores(report, out)


@spread_options
def compare(
    file: File,
    horizon: Horizon,
    data: DataOptions,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Seeds for each framework.")] = 3,
    out: Out = Path("explstm-compare"),
    settings: Settings = None,
    plot: Plot = True,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare both frameworks and the baselines on the last steps of a file."""
    _compare(file, horizon, data, seeds, out, settings, plot, force, as_json)


def demo(
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Seeds for each framework.")] = 3,
    out: Out = Path("explstm-demo"),
    settings: Settings = None,
    plot: Plot = True,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Forecast two years of airline passengers: pretrained at once, then trained in both."""
    from explstm import pipeline

    with as_file(files("explstm.datasets") / "air_passengers.csv") as file:
        if not as_json:
            found = pipeline.try_pretrained(file, DEMO_HORIZON, DataOptions())
            Screen(as_json).show_first(found, DEMO_HORIZON)
        _compare(file, DEMO_HORIZON, DataOptions(), seeds, out, settings, plot, force, as_json)


def _compare(
    file: Path,
    horizon: int,
    data: DataOptions,
    seeds: int,
    out: Path,
    settings: Sequence[str] | None,
    plot: bool,
    force: bool,
    as_json: bool,
) -> None:
    from explstm.commands.compare import compare_file
    from explstm.compare import ENGINES

    screen = Screen(as_json)
    with screen.progress("training", total=len(ENGINES) * seeds) as on_trial:
        result = compare_file(
            file,
            horizon,
            out,
            data,
            seeds=seeds,
            settings=parse_settings(settings or []),
            plot=plot,
            force=force,
            on_trial=on_trial,
        )
    screen.show_comparison(result, out)

"""The command ``explstm``: a file in, a run folder out.

    explstm forecast sales.csv --horizon 12
    explstm fit sales.csv --horizon 12 --backend torch --out sales-run
    explstm forecast sales.csv --horizon 12 --model sales-run
    explstm compare sales.csv --horizon 12 --seeds 3
    explstm demo

Exit codes are those of :mod:`explstm.errors`, 130 when interrupted and 143 when terminated
between two trainings or without one. A failure is one sentence;
``--debug`` shows where it came from. With ``--json``, standard output holds one JSON object,
whatever happens. Every command imports what it needs when it runs.
"""

import functools
import inspect
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from explstm.errors import ExpLSTMError, UsageError
from explstm.options import DataOptions, parse_settings
from explstm.screen import Screen, escape

INTERRUPTED = 130
TERMINATED = 143
OUR_FAULT = 1
DEMO_HORIZON = 24

app = typer.Typer(
    name="explstm",
    help="Forecasts series that grow, with stacked LSTMs in PyTorch and TensorFlow.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

File = Annotated[Path, typer.Argument(help="CSV or Parquet: series id, date, value.")]
Horizon = Annotated[int, typer.Option(min=1, max=4096, help="Steps to forecast.")]
Out = Annotated[Path, typer.Option(help="Run folder to make.")]
Backend = Annotated[str | None, typer.Option(help="Engine: torch, tensorflow, or numpy.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of weights and batches.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Setting of the model or its training, key=value. Repeatable."),
]
Plot = Annotated[bool, typer.Option(help="Draw figures.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an older run folder.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error came from.")]


def spread_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each field of its dataclass parameters."""
    parameters = inspect.signature(command).parameters.values()
    groups: dict[str, Any] = {
        p.name: p.annotation for p in parameters if is_dataclass(p.annotation)
    }
    spread = [_to_option(group, entry) for group in groups.values() for entry in fields(group)]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{entry.name: values.pop(entry.name) for entry in fields(group)})
        command(**values)

    own = [p.replace(kind=p.KEYWORD_ONLY) for p in parameters if p.name not in groups]
    run.__signature__ = inspect.Signature(own + spread)  # type: ignore[attr-defined]
    return run


def _to_option(group: Any, entry: Field[Any]) -> inspect.Parameter:
    option = typer.Option(help=entry.metadata["help"], rich_help_panel="Data")
    hint: Any = Annotated[get_type_hints(group)[entry.name], option]
    default = inspect.Parameter.empty if entry.default is MISSING else entry.default
    return inspect.Parameter(
        entry.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint
    )


@app.command()
@spread_options
def forecast(
    file: File,
    horizon: Horizon,
    data: DataOptions,
    model: Annotated[
        Path | None, typer.Option(help="Saved model, or the run folder of explstm fit.")
    ] = None,
    backend: Backend = None,
    out: Out = Path("explstm-forecast"),
    level: Annotated[
        list[float] | None, typer.Option(help="Interval in per cent. Repeatable.")
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Hold out the last steps and score the forecast.")
    ] = False,
    settings: Settings = None,
    seed: Seed = 1,
    plot: Plot = False,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Forecast a file: with the pretrained model, a saved one, or one trained on it first."""
    from explstm import pipeline

    screen = Screen(as_json)
    with screen.progress("training") as on_step:
        outcome = pipeline.forecast_file(
            file,
            horizon,
            out,
            data,
            saved=model,
            backend=backend,
            settings=parse_settings(settings or []),
            seed=seed,
            level=level or [],
            evaluate=evaluate,
            plot=plot,
            force=force,
            on_step=on_step,
        )
    screen.show_outcome(outcome, out)


@app.command()
@spread_options
def fit(
    file: File,
    horizon: Horizon,
    data: DataOptions,
    backend: Backend = None,
    out: Out = Path("explstm-model"),
    settings: Settings = None,
    seed: Seed = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted fit stopped.")
    ] = False,
    plot: Plot = False,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a model on a file and save it."""
    from explstm import pipeline

    screen = Screen(as_json)
    with screen.progress("training") as on_step:
        outcome = pipeline.fit_file(
            file,
            horizon,
            out,
            data,
            backend=backend,
            settings=parse_settings(settings or []),
            seed=seed,
            resume=resume,
            plot=plot,
            force=force,
            on_step=on_step,
        )
    screen.show_outcome(outcome, out)


@app.command()
def pretrain(
    config: Annotated[Path, typer.Option(help="TOML file with network, prior and training.")],
    backend: Annotated[str, typer.Option(help="Engine: torch or tensorflow.")] = "torch",
    device: Annotated[str, typer.Option(help="Where PyTorch computes, such as cuda.")] = "cpu",
    out: Out = Path("explstm-pretrained"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")
    ] = False,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Pretrain a network on made series, as the model of the package was."""
    from explstm import pipeline

    screen = Screen(as_json)
    with screen.progress("pretraining") as on_step:
        outcome = pipeline.pretrain_network(
            config,
            out,
            backend=backend,
            device=device,
            resume=resume,
            force=force,
            on_step=on_step,
        )
    screen.show_outcome(outcome, out)


@app.command()
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
    from explstm import pipeline

    if (train is None) != (test is None):
        raise UsageError("BENCHMARK_PARTS", "--train and --test belong together; give both.")
    if season_length and train is None:
        text = (
            "--season-length is for files of your own; leave it away, or give --train and --test."
        )
        raise UsageError("BENCHMARK_SEASON", text)
    report = pipeline.benchmark_competition(
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


@app.command()
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


@app.command()
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
    from explstm import pipeline
    from explstm.compare import ENGINES

    screen = Screen(as_json)
    with screen.progress("training", total=len(ENGINES) * seeds) as on_trial:
        result = pipeline.compare_file(
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


def _show_version(wanted: bool) -> None:
    if wanted:
        from explstm import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    pass


class _Termination(BaseException):
    """SIGTERM as an exception, so that what was begun is cleaned up."""


def _terminate(*_: Any) -> None:
    raise _Termination


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code; never raises, unless something is broken in it."""
    as_json, debug = "--json" in arguments, "--debug" in arguments
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            exit_code = app(list(arguments), prog_name="explstm", standalone_mode=False) or 0
        except _Termination:
            text = (
                "ended on request; run it again, with --resume if checkpoints were kept beside out."
            )
            return _fail("TERMINATED", text, TERMINATED, as_json, debug=False)
        except ExpLSTMError as error:
            return _fail(error.code, error.message, error.exit_code, as_json, debug)
        except Exception as error:
            if hasattr(error, "format_message"):  # the parser's own, about the arguments
                return _refuse_arguments(error, as_json)
            text = f"{type(error).__name__}: {error}; this is our fault, please report it."
            return _fail("INTERNAL", text, OUR_FAULT, as_json, debug)
    if exit_code == INTERRUPTED:  # what Typer makes of Ctrl-C
        return _fail("INTERRUPTED", "interrupted.", INTERRUPTED, as_json, debug=False)
    return int(exit_code)


def _fail(code: str, message: str, exit_code: int, as_json: bool, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    if as_json:
        Screen(as_json).write_json(
            {"error": {"code": code, "message": message, "exit_code": exit_code}}
        )
    else:
        print(escape(f"explstm: {code}: {message}"), file=sys.stderr)
    return exit_code


def _refuse_arguments(error: Any, as_json: bool) -> int:
    if as_json:
        return _fail("USAGE", error.format_message(), error.exit_code, as_json, False)
    error.show()
    return int(error.exit_code)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(escape(f"explstm: warning: {message}"), file=sys.stderr)


def main() -> None:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(sys.argv[1:]))

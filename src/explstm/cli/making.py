"""The commands that make forecasts and models: forecast, fit, tune, pretrain."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from explstm.cli.arguments import (
    Backend,
    Debug,
    File,
    Force,
    Horizon,
    Intervals,
    Json,
    Out,
    Plot,
    SavedModel,
    Seed,
    Settings,
    spread_options,
)
from explstm.cli.parts import (
    CLUSTER,
    Address,
    Checkpoints,
    Engine,
    RowsPerPart,
    TeamAddress,
    TeamEngine,
    TeamWorkers,
    Workers,
    forecast_parts,
    refuse_beside_parts,
    refuse_without_engine,
)
from explstm.errors import UsageError
from explstm.options import DataOptions, parse_pairs, parse_settings
from explstm.screen import Screen

TRIALS = "Trials"


@spread_options
def forecast(
    file: File,
    horizon: Horizon,
    data: DataOptions,
    model: SavedModel = None,
    backend: Backend = None,
    out: Out = Path("explstm-forecast"),
    level: Annotated[
        list[float] | None, typer.Option(help="Interval in per cent. Repeatable.")
    ] = None,
    intervals: Intervals = "model",
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Hold out the last steps and score the forecast.")
    ] = False,
    settings: Settings = None,
    seed: Seed = 1,
    plot: Plot = False,
    engine: Engine = None,
    workers: Workers = None,
    address: Address = None,
    rows_per_part: RowsPerPart = None,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Forecast a file: with the pretrained model, a saved one, or one trained on it first.

    With --engine, FILE is a folder of Parquet of any size, which is forecast in parts. The same
    command again goes on with what was interrupted.
    """
    parts = {"workers": workers, "address": address, "rows_per_part": rows_per_part}
    if engine is not None:
        refuse_beside_parts(
            {
                "--backend": backend is not None,
                "--intervals": intervals != "model",
                "--evaluate": evaluate,
                "--set": bool(settings),
                "--seed": seed != 1,
                "--plot": plot,
            },
            data,
        )
        how = {"engine": engine, "model": model, "force": force, **parts}
        forecast_parts(file, horizon, out, data, level or [], how, Screen(as_json))
        return
    refuse_without_engine(parts)

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
            intervals=intervals,
            evaluate=evaluate,
            plot=plot,
            force=force,
            on_step=on_step,
        )
    screen.show_outcome(outcome, out)


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
    engine: TeamEngine = None,
    workers: TeamWorkers = None,
    address: TeamAddress = None,
    checkpoints: Checkpoints = None,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a model on a file and save it; with --engine, on a folder of Parquet."""
    team = {"workers": workers, "address": address, "checkpoints": checkpoints}
    common: dict[str, Any] = {
        "backend": backend,
        "settings": parse_settings(settings or []),
        "seed": seed,
        "resume": resume,
        "force": force,
    }
    screen = Screen(as_json)
    with screen.progress("training") as on_step:
        if engine is not None:
            from explstm.commands.fit import fit_dataset

            refuse_beside_parts({"--plot": plot}, data, "trains on Parquet")
            common |= {name: value for name, value in team.items() if value is not None}
            outcome = fit_dataset(file, horizon, out, data, on_step=on_step, **common)
        else:
            from explstm import pipeline

            refuse_without_engine(team)
            outcome = pipeline.fit_file(
                file, horizon, out, data, plot=plot, on_step=on_step, **common
            )
    screen.show_outcome(outcome, out)


@spread_options
def tune(
    file: File,
    horizon: Horizon,
    data: DataOptions,
    backend: Annotated[
        Literal["torch", "tensorflow"], typer.Option(help="The framework that trains.")
    ] = "torch",
    trials: Annotated[
        int, typer.Option(min=1, max=100_000, help="Trials of the study, former runs included.")
    ] = 20,
    timeout: Annotated[
        float | None, typer.Option(min=1, help="Seconds for everything, the last fit included.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Study that several processes share, such as sqlite:///tune.db or "
            "postgresql://user@host/database."
        ),
    ] = None,
    windows: Annotated[
        int, typer.Option(min=1, max=1000, help="Windows of the search; one more decides.")
    ] = 2,
    step_size: Annotated[
        int | None,
        typer.Option(min=1, help="Steps from one window to the next; the horizon if not given."),
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            help="What a parameter may be, key=[values] or key=value, such as "
            "batch_size=[32,64] or growth=auto. Repeatable."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processes that search, one if not given; with --engine, all that it has."
        ),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"] | None,
        typer.Option(
            help="Who trains the trials: local for processes of this machine, ray for a Ray "
            "cluster.",
            rich_help_panel=TRIALS,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help=CLUSTER,
            rich_help_panel=TRIALS,
        ),
    ] = None,
    checkpoints: Annotated[
        str | None,
        typer.Option(
            help="Folder that all machines see, for checkpoints of trials.",
            rich_help_panel=TRIALS,
        ),
    ] = None,
    out: Out = Path("explstm-tune"),
    settings: Settings = None,
    seed: Seed = 1,
    plot: Plot = True,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Search for better parameters on a file, and keep what a window not looked at confirms."""
    from explstm.commands.tune import tune_file

    screen = Screen(as_json)
    watched: Any = screen.progress("trials", total=trials) if engine is None else screen.search()
    with watched as on_event:
        found = tune_file(
            file,
            horizon,
            out,
            data,
            backend=backend,
            trials=trials,
            timeout=timeout,
            storage=storage,
            windows=windows,
            step_size=step_size,
            space=parse_pairs(space or [], "--space", "batch_size=[32,64]"),
            settings=parse_settings(settings or []),
            seed=seed,
            workers=workers,
            engine=engine,
            address=address,
            checkpoints=checkpoints,
            plot=plot,
            force=force,
            on_trial=on_event if engine is None else None,
            on_search=None if engine is None else on_event,
        )
    screen.show_tuning(found, out)


def pretrain(
    config: Annotated[Path, typer.Option(help="TOML file with network, prior and training.")],
    backend: Annotated[str, typer.Option(help="Engine: torch or tensorflow.")] = "torch",
    device: Annotated[str, typer.Option(help="Where PyTorch computes, such as cuda.")] = "cpu",
    out: Out = Path("explstm-pretrained"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")
    ] = False,
    engine: TeamEngine = None,
    workers: TeamWorkers = None,
    address: TeamAddress = None,
    checkpoints: Checkpoints = None,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Pretrain a network on made series, as the model of the package was."""
    from explstm.commands.pretrain import pretrain_network

    team: dict[str, Any] = {"workers": workers, "address": address, "checkpoints": checkpoints}
    if engine is None:
        refuse_without_engine(team)
    elif device != "cpu":
        raise UsageError(
            "CONFIG_CONFLICT", "--device does not go with --engine, whose workers use CPUs."
        )
    screen = Screen(as_json)
    with screen.progress("pretraining") as on_step:
        outcome = pretrain_network(
            config,
            out,
            backend=backend,
            device=device,
            engine=engine,
            **{name: value for name, value in team.items() if value is not None},
            resume=resume,
            force=force,
            on_step=on_step,
        )
    screen.show_outcome(outcome, out)


def export(
    model: Annotated[
        Path | None,
        typer.Argument(
            help="Saved model, or the run folder of explstm fit; the pretrained one by default."
        ),
    ] = None,
    # A path would lose the slash that tells a folder.
    out: Annotated[str, typer.Option(metavar="PATH", help="File to make.")] = "explstm-model.onnx",
    force: Annotated[bool, typer.Option("--force", help="Replace an older file.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write the network of a model as an ONNX file, for programs without Python."""
    from explstm.commands.export import export_model

    about = export_model(model, out, force=force)
    Screen(as_json).show_export(about, Path(out))

"""The arguments that commands share: each is written once.

Contract: a dataclass whose fields carry ``metadata["help"]`` becomes a group of options.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

File = Annotated[Path, typer.Argument(help="CSV or Parquet: series id, date, value.")]
Horizon = Annotated[int, typer.Option(min=1, max=4096, help="Steps to forecast.")]
Out = Annotated[Path, typer.Option(help="Run folder to make.")]
Backend = Annotated[str | None, typer.Option(help="Engine: torch, tensorflow, or numpy.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of weights and batches.")]
SavedModel = Annotated[
    Path | None, typer.Option("--model", help="Saved model, or the run folder of explstm fit.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Setting of the model or its training, key=value. Repeatable."),
]
Intervals = Annotated[
    str,
    typer.Option(help="model: the model's own; conformal: calibrated on earlier cutoffs."),
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

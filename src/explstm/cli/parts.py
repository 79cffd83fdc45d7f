"""The way of ``explstm forecast`` that forecasts a folder of Parquet in parts."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from explstm.errors import UsageError
from explstm.options import DataOptions
from explstm.screen import Screen

PANEL = "Parts"
Engine = Annotated[
    Literal["local", "ray"] | None,
    typer.Option(
        help="Forecast a folder of Parquet in parts: local for processes of this machine, ray for "
        "a Ray cluster.",
        rich_help_panel=PANEL,
    ),
]
CLUSTER = "Ray cluster that runs, host:port; begun on this machine if not given."
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Parts at once; all cores if not given.", rich_help_panel=PANEL),
]
Address = Annotated[
    str | None,
    typer.Option(
        help=CLUSTER,
        rich_help_panel=PANEL,
    ),
]
RowsPerPart = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Rows of a part, on average; a million if not given. Memory grows with it.",
        rich_help_panel=PANEL,
    ),
]
TEAM = "Several workers"
TeamEngine = Annotated[
    Literal["ray"] | None,
    typer.Option(
        help="Train on several workers of a Ray cluster, which take parts of every batch.",
        rich_help_panel=TEAM,
    ),
]
TeamWorkers = Annotated[
    int | None, typer.Option(min=1, help="Workers; 2 if not given.", rich_help_panel=TEAM)
]
TeamAddress = Annotated[
    str | None,
    typer.Option(
        help=CLUSTER,
        rich_help_panel=TEAM,
    ),
]
Checkpoints = Annotated[
    str | None,
    typer.Option(
        help="Folder or URL for checkpoints, which stay; OUT.checkpoint if not given.",
        rich_help_panel=TEAM,
    ),
]
OF_FILES = ("sep", "decimal", "encoding", "missing", "date_format")
"""Options of data that only a CSV needs."""


def refuse_beside_parts(
    given: Mapping[str, bool],
    data: DataOptions,
    why: str = "forecasts Parquet with a model as it is",
) -> None:
    """Refuse options that would change nothing.

    Args:
        given: Options, and whether each was given.
        data: How the data are to be read.
        why: What is done with an engine.

    Raises:
        UsageError: Names the first of them.
    """
    defaults = {field.name: field.default for field in fields(DataOptions)}
    of_files = {
        f"--{name.replace('_', '-')}": getattr(data, name) != defaults[name] for name in OF_FILES
    }
    for option, was_given in {**given, **of_files}.items():
        if was_given:
            raise UsageError(
                "CONFIG_CONFLICT",
                f"{option} does not go with --engine, which {why}; leave one of them away.",
            )


def refuse_without_engine(given: Mapping[str, Any]) -> None:
    """Refuse options of an engine where there is none.

    Raises:
        UsageError: Names the first of them.
    """
    for name, value in given.items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            raise UsageError("CONFIG_CONFLICT", f"{option} belongs to --engine; give that as well.")


def forecast_parts(
    dataset: Path,
    horizon: int,
    out: Path,
    data: DataOptions,
    level: Sequence[float],
    how: Mapping[str, Any],
    screen: Screen,
) -> None:
    """Forecast a folder of Parquet, and show how far it is and what came of it."""
    from explstm import scaleout

    given = {name: value for name, value in how.items() if value is not None}
    with screen.throughput() as on_progress:
        batch = scaleout.forecast(
            dataset,
            out,
            horizon,
            level,
            freq=data.typed_freq,
            season_length=data.season_length or None,
            fill=data.fill,
            id_col=data.id_col,
            time_col=data.time_col,
            target_col=data.target_col,
            on_progress=on_progress,
            **given,
        )
    screen.show_batch(batch, out)

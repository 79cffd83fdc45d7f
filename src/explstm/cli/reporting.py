"""The commands that tell: growth in words and figures, runs on one page."""

from pathlib import Path
from typing import Annotated

import typer

from explstm.cli.arguments import (
    Debug,
    File,
    Force,
    Horizon,
    Json,
    Out,
    Plot,
    SavedModel,
    spread_options,
)
from explstm.errors import UsageError
from explstm.options import DataOptions
from explstm.screen import Screen


@spread_options
def growth(
    file: File,
    horizon: Horizon,
    data: DataOptions,
    level: Annotated[
        list[float],
        typer.Option(min=1, max=99.9, help="Coverage of all intervals, in per cent; one."),
    ] = [80.0],  # noqa: B006 - a single one is asked for below: of two, Click would keep the last
    model: SavedModel = None,
    out: Out = Path("explstm-growth"),
    plot: Plot = True,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say how fast the series of a file grow, for how long, and what speaks for a ceiling."""
    from explstm.commands.growth import report_file_growth

    if len(level) > 1:
        given = " and ".join(f"{one:g}" for one in level)
        raise UsageError(
            "GROWTH_LEVEL", f"--level {given}: growth is told with one interval; give one --level."
        )
    report = report_file_growth(
        file, horizon, out, data, level=level[0], saved=model, plot=plot, force=force
    )
    Screen(as_json).show_growth(report, out)


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Run folders of other commands, all of the same data."),
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="Where the data file is now; where the runs found it if not given."),
    ] = None,
    out: Out = Path("explstm-report"),
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Put what other commands have made on one page that needs no network."""
    from explstm.commands.report import PAGE, make_report

    page = make_report(runs, out, data_file=data, force=force)
    Screen(as_json).show_page(page, out / PAGE)

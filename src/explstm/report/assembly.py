"""Which parts a report has: those whose files are there, in the order a reader needs them.

Contract: the verdict comes first, in words; what is not there is named at the end, with the command
that would add it. Runs of other data than the first one's are refused: a report is about one set of
series.
"""

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from explstm.errors import UsageError
from explstm.report.backtest import show_backtest, show_horizon_error
from explstm.report.calibration import show_calibration
from explstm.report.evidence import Evidence, read_evidence
from explstm.report.growth import show_growth
from explstm.report.outlook import show_findings, show_forecast
from explstm.report.page import Chart, Gap, Page, Section
from explstm.report.provenance import show_provenance
from explstm.report.residuals import show_residuals
from explstm.report.runs import Material, Run, find_data, read_history, read_run
from explstm.report.training import show_held_out, show_training
from explstm.report.tuning import show_tuning
from explstm.report.verdict import show_verdict

UNJUDGED = (
    "Nothing here says yet whether this forecast is better than repeating the last value: that "
    "takes a backtest."
)
UNTOLD = (
    "The backtest holds scores, but no verdict on whether they could be luck; make it again to "
    "have it tested."
)


def read_material(paths: Sequence[Path], data_file: Path | None) -> list[Material]:
    """Open run folders and the data they were made from.

    Raises:
        UsageError: No folder, one that is no run folder, runs of different data, or a file that is
            not what the runs were made from.
        DataError: A damaged run folder, or data that cannot be read.
    """
    if not paths:
        raise UsageError("REPORT_NO_RUN", "there is no run folder to report on; name one or more.")
    runs = [read_run(path) for path in paths]
    _refuse_mixed(runs)
    found = [find_data(run, data_file) for run in runs]
    if data_file is not None and not any(found):
        raise UsageError(
            "REPORT_DATA",
            f"--data {data_file} is not the file that the runs were made from (size and SHA-256 in "
            "run.json differ); give that file, or leave --data away.",
        )
    return [
        Material(run, None if file is None else read_history(run, file))
        for run, file in zip(runs, found, strict=True)
    ]


def _refuse_mixed(runs: list[Run]) -> None:
    known = [(run, run.record.data) for run in runs if run.record.data is not None]
    for run, data in known[1:]:
        first, other = known[0]
        if data.sha256 != other.sha256:
            raise UsageError(
                "REPORT_MIXED",
                f"{run.path} was made from other data ({data.file}) than {first.path} "
                f"({other.file}); make a report of each.",
            )


def build_page(materials: list[Material], data_file: Path | None) -> Page:
    """Put the parts together."""
    runs = [material.run for material in materials]
    evidence = {
        material.run.path: found
        for material in materials
        if material.run.record.command == "backtest"
        and (found := read_evidence(material.run)) is not None
    }
    sections = list(_find_sections(materials, evidence))
    titles = {section.title for section in sections}
    if "Verdict" not in titles:
        text = UNTOLD if evidence else UNJUDGED
        sections.insert(0, Section("Verdict", sentences=(text,), tone="open"))
    data = next((run.record.data for run in runs if run.record.data is not None), None)
    name = data.file if data else runs[0].path.name
    commands = ", ".join(dict.fromkeys(run.record.command for run in runs))
    return Page(
        f"Forecast report: {name}",
        f"Made by explstm from {len(runs)} {'run' if len(runs) == 1 else 'runs'} ({commands}). "
        "Every figure was saved with its data in the folder figures beside this file.",
        tuple(_tell_apart([*sections, show_provenance(runs, data_file)])),
        tuple(_find_gaps(titles, materials)),
    )


def _find_sections(materials: list[Material], evidence: dict[Path, Evidence]) -> Iterator[Section]:
    """All parts that can be made, verdict first."""
    judged = [(material, evidence.get(material.run.path)) for material in materials]
    of_run: list[tuple[Sequence[str], Callable[[Run], Section | None]]] = [
        (("backtest",), show_verdict)
    ]
    later: list[tuple[Sequence[str], Callable[[Run], Section | None]]] = [
        (("compare",), show_held_out),
        (("fit", "compare"), show_training),
        (("tune",), show_tuning),
    ]
    yield from _of_runs(materials, of_run)
    told = [m for m in materials if m.run.record.command in ("forecast", "growth")]
    told.sort(key=lambda material: material.run.record.command)
    yield from filter(None, (show_forecast(material) for material in told[:1]))
    yield from _of_runs(materials, [(("growth",), show_growth)])
    for material, found in judged:
        if found is not None:
            yield show_backtest(found, material)
            parts = (show_horizon_error, show_calibration, show_residuals)
            yield from filter(None, (part(found) for part in parts))
    yield from _of_runs(materials, later)
    with_data = [material for material in materials if material.history is not None]
    yield from filter(None, (show_findings(material) for material in with_data[:1]))


def _of_runs(
    materials: list[Material],
    parts: list[tuple[Sequence[str], Callable[[Run], Section | None]]],
) -> Iterator[Section]:
    for commands, part in parts:
        for material in materials:
            if material.run.record.command in commands:
                section = part(material.run)
                if section is not None:
                    yield section


def _tell_apart(sections: list[Section]) -> Iterator[Section]:
    """Number the parts and the figures of a second run of the same command."""
    titles: dict[str, int] = {}
    names: dict[str, int] = {}
    for section in sections:
        titles[section.title] = titles.get(section.title, 0) + 1
        charts: list[Chart] = []
        for chart in section.charts:
            names[chart.name] = names.get(chart.name, 0) + 1
            number = names[chart.name]
            charts.append(chart if number == 1 else replace(chart, name=f"{chart.name}-{number}"))
        number = titles[section.title]
        title = section.title if number == 1 else f"{section.title} ({number})"
        yield replace(section, title=title, charts=tuple(charts))


def _find_gaps(titles: set[str], materials: list[Material]) -> Iterator[Gap]:
    """What a reader may miss, and the command that would add it."""
    record = materials[0].run.record
    file = shlex.quote(str(record.arguments.get("file") or "FILE"))
    task = f"{file} --horizon {record.count('horizon', 12)}"
    wanted = {
        "Forecast": ("The forecast.", f"explstm forecast {task} --level 80 --level 95"),
        "Growth": ("Growth rates, doubling times and signs of an end of growth.",
                   f"explstm growth {task}"),
        "Backtest": ("Verdict, scores, calibration and residuals: they need a backtest.",
                     f"explstm backtest {task} --windows 8"),
        "Training": ("Training curves.", f"explstm fit {task} --backend torch"),
        "Tuning": ("A search over settings.", f"explstm tune {task} --trials 20"),
    }  # fmt: skip
    for title, (text, command) in wanted.items():
        if not any(found.startswith(title) for found in titles):
            yield Gap(text, command)
    if "Backtest" in titles:
        for title in ("Error by horizon", "Calibration", "Residuals"):
            if title not in titles:
                yield Gap(f"{title}: the backtest holds nothing to show it by.")
    if all(material.history is None for material in materials):
        yield Gap(
            "The history and what was found in the data: the data file is not where it was, or "
            "has changed; give it with --data FILE.",
        )

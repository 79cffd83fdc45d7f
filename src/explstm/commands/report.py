"""``explstm report RUN``: run folders in, one HTML file with its figures out."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from explstm.errors import BackendNotInstalledError
from explstm.pipeline import write_record
from explstm.report.page import Page, render_page
from explstm.runfolder import RunFolder, open_run

PAGE = "report.html"
FIGURES = "figures"


def make_report(
    runs: Sequence[Path],
    out: Path,
    *,
    data_file: Path | None = None,
    force: bool = False,
) -> Page:
    """Report on what one or more commands have made.

    Writes ``report.html``, which holds everything and asks for nothing, ``figures/`` with every
    figure as PNG and SVG and its data as CSV, and ``run.json``.

    Args:
        runs: Run folders of forecast, fit, compare, backtest, tune or growth, all of the same data.
        out: The run folder to make.
        data_file: Where the data file is now; where the runs found it unless given.
        force: Replace an older run folder.

    Raises:
        UsageError: A folder that is no run folder, runs of different data, or other data than
            those of the runs.
        DataError: A run folder whose files are damaged.
        BackendNotInstalledError: matplotlib, seaborn or Jinja2 is not installed.
    """
    arguments = dict(locals())
    try:
        import_module("jinja2")
    except ImportError:
        raise BackendNotInstalledError(
            "REPORT_NOT_INSTALLED",
            "a report needs jinja2, which is not installed; run pip install 'explstm[report]'.",
        ) from None
    import_module("explstm.plots")
    from explstm.report.assembly import build_page, read_material

    with open_run(out, force=force) as run:
        page = build_page(read_material(runs, data_file), data_file)
        _save_figures(run, page)
        text = render_page(page, run.path / FIGURES)
        (run.path / PAGE).write_text(text, encoding="utf-8", newline="\n")
        write_record(run, "report", arguments)
    return page


def _save_figures(run: RunFolder, page: Page) -> None:
    from explstm import plots

    folder = run.path / FIGURES
    folder.mkdir()
    for section in page.sections:
        for chart in section.charts:
            plots.save_figure(chart.figure, chart.facts, folder, chart.name)

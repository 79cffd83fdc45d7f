"""What people and machines see of a command: tables, progress, one JSON object.

Nothing from data or file names reaches a terminal unescaped, progress is shown only to a terminal,
and with ``as_json`` standard output holds one JSON object and nothing else.
"""

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explstm.plain_text import spell_out
from explstm.storage import to_finite

if TYPE_CHECKING:
    import pandas as pd

    from explstm.backtest import Backtest
    from explstm.benchmark import Report
    from explstm.compare import Comparison
    from explstm.growth_report import GrowthReport
    from explstm.leakage import LeakageReport
    from explstm.pipeline import Outcome
    from explstm.report.page import Page
    from explstm.scaleout import Batch, Progress, SearchProgress
    from explstm.tuning import Tuning

MAX_ROWS = 24
MAX_DESCRIBED = 8
PLAIN_WIDTH = 160
SHOWN_METRICS = ("MASE", "sMAPE", "MAE", "RMSE", "R2")
SHOWN_BACKTEST = (
    *("MASE", "sMAPE", "MAE", "RMSE", "R2", "growth_error", "quantile_loss"),
    *("coverage-80", "coverage-95"),
)
SHOWN_LEVELS = (80, 95)
SHOWN_SCORES = (
    *("group", "model", "series", "MASE", "sMAPE", "MAPE", "coverage-80", "coverage-95"),
    *("scaled quantile loss", "seconds"),
)


@dataclass(frozen=True)
class Screen:
    """Where a command shows its results.

    Attributes:
        as_json: For a machine.
    """

    as_json: bool

    @contextmanager
    def progress(self, label: str, total: int | None = None) -> Iterator[Callable[[Any], None]]:
        """Yield a function to call after every step; it draws a bar where a person watches."""
        if self.as_json or not sys.stderr.isatty():
            yield lambda _: None
            return
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(label, total=total)
            yield lambda _: bar.update(task, advance=1)

    @contextmanager
    def throughput(self) -> "Iterator[Callable[[Progress], None]]":
        """Yield a function to call with the progress of a forecast in parts; it draws a bar."""
        with self._bar() as draw:

            def show(now: "Progress") -> None:
                speed = now.series / now.seconds if now.seconds else 0.0
                n = f"{now.series:,} series, {speed:,.0f}/s, {now.set_aside:,} set aside"
                texts = [n] if now.series or now.set_aside else []
                if now.lost:
                    texts.append(f"{now.lost:,} begun again")
                draw(now.stage, now.done, now.total, ", ".join(texts))

            yield show

    @contextmanager
    def search(self) -> "Iterator[Callable[[SearchProgress], None]]":
        """Yield a function to call with the progress of a search on an engine; it draws a bar."""
        with self._bar() as draw:

            def show(now: "SearchProgress") -> None:
                speed = 60 * now.ended / now.seconds if now.seconds else 0.0
                texts = [f"{now.running} running", f"{speed:.1f}/min"]
                for count, what in (
                    (now.pruned, "pruned"),
                    (now.failed, "failed"),
                    (now.lost, "begun again"),
                ):
                    texts += [f"{count} {what}"] if count else []
                texts += [] if now.best is None else [f"best {now.best:.4g}"]
                draw("trials", now.done, now.total, ", ".join(texts))

            yield show

    @contextmanager
    def _bar(self) -> Iterator[Callable[[str, int, int, str], None]]:
        """Yield a function that draws a stage, how much of it is done, of how much, and a text."""
        if self.as_json or not sys.stderr.isatty():
            yield lambda *_: None
            return
        from rich import progress
        from rich.console import Console

        columns = (
            *progress.Progress.get_default_columns(),
            progress.TextColumn("{task.fields[text]}"),
        )
        with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("reading", total=None, text="")
            yield lambda stage, done, total, text: bar.update(
                task, description=stage, completed=done, total=total, text=text
            )

    def show_outcome(self, outcome: "Outcome", out: Path) -> None:
        """Show what ``forecast`` or ``fit`` made."""
        if self.as_json:
            self.write_json(
                {
                    "out": str(out),
                    "forecast": _records(outcome.forecast),
                    "metrics": _records(outcome.metrics),
                    "findings": list(outcome.findings),
                }
            )
            return
        if outcome.forecast is not None:
            self._print_table(outcome.forecast)
        if outcome.metrics is not None:
            self._print_table(spread_metrics(outcome.metrics, SHOWN_METRICS))
        for finding in outcome.findings:
            _write(spell_out(finding))
        _write(spell_out(f"wrote {out}"))

    def show_comparison(self, result: "Comparison", out: Path) -> None:
        """Show what ``compare`` found, and close with its sentence."""
        if self.as_json:
            tables = {name: _records(getattr(result, name)) for name in ("accuracy", "cost")}
            agreement = _records(result.agreement)
            self.write_json(
                {"out": str(out), **tables, "agreement": agreement, "verdict": result.verdict}
            )
            return
        self._print_table(tabulate_accuracy(result.accuracy))
        self._print_table(result.cost)
        self._print_table(result.agreement)
        _write(spell_out(f"wrote {out}"))
        _write(spell_out(result.verdict))

    def show_backtest(self, result: "Backtest", out: Path) -> None:
        """Show what ``backtest`` found, and close with what to use."""
        if self.as_json:
            tables = {name: _records(getattr(result, name)) for name in ("scores", "seconds")}
            judgement = None if result.judgement is None else asdict(result.judgement)
            self.write_json({"out": str(out), **tables, "judgement": to_finite(judgement)})
            return
        self._print_table(spread_metrics(result.scores, SHOWN_BACKTEST))
        _write(spell_out(f"wrote {out}"))
        if result.judgement is not None:
            for verdict in result.judgement.verdicts:
                _write(spell_out(verdict.sentence))
            _write(spell_out(result.judgement.sentence))

    def show_tuning(self, found: "Tuning", out: Path) -> None:
        """Show what ``tune`` tried and chose."""
        facts = {"number": found.number, "params": found.params, "improved": found.improved}
        if self.as_json:
            tables = {name: _records(getattr(found, name)) for name in ("trials", "finalists")}
            self.write_json({"out": str(out), **facts, "verdict": found.verdict, **tables})
            return
        shown = ["number", "state", "value", "seconds", "reason"]
        self._print_table(found.trials[shown])
        _write(spell_out(f"wrote {out}"))
        _write(spell_out(found.verdict))

    def show_growth(self, report: "GrowthReport", out: Path) -> None:
        """Show what ``growth`` found of the first series, in words."""
        if self.as_json:
            words = {name: list(texts) for name, texts in report.sentences.items()}
            self.write_json({"out": str(out), "facts": _records(report.facts), "sentences": words})
            return
        for name, sentences in list(report.sentences.items())[:MAX_DESCRIBED]:
            _write(spell_out(f"{name}:"))
            for sentence in sentences:
                _write(spell_out(f"  {sentence}"))
        if len(report.sentences) > MAX_DESCRIBED:
            _write(f"... and {len(report.sentences) - MAX_DESCRIBED} more series in growth.csv")
        _write(spell_out(f"wrote {out}"))

    def show_batch(self, batch: "Batch", out: Path) -> None:
        """Show what a forecast in parts has made."""
        if self.as_json:
            self.write_json({"out": str(out), **asdict(batch)})
            return
        parts = f"{batch.n_parts:,} part{'s' * (batch.n_parts != 1)}"
        again = f", {batch.n_before:,} of them from before" if batch.n_before else ""
        _write(f"{batch.n_series:,} series (freq={batch.freq}) forecast in {parts}{again}")
        for code, count in sorted(batch.set_aside.items()):
            _write(f"{count:,} set aside: {code}")
        if batch.set_aside:
            _write(spell_out(f"why, one by one: {out / batch.dead_letters.name}"))
        _write(spell_out(f"wrote {out}"))

    def show_export(self, about: Mapping[str, Any], path: Path) -> None:
        """Show what an exported network says of itself."""
        if self.as_json:
            self.write_json({"out": str(path), **about})
            return
        _write(spell_out(f"wrote {path}"))

    def show_page(self, page: "Page", path: Path) -> None:
        """Show what a report holds, and what would make it complete."""
        if self.as_json:
            sections = [section.title for section in page.sections]
            gaps = [asdict(gap) for gap in page.gaps]
            self.write_json({"page": str(path), "sections": sections, "gaps": gaps})
            return
        for gap in page.gaps:
            _write(
                spell_out(f"left out: {gap.text}" + (f" Add: {gap.command}" if gap.command else ""))
            )
        _write(spell_out(f"wrote {path}"))

    def show_audit(self, report: "LeakageReport", out: Path) -> None:
        """Show what ``audit`` found."""
        if self.as_json:
            facts = {"leaks": report.leaks, "leaking": list(report.leaking)}
            self.write_json({"out": str(out), **facts, "sentence": report.sentence})
            return
        checks = report.table.groupby("check", sort=False).agg(
            cases=("leaks", "size"), leaks=("leaks", "sum"), change=("change", "max")
        )
        self._print_table(checks.reset_index())
        _write(spell_out(f"wrote {out}"))
        _write(spell_out(report.sentence))

    def show_first(self, metrics: "pd.DataFrame", horizon: int) -> None:
        """Show what the pretrained model makes of a file, before anything is trained."""
        _write(f"The pretrained model, without training, over the last {horizon} steps:")
        self._print_table(spread_metrics(metrics, SHOWN_METRICS))
        _write("Now both frameworks, trained from scratch; this takes a minute or two.")

    def show_scores(self, report: "Report", out: Path) -> None:
        """Show what ``benchmark`` found: the metrics, and the coverage near, midway and far."""
        if self.as_json:
            tables = {name: _records(getattr(report, name)) for name in ("scores", "coverage")}
            self.write_json({"out": str(out), **tables})
            return
        from explstm.coverage import summarise_coverage

        shown = [name for name in SHOWN_SCORES if name in report.scores.columns]
        self._print_table(report.scores[shown])
        _write("Share of the values within the intervals, by step (all in coverage.csv):")
        self._print_table(summarise_coverage(report.coverage, SHOWN_LEVELS))
        _write(spell_out(f"wrote {out}"))

    def write_json(self, value: Any) -> None:
        """Write one JSON object to standard output."""
        _write(json.dumps(value, ensure_ascii=True, allow_nan=False, default=str))

    def _print_table(self, frame: "pd.DataFrame") -> None:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for name in frame.columns:
            numeric = frame[name].dtype.kind in "if"
            table.add_column(Text(spell_out(name)), justify="right" if numeric else "left")
        for row in frame.head(MAX_ROWS).itertuples(index=False):
            table.add_row(*(Text(_show_cell(value)) for value in row))
        width = None if sys.stdout.isatty() else PLAIN_WIDTH
        console = Console(file=sys.stdout, width=width, safe_box=True)
        with console.capture() as captured:
            console.print(table)
        _write(captured.get())
        if len(frame) > MAX_ROWS:
            _write(f"... and {len(frame) - MAX_ROWS} more rows\n")


def _write(text: str) -> None:
    """Write a line; when nobody reads any more, drop this and all that follows."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def spread_metrics(metrics: "pd.DataFrame", names: Sequence[str]) -> "pd.DataFrame":
    """One row per model, best first, one column for each of the named metrics that is there."""
    wide = metrics.pivot(index="model", columns="metric", values="value")
    shown = [name for name in names if name in wide.columns]
    return wide.sort_values(shown)[shown].reset_index().rename_axis(columns=None)


def tabulate_accuracy(accuracy: "pd.DataFrame") -> "pd.DataFrame":
    """One row per model, best first; mean, and spread over the seeds where there are several."""
    means = accuracy.pivot(index="model", columns="metric", values="mean")
    shown = [name for name in SHOWN_METRICS if name in means.columns]
    texts = accuracy.assign(
        text=[
            _show_cell(mean) + ("" if math.isnan(spread) else f" ± {_show_cell(spread)}")
            for mean, spread in zip(accuracy["mean"], accuracy["spread"], strict=True)
        ]
    )
    table = texts.pivot(index="model", columns="metric", values="text")
    order = means.sort_values(shown, kind="stable").index
    return table.loc[order, shown].reset_index().rename_axis(columns=None)


def _show_cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4g}"
    text = str(value)
    return spell_out(text.removesuffix(" 00:00:00"))


def _records(frame: "pd.DataFrame | None") -> Sequence[dict[str, Any]] | None:
    if frame is None:
        return None
    unit = _date_unit(frame)
    text = frame.to_json(orient="records", date_format="iso", date_unit=unit, double_precision=15)
    return json.loads(text)


def _date_unit(frame: "pd.DataFrame") -> str:
    """The coarsest unit, from milliseconds, that holds every date to its last digit."""
    finest = "ms"
    for _, dates in frame.select_dtypes(["datetime", "datetimetz"]).items():
        counts, own = dates.array.asi8, dates.dt.unit
        per_ms = {"us": 10**3, "ns": 10**6}.get(own, 1)
        if (counts % per_ms).any():
            whole_us = own == "us" or not (counts % 10**3).any()
            finest = "us" if whole_us and finest != "ns" else "ns"
    return finest

"""The whole path: files -> cuts -> frequency -> parts -> manifest."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from explstm.calendar import Freq
from explstm.errors import DataError, UsageError
from explstm.forecaster import PRETRAINED
from explstm.frame import Fill
from explstm.runfolder import refuse_unwritable
from explstm.scaleout.crew import TASK_SECONDS, check_crew, open_crew
from explstm.scaleout.cutting import CutTask, cut_files
from explstm.scaleout.engines import Engine, run_tasks
from explstm.scaleout.inputs import Inspection, choose_kinds, find_files, inspect_file
from explstm.scaleout.manifest import DEAD_LETTERS, Run, begin_run, check_out, finish_run
from explstm.scaleout.options import ROWS_PER_PART, Options, check_options
from explstm.scaleout.parts import PartTask, find_freq, forecast_part
from explstm.scaleout.plan import Plan, count_parts, group_files
from explstm.scaleout.records import is_done
from explstm.storage import hold_lock
from explstm.tables import DEFAULT_ID_COL


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        stage: What is done: ``"reading"``, ``"cutting"`` or ``"forecasting"``.
        done: Tasks of the stage that are done.
        total: Tasks of the stage.
        series: Series forecast by this process so far.
        set_aside: Series, files and rows set aside by this process so far.
        lost: Tasks that were begun again because their workers were lost.
        seconds: Since the stage began.
    """

    stage: str
    done: int
    total: int
    series: int = 0
    set_aside: int = 0
    lost: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Batch:
    """What a run has made.

    Attributes:
        forecasts: The folder of Parquet files.
        dead_letters: The table of what could not be forecast, and why.
        n_series: Series forecast.
        n_rows: Rows of forecasts.
        n_parts: Parquet files.
        n_before: Parts that were done before this run.
        set_aside: How many series, files and rows were set aside, by the code of the reason.
        freq: Frequency of the series.
    """

    forecasts: Path
    dead_letters: Path
    n_series: int
    n_rows: int
    n_parts: int
    n_before: int
    set_aside: dict[str, int]
    freq: Freq


OnProgress = Callable[[Progress], None]


def forecast(
    dataset: str | Path,
    out: str | Path,
    h: int,
    level: Sequence[float] | None = None,
    *,
    engine: str = "local",
    workers: int | None = None,
    address: str | None = None,
    model: str | Path = PRETRAINED,
    freq: Freq | None = None,
    season_length: int | Sequence[int] | None = None,
    fill: Fill = "error",
    id_col: str = DEFAULT_ID_COL,
    time_col: str = "ds",
    target_col: str = "y",
    rows_per_part: int = ROWS_PER_PART,
    force: bool = False,
    task_seconds: float = TASK_SECONDS,
    on_progress: OnProgress | None = None,
) -> Batch:
    """Forecast a folder of Parquet, in parts, on several processes or machines.

    The same call again goes on with a run that was interrupted, on any engine; of a run that is
    complete it computes nothing.

    Args:
        dataset: A Parquet file, or a folder of them; the rows of a series may lie in any of them.
        out: The folder to make: ``forecast/part-*.parquet``, ``dead-letters.parquet``,
            ``manifest.json`` and ``ran.csv``.
        h: Steps to forecast.
        level: Central intervals wanted, in per cent.
        engine: ``"local"`` for processes of this machine, ``"ray"`` for a Ray cluster, whose
            machines must all see ``dataset``, ``out`` and ``model`` under the same paths.
        workers: Tasks done at once; by default as many as there are cores or CPUs.
        address: Of a Ray cluster that runs; by default one of this machine is begun and ended.
        model: The pretrained model, or the folder of a saved one.
        freq: Frequency of all series; by default the one that most of them take.
        season_length: Steps in a season; by default from the frequency.
        fill: What becomes of missing steps.
        id_col: Column of ids, text or integers.
        time_col: Column of dates.
        target_col: Column of values.
        rows_per_part: Rows of a part, on average; memory grows with it.
        force: Throw away what another run has left in ``out``.
        task_seconds: How long one part may take before its worker is given up.
        on_progress: Called after every task.

    Raises:
        UsageError: An argument that cannot be used, a place that cannot be written or is taken, no
            cluster, or a package that is not installed.
        DataError: No file can be used, or no series tells its frequency.
        ModelFileError: The model cannot be loaded.
        BusyError: Another process is at work in ``out``.
    """
    check_crew(engine, workers, address)
    options = check_options(
        h,
        level,
        model=model,
        freq=freq,
        season_length=season_length,
        fill=fill,
        id_col=id_col,
        time_col=time_col,
        target_col=target_col,
        rows_per_part=rows_per_part,
    )
    source, out = Path(dataset).absolute(), Path(out).absolute()
    check_out(out)
    root, names = find_files(source)
    if out.resolve().is_relative_to(root.resolve()) and source.is_dir():
        raise UsageError("OUTPUT_IN_DATA", f"--out {out} lies in the data; choose another place.")
    with ExitStack() as held:
        with refuse_unwritable(out):
            held.enter_context(hold_lock(out))
        crew = held.enter_context(open_crew(engine, workers, address))
        driver = _Driver(crew, task_seconds, on_progress or (lambda _: None))
        return driver.forecast(root, names, out, options, force)


@dataclass
class _Driver:
    """Hands out tasks and tells how far they are."""

    crew: Engine
    task_seconds: float
    tell: OnProgress

    def forecast(
        self, root: Path, names: list[str], out: Path, options: Options, force: bool
    ) -> Batch:
        looks = [(root, name, options.columns) for name in names]
        found: list[Inspection] = sorted(
            self._do("reading", inspect_file, looks), key=lambda one: one.file
        )
        kinds, found = choose_kinds(found)
        asked = {
            "options": options.to_dict(),
            "kinds": kinds,
            "inputs": [asdict(one) for one in found],
        }
        with refuse_unwritable(out):
            run = begin_run(out, _plain(asked), force=force)
        groups, n_parts = group_files(found), count_parts(found, options.rows_per_part)
        if run.manifest is not None:
            return _describe(run, run.manifest, n_parts)
        plan = Plan(root, run.place, options, kinds, len(groups), n_parts, options.freq)
        return self._forecast(run, plan, groups)

    def _forecast(self, run: Run, plan: Plan, groups: list[tuple[Inspection, ...]]) -> Batch:
        place = plan.place
        files = tuple(one.file for group in groups for one in group)
        cuts = [place.cut(number) for number in range(plan.n_cuts)]
        parts = [place.part(number) for number in range(plan.n_parts)]
        firsts = accumulate(map(len, groups), initial=0)
        to_cut = [
            CutTask(plan, number, group, first)
            for number, (group, first) in enumerate(zip(groups, firsts, strict=False))
            if not is_done(place, cuts[number])
        ]
        list(self._do("cutting", cut_files, to_cut))
        plan = replace(plan, freq=plan.freq or self._find_freq(plan, files))
        to_do = [
            PartTask(plan, number, files)
            for number in range(plan.n_parts)
            if not is_done(place, parts[number])
        ]
        list(self._do("forecasting", forecast_part, to_do))
        manifest = finish_run(run, plan.freq, cuts, parts)
        return _describe(run, manifest, len(parts) - len(to_do))

    def _find_freq(self, plan: Plan, files: tuple[str, ...]) -> Freq:
        """The frequency that the series of the first part take that tells one."""
        refusal = "there are no rows."
        for number in range(plan.n_parts):
            looks = [PartTask(plan, number, files)]
            [(freq, refusal)] = run_tasks(self.crew, find_freq, looks, self.task_seconds)
            if freq is not None:
                return freq
        raise DataError(
            "FREQ_UNKNOWN", f"no series tells the frequency, for the last: {refusal} Pass freq."
        )

    def _do(self, stage: str, work: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        """Do the tasks of a stage, and tell of each."""
        began, series, dead, lost = time.monotonic(), 0, 0, 0
        self.tell(Progress(stage, 0, len(tasks)))

        def count() -> None:
            nonlocal lost
            lost += 1

        # Closed here, or its tasks would be given up when the engine is gone.
        with closing(run_tasks(self.crew, work, tasks, self.task_seconds, count)) as results:
            for done, result in enumerate(results, start=1):
                if isinstance(result, dict):
                    series, dead = series + result.get("series", 0), dead + result["dead"]
                spent = time.monotonic() - began
                self.tell(Progress(stage, done, len(tasks), series, dead, lost, spent))
                yield result


def _plain(value: Any) -> Any:
    """A value as JSON gives it back, so that what is asked can be compared with what was."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _describe(run: Run, manifest: Any, n_before: int) -> Batch:
    place, parts = run.place, manifest["parts"]
    return Batch(
        forecasts=place.part(0).parent,
        dead_letters=place.out / DEAD_LETTERS,
        n_series=sum(part["series"] for part in parts),
        n_rows=sum(part["rows"] for part in parts),
        n_parts=len(parts),
        n_before=n_before,
        set_aside=manifest["dead_letters"],
        freq=manifest["freq"],
    )

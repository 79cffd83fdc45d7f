"""The trials of a tuning, on the workers of an engine.

Contract: the driver alone asks the study and tells it; a worker trains one trial, and its answer is
a pure function of what it was sent. A trial whose worker died, or took too long, goes back into the
study's queue, and so do those of a driver that ends or dies (:mod:`explstm.study`): none is lost,
and none counts twice. Several drivers may share a study.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explstm.errors import UsageError
from explstm.finalists import SETTLED
from explstm.forecaster import ExpLSTM
from explstm.objective import Fold
from explstm.scaleout.attempts import Looks, begin_attempt, end_trial, take_over, write_looks
from explstm.scaleout.crew import TASK_SECONDS, check_crew, open_crew
from explstm.scaleout.engines import Engine, Lost
from explstm.scaleout.mirror import is_url, show_place
from explstm.scaleout.records import describe_process
from explstm.search import (
    LONGER,
    Clock,
    Ending,
    Plan,
    reserve_time,
    tell_ending,
    train_trial,
)
from explstm.search_space import Params
from explstm.study import (
    SharedStudy,
    TrialRecord,
    claim_trial,
    find_limits,
    give_back_trial,
    has_running,
    lose_trial,
    note_place,
    origin_of,
    read_id,
    read_params,
    read_records,
)
from explstm.tuning import tune_model

if TYPE_CHECKING:
    from optuna import Trial

POLL_SECONDS = 0.5
GRACE_SECONDS = 60.0
"""How much longer than the time that it was given a worker may take to notice."""


@dataclass(frozen=True)
class TrialTask:
    """One trial to train.

    Attributes:
        model: The model as it is.
        params: Its values for knobs.
        windows: Windows to judge it on, oldest first.
        h: Their steps.
        limits: By part of the training the value above which it is given up.
        left: Seconds for everything; None without a limit.
        reserve: Of these for what comes after; where 0, as long as this takes and some more.
        folder: Where its checkpoints are kept, if any are.
    """

    model: ExpLSTM
    params: Params
    windows: tuple[Fold, ...]
    h: int
    limits: Mapping[int, float] = field(default_factory=dict)
    left: float | None = None
    reserve: float = 0.0
    folder: Path | None = None


@dataclass(frozen=True)
class Answer:
    """What a worker tells of a trial.

    Attributes:
        ending: How it ended.
        looks: What it was worth after each part of its training.
        ran: Host, process and peak memory.
    """

    ending: Ending
    looks: Looks
    ran: Mapping[str, Any]


@dataclass(frozen=True)
class SearchProgress:
    """How far a search is.

    Attributes:
        done: Trials of the study that are settled.
        total: Trials that it shall hold.
        running: Trials that workers of this driver train.
        pruned: Settled because they were worse than others half-way.
        failed: Settled without a result.
        lost: Attempts of this driver that were begun again, because their workers were lost.
        best: The lowest value.
        seconds: Since this driver began.
        ended: Trials that this driver has settled.
    """

    done: int
    total: int
    running: int = 0
    pruned: int = 0
    failed: int = 0
    lost: int = 0
    best: float | None = None
    seconds: float = 0.0
    ended: int = 0


OnSearch = Callable[[SearchProgress], None]


def tune(
    model: ExpLSTM,
    df: Any,
    h: int,
    *,
    engine: str = "local",
    workers: int | None = None,
    address: str | None = None,
    checkpoints: str | Path | None = None,
    task_seconds: float = TASK_SECONDS,
    on_progress: OnSearch | None = None,
    **options: Any,
) -> ExpLSTM:
    """Find better parameters of a model, with trials on several processes or machines.

    As :meth:`explstm.ExpLSTM.tune`, but for who trains the trials; the finalists and the model that
    is chosen are trained by the calling process.

    Args:
        model: The model as it is; it is not changed.
        df: Long table or panel.
        h: Horizon.
        engine: ``"local"`` for processes of this machine, ``"ray"`` for a Ray cluster.
        workers: Trials at once; by default as many as there are cores or CPUs.
        address: Of a Ray cluster that runs; by default one of this machine is begun and ended.
        checkpoints: A folder, which all machines must see under the same path, that keeps
            checkpoints of trials, with which one that is begun again goes on. It is empty at the
            end, and removed.
        task_seconds: How long one trial may take before its worker is given up.
        on_progress: Called whenever a trial begins or ends.
        **options: See :func:`explstm.tuning.tune_model`: ``n_trials``, ``timeout``, ``storage``,
            ``n_windows``, ``step_size``, ``space`` and others.

    Raises:
        UsageError: An argument that cannot be used, no cluster, no study, or a package that is not
            installed.
        DataError: Data that cannot be used.
        ExpLSTMError: The study was lost; the same call goes on.
    """
    check_crew(engine, workers, address)
    if "workers" in options or "searcher" in options:
        raise UsageError("CONFIG_CONFLICT", "an engine has its own workers; leave searcher away.")
    if checkpoints is not None and is_url(checkpoints):
        raise UsageError(
            "CHECKPOINT_URL",
            f"checkpoints of trials are kept in a folder, not at {show_place(checkpoints)}; name "
            "one that all machines see.",
        )
    root = None if checkpoints is None else Path(checkpoints).absolute()
    tell = on_progress or (lambda _: None)
    with open_crew(engine, workers, address) as crew:

        def search(shared: SharedStudy, plan: Plan, n_trials: int, clock: Clock) -> None:
            Search(crew, shared, plan, n_trials, clock, root, task_seconds, tell).run()

        return tune_model(model, df, h, searcher=search, **options)


def train_task(task: TrialTask) -> Answer:
    """Train a trial in a worker."""
    began = time.monotonic()
    folder = task.folder if task.folder is not None and task.folder.is_dir() else None
    looks: Looks = {} if folder is None else take_over(folder)

    def why_stop(spent: float) -> str:
        reserve = task.reserve or LONGER * spent
        out_of_time = task.left is not None and spent + reserve >= task.left
        return "the time was over" if out_of_time else ""

    def is_worse(part: int, error: float) -> bool:
        looks[part] = error
        if folder is not None:
            write_looks(folder, looks)
        best = min(value for seen, value in looks.items() if seen <= part)
        return best > task.limits.get(part, math.inf)

    ending = train_trial(
        task.model,
        task.params,
        task.windows,
        task.h,
        why_stop=why_stop,
        is_worse=is_worse,
        **({} if folder is None else {"checkpoint_dir": folder, "resume": True}),
    )
    return Answer(ending, looks, describe_process(began))


@dataclass
class _Flight:
    """A trial that a worker trains, until when it may, and where its checkpoints are."""

    trial: "Trial"
    until: float
    folder: Path | None


@dataclass
class Search:
    """Hands out trials, and tells the study and whoever watches how they ended.

    Attributes:
        crew: Who trains them.
        shared: The study.
        plan: What is tuned on what.
        n_trials: How many trials the study shall hold in the end.
        clock: Says when to stop.
        root: Where checkpoints of trials are kept, if any are.
        task_seconds: How long one trial may take.
        tell: Called whenever a trial begins or ends.
        work: Trains one, in a worker.
        flying: Trials that are trained.
        lost: How many were begun again.
        ended: How many were settled.
    """

    crew: Engine
    shared: SharedStudy
    plan: Plan
    n_trials: int
    clock: Clock
    root: Path | None
    task_seconds: float
    tell: OnSearch
    work: Callable[[TrialTask], Answer] = train_task
    flying: dict[Any, _Flight] = field(default_factory=dict)
    lost: int = 0
    ended: int = 0

    def run(self) -> None:
        """Run trials until the study holds enough of them and none is running, or it is time."""
        with self._abandon_at_the_end():
            while self.clock.interruption.signal is None:
                records = read_records(self.shared)
                why = self.clock.why_stop(reserve_time(records))
                if not why:
                    self._begin_trials(records)
                if self.flying:
                    self._hear()
                elif why or not has_running(self.shared):
                    return
                else:  # another driver may die, and leave its trial to this one
                    time.sleep(POLL_SECONDS)

    def _begin_trials(self, records: Sequence[TrialRecord]) -> None:
        while len(self.flying) < self.crew.workers:
            trial = claim_trial(self.shared, self.n_trials)
            if trial is None:
                return
            self._begin(trial, reserve_time(records))
            self._show()

    def _begin(self, trial: "Trial", reserve: float) -> None:
        clock = self.clock
        left = None if clock.timeout is None else clock.timeout - clock.spent()
        try:
            folder = None
            if self.root is not None:
                origin = origin_of(self.shared, trial)
                folder = begin_attempt(self.root, read_id(self.shared), origin, trial.number)
            task = TrialTask(
                self.plan.model,
                read_params(self.shared, trial),
                self.plan.folds.search,
                self.plan.h,
                find_limits(self.shared, trial),
                left,
                reserve,
                folder,
            )
            name = self.crew.start(self.work, task)
        except BaseException as error:
            give_back_trial(self.shared, trial, f"{type(error).__name__}: {error}")
            raise
        allowed = min(self.task_seconds, math.inf if left is None else left + GRACE_SECONDS)
        self.flying[name] = _Flight(trial, time.monotonic() + allowed, folder)

    def _hear(self) -> None:
        """Tell the study of the trials that ended, or took too long."""
        outcomes = self.crew.wait(POLL_SECONDS)
        names = {name for name, _ in outcomes}
        now = time.monotonic()
        for name in [name for name, one in self.flying.items() if one.until < now]:
            if name not in names:
                self.crew.abandon(name)
                outcomes.append((name, Lost()))
        for name, outcome in outcomes:
            self._end(name, outcome)
            self._show()

    def _end(self, name: Any, outcome: Any) -> None:
        flight = self.flying[name]
        if isinstance(outcome, Answer):
            note_place(flight.trial, outcome.ran)
            for part, value in sorted(outcome.looks.items()):
                flight.trial.report(value, part)
            del self.flying[name]
            tell_ending(self.shared, flight.trial, outcome.ending, self.plan.seed)
        elif isinstance(outcome, Lost):
            del self.flying[name]
            self.lost += 1
            late = time.monotonic() >= flight.until
            why = "its worker took too long" if late else "its worker died"
            lose_trial(self.shared, flight.trial, why)
        else:
            del self.flying[name]
            give_back_trial(self.shared, flight.trial, str(outcome))
            raise outcome
        record = read_records(self.shared)[flight.trial.number]
        if record.state in SETTLED:
            self.ended += 1
            if flight.folder is not None:
                end_trial(flight.folder)

    @contextmanager
    def _abandon_at_the_end(self) -> Iterator[None]:
        """Put back what is still trained when the search ends, however that is."""
        why = "another trial ended the search"
        try:
            yield
            why = self.clock.why_stop() or why
        finally:
            for name in self.flying:
                self.crew.abandon(name)
            for flight in self.flying.values():
                give_back_trial(self.shared, flight.trial, why)

    def _show(self) -> None:
        records = read_records(self.shared)
        states = [record.state for record in records]
        values = [r.value for r in records if r.state == "complete" and r.value is not None]
        self.tell(
            SearchProgress(
                done=sum(state in SETTLED for state in states),
                total=self.n_trials,
                running=len(self.flying),
                pruned=states.count("pruned"),
                failed=states.count("failed"),
                lost=self.lost,
                best=min(values, default=None),
                seconds=self.clock.spent(),
                ended=self.ended,
            )
        )

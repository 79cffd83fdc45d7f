"""Tuning: a search over what may be changed of a model, and a check that the find is no luck.

Contract: the first trial is the model as it is. The search judges trials on rolling windows before
the last horizon (:mod:`explstm.objective`). The best few, and the model as it is, are then trained
on everything before the last horizon and judged there, where the search has not looked
(:mod:`explstm.finalists`). What is chosen is trained on all data. Nothing looks beyond the data
given.

Trials share one study (:mod:`explstm.study`); all train with the model's own seed, so that they
differ by their parameters only. Where there is a time limit the search ends early enough for what
comes after it.

Axes: N series.
"""

import math
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from explstm.apart import THREADS
from explstm.calendar import default_season_length
from explstm.errors import ExpLSTMError, TrainingError, UsageError
from explstm.finalists import (
    SETTLED,
    Judge,
    best_trials,
    choose_finalist,
    own_number,
    tell_verdict,
)
from explstm.fingerprint import fingerprint_panel
from explstm.forecaster import TRAINABLE_BACKENDS, ExpLSTM
from explstm.frame import Fill, build_panel
from explstm.interruption import Interruption
from explstm.objective import Folds, cut_folds, train_and_score
from explstm.panel import Panel
from explstm.prediction import check_horizon
from explstm.ragged import FloatArray
from explstm.search_space import Knob, Params, make_space, own_params, with_params
from explstm.seasonality import check_season_lengths
from explstm.study import (
    SharedStudy,
    TrialRecord,
    claim_trial,
    fail_trial,
    give_back_trial,
    has_running,
    is_own,
    measure_importance,
    open_study,
    prune_trial,
    read_params,
    read_records,
    report_value,
    settle_trial,
    storage_path,
)
from explstm.trial import require_engine
from explstm.tuning_facts import trials_table

if TYPE_CHECKING:
    from optuna import Trial

N_TRIALS = 20
N_WINDOWS = 2
LONGER = 1.3
"""How much longer a training on all data may take than one before the windows."""
WAIT_SECONDS = 0.2
OnTrial = Callable[[TrialRecord], None]


@dataclass
class Clock:
    """Says when to stop.

    Attributes:
        timeout: Seconds for everything, or None.
        interruption: The signal that arrived, if any.
        started: When the time began to run.
    """

    timeout: float | None = None
    interruption: Interruption = field(default_factory=Interruption)
    started: float = field(default_factory=time.monotonic)

    def spent(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def why_stop(self, reserve: float = 0.0) -> str:
        """Why to stop now, if ``reserve`` seconds are needed afterwards; empty to go on."""
        if self.interruption.signal is not None:
            return "stopped on request"
        out_of_time = self.timeout is not None and self.spent() + reserve >= self.timeout
        return "the time was over" if out_of_time else ""


class _Stop(Exception):  # noqa: N818 - no error
    """Leaves a training that is to go on another time."""


class _Pruned(Exception):  # noqa: N818 - no error
    """Leaves a training that is worse than most at the same point."""


@dataclass(frozen=True)
class Tuning:
    """What a tuning found.

    Attributes:
        records: Every trial.
        trials: The same as a table: number, state, value, one column per window, one per knob,
            seconds, seed, worker, retry_of, reason.
        finalists: See :func:`explstm.finalists.choose_finalist`.
        importance: knob, importance; empty where too few trials tell.
        knobs: What was varied.
        number: The trial that was chosen; None where it is the model as it is and that trial has no
            result.
        params: Its values.
        own: The values of the model as it was.
        improved: Whether these differ.
        verdict: What was found, in one sentence.
        seconds: Time that it took, the last training included.
    """

    records: tuple[TrialRecord, ...]
    trials: pd.DataFrame
    finalists: pd.DataFrame
    importance: pd.DataFrame
    knobs: tuple[Knob, ...]
    number: int | None
    params: Params
    own: Params
    improved: bool
    verdict: str
    seconds: float


@dataclass(frozen=True)
class Plan:
    """What is tuned on what: all that a process needs to take part in the search.

    Attributes:
        model: The model as it is.
        knobs: What is varied.
        own: Its own values.
        folds: The windows.
        h: Their steps.
        path: The file of the study.
        identity: What must be the same for trials to be comparable.
    """

    model: ExpLSTM
    knobs: tuple[Knob, ...]
    own: Params
    folds: Folds
    h: int
    path: Path
    identity: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """Of the sampler and of every training."""
        return self.model.random_seed


def tune_model(
    model: ExpLSTM,
    df: Any,
    h: int,
    *,
    n_trials: int = N_TRIALS,
    timeout: float | None = None,
    storage: str | Path | None = None,
    n_windows: int = N_WINDOWS,
    step_size: int | None = None,
    space: Mapping[str, Any] | None = None,
    workers: int = 1,
    on_trial: OnTrial | None = None,
    interruption: Interruption | None = None,
    id_col: str = "unique_id",
    time_col: str = "ds",
    target_col: str = "y",
    fill: Fill = "error",
) -> ExpLSTM:
    """Find better parameters of a model and fit it with them; see :meth:`ExpLSTM.tune`.

    Args:
        model: The model as it is; it is not changed.
        df: Long table or panel.
        h: Horizon.
        n_trials: Trials that the study shall hold in the end, those of former runs and of other
            processes included.
        timeout: Seconds for everything.
        storage: SQLite file of the study, ``sqlite:///tune.db`` or a path.
        n_windows: Windows of the search.
        step_size: Steps between these; by default the horizon.
        space: Changes of the space, see :func:`explstm.search_space.make_space`.
        workers: Processes that search.
        on_trial: Called with the record of every trial that this process ends.
        interruption: The signal that arrived, if any; looked at after every training step.
        id_col: Column of series ids.
        time_col: Column of timestamps or integers.
        target_col: Column of values.
        fill: What becomes of missing steps.

    Returns:
        A fitted model, whose ``tuning_`` is a :class:`Tuning`.
    """
    clock = Clock(timeout, interruption or Interruption())
    _check_arguments(model, n_trials, timeout, workers)
    names: dict[str, Any] = {"id_col": id_col, "time_col": time_col, "target_col": target_col}
    panel = df if isinstance(df, Panel) else build_panel(df, freq=model.freq, fill=fill, **names)
    with _find_path(storage) as path:
        plan = make_plan(model, panel, h, path, n_windows, step_size or h, space)
        with _open(plan) as shared:
            with _helped(plan, n_trials, clock, workers - 1):
                search(shared, plan, n_trials, clock, on_trial)
            _refuse_to_go_on(clock, shared, n_trials, storage)
            finalists, chosen = choose_finalist(read_records(shared), _judge_on_final(plan, clock))
            _refuse_to_go_on(clock, shared, n_trials, storage)
            records, importance = read_records(shared), measure_importance(shared)
    params = plan.own if chosen is None else chosen.params
    fitted = with_params(plan.model, params)

    def look_up(_row: Any) -> None:
        if clock.interruption.signal is not None:
            raise _Stop

    try:
        fitted.fit(panel, h=h, on_step=look_up)
    except _Stop:
        _refuse_to_go_on(clock, None, n_trials, storage)
    fitted.tuning_ = Tuning(
        records=tuple(records),
        trials=trials_table(records, plan.knobs),
        finalists=finalists,
        importance=pd.DataFrame(
            {"knob": list(importance), "importance": list(importance.values())}
        ),
        knobs=plan.knobs,
        number=chosen.number if chosen else None,
        params=params,
        own=plan.own,
        improved=params != plan.own,
        verdict=tell_verdict(records, finalists, chosen, plan.own),
        seconds=clock.spent(),
    )
    return fitted


def make_plan(
    model: ExpLSTM,
    panel: Panel,
    h: int,
    path: Path,
    n_windows: int = N_WINDOWS,
    step_size: int | None = None,
    space: Mapping[str, Any] | None = None,
) -> Plan:
    """Say what is tuned on what.

    Raises:
        UsageError: An argument that cannot be used, or a model that has seen the windows.
        DataError: Series too short for the windows.
    """
    h = check_horizon(h)
    seasons = (
        default_season_length(panel.freq)
        if model.season_length is None
        else check_season_lengths(model.season_length)
    )
    folds = cut_folds(panel, h, n_windows, step_size or h, seasons[0] if seasons else 1)
    model._refuse_seen(folds.search[0].past, True)
    model, knobs = make_space(model, space, folds.search[0].past)
    if not knobs:
        raise UsageError("SPACE_EMPTY", "space fixes everything; leave something to tune.")
    identity = {
        "data": fingerprint_panel(panel),
        "horizon": h,
        "windows": [n_windows, step_size or h],
        "model": repr(model),
        "space": {knob.name: knob.to_words() for knob in knobs},
    }
    return Plan(model, knobs, own_params(model, knobs), folds, h, path, identity)


# ------------------------------------------------------------------------------------- the search


def search(
    shared: SharedStudy, plan: Plan, n_trials: int, clock: Clock, on_trial: OnTrial | None = None
) -> None:
    """Run trials until the study holds enough of them and none is running, or it is time to stop.

    Raises:
        ExpLSTMError: The model as it is cannot be trained on these data.
    """
    while not clock.why_stop(_reserve(read_records(shared))):
        trial = claim_trial(shared, n_trials)
        if trial is not None:
            run_trial(shared, plan, trial, clock)
            if on_trial is not None:
                on_trial(read_records(shared)[trial.number])
        elif has_running(shared):  # another process may die, and leave its trial to this one
            time.sleep(WAIT_SECONDS)
        else:
            return


def run_trial(shared: SharedStudy, plan: Plan, trial: "Trial", clock: Clock) -> None:
    """Run one trial to its end, whatever that is, and tell the study."""
    started = time.monotonic()
    reserve = _reserve(read_records(shared))

    def look_up(_row: Any) -> None:
        # The first one must leave time for another training.
        if why := clock.why_stop(reserve or LONGER * (time.monotonic() - started)):
            raise _Stop(why)

    def report(part: int, error: float) -> None:
        if not math.isfinite(error) or report_value(trial, error, part):
            raise _Pruned(f"worse than the median of the others after part {part} of its training")

    def facts() -> tuple[float, int]:
        return round(time.monotonic() - started, 3), plan.seed

    try:
        model = with_params(plan.model, read_params(shared, trial))
        errors = train_and_score(model, plan.folds.search, plan.h, on_step=look_up, on_look=report)
    except _Pruned as reason:
        prune_trial(shared, trial, str(reason), *facts())
    except _Stop as reason:
        give_back_trial(shared, trial, str(reason))
    except ExpLSTMError as error:
        if is_own(trial) and not isinstance(error, TrainingError):
            give_back_trial(shared, trial, str(error))
            raise
        fail_trial(shared, trial, str(error), *facts())
    except BaseException as error:
        give_back_trial(shared, trial, f"{type(error).__name__}: {error}")
        raise
    else:
        settle_trial(shared, trial, [error_N.mean() for error_N in errors], *facts())


def _reserve(records: Sequence[TrialRecord]) -> float:
    """Seconds that are needed after the search: for the finalists, and for the last training."""
    own = [r for r in records if r.number == own_number(records)]
    rivals = best_trials(records)
    if not own:
        return 0.0
    trainings = [r.seconds or 0.0 for r in (*own, *rivals)]
    return LONGER * ((sum(trainings) if rivals else 0.0) + max(trainings))


def _judge_on_final(plan: Plan, clock: Clock) -> Judge:
    """How finalists are judged: trained before the final window, and scored on it."""

    def judge(record: TrialRecord) -> FloatArray | None:
        def look_up(_row: Any) -> None:
            if why := clock.why_stop(LONGER * (record.seconds or 0.0)):
                raise _Stop(why)

        model = with_params(plan.model, record.params)
        try:
            return train_and_score(model, [plan.folds.final], plan.h, on_step=look_up)[0]
        except (_Stop, TrainingError):
            return None

    return judge


# ------------------------------------------------------------------------------- processes, places


def _open(plan: Plan) -> Any:
    return open_study(plan.path, plan.knobs, plan.own, plan.identity, plan.seed)


@contextmanager
def _helped(plan: Plan, n_trials: int, clock: Clock, n_helpers: int) -> Iterator[None]:
    """Have other processes search too while the block runs."""
    context = get_context("spawn")
    left = None if clock.timeout is None else clock.timeout - clock.spent()
    helpers: list[BaseProcess] = [
        context.Process(target=_help, args=(plan, n_trials, left), daemon=True)
        for _ in range(n_helpers)
    ]
    threads = {name: os.environ.get(name) for name in THREADS} if helpers else {}
    os.environ.update(dict.fromkeys(threads, "1"))
    try:
        for helper in helpers:
            helper.start()
    finally:
        for name, value in threads.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    try:
        yield
        for helper in helpers:
            helper.join(timeout=5)
            if helper.exitcode not in (0, None):
                warnings.warn(
                    f"a process of the search ended with code {helper.exitcode}; its trial was "
                    "taken over.",
                    stacklevel=2,
                )
    finally:
        for helper in helpers:
            helper.terminate()
            helper.join()


def _help(plan: Plan, n_trials: int, timeout: float | None) -> None:
    import signal

    # The process that started this one ends it; both would answer Ctrl-C otherwise.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with _open(plan) as shared:
        search(shared, plan, n_trials, Clock(timeout))


@contextmanager
def _find_path(storage: str | Path | None) -> Iterator[Path]:
    """The file of the study; without one it is gone afterwards."""
    if storage is not None:
        yield storage_path(storage)
        return
    with tempfile.TemporaryDirectory(prefix="explstm-tune-", ignore_cleanup_errors=True) as folder:
        yield Path(folder) / "tune.db"


def _refuse_to_go_on(
    clock: Clock, shared: SharedStudy | None, n_trials: int, storage: str | Path | None
) -> None:
    """End after a signal.

    Raises:
        TrainingStopped: There was one.
    """
    if clock.interruption.signal is None:
        return
    where = "when all trials were done"
    if shared is not None:
        states = [record.state for record in read_records(shared)]
        settled = sum(state in SETTLED for state in states)
        where = f"after {settled} of {n_trials} trials"
    kept = "nothing is kept without a storage"
    if storage is not None:
        kept = f"they are kept in {storage_path(storage)}, run it again to go on"
    raise clock.interruption.to_stop(where, kept)


def _check_arguments(model: ExpLSTM, n_trials: int, timeout: float | None, workers: int) -> None:
    for name, value in (("n_trials", n_trials), ("workers", workers)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise UsageError(
                "TUNE_RANGE", f"{name}={value!r} is not a whole number from 1; pass such a one."
            )
    if timeout is not None and not timeout > 0:
        raise UsageError("TUNE_RANGE", f"timeout={timeout!r} is no time; pass seconds above 0.")
    if model.backend not in TRAINABLE_BACKENDS:
        raise UsageError(
            "BACKEND_CANNOT_TRAIN",
            f"backend={model.backend!r} only forecasts; set backend='torch' or 'tensorflow'.",
        )
    require_engine(model.backend)

"""The search of a tuning: trials from a shared study, in one process or several, until it is time.

Contract: a process claims trials, trains and judges them on the windows of the plan, and tells the
study how each ended. It looks at the clock after every training step, and stops early enough for
what comes after the search.

Axes: N series.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, Literal

from explstm.apart import one_thread
from explstm.calendar import default_season_length
from explstm.errors import (
    ExpLSTMError,
    ModelFileError,
    TrainingError,
    TrainingStopped,
    UsageError,
)
from explstm.finalists import (
    Judge,
    best_trials,
    own_number,
)
from explstm.fingerprint import fingerprint_panel
from explstm.forecaster import ExpLSTM
from explstm.interruption import Interruption
from explstm.objective import Fold, Folds, cut_folds, train_and_score
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
    open_study,
    prune_trial,
    read_params,
    read_records,
    report_value,
    settle_trial,
)
from explstm.study_storage import Address

if TYPE_CHECKING:
    from optuna import Trial

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


class Stop(Exception):  # noqa: N818 - no error
    """Leaves a training that is to go on another time."""


class _Pruned(Exception):  # noqa: N818 - no error
    """Leaves a training that is worse than most at the same point."""


@dataclass(frozen=True)
class Ending:
    """How the training of a trial ended.

    Attributes:
        state: ``"stopped"`` where it is to go on another time.
        seconds: Time that it took.
        windows: Error in each window, where complete.
        reason: Why it is not complete.
        error: What was raised, where it failed.
    """

    state: Literal["complete", "pruned", "failed", "stopped"]
    seconds: float
    windows: tuple[float, ...] = ()
    reason: str = ""
    error: ExpLSTMError | None = None


@dataclass(frozen=True)
class Plan:
    """What is tuned on what: all that a process needs to take part in the search.

    Attributes:
        model: The model as it is.
        knobs: What is varied.
        own: Its own values.
        folds: The windows.
        h: Their steps.
        address: Where the study lies.
        identity: What must be the same for trials to be comparable.
    """

    model: ExpLSTM
    knobs: tuple[Knob, ...]
    own: Params
    folds: Folds
    h: int
    address: Address
    identity: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """Of the sampler and of every training."""
        return self.model.random_seed


def make_plan(
    model: ExpLSTM,
    panel: Panel,
    h: int,
    address: Address,
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
    return Plan(model, knobs, own_params(model, knobs), folds, h, address, identity)


def search(
    shared: SharedStudy, plan: Plan, n_trials: int, clock: Clock, on_trial: OnTrial | None = None
) -> None:
    """Run trials until the study holds enough of them and none is running, or it is time to stop.

    Raises:
        ExpLSTMError: The model as it is cannot be trained on these data.
    """
    while not clock.why_stop(reserve_time(read_records(shared))):
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
    """Run one trial to its end, whatever that is, and tell the study.

    Raises:
        ExpLSTMError: As :func:`tell_ending`.
    """
    reserve = reserve_time(read_records(shared))
    try:
        ending = train_trial(
            plan.model,
            read_params(shared, trial),
            plan.folds.search,
            plan.h,
            # The first one must leave time for another training.
            why_stop=lambda spent: clock.why_stop(reserve or LONGER * spent),
            is_worse=lambda part, error: report_value(trial, error, part),
        )
    except BaseException as error:
        give_back_trial(shared, trial, f"{type(error).__name__}: {error}")
        raise
    tell_ending(shared, trial, ending, plan.seed)


def train_trial(
    model: ExpLSTM,
    params: Params,
    windows: Sequence[Fold],
    h: int,
    *,
    why_stop: Callable[[float], str],
    is_worse: Callable[[int, float], bool],
    **checkpoints: Any,
) -> Ending:
    """Train and judge a model with other parameters; no study is asked or told.

    Args:
        model: The model as it is.
        params: Its values for knobs.
        windows: Windows to judge it on, oldest first.
        h: Their steps.
        why_stop: Called after every step with the seconds spent; why to stop, empty to go on.
        is_worse: Called after each part with its number and a finite error; whether to give up.
        checkpoints: ``checkpoint_dir`` and ``resume`` of :meth:`ExpLSTM.fit`.
    """
    started = time.monotonic()

    def look_up(_row: Any) -> None:
        if why := why_stop(time.monotonic() - started):
            raise Stop(why)

    def report(part: int, error: float) -> None:
        if not math.isfinite(error) or is_worse(part, error):
            raise _Pruned(f"worse than the median of the others after part {part} of its training")

    def end(state: Any, **facts: Any) -> Ending:
        return Ending(state, round(time.monotonic() - started, 3), **facts)

    try:
        tried = with_params(model, params)
        errors = train_and_score(
            tried, windows, h, on_step=look_up, on_look=report, checkpoints=checkpoints
        )
    except _Pruned as reason:
        return end("pruned", reason=str(reason))
    except (Stop, TrainingStopped) as reason:
        return end("stopped", reason=str(reason))
    except ExpLSTMError as error:
        return end("failed", reason=str(error), error=error)
    return end("complete", windows=tuple(float(error_N.mean()) for error_N in errors))


def tell_ending(shared: SharedStudy, trial: "Trial", ending: Ending, seed: int) -> None:
    """Tell the study how a trial ended.

    Raises:
        ExpLSTMError: The model as it is cannot be trained on these data, or files of a model or a
            checkpoint cannot be used; the trial is given back.
    """
    error = ending.error
    whoever = isinstance(error, ModelFileError)  # the fault is not that of these parameters
    if error is not None and (whoever or (is_own(trial) and not isinstance(error, TrainingError))):
        give_back_trial(shared, trial, ending.reason)
        raise error
    if ending.state == "complete":
        settle_trial(shared, trial, ending.windows, ending.seconds, seed)
    elif ending.state == "pruned":
        prune_trial(shared, trial, ending.reason, ending.seconds, seed)
    elif ending.state == "failed":
        fail_trial(shared, trial, ending.reason, ending.seconds, seed)
    else:
        give_back_trial(shared, trial, ending.reason)


def reserve_time(records: Sequence[TrialRecord]) -> float:
    """Seconds that are needed after the search: for the finalists, and for the last training."""
    own = [r for r in records if r.number == own_number(records)]
    rivals = best_trials(records)
    if not own:
        return 0.0
    trainings = [r.seconds or 0.0 for r in (*own, *rivals)]
    return LONGER * ((sum(trainings) if rivals else 0.0) + max(trainings))


def judge_on_final(plan: Plan, clock: Clock) -> Judge:
    """How finalists are judged: trained before the final window, and scored on it."""

    def judge(record: TrialRecord) -> FloatArray | None:
        def look_up(_row: Any) -> None:
            if why := clock.why_stop(LONGER * (record.seconds or 0.0)):
                raise Stop(why)

        model = with_params(plan.model, record.params)
        try:
            return train_and_score(model, [plan.folds.final], plan.h, on_step=look_up)[0]
        except (Stop, TrainingError):
            return None

    return judge


def open_plan(plan: Plan) -> Any:
    """The study of a plan, made or joined; see :func:`explstm.study.open_study`."""
    return open_study(plan.address, plan.knobs, plan.own, plan.identity, plan.seed)


@contextmanager
def join_helpers(plan: Plan, n_trials: int, clock: Clock, n_helpers: int) -> Iterator[None]:
    """Have other processes search too while the block runs."""
    context = get_context("spawn")
    left = None if clock.timeout is None else clock.timeout - clock.spent()
    helpers: list[BaseProcess] = [
        context.Process(target=_help, args=(plan, n_trials, left), daemon=True)
        for _ in range(n_helpers)
    ]
    with one_thread():
        for helper in helpers:
            helper.start()
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
    with open_plan(plan) as shared:
        search(shared, plan, n_trials, Clock(timeout))

"""Tuning: a search over what may be changed of a model, and a check that the find is no luck.

Contract: the first trial is the model as it is. The search judges trials on rolling windows before
the last horizon (:mod:`explstm.objective`). The best of many trials looks better than it is, so the
best few and the model as it is are trained again, on everything before the last horizon, and judged
there, where the search has not looked: the model is only changed for parameters that are better by
more than one standard error of the mean difference over series. What is chosen is trained on all
data. Nothing looks beyond the data given.

Trials share one study (:mod:`explstm.study`); all train with the model's own seed, so that they
differ by their parameters only. Where there is a time limit the search ends early enough for what
comes after it.

Source: the rule of one standard error: Breiman, Friedman, Olshen & Stone (1984), section 3.4.3; why
the best of many disappoints: Cawley & Talbot (2010), On over-fitting in model selection, JMLR 11.

Axes: N series, A candidates.
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

from explstm.calendar import default_season_length
from explstm.errors import ExpLSTMError, TrainingError, UsageError
from explstm.finetuning import pick_simplest
from explstm.fingerprint import fingerprint_panel
from explstm.forecaster import TRAINABLE_BACKENDS, ExpLSTM
from explstm.frame import Fill, build_panel
from explstm.interruption import Interruption
from explstm.objective import Folds, cut_folds, train_and_score
from explstm.panel import Panel
from explstm.prediction import check_horizon
from explstm.ragged import FloatArray
from explstm.search_space import Knob, Params, make_space, own_params, show_value, with_params
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
from explstm.trial import THREADS, require_engine

if TYPE_CHECKING:
    from optuna import Trial

N_TRIALS = 20
N_WINDOWS = 2
FINALISTS = 3
"""Trials that are judged on the final window beside the model as it is."""
LONGER = 1.3
"""How much longer a training on all data may take than one before the windows."""
WAIT_SECONDS = 0.2
OnTrial = Callable[[TrialRecord], None]


@dataclass(frozen=True)
class Tuning:
    """What a tuning found.

    Attributes:
        records: Every trial.
        trials: The same as a table: number, state, value, one column per window, one per knob,
            seconds, seed, worker, retry_of, reason.
        finalists: number, value (in the search), error (in the final window), and the mean
            difference to the model as it is with its standard error, both missing for itself.
        importance: knob, importance; empty where too few trials tell.
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
            finalists, chosen = choose_finalist(plan, read_records(shared), clock)
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
        trials=to_table(records, plan.knobs),
        finalists=finalists,
        importance=pd.DataFrame(
            {"knob": list(importance), "importance": list(importance.values())}
        ),
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
    own = [r for r in records if r.number == _own_number(records)]
    rivals = _best(records)
    if not own:
        return 0.0
    trainings = [r.seconds or 0.0 for r in (*own, *rivals)]
    return LONGER * ((sum(trainings) if rivals else 0.0) + max(trainings))


def _own_number(records: Sequence[TrialRecord]) -> int | None:
    """The complete trial with the model's own parameters: the first one, or what continued it."""
    number: int | None = 0
    while number is not None and number < len(records) and records[number].state == "requeued":
        number = next((r.number for r in records if r.retry_of == number), None)
    found = number is not None and number < len(records) and records[number].state == "complete"
    return number if found else None


def _best(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The best trials of the search, as far as they are better than the model as it is."""
    own = _own_number(records)
    limit = math.inf if own is None else records[own].value or 0.0
    better = [r for r in records if r.state == "complete" and r.number != own]
    better = [r for r in better if r.value is not None and r.value < limit]
    return sorted(better, key=lambda r: (r.value, r.number))[:FINALISTS]


# ------------------------------------------------------------------------------------- the choice


def choose_finalist(
    plan: Plan, records: Sequence[TrialRecord], clock: Clock
) -> tuple[pd.DataFrame, TrialRecord | None]:
    """Judge the best trials on the final window, beside the model as it is.

    Returns:
        What :class:`Tuning` says of them, and the trial chosen: the simplest one within one
        standard error of the best, where the model as it is is simpler than any other.
    """
    own = _own_number(records)
    rivals = _best(records)
    start = [] if own is None else [records[own]]
    errors: dict[int, FloatArray] = {}
    for record in (*start, *rivals) if rivals else ():
        reserve = LONGER * max(r.seconds or 0.0 for r in (*start, *rivals))
        try:
            errors[record.number] = _judge(plan, record.params, clock, reserve)
        except TrainingError:
            continue
        except _Stop:
            break
    candidates = [r for r in (*start, *rivals) if r.number in errors]
    is_told = start == candidates[:1] and len(candidates) > 1
    chosen = start[0] if start else None
    if is_told or (candidates and not start):
        errors_AN1 = np.array([errors[r.number] for r in candidates])[:, :, None]
        chosen = candidates[pick_simplest(errors_AN1)]
    return _compare(candidates, errors, own), chosen


def _judge(plan: Plan, params: Params, clock: Clock, reserve: float) -> FloatArray:
    def look_up(_row: Any) -> None:
        if why := clock.why_stop(reserve):
            raise _Stop(why)

    model = with_params(plan.model, params)
    (errors_N,) = train_and_score(model, [plan.folds.final], plan.h, on_step=look_up)
    return errors_N


def _compare(
    candidates: Sequence[TrialRecord], errors: Mapping[int, FloatArray], own: int | None
) -> pd.DataFrame:
    rows = []
    for record in candidates:
        error_N = errors[record.number]
        row = {"number": record.number, "value": record.value, "error": float(error_N.mean())}
        if own in errors and record.number != own:
            worse_N = error_N - errors[own]
            spread = float(worse_N.std() / math.sqrt(len(worse_N)))
            row |= {"difference": float(worse_N.mean()), "standard_error": spread}
        rows.append(row)
    columns = ["number", "value", "error", "difference", "standard_error"]
    return pd.DataFrame(rows, columns=columns)


def tell_verdict(
    records: Sequence[TrialRecord],
    finalists: pd.DataFrame,
    chosen: TrialRecord | None,
    own: Params,
) -> str:
    """What was found, in one sentence."""
    settled = sum(r.state in ("complete", "pruned", "failed") for r in records)
    if chosen is None:
        return "No trial came to an end; the model stays as it is."
    start = f"{settled} trials: the model stays as it is, for "
    first = _own_number(records)
    if chosen.number == first:
        if not _best(records):
            return start + "none was better in the search."
        if len(finalists) < 2:
            return start + "there was no time to judge the best on the final window."
        return start + (
            "on the final window, which the search did not see, none was better by more than one "
            "standard error."
        )
    changed = ", ".join(
        f"{name}={show_value(value)}" for name, value in chosen.params.items() if value != own[name]
    )
    errors, gain = finalists.set_index("number")["error"], ""
    if first in errors.index:
        share = 1 - errors[chosen.number] / errors[first]
        gain = f", {share:.1%} below the model as it was on the final window, which the search did "
        gain += "not see"
    return f"{settled} trials: {changed} (trial {chosen.number}){gain}."


def to_table(records: Sequence[TrialRecord], knobs: Sequence[Knob]) -> pd.DataFrame:
    """The record of every trial, as :class:`Tuning` says."""
    n_windows = max((len(record.windows) for record in records), default=0)
    rows, shown = [], {knob.name for knob in knobs if knob.choices}
    for r in records:
        windows = {f"window_{w + 1}": error for w, error in enumerate(r.windows)}
        values = {knob.name: r.params.get(knob.name) for knob in knobs}
        texts = {
            name: show_value(value) if name in shown else value for name, value in values.items()
        }
        row = {"number": r.number, "state": r.state, "value": r.value, **windows, **texts}
        more = {"seconds": r.seconds, "seed": r.seed, "worker": r.worker}
        rows.append({**row, **more, "retry_of": r.retry_of, "reason": r.reason})
    windows_W = [f"window_{w + 1}" for w in range(n_windows)]
    names = [knob.name for knob in knobs]
    ends = ["seconds", "seed", "worker", "retry_of", "reason"]
    table = pd.DataFrame(rows, columns=["number", "state", "value", *windows_W, *names, *ends])
    return table.astype({"retry_of": "Int64", "seed": "Int64"})


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
        settled = sum(state in ("complete", "pruned", "failed") for state in states)
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

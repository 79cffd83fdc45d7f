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

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from explstm.config import check_whole
from explstm.errors import UsageError
from explstm.finalists import (
    SETTLED,
    choose_finalist,
    tell_verdict,
)
from explstm.forecaster import ExpLSTM, refuse_untrainable
from explstm.frame import Fill, as_panel
from explstm.interruption import Interruption
from explstm.search import (
    N_WINDOWS,
    Clock,
    OnTrial,
    Plan,
    Stop,
    join_helpers,
    judge_on_final,
    make_plan,
    open_plan,
    search,
)
from explstm.search_space import Knob, Params, with_params
from explstm.study import (
    SharedStudy,
    TrialRecord,
    measure_importance,
    read_records,
)
from explstm.study_storage import Address, parse_storage
from explstm.trial import require_engine
from explstm.tuning_facts import trials_table

N_TRIALS = 20
Searcher = Callable[[SharedStudy, Plan, int, Clock], None]
"""Runs trials until the study holds as many as asked for, or it is time to stop."""


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
    searcher: Searcher | None = None,
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
        storage: Where the study lies: an SQLite file, ``sqlite:///tune.db`` or a path, or a
            PostgreSQL database, ``postgresql://user@host/database``.
        n_windows: Windows of the search.
        step_size: Steps between these; by default the horizon.
        space: Changes of the space, see :func:`explstm.search_space.make_space`.
        workers: Processes that search. Only with one does the same seed give the same trials.
        searcher: Who runs the trials instead, see :func:`explstm.scaleout.tune`.
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
    panel = as_panel(df, freq=model.freq, fill=fill, **names)
    with _find_address(storage) as address:
        plan = make_plan(model, panel, h, address, n_windows, step_size or h, space)
        with open_plan(plan) as shared:
            if searcher is None:
                with join_helpers(plan, n_trials, clock, workers - 1):
                    search(shared, plan, n_trials, clock, on_trial)
            else:
                searcher(shared, plan, n_trials, clock)
            _refuse_to_go_on(clock, shared, n_trials, storage)
            finalists, chosen = choose_finalist(read_records(shared), judge_on_final(plan, clock))
            _refuse_to_go_on(clock, shared, n_trials, storage)
            records, importance = read_records(shared), measure_importance(shared)
    params = plan.own if chosen is None else chosen.params
    fitted = with_params(plan.model, params)

    def look_up(_row: Any) -> None:
        if clock.interruption.signal is not None:
            raise Stop

    try:
        fitted.fit(panel, h=h, on_step=look_up)
    except Stop:
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


@contextmanager
def _find_address(storage: str | Path | None) -> Iterator[Address]:
    """Where the study lies; without a storage it is gone afterwards."""
    if storage is not None:
        yield parse_storage(storage)
        return
    with tempfile.TemporaryDirectory(prefix="explstm-tune-", ignore_cleanup_errors=True) as folder:
        yield parse_storage(Path(folder) / "tune.db")


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
        kept = f"they are kept in {parse_storage(storage).shown}, run it again to go on"
    raise clock.interruption.to_stop(where, kept)


def _check_arguments(model: ExpLSTM, n_trials: int, timeout: float | None, workers: int) -> None:
    for name, value in (("n_trials", n_trials), ("workers", workers)):
        check_whole("TUNE_RANGE", name, value)
    if timeout is not None and not timeout > 0:
        raise UsageError("TUNE_RANGE", f"timeout={timeout!r} is no time; pass seconds above 0.")
    refuse_untrainable(model.backend)
    require_engine(model.backend)

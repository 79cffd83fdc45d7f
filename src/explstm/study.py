"""One Optuna study that several processes work on, and any of them may die at any moment.

Contract: every trial is *settled* once (complete, pruned, or failed with a reason) or goes back to
the queue with the parameters it had. A trial whose process has ended is failed and queued again by
the next process that looks, once; one whose process lives is left alone, however slow it is.

How: the study is an SQLite file. A process holds a lock of the operating system beside it as long
as it lives, so that whether it lives is never guessed from clocks. Trials are claimed, and lost
ones found, by one process at a time, under another such lock: a running trial that names no
process was therefore claimed by one that died while claiming it. A lost trial is queued before it
is failed, and its successor names it, so that a death between the two repeats nothing.

Optuna leaves trials of dead processes running, and takes an infinite value as a result; values told
here are finite.

Sources: Akiba, Sano, Yanase, Ohta & Koyama (2019), Optuna, KDD; the sampler is the tree-structured
Parzen estimator of Bergstra, Bardenet, Bengio & Kégl (2011), NIPS 24, section 4; running trials
count as bad ones (constant liar: Ginsbourger, Le Riche & Carraro 2010); trials are pruned by the
median rule of Golovin et al. (2017), Google Vizier, KDD, section 3.2.1.
"""

import glob
import math
import sqlite3
import time
import uuid
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explstm.errors import BackendNotInstalledError, BusyError, UsageError
from explstm.search_space import Knob, Params
from explstm.storage import hold_lock

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

NAME = "explstm"
URL = "sqlite:///"
BUSY_SECONDS = 60
POLL_SECONDS = 0.02
MOST_DEATHS = 3
"""Processes that may die with a trial before it counts as failed."""
RANDOM_TRIALS = 8
"""Settled trials before the sampler looks at what they showed."""
UNPRUNED_TRIALS = 5
"""Complete trials before the first one is pruned."""


@dataclass(frozen=True)
class SharedStudy:
    """A study as one process sees it.

    Attributes:
        study: The study.
        path: Its file.
        worker: Name of this process.
        knobs: What is varied.
        seed: Of the sampler.
    """

    study: "Study"
    path: Path
    worker: str
    knobs: tuple[Knob, ...]
    seed: int


@dataclass(frozen=True)
class TrialRecord:
    """What is known of a trial.

    Attributes:
        number: Position in the study.
        state: ``"complete"``, ``"pruned"``, ``"failed"``, ``"requeued"`` (its process ended or was
            stopped; another trial continues it), ``"running"`` or ``"waiting"``.
        value: The objective, or where it was pruned the last value seen.
        windows: Error in each window, where complete.
        params: A value for every knob.
        seconds: Time that it took.
        worker: The process.
        seed: Of the training.
        retry_of: The trial it continues.
        reason: Why it failed, was pruned or requeued.
    """

    number: int
    state: str
    value: float | None
    windows: tuple[float, ...]
    params: Params = field(hash=False)
    seconds: float | None
    worker: str
    seed: int | None
    retry_of: int | None
    reason: str


def storage_path(storage: str | Path) -> Path:
    """The file of a study: ``sqlite:///tune.db``, or a path.

    Raises:
        UsageError: Another kind of database.
    """
    text = str(storage)
    if text.startswith(URL) and len(text) > len(URL):
        return Path(text.removeprefix(URL))
    if "://" in text or not text:
        raise UsageError(
            "STUDY_STORAGE",
            f"--storage {text} is no SQLite file, which is what processes share here; "
            "write for example sqlite:///tune.db.",
        )
    return Path(text)


@contextmanager
def open_study(
    path: Path,
    knobs: Sequence[Knob],
    own: Params,
    identity: Mapping[str, Any],
    seed: int,
) -> Iterator[SharedStudy]:
    """Make a study or join it; its first trial has the model's own parameters.

    Args:
        path: The SQLite file; it is made where there is none.
        knobs: What is varied.
        own: The model's own values.
        identity: What must be the same for trials to be comparable.
        seed: Of the sampler.

    Raises:
        UsageError: The file holds a study of something else, or cannot be used; also where that
            is so within the block only.
        BackendNotInstalledError: Optuna is not installed.
    """
    optuna = _import_optuna()
    worker = uuid.uuid4().hex[:12]
    _refuse_place(path)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with ExitStack() as held:
        held.callback(optuna.logging.set_verbosity, verbosity)
        try:
            with _alone(path):
                _forget_dead(path)
                held.enter_context(hold_lock(_worker_path(path, worker)))
                study = _load_or_create(optuna, path)
                held.callback(study._storage.remove_session)
                _check_identity(study, identity, path)
                if not study.get_trials(deepcopy=False):
                    study.enqueue_trial(_encode(own), user_attrs={"own": True})
            yield SharedStudy(study, path, worker, tuple(knobs), seed)
        except _database_errors(optuna) as error:
            raise _refuse_database(path, error) from None


def claim_trial(shared: SharedStudy, n_trials: int) -> "Trial | None":
    """Take the next trial, those that dead processes left behind first.

    Args:
        shared: The study.
        n_trials: How many trials it shall have settled in the end.

    Returns:
        A trial with all its parameters; None where as many are settled or running.
    """
    optuna = _import_optuna()
    with _alone(shared.path):
        _requeue_lost(shared)
        trials = shared.study.get_trials(deepcopy=False)
        retried = _find_retried(trials)
        busy = sum(
            trial.number not in retried and trial.state.name != "WAITING" for trial in trials
        )
        if busy >= n_trials:
            return None
        trial = shared.study.ask()
        # Drawn anew after a death, or in another order, it is the same draw.
        draw = _count_draws(shared.study.get_trials(deepcopy=False), trial.number)
        shared.study.sampler = optuna.samplers.TPESampler(
            seed=zlib.crc32(f"{shared.seed} {draw}".encode()),
            n_startup_trials=RANDOM_TRIALS,
            constant_liar=True,
        )
        for knob in shared.knobs:
            _suggest(trial, knob)
        trial.set_user_attr("worker", shared.worker)
    return trial


def read_params(shared: SharedStudy, trial: "Trial | FrozenTrial") -> Params:
    """The parameters of a trial, as the model takes them."""
    return _decode(shared.knobs, trial.params)


def is_own(trial: "Trial | FrozenTrial") -> bool:
    """Whether a trial has the model's own parameters by design; it is never pruned."""
    return bool(trial.user_attrs.get("own"))


def report_value(trial: "Trial", value: float, step: int) -> bool:
    """Note what a trial is worth so far; whether it should be pruned."""
    trial.report(value, step)
    return not is_own(trial) and trial.should_prune()


def settle_trial(
    shared: SharedStudy, trial: "Trial", windows: Sequence[float], seconds: float, seed: int
) -> None:
    """Tell the result of a trial: the mean error of its windows. One not finite is a failure."""
    value = math.fsum(windows) / len(windows)
    if not math.isfinite(value):
        fail_trial(shared, trial, f"the error is {value:g}", seconds, seed)
        return
    _note(trial, windows=[float(error) for error in windows], seconds=seconds, seed=seed)
    shared.study.tell(trial, value)


def prune_trial(
    shared: SharedStudy, trial: "Trial", reason: str, seconds: float, seed: int
) -> None:
    """Tell that a trial was given up, for it was worse than the median of the others."""
    optuna = _import_optuna()
    _note(trial, reason=reason, seconds=seconds, seed=seed)
    shared.study.tell(trial, state=optuna.trial.TrialState.PRUNED)


def fail_trial(shared: SharedStudy, trial: "Trial", reason: str, seconds: float, seed: int) -> None:
    """Tell that a trial has no result, and why."""
    optuna = _import_optuna()
    _note(trial, reason=reason, seconds=seconds, seed=seed)
    shared.study.tell(trial, state=optuna.trial.TrialState.FAIL)


def give_back_trial(shared: SharedStudy, trial: "Trial", reason: str) -> None:
    """Put a trial that was stopped back into the queue."""
    _note(trial, reason=reason)
    with _alone(shared.path):
        found = shared.study.get_trials(deepcopy=False)[trial.number]
        _requeue(shared.study, found, deaths=_deaths(found))


def has_running(shared: SharedStudy) -> bool:
    """Whether some process still works on a trial."""
    return any(trial.state.name == "RUNNING" for trial in shared.study.get_trials(deepcopy=False))


def read_records(shared: SharedStudy) -> list[TrialRecord]:
    """All trials in order."""
    trials = shared.study.get_trials(deepcopy=False)
    retried = _find_retried(trials)
    return [_to_record(shared.knobs, trial, trial.number in retried) for trial in trials]


def measure_importance(shared: SharedStudy) -> dict[str, float]:
    """How much of the objective's variation goes with each knob; empty where too few trials tell.

    Source: Watanabe, Bansal & Hutter (2023), PED-ANOVA, IJCAI, section 4.
    """
    optuna = _import_optuna()
    values = {
        trial.value
        for trial in shared.study.get_trials(deepcopy=False)
        if trial.state.name == "COMPLETE"
    }
    if len(values) < 4 or len(shared.knobs) < 2:  # its best quarter holds a trial then
        return {}
    found = optuna.importance.get_param_importances(shared.study)
    return {name: float(share) for name, share in found.items()}


# ------------------------------------------------------------------------------------ lost trials


def _requeue_lost(shared: SharedStudy) -> None:
    """Fail the trials of dead processes and queue them again; only while others keep out."""
    alive: dict[str, bool] = {shared.worker: True}
    for trial in shared.study.get_trials(deepcopy=False):
        if trial.state.name != "RUNNING":
            continue
        worker = trial.user_attrs.get("worker")
        if worker is not None and worker not in alive:
            alive[worker] = _is_alive(shared.path, worker)
        if worker is None or not alive[worker]:
            _requeue(shared.study, trial, deaths=_deaths(trial) + 1)


def _requeue(study: "Study", trial: "FrozenTrial", deaths: int) -> None:
    optuna = _import_optuna()
    retried = _find_retried(study.get_trials(deepcopy=False))
    if trial.number not in retried and deaths < MOST_DEATHS:
        kept = {name: trial.user_attrs[name] for name in ("own",) if name in trial.user_attrs}
        study.enqueue_trial(
            _promised(trial),
            user_attrs={**kept, "retry_of": trial.number, "deaths": deaths},
        )
    study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def _promised(trial: "FrozenTrial") -> Params:
    """Its parameters; of one that died before it had them all, only those that it was queued with.

    The others are drawn again from the beginning: some kept and some drawn would be a third draw.
    """
    return (
        trial.params if "worker" in trial.user_attrs else trial.system_attrs.get("fixed_params", {})
    )


def _deaths(trial: "FrozenTrial") -> int:
    return int(trial.user_attrs.get("deaths", 0))


def _find_retried(trials: Sequence["FrozenTrial"]) -> set[int]:
    return {trial.user_attrs["retry_of"] for trial in trials if "retry_of" in trial.user_attrs}


def _count_draws(trials: Sequence["FrozenTrial"], number: int) -> int:
    """How many trials were drawn before a trial, or before the one that it continues."""
    while "retry_of" in trials[number].user_attrs:
        number = trials[number].user_attrs["retry_of"]
    return sum("retry_of" not in trial.user_attrs for trial in trials[:number])


def _is_alive(path: Path, worker: str) -> bool:
    try:
        with hold_lock(_worker_path(path, worker)):
            return False
    except BusyError:
        return True


def _forget_dead(path: Path) -> None:
    """Remove the locks that killed processes left behind; only while others keep out."""
    for lock in path.parent.glob(f".{glob.escape(path.name)}.worker-*.lock"):
        _is_alive(path, lock.name.rpartition("worker-")[2].removesuffix(".lock"))


def _worker_path(path: Path, worker: str) -> Path:
    return path.with_name(f"{path.name}.worker-{worker}")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait for the others to leave, then keep them out."""
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(hold_lock(path.with_name(f"{path.name}.claim")))
                break
            except BusyError:
                time.sleep(POLL_SECONDS)
        yield


# -------------------------------------------------------------------------------------- the study


def _import_optuna() -> Any:
    try:
        with warnings.catch_warnings():  # of bars in notebooks, which are not drawn here
            warnings.filterwarnings("ignore", "IProgress not found")
            import optuna
    except ModuleNotFoundError:
        raise BackendNotInstalledError(
            "TUNE_NOT_INSTALLED",
            "tuning needs optuna, which is not installed; run pip install 'explstm[tune]'.",
        ) from None
    return optuna


def _refuse_place(path: Path) -> None:
    if not path.parent.is_dir() or path.is_dir():
        raise UsageError(
            "STUDY_UNREADABLE",
            f"--storage {path} lies in no folder, or is one; give a file in a folder that exists.",
        )


def _database_errors(optuna: Any) -> tuple[type[Exception], ...]:
    from sqlalchemy.exc import SQLAlchemyError

    return sqlite3.Error, SQLAlchemyError, optuna.exceptions.StorageInternalError


def _refuse_database(path: Path, error: BaseException) -> UsageError:
    """What the database said; the libraries around it have wrapped that."""
    while error.__cause__ is not None:
        error = error.__cause__
    said = str(error).splitlines()[0]
    if any(words in said for words in ("disk is full", "disk I/O", "readonly")):
        return UsageError(
            "STUDY_UNWRITABLE",
            f"--storage {path} cannot be written ({said}); make space, or choose a file that you "
            "may write, and run again: the trials that were settled are kept.",
        )
    return UsageError(
        "STUDY_UNREADABLE",
        f"--storage {path} is no study that can be used ({said}); use another file.",
    )


def _load_or_create(optuna: Any, path: Path) -> "Study":
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        connection.execute("PRAGMA journal_mode=WAL")  # readers and a writer get along
    finally:
        connection.close()
    storage = optuna.storages.RDBStorage(
        f"{URL}{path}", engine_kwargs={"connect_args": {"timeout": BUSY_SECONDS}}
    )
    return optuna.create_study(
        storage=storage,
        study_name=NAME,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED_TRIALS),
        load_if_exists=True,
    )


def _check_identity(study: "Study", identity: Mapping[str, Any], path: Path) -> None:
    found = study.user_attrs.get("identity")
    if found is None:
        study.set_user_attr("identity", dict(identity))
        return
    changed = sorted(name for name in {*found, *identity} if found.get(name) != identity.get(name))
    if changed:
        raise UsageError(
            "STUDY_OTHER",
            f"--storage {path} holds the tuning of something else (other {', '.join(changed)}); "
            "use another file, or tune what it was made for.",
        )


def _suggest(trial: "Trial", knob: Knob) -> None:
    if knob.choices:
        trial.suggest_categorical(knob.name, [_to_plain(choice) for choice in knob.choices])
    elif isinstance(knob.low, int):
        trial.suggest_int(knob.name, knob.low, int(knob.high), log=knob.log)
    else:
        trial.suggest_float(knob.name, knob.low, knob.high, log=knob.log)


def _to_plain(value: Any) -> Any:
    """A choice as databases take it: sizes become text."""
    return str(list(value)) if isinstance(value, tuple) else value


def _encode(params: Params) -> Params:
    return {name: _to_plain(value) for name, value in params.items()}


def _decode(knobs: Sequence[Knob], params: Mapping[str, Any]) -> Params:
    values = {knob.name: {_to_plain(c): c for c in knob.choices} for knob in knobs}
    return {name: values[name].get(value, value) for name, value in params.items()}


def _note(trial: "Trial", **facts: Any) -> None:
    for name, value in facts.items():
        trial.set_user_attr(name, value)


def _to_record(knobs: Sequence[Knob], trial: "FrozenTrial", retried: bool) -> TrialRecord:
    attrs, state = trial.user_attrs, trial.state.name.lower()
    reason = attrs.get("reason", "")
    if state == "fail":
        state = "requeued" if retried else "failed"
        reason = reason or (
            "its process ended" if retried else f"its process ended, {MOST_DEATHS} times"
        )
    return TrialRecord(
        number=trial.number,
        state=state,
        value=trial.value,
        windows=tuple(attrs.get("windows", ())),
        params=_decode(knobs, _promised(trial)),
        seconds=attrs.get("seconds"),
        worker=attrs.get("worker", ""),
        seed=attrs.get("seed"),
        retry_of=attrs.get("retry_of"),
        reason=reason,
    )

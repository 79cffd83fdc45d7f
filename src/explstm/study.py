"""One Optuna study that several processes work on, and any of them may die at any moment.

Contract: every trial is *settled* once (complete, pruned, or failed with a reason) or goes back to
the queue with the parameters it had. A trial whose process has ended is failed and queued again by
the next process that looks, once; one whose process lives is left alone, however slow it is.

How: a process holds a lock as long as it lives, so that whether it lives is never guessed from
clocks (:mod:`explstm.study_storage`). Trials are claimed, and lost ones found, by one process at a
time: a running trial that names no process was therefore claimed by one that died while claiming
it. A lost trial is queued before it is failed, and its successor names it, so that a death between
the two repeats nothing.

Optuna leaves trials of dead processes running, and takes an infinite value as a result; values told
here are finite.

Sources: Akiba, Sano, Yanase, Ohta & Koyama (2019), Optuna, KDD; the sampler is the tree-structured
Parzen estimator of Bergstra, Bardenet, Bengio & Kégl (2011), NIPS 24, section 4; running trials
count as bad ones (constant liar: Ginsbourger, Le Riche & Carraro 2010); trials are pruned by the
median rule of Golovin et al. (2017), Google Vizier, KDD, section 3.2.1.
"""

import math
import statistics
import uuid
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from explstm.errors import BackendNotInstalledError, ExpLSTMError, UsageError
from explstm.search_space import Knob, Params
from explstm.study_storage import Address, Home, hide_secrets, open_home

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

NAME = "explstm"
UNWRITABLE = ("disk is full", "disk I/O", "readonly", "No space left")
"""What databases say where nothing can be written."""
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
        home: Where it lies.
        worker: Name of this process.
        knobs: What is varied.
        seed: Of the sampler.
    """

    study: "Study"
    home: Home
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
        ran: Host, process and peak memory, where a worker of an engine has trained it.
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
    ran: Mapping[str, Any] = field(default_factory=dict, hash=False)


@contextmanager
def open_study(
    address: Address,
    knobs: Sequence[Knob],
    own: Params,
    identity: Mapping[str, Any],
    seed: int,
) -> Iterator[SharedStudy]:
    """Make a study or join it; its first trial has the model's own parameters.

    Args:
        address: Where it lies; it is made where there is none.
        knobs: What is varied.
        own: The model's own values.
        identity: What must be the same for trials to be comparable.
        seed: Of the sampler.

    Raises:
        UsageError: There is a study of something else, or none can be kept there; also where the
            place fills up while the block runs.
        BackendNotInstalledError: Optuna is not installed.
        ExpLSTMError: The study could not be reached any more while the block ran.
    """
    optuna = _import_optuna()
    from sqlalchemy.exc import SQLAlchemyError

    worker = uuid.uuid4().hex[:12]
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with ExitStack() as held:
        held.callback(optuna.logging.set_verbosity, verbosity)
        home = held.enter_context(open_home(address, worker))
        errors = (*home.errors, SQLAlchemyError, optuna.exceptions.StorageInternalError)
        try:
            with home.alone():
                study = _load_or_create(optuna, home, held)
                _check_identity(study, identity, address)
                if not study.get_trials(deepcopy=False):
                    study.enqueue_trial(_encode(own), user_attrs={"own": True})
        except errors as error:
            raise _refuse_study(error, address) from None
        try:
            yield SharedStudy(study, home, worker, tuple(knobs), seed)
        except errors as error:
            raise _refuse_study(error, address, was_open=True) from None


def claim_trial(shared: SharedStudy, n_trials: int) -> "Trial | None":
    """Take the next trial, those that dead processes left behind first.

    Args:
        shared: The study.
        n_trials: How many trials it shall have settled in the end.

    Returns:
        A trial with all its parameters; None where as many are settled or running.
    """
    optuna = _import_optuna()
    with shared.home.alone():
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


def find_limits(shared: SharedStudy, trial: "Trial") -> dict[int, float]:
    """For every part of a training the value above which a trial would be pruned by now.

    For a trial that is trained where nobody asks the study. It is pruned where the lowest value
    that it has reported up to a part is above the median of the complete trials after that part.
    """
    complete = [
        one.intermediate_values
        for one in shared.study.get_trials(deepcopy=False)
        if one.state.name == "COMPLETE"
    ]
    if is_own(trial) or len(complete) < UNPRUNED_TRIALS:
        return {}
    parts = {part for values in complete for part in values}
    return {
        part: statistics.median(values[part] for values in complete if part in values)
        for part in parts
    }


def origin_of(shared: SharedStudy, trial: "Trial") -> int:
    """The number of the trial that this one continues, over any number of attempts."""
    return _find_origin(shared.study.get_trials(deepcopy=False), trial.number)


def read_id(shared: SharedStudy) -> str:
    """What names the study among all others."""
    return str(shared.study.user_attrs["id"])


def note_place(trial: "Trial", ran: Mapping[str, Any]) -> None:
    """Note which process of which machine has trained a trial, before it is told how it ended."""
    _note(trial, ran=dict(ran))


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
    _put_back(shared, trial, reason, further_deaths=0)


def lose_trial(shared: SharedStudy, trial: "Trial", reason: str) -> None:
    """Put a trial whose worker was lost back into the queue, unless it was lost too often."""
    _put_back(shared, trial, reason, further_deaths=1)


def _put_back(shared: SharedStudy, trial: "Trial", reason: str, further_deaths: int) -> None:
    with shared.home.alone():
        found = shared.study.get_trials(deepcopy=False)[trial.number]
        deaths = _deaths(found) + further_deaths
        _note(trial, reason=reason if deaths < MOST_DEATHS else f"{reason}, {deaths} times")
        _requeue(shared.study, found, deaths)


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
            alive[worker] = shared.home.is_alive(worker)
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
    origin = _find_origin(trials, number)
    return sum("retry_of" not in trial.user_attrs for trial in trials[:origin])


def _find_origin(trials: Sequence["FrozenTrial"], number: int) -> int:
    while "retry_of" in trials[number].user_attrs:
        number = int(trials[number].user_attrs["retry_of"])
    return number


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


def _load_or_create(optuna: Any, home: Home, held: ExitStack) -> "Study":
    *before, last = home.connect()
    for options in before:
        optuna.storages.RDBStorage(home.url, **options).engine.dispose()
    storage = optuna.storages.RDBStorage(home.url, **last)
    held.callback(storage.engine.dispose)
    held.callback(storage.remove_session)
    return optuna.create_study(
        storage=storage,
        study_name=NAME,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED_TRIALS),
        load_if_exists=True,
    )


def _refuse_study(error: BaseException, address: Address, was_open: bool = False) -> ExpLSTMError:
    """What the database itself said, which Optuna and its layers wrap."""
    while error.__cause__ is not None:
        error = error.__cause__
    said = hide_secrets(str(error).split("\n")[0] or type(error).__name__, address)
    if any(words in said for words in UNWRITABLE):
        return UsageError(
            "STUDY_UNWRITABLE",
            f"--storage {address.shown} cannot be written ({said}); make space, or choose one that "
            "you may write, and run again: the trials that were settled are kept.",
        )
    if was_open:
        return ExpLSTMError(
            "STUDY_LOST",
            f"the study {address.shown} cannot be reached any more ({said}); run it again to go "
            "on: what was told is kept.",
        )
    return UsageError(
        "STUDY_UNREADABLE",
        f"--storage {address.shown} is no study that can be used ({said}); use another one, or "
        "wait for the process that holds it.",
    )


def _check_identity(study: "Study", identity: Mapping[str, Any], address: Address) -> None:
    if "id" not in study.user_attrs:
        study.set_user_attr("id", uuid.uuid4().hex[:16])
    found = study.user_attrs.get("identity")
    if found is None:
        study.set_user_attr("identity", dict(identity))
        return
    changed = sorted(name for name in {*found, *identity} if found.get(name) != identity.get(name))
    if changed:
        raise UsageError(
            "STUDY_OTHER",
            f"--storage {address.shown} holds the tuning of something else (other "
            f"{', '.join(changed)}); use another one, or tune what it was made for.",
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
        ran=attrs.get("ran", {}),
    )

"""A team on a Ray cluster: its members, what they tell, and what becomes of those that are lost.

Contract: :func:`run_team` has every worker do the same job and returns what the first one made.
Where a worker dies, or the others wait for it too long, all begin again and resume from the newest
checkpoint, a few times. What the job itself refuses is raised, and nothing is tried again.
"""

import importlib
import os
import platform
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from explstm import __version__
from explstm.apart import THREADS
from explstm.errors import BusyError, ExpLSTMError, TrainingError, UsageError
from explstm.models.engine import Array
from explstm.scaleout.engines import POLL_SECONDS
from explstm.scaleout.mirror import Mirror, is_url
from explstm.scaleout.ray_engine import open_ray, set_environment
from explstm.storage import hold_lock
from explstm.team import Team
from explstm.training import LogRow

ATTEMPTS = 5
"""How often a team begins before the run is given up."""
RUN, TEAM = "run", "team"
"""Locks in a folder of checkpoints: of whoever asked for the training, and of the first worker."""
DISAGREE = "WORKERS_DISAGREE"
END_SECONDS = 10.0
"""How long a worker with an error waits for the others to meet the same one."""
WORKER_ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}


class Job(Protocol):
    """What every worker does."""

    def run(self, folder: Path, on_step: Callable[[LogRow], None] | None, team: Team | None) -> Any:
        """Train, resuming from what is in the folder; returns what can be pickled."""


@dataclass(frozen=True)
class Start:
    """A worker that began.

    Attributes:
        attempt: Which beginning of the team it was, from 1.
        rank: Which worker.
        host: Its machine.
        process: Its process.
    """

    attempt: int
    rank: int
    host: str
    process: int


@dataclass
class Board:
    """What workers tell whoever waits for them; lives in a process of the cluster."""

    starts: list[Start] = field(default_factory=list)
    errors: list[ExpLSTMError] = field(default_factory=list)
    rows: list[LogRow] = field(default_factory=list)
    attempt: int = 0
    members: set[int] = field(default_factory=set)

    def begin(self, rank: int, host: str, process: int) -> ExpLSTMError | None:
        """Tell that a worker began; returns the error for which it need not."""
        if self.errors:
            return self.errors[0]
        if rank in self.members or not self.members:
            self.attempt, self.members = self.attempt + 1, set()
        self.members.add(rank)
        self.starts.append(Start(self.attempt, rank, host, process))
        return None

    def fail(self, error: ExpLSTMError) -> None:
        """Tell of an error that would come again."""
        self.errors.append(error)

    def count_errors(self) -> int:
        """How many workers have told of one."""
        return len(self.errors)

    def tell(self, row: LogRow) -> None:
        """Tell of a step."""
        self.rows.append(row)

    def take_rows(self) -> list[LogRow]:
        """The steps that were not taken yet."""
        rows, self.rows = self.rows, []
        return rows

    def read(self) -> tuple[list[Start], list[ExpLSTMError]]:
        """All starts and errors."""
        return self.starts, self.errors


@dataclass(frozen=True)
class Plan:
    """What a team needs.

    Attributes:
        job: What to do.
        backend: The framework, ``"torch"`` or ``"tensorflow"``.
        workers: How many do it together.
        checkpoints: A folder that all of them see, or a URL.
        wait_seconds: How long one waits for the others.
    """

    job: Job
    backend: str
    workers: int
    checkpoints: str
    wait_seconds: float


def run_team(
    plan: Plan, address: str | None, on_step: Callable[[LogRow], None] | None
) -> tuple[Any, list[Start]]:
    """Have a team do a job.

    Args:
        plan: What it needs.
        address: Of a cluster that runs, see :func:`explstm.scaleout.ray_engine.open_ray`.
        on_step: Called with every row of the log; steps that are done again are told again.

    Returns:
        What the first worker made, and which workers have begun.

    Raises:
        ExpLSTMError: As the job raised it, or workers were lost too often.
    """
    with ExitStack() as held:
        if not is_url(plan.checkpoints):
            Path(plan.checkpoints).mkdir(parents=True, exist_ok=True)
            held.enter_context(hold_lock(Path(plan.checkpoints) / RUN))
        held.enter_context(set_environment(_settings(plan.wait_seconds)))
        held.enter_context(open_ray(plan.workers, address))
        folder = tempfile.mkdtemp(prefix="explstm-train-")
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        held.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", DeprecationWarning)  # of Ray, about itself
        import ray

        board = ray.remote(num_cpus=0)(Board).remote()
        outcome = _wait_for(_make_trainer(plan, board, folder), board, on_step or (lambda _: None))
        starts, errors = ray.get(board.read.remote())
        if errors:
            raise errors[0]
        return _check_outcome(outcome).return_value, starts


def _check_outcome(outcome: Any) -> Any:
    """The result of a trainer, or the error that it ended with.

    Raises:
        TrainingError: Workers were lost too often.
    """
    from ray.train import TrainingFailedError

    if isinstance(outcome, TrainingFailedError):
        raise TrainingError(
            "WORKER_LOST",
            f"a worker was lost {ATTEMPTS} times, the last time with: {_shorten(outcome)}; see "
            "that memory suffices, and run again with resume: what is done is kept.",
        )
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _settings(wait_seconds: float) -> dict[str, str]:
    return {
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # checkpoints are kept all along
        "RAY_TRAIN_METRICS_ENABLED": "0",
        "RAY_TRAIN_V2_ENABLED": "1",
        "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": f"{wait_seconds:g}",
    }


def _make_trainer(plan: Plan, board: Any, folder: str) -> Any:
    """The trainer of Ray for a framework; nothing is kept in the folder that it is given."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig

    threads = dict.fromkeys(THREADS, "1")
    common = {
        "train_loop_config": {"plan": plan, "board": board, "version": __version__},
        "scaling_config": ScalingConfig(
            num_workers=plan.workers, use_gpu=False, resources_per_worker={"CPU": 1}
        ),
        "run_config": RunConfig(
            storage_path=folder,
            failure_config=FailureConfig(max_failures=ATTEMPTS - 1),
            worker_runtime_env={"env_vars": {**threads, **WORKER_ENVIRONMENT}},
        ),
    }
    if plan.backend == "tensorflow":
        importlib.import_module("explstm.models.tensorflow_engine")  # prepares the environment
        from ray.train.tensorflow import TensorflowTrainer

        return TensorflowTrainer(work, **common)
    from ray.train.torch import TorchConfig, TorchTrainer

    config = TorchConfig(backend="gloo", timeout_s=int(2 * plan.wait_seconds) + 1)
    return TorchTrainer(work, torch_config=config, **common)


def _wait_for(trainer: Any, board: Any, tell: Callable[[LogRow], None]) -> Any:
    """The result of a trainer, or the error with which it ended; tells of steps meanwhile.

    It runs in a thread of its own, because in the main one it would take over Ctrl-C.
    """
    import ray

    outcome: list[Any] = []

    def fit() -> None:
        try:
            outcome.append(trainer.fit())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=fit, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(POLL_SECONDS / 2)
        for row in ray.get(board.take_rows.remote()):
            tell(row)
    return outcome[0]


def _shorten(error: Exception) -> str:
    """The last line of what Ray says, which names the error itself."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300].rstrip(".")


# ------------------------------------------------------------------------------------- in a worker


def work(config: Mapping[str, Any]) -> Any:
    """What runs in every worker."""
    from ray.train import get_context

    rank = get_context().get_world_rank()
    return take_part(config["plan"], _FarBoard(config["board"]), rank, config["version"])


class _FarBoard:
    """A board in another process."""

    def __init__(self, actor: Any) -> None:
        import ray

        self._actor, self._get = actor, ray.get

    def begin(self, rank: int, host: str, process: int) -> ExpLSTMError | None:
        found: ExpLSTMError | None = self._get(self._actor.begin.remote(rank, host, process))
        return found

    def fail(self, error: ExpLSTMError) -> None:
        self._get(self._actor.fail.remote(error))

    def count_errors(self) -> int:
        return int(self._get(self._actor.count_errors.remote()))

    def tell(self, row: LogRow) -> None:
        self._actor.tell.remote(row)  # nobody waits for it


def take_part(plan: Plan, board: Board | _FarBoard, rank: int, version: str) -> Any:
    """Do the job as a member of the team.

    Args:
        plan: What the team needs.
        board: Where to tell of it.
        rank: Which member this is.
        version: Of the package that asks for it.

    Returns:
        What the job made; None where an error is told on the board.

    Raises:
        ExpLSTMError: All have to begin again: to agree, or because the others do not have this
            error and wait.
    """
    if (told := board.begin(rank, platform.node(), os.getpid())) is not None:
        board.fail(told)  # who had it first knows then that nobody waits
        return None
    try:
        if version != __version__:
            raise UsageError(
                "WORKER_VERSION",
                f"a worker has explstm {__version__}, and the run {version}; install the same "
                "version everywhere.",
            )
        with open_place(plan, rank) as (folder, keep):
            add = with_deadline(make_add(plan.backend), plan.wait_seconds)
            on_step = board.tell if rank == 0 else None
            return plan.job.run(folder, on_step, Team(rank, plan.workers, add, keep))
    except ExpLSTMError as error:
        if error.code == DISAGREE:
            raise
        board.fail(error)
        latest = time.monotonic() + END_SECONDS
        while time.monotonic() < latest:
            if board.count_errors() >= plan.workers:
                return None
            time.sleep(POLL_SECONDS / 2)
        raise


def make_add(backend: str) -> Callable[[Array], Array]:
    """The sum over all workers, in the framework that the trainer has set up."""
    if backend == "tensorflow":
        from explstm.models.tensorflow_sum import make_add_up

        return make_add_up()
    from explstm.models.torch_sum import add_up

    return add_up


def with_deadline(add: Callable[[Array], Array], seconds: float) -> Callable[[Array], Array]:
    """A sum whose process ends when the others do not come; then all of them begin again."""

    def add_in_time(array: Array) -> Array:
        timer = threading.Timer(seconds, os._exit, (1,))
        timer.daemon = True
        timer.start()
        try:
            return add(array)
        finally:
            timer.cancel()

    return add_in_time


@contextmanager
def open_place(plan: Plan, rank: int) -> Iterator[tuple[Path, Callable[[Path], None]]]:
    """Yield a folder for checkpoints, with what is there already, and what keeps a new one.

    Raises:
        BusyError: The first worker of another run has it, and keeps it too long.
        ModelFileError: A URL cannot be read.
    """
    if is_url(plan.checkpoints):
        with tempfile.TemporaryDirectory(prefix="explstm-") as name:
            folder, mirror = Path(name), Mirror(plan.checkpoints)
            mirror.fetch(folder)
            yield folder, lambda written: mirror.push(written, folder)
        return
    folder = Path(plan.checkpoints)
    with ExitStack() as held:
        if rank == 0:
            folder.mkdir(parents=True, exist_ok=True)
            _wait_for_lock(held, folder / TEAM, plan.wait_seconds)
        yield folder, lambda _: None


def _wait_for_lock(held: ExitStack, path: Path, seconds: float) -> None:
    """Hold a lock that the worker of a run that was killed may still have.

    Raises:
        BusyError: Another run has it.
    """
    latest = time.monotonic() + seconds
    while True:
        try:
            return held.enter_context(hold_lock(path))
        except BusyError:
            if time.monotonic() > latest:
                raise
            time.sleep(POLL_SECONDS)

"""What a member of a team does, and what it tells.

Contract: :func:`take_part` does a job as one of several, with checkpoints in a place that all of
them see. A member that has an error tells it; one that waits too long for the others ends its
process; whoever began them has all begin again then. Who these processes are, and who begins them,
is not known here.
"""

import os
import platform
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from explstm import __version__
from explstm.errors import BusyError, ExpLSTMError, UsageError
from explstm.models.engine import Array
from explstm.scaleout.engines import POLL_SECONDS
from explstm.scaleout.mirror import Mirror, is_url
from explstm.storage import hold_lock
from explstm.team import Team
from explstm.training import LogRow

TEAM = "team"
"""Lock of the first member in a folder of checkpoints."""
DISAGREE = "WORKERS_DISAGREE"
"""Code of an error that another beginning may mend."""
END_SECONDS = 10.0
"""How long a member with an error waits for the others to meet the same one."""


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


class Told(Protocol):
    """Where members tell how it goes."""

    def begin(self, rank: int, host: str, process: int) -> ExpLSTMError | None:
        """Tell that a member began; returns the error for which it need not."""

    def fail(self, error: ExpLSTMError) -> None:
        """Tell of an error that would come again."""

    def count_errors(self) -> int:
        """How many members have told of one."""

    def tell(self, row: LogRow) -> None:
        """Tell of a step."""


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


def take_part(plan: Plan, board: Told, rank: int, version: str) -> Any:
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

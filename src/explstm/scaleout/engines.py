"""Tasks done by workers that may die at any moment.

Contract: :func:`run_tasks` yields the result of every task once. A task whose worker died, or took
too long, is done again, a few times; what a task raises is raised. An engine knows workers only:
how they are started, how they answer, how they are ended. A task is a function of a module and an
argument that can be pickled, and does no harm when it is done twice.
"""

import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from explstm import __version__
from explstm.errors import ExpLSTMError, UsageError

ATTEMPTS = 3
"""How often a task is begun before the run is given up."""
POLL_SECONDS = 1.0
Task = TypeVar("Task")
Result = TypeVar("Result")


class Lost:
    """What is got of a worker that died."""


class Engine(Protocol):
    """Workers of one kind.

    Attributes:
        workers: How many tasks are done at once.
    """

    workers: int

    def start(self, work: Callable[[Any], Any], task: Any) -> Any:
        """Begin a task, and return what names it."""

    def wait(self, seconds: float) -> list[tuple[Any, Any]]:
        """Wait so long for tasks to end, and return their names and outcomes."""

    def abandon(self, name: Any) -> None:
        """End the worker of a task, unless it has ended."""


def run_tasks(
    engine: Engine,
    work: Callable[[Task], Result],
    tasks: Iterable[Task],
    task_seconds: float,
    on_lost: Callable[[], None] = lambda: None,
) -> Generator[Result, None, None]:
    """Do tasks, as many at once as there are workers.

    Args:
        engine: Who does them.
        work: A function of a module.
        tasks: What to call it with.
        task_seconds: How long one task may take.
        on_lost: Called whenever a task is begun again.

    Yields:
        Results, in the order in which they are there.

    Raises:
        ExpLSTMError: As a task raised it, or a task was lost too often.
    """
    waiting = deque((task, 1) for task in tasks)
    flying: dict[Any, tuple[Task, int, float]] = {}
    try:
        while waiting or flying:
            while waiting and len(flying) < engine.workers:
                task, attempt = waiting.popleft()
                flying[engine.start(work, task)] = task, attempt, time.monotonic()
            for name, outcome in _next_outcomes(engine, flying, task_seconds):
                task, attempt, _ = flying.pop(name)
                if isinstance(outcome, Exception):
                    raise outcome
                if isinstance(outcome, Lost):
                    _refuse_more(attempt, task_seconds)
                    on_lost()
                    waiting.appendleft((task, attempt + 1))
                else:
                    yield outcome
    finally:
        for name in flying:  # of a run that ends early
            engine.abandon(name)


def _next_outcomes(
    engine: Engine, flying: Mapping[Any, tuple[Any, int, float]], task_seconds: float
) -> list[tuple[Any, Any]]:
    """What came of the tasks that ended, or took too long."""
    ended = engine.wait(POLL_SECONDS)
    latest = time.monotonic() - task_seconds
    names = {name for name, _ in ended}
    overdue = [name for name in flying if flying[name][2] < latest and name not in names]
    for name in overdue:
        engine.abandon(name)
    return ended + [(name, Lost()) for name in overdue]


def do_task(version: str, work: Callable[[Task], Result], task: Task) -> Result | Exception:
    """Do a task in a worker, and return what came of it, be it an error.

    Args:
        version: Of the package that asks for it.
        work: A function of a module.
        task: What to call it with.
    """
    try:
        if version != __version__:
            raise UsageError(
                "WORKER_VERSION",
                f"a worker has explstm {__version__}, and the run {version}; install the same "
                "version everywhere.",
            )
        return work(task)
    except ExpLSTMError as error:
        return error
    except OSError as error:
        return ExpLSTMError(
            "WORKER_FILES",
            f"a worker cannot go on ({error}); see that there is space and that all workers see "
            "the same files, and run again: what is done is kept.",
        )
    except Exception:
        return RuntimeError(traceback.format_exc())


def _refuse_more(attempt: int, task_seconds: float) -> None:
    if attempt == ATTEMPTS:
        raise ExpLSTMError(
            "WORKER_LOST",
            f"{ATTEMPTS} workers in turn died, or took more than {task_seconds:g} s, over the same "
            "task, probably for want of memory; lower rows_per_part or workers, and run again: "
            "what is done is kept.",
        )

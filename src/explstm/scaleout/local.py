"""Workers of this machine: processes that are spawned, niced, and compute with one thread each.

Contract: a worker does one task after the other. It ends with the process that started it, however
that ends, so that no worker of a killed run goes on.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any

from explstm import __version__
from explstm.apart import one_thread
from explstm.scaleout.engines import Lost, do_task

NICENESS = 10


class LocalEngine:
    """Processes of this machine.

    Attributes:
        workers: How many there are at most.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, _Worker] = {}

    def start(self, work: Callable[[Any], Any], task: Any) -> Connection:
        """Begin a task, in a process that is there or a new one."""
        worker = self._idle.pop() if self._idle else _Worker()
        with suppress(OSError):  # it died idle, and the wait tells
            worker.pipe.send((__version__, work, task))
        self._busy[worker.pipe] = worker
        return worker.pipe

    def wait(self, seconds: float) -> list[tuple[Connection, Any]]:
        """Wait for answers, or for the ends of workers."""
        return [(pipe, self._take(pipe)) for pipe in wait(list(self._busy), seconds)]  # type: ignore[arg-type, misc]

    def abandon(self, name: Connection) -> None:
        """Kill the worker of a task, unless it has answered."""
        if name in self._busy:
            self._busy.pop(name).end()

    def end(self) -> None:
        """Kill all workers."""
        for worker in (*self._idle, *self._busy.values()):
            worker.end()

    def _take(self, pipe: Connection) -> Any:
        worker = self._busy.pop(pipe)
        try:
            outcome = pipe.recv()
        except (EOFError, OSError):
            worker.end()
            return Lost()
        self._idle.append(worker)
        return outcome


class _Worker:
    """One process, and the pipe to it."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with one_thread():
            self._process.start()
        theirs.close()

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()


@contextmanager
def open_local(workers: int | None) -> Iterator[LocalEngine]:
    """Yield an engine of so many processes, one for every core unless told."""
    engine = LocalEngine(workers or os.cpu_count() or 1)
    try:
        yield engine
    finally:
        engine.end()


def _serve(pipe: Connection) -> None:
    """Do one task after the other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    try:
        while True:
            pipe.send(do_task(*pipe.recv()))
    except (EOFError, OSError):
        return


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(1)

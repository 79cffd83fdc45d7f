"""The process of one job: ``python -P -m explstm.server.jobs.process``, started by the pool.

Contract: the first line of standard input is the job, as JSON; lines of JSON on standard output
tell how it goes, the last one how it ended:

    {"beat": true}                                      it lives
    {"progress": {...}}                                 at most a few per second
    {"end": "done"}                                     result.json is written
    {"end": "stopped"}                                  SIGTERM was obeyed
    {"end": "failed", "error": {"code", "message"}, "trace": "..."}

Standard input stays open as long as the server lives: when it closes, the process and all that it
has started end at once. What libraries print goes to standard error.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel

from explstm.errors import BusyError, ExpLSTMError, TrainingStopped
from explstm.server.bounds import bound_process
from explstm.server.errors import ApiError
from explstm.server.jobs.kinds import REQUEST
from explstm.storage import hold_lock, to_finite

BEAT_SECONDS = 1.0
TOLD_SECONDS = 0.25
TOLD_SHARE = 0.002
"""Progress is told every quarter of a second, later every 1/500 of the time so far, so that the
events of a long job stay few."""
PREDECESSOR_SECONDS = 10.0
"""How long to wait for the process of a server that was killed to be gone."""
NO_MEMORY = ("cannot allocate memory", "failed to map segment", "out of memory")


class Task(BaseModel):
    """What the pool asks for.

    Attributes:
        folder: The folder of the job.
        arguments: The request.
        memory: Most address space, in bytes.
        nice: How much lower the priority is than the server's.
        limits: What the service lets in, for reading the upload.
    """

    folder: Path
    arguments: dict[str, Any]
    memory: int
    nice: int
    limits: dict[str, Any]


class _Terminated(BaseException):
    """SIGTERM as an exception, so that what was begun is cleaned up."""


class Teller:
    """Writes messages; progress only as often as anybody can look."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._lock = stream, threading.Lock()
        self._waiting: dict[str, Any] | None = None
        self._started, self._told = time.monotonic(), float("-inf")

    def send(self, **message: Any) -> None:
        """Send a message now, after the progress that still waits."""
        with self._lock:
            self._flush()
            self._write(message)

    def progress(self, data: dict[str, Any]) -> None:
        """Tell how far it is, unless that was told a moment ago; the latest is never lost."""
        with self._lock:
            self._waiting = data
            now = time.monotonic()
            if now - self._told >= max(TOLD_SECONDS, TOLD_SHARE * (now - self._started)):
                self._told = now
                self._flush()

    def _flush(self) -> None:
        if self._waiting is not None:
            self._write({"progress": self._waiting})
            self._waiting = None

    def _write(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more: the other end says so
            self._stream.write(json.dumps(to_finite(message)).encode("ascii") + b"\n")
            self._stream.flush()


def main() -> None:
    """Do the job that standard input names, and end."""
    teller = Teller(_take_output())
    task = Task.model_validate_json(sys.stdin.buffer.readline())
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server
    threading.Thread(target=_end_with_parent, daemon=True).start()
    threading.Thread(target=_beat, args=(teller,), daemon=True).start()
    bound_process(task.memory, task.nice)
    teller.send(**_run(task, teller))
    os._exit(0)  # frameworks take their time to leave, and everything is written


def _run(task: Task, teller: Teller) -> dict[str, Any]:
    """Do the job and say how it ended."""
    try:
        with _alone(task.folder):
            _do(task, teller)
    except (_Terminated, TrainingStopped):
        return {"end": "stopped"}
    except (ExpLSTMError, ApiError) as error:
        return _fail(error.code, error.message)
    except Exception as error:
        if isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in NO_MEMORY):
            return _fail("JOB_MEMORY", say_memory("the job ran out of memory", task.memory))
        return _fail("INTERNAL", "the job failed through a fault of ours; it was logged.", error)
    return {"end": "done"}


def _do(task: Task, teller: Teller) -> None:
    from explstm.server.jobs.data import read_panel
    from explstm.server.jobs.folders import write_result
    from explstm.server.jobs.work import do_job

    request = REQUEST.validate_python(task.arguments)
    sys.path[:] = [os.path.abspath(place) for place in sys.path]
    os.chdir(task.folder)
    teller.progress({"stage": "reading"})
    write_result(Path(), do_job(request, read_panel(request, task.limits), teller.progress))


def say_memory(what: str, limit: int) -> str:
    """A sentence about memory."""
    return (
        f"{what}, of which it may have {limit / 2**30:.3g} GiB; use fewer series, or a smaller "
        "batch_size."
    )


def _fail(code: str, message: str, cause: Exception | None = None) -> dict[str, Any]:
    trace = "" if cause is None else "".join(traceback.format_exception(cause))
    return {"end": "failed", "error": {"code": code, "message": message}, "trace": trace}


@contextlib.contextmanager
def _alone(folder: Path) -> Any:
    """Wait until no other process works in the folder."""
    deadline = time.monotonic() + PREDECESSOR_SECONDS
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(hold_lock(folder / "process"))
                break
            except BusyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield


def _take_output() -> BinaryIO:
    """Standard output for ourselves; what anybody else prints goes to standard error."""
    own = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return own


def _terminate(*_: Any) -> None:
    raise _Terminated


def _end_with_parent() -> None:
    with contextlib.suppress(OSError):
        sys.stdin.buffer.read()
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _beat(teller: Teller) -> None:
    while True:
        time.sleep(BEAT_SECONDS)
        teller.send(beat=True)


if __name__ == "__main__":
    main()

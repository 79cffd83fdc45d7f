"""One run of a job: its process, what it says, and what ends it.

Contract: :meth:`JobRun.follow` yields the progress and returns when the process has ended; then
:attr:`JobRun.ended` is the job in its last state. A process that is asked to end has a moment to
write its checkpoint, and is killed then, with all that it has started.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from explstm.apart import THREADS
from explstm.server.jobs.process import Task, say_memory
from explstm.server.jobs.record import Job
from explstm.server.settings import Settings
from explstm.storage import parse_json

STOP = "stop"
LOG = "process.log"
ONE_THREAD = {**dict.fromkeys(THREADS, "1"), "TF_CPP_MIN_LOG_LEVEL": "3"}
log = logging.getLogger(__name__)


class JobRun:
    """A running job.

    Args:
        job: The job.
        folder: Its folder.
        settings: Limits.
        inbox: Where requests to stop arrive, ``{STOP: state}``, and what the process says.
    """

    def __init__(self, job: Job, folder: Path, settings: Settings, inbox: "Queue[Any]") -> None:
        self._job, self._settings, self._inbox = job, settings, inbox
        self._asked: Job | None = None
        self._kill_at = float("inf")
        self._is_gone = False
        self.ended = job
        limits = {
            name: value
            for name, value in asdict(settings).items()
            if isinstance(value, int | float)
        }
        task = Task(
            folder=folder,
            arguments=dict(job.arguments),
            memory=settings.job_memory,
            nice=settings.job_niceness,
            limits=limits,
        )
        with (folder / LOG).open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "explstm.server.jobs.process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **ONE_THREAD},
                start_new_session=True,
            )
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            self._write(task.model_dump_json().encode() + b"\n")
        except OSError:
            log.warning("the process of job %s ended at once", job.id)

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        try:
            with self._process.stdout as lines:
                for line in lines:
                    self._inbox.put(parse_json(line, "a job's process"))
        finally:
            self._inbox.put(None)

    # ------------------------------------------------------------------------------------- follow

    def follow(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what is to be told, until the process has ended."""
        end: dict[str, Any] | None = None
        out_of_time = time.monotonic() + self._settings.job_seconds
        heard = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= out_of_time and self._asked is None:
                self._ask_to_end(self._failed("JOB_TIME", self._say_time()))
            if now - heard > self._settings.job_silent_seconds and self._asked is None:
                self._ask_to_end(self._failed("JOB_SILENT", self._say_silent()))
            if now >= self._kill_at:
                self.kill()
                self._kill_at = float("inf")
            try:
                message = self._inbox.get(timeout=self._patience(now, out_of_time, heard))
            except Empty:
                continue
            if message is None:
                break
            if STOP in message:
                self._ask_to_end(replace(self._job, state=message[STOP]))
                continue
            heard = time.monotonic()
            if "progress" in message:
                yield "progress", message["progress"]
            end = message if "end" in message else end
        self.kill()
        self.ended = self._conclude(end)

    def _patience(self, now: float, out_of_time: float, heard: float) -> float:
        next_at = self._kill_at
        if self._asked is None:
            next_at = min(out_of_time, heard + self._settings.job_silent_seconds)
        return max(0.01, min(next_at - now, self._settings.job_silent_seconds))

    def _ask_to_end(self, ended: Job) -> None:
        if self._asked is None:
            self._asked = ended
            self._kill_at = time.monotonic() + self._settings.job_grace_seconds
            self._process.terminate()

    def kill(self) -> None:
        """End the process and all that it has started."""
        if self._is_gone:
            return
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()
        self._process.wait()
        self._is_gone = True
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    # ----------------------------------------------------------------------------------- the ends

    def _conclude(self, end: dict[str, Any] | None) -> Job:
        if end is not None and end["end"] == "done":
            return replace(self._job, state="done", error=None)
        if self._asked is not None:
            return self._asked
        if end is not None and end["end"] == "failed":
            if end["trace"]:
                log.error("job %s failed: %s", self._job.id, end["trace"])
            return replace(self._job, state="failed", error=end["error"])
        return self._failed("JOB_DIED", self._say_died())

    def _failed(self, code: str, message: str) -> Job:
        return replace(self._job, state="failed", error={"code": code, "message": message})

    def _say_died(self) -> str:
        code = self._process.returncode
        if code == 0:
            return "the process of the job was ended from outside; resume it."
        how = f"code {code}" if code > 0 else signal.Signals(-code).name
        return say_memory(
            f"the process of the job ended with {how}, probably for want of memory",
            self._settings.job_memory,
        )

    def _say_time(self) -> str:
        return (
            f"the job took longer than the {self._settings.job_seconds:g} s that a job may take; "
            "use fewer series, steps, windows or trials, or resume it."
        )

    def _say_silent(self) -> str:
        seconds = self._settings.job_silent_seconds
        return f"the job's process gave no sign of life for {seconds:g} s; start it again."

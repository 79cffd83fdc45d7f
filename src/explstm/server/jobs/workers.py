"""The pool: so many jobs at once, each in a process of its own; the others wait in the store.

Contract: a job's process is spawned for it alone, has a lower priority, one thread, a limit of
memory, and as much time as a job may take; nothing that happens in it reaches the server, and
however it ends, its record ends in one of the states of :mod:`explstm.server.jobs.record`. One
server at a time has a folder. When the server is asked to end, running jobs are interrupted with a
checkpoint; when it is killed, their processes end by themselves and
:mod:`explstm.server.jobs.keeping` finds them at the next start.
"""

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from queue import Queue
from typing import Any, get_args

from explstm.errors import BusyError
from explstm.server.jobs.folders import JobFolders
from explstm.server.jobs.keeping import delete, delete_old, make_clock, recover
from explstm.server.jobs.record import AGAIN, Job, JobStore, State, new_id
from explstm.server.jobs.run import STOP, JobRun
from explstm.server.jobs.sqlite_store import SqliteJobs
from explstm.server.settings import Settings
from explstm.storage import hold_lock

HOUSEKEEPING_SECONDS = 60.0
STORE_SECONDS = 5.0
"""How long to wait for a store that fails: its disk may be full."""
NO_ERROR: Mapping[str, Any] = {"error": None, "started": None, "ended": None}
log = logging.getLogger(__name__)


class QueueFullError(BusyError):
    """So many jobs wait that no more are taken now."""


def open_store(settings: Settings) -> SqliteJobs:
    """The record of jobs that a server keeps by default.

    Raises:
        ModelFileError: It cannot be read.
    """
    return SqliteJobs(settings.data / "jobs.db")


@dataclass
class JobPool:
    """Runs the jobs of a store.

    Attributes:
        settings: Limits.
        folders: Where the jobs' folders are.
        store: Where records are kept; a SQLite file beside them by default.
        n_told: Changes with every event, so that followers need not ask the store all the time.
        n_followers: How many streams are open.
    """

    settings: Settings
    store: JobStore = field(init=False)
    folders: JobFolders = field(init=False)
    n_told: int = 0
    n_followers: int = 0

    def __post_init__(self) -> None:
        self.folders = JobFolders(self.settings.data / "jobs")
        self._changed = threading.Condition()
        self._inboxes: dict[str, Queue[Any]] = {}
        self._threads: list[threading.Thread] = []
        self._held = contextlib.ExitStack()
        self._stopping = threading.Event()
        self._counter = itertools.count(1)

    @property
    def is_stopping(self) -> bool:
        """Whether the server is about to end."""
        return self._stopping.is_set()

    # ----------------------------------------------------------------------------- start and stop

    def start(self, store: JobStore | None = None) -> None:
        """Take the folder, find what became of its jobs, and begin to work.

        Raises:
            BusyError: Another server has the folder.
            ModelFileError: The record of jobs cannot be read.
        """
        self.folders.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._held.enter_context(hold_lock(self.folders.root))
        self.store = store or open_store(self.settings)
        self._held.callback(self.store.close)
        recover(self.store, self.folders, time.time())
        targets = [*[self._work] * self.settings.workers, self._keep_house]
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Interrupt what runs, with a checkpoint where it keeps one, and give the folder back."""
        with self._changed:
            self._stopping.set()
            for inbox in self._inboxes.values():
                inbox.put({STOP: "interrupted"})
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._held.close()

    # ------------------------------------------------------------------------------ what is asked

    def submit(self, kind: str, arguments: Mapping[str, Any], upload: bytes | None = None) -> Job:
        """Queue a new job.

        Raises:
            QueueFullError: Too many wait.
        """
        job = Job(new_id(), kind, arguments, "queued", time.time())
        with self._changed:
            self._refuse_full()
            try:
                self.folders.make(job.id, upload)
                self.store.add(job)
            except BaseException:
                self.folders.remove(job.id)
                raise
            self._wake()
        return job

    def resume(self, job_id: str) -> Job | None:
        """Queue a job again that has not come to its end; None where its state forbids that.

        Raises:
            QueueFullError: Too many wait.
        """
        with self._changed:
            self._refuse_full()
            changes = {**NO_ERROR, "state": "queued", "queued": time.time()}
            job = self.store.change(job_id, AGAIN, **changes)
            self._wake()
        return job

    def cancel(self, job_id: str) -> Job | None:
        """End a job that waits or runs; None where it has ended already.

        One that runs is cancelled a moment later: its process is asked to end, and then made to.
        """
        with self._changed:
            waiting = self.store.change(
                job_id, ["queued"], state="cancelled", ended=time.time(), error=None
            )
            if waiting is not None:
                self._wake()
                return waiting
            inbox = self._inboxes.get(job_id)
            if inbox is None:
                return None
            inbox.put({STOP: "cancelled"})
        return self.store.get(job_id)

    def delete(self, job_id: str) -> bool:
        """Delete a job that has ended, with all that it made; False where it has not."""
        with self._changed:
            is_gone = delete(self.store, self.folders, job_id)
            self._wake()
        return is_gone

    def counts(self) -> dict[State, int]:
        """How many jobs there are in each state."""
        return {**dict.fromkeys(get_args(State), 0), **self.store.count()}

    def _refuse_full(self) -> None:
        if self.settings.workers == 0:
            raise QueueFullError("NO_WORKERS", "this server does no jobs; start it with --workers.")
        waiting = self.counts()["queued"]
        if waiting >= self.settings.queue_length:
            raise QueueFullError(
                "QUEUE_FULL",
                f"{waiting} jobs wait already, and no more may; try again when some have ended, "
                "or cancel one.",
            )

    def _wake(self) -> None:
        self.n_told = next(self._counter)
        self._changed.notify_all()

    # -------------------------------------------------------------------------------- the threads

    def _work(self) -> None:
        """Do one job after the other, whatever becomes of one."""
        while not self._stopping.is_set():
            try:
                job = self._next()
            except Exception:
                log.exception("no job could be taken from the store")
                self._stopping.wait(STORE_SECONDS)
                continue
            if job is not None:
                self._record(self._run(job))

    def _run(self, job: Job) -> Job:
        try:
            return self._do(job)
        except Exception:
            log.exception("job %s could not be run", job.id)
            error = {"code": "INTERNAL", "message": "the job could not be run; try again."}
            return replace(job, state="failed", error=error)

    def _record(self, job: Job) -> None:
        """Write down how a job ended, when the store lets; if never, the next start finds out."""
        changes = {"state": job.state, "error": job.error, "ended": time.time()}
        while True:
            try:
                with self._changed:
                    self.store.change(job.id, ["running"], **changes)
                    del self._inboxes[job.id]
                    self._wake()
                return
            except Exception:
                log.exception("the end of job %s could not be recorded", job.id)
            if self._stopping.wait(STORE_SECONDS):
                return

    def _next(self) -> Job | None:
        """Wait for a job; None when the server ends."""
        with self._changed:
            while not self._stopping.is_set():
                job = self.store.claim(time.time())
                if job is not None:
                    self._inboxes[job.id] = Queue()
                    self._wake()
                    return job
                self._changed.wait()
            return None

    def _do(self, job: Job) -> Job:
        """Run a job to its end, and return it in the state that it ended in."""
        run = JobRun(job, self.folders.path(job.id), self.settings, self._inboxes[job.id])
        try:
            for name, data in run.follow():
                self.store.tell(job.id, name, data)
                self.n_told = next(self._counter)
        finally:
            run.kill()
            self.folders.tidy(job.id)
        log.info("job %s (%s) ended: %s", job.id, job.kind, run.ended.state)
        return run.ended

    def _keep_house(self) -> None:
        clock = make_clock()
        while not self._stopping.is_set():
            try:
                delete_old(self.store, self.folders, self.settings, clock())
            except Exception:
                log.exception("old jobs could not be deleted")
            self._stopping.wait(HOUSEKEEPING_SECONDS)

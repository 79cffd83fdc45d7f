"""What becomes of jobs that a server left behind, and of those that are old.

Contract: a job is deleted with its folder; one that has not ended is never deleted.
"""

import logging
import time
from collections.abc import Callable

from explstm.server.jobs.folders import JobFolders
from explstm.server.jobs.record import ENDED, JobStore
from explstm.server.settings import Settings

ALL = 1_000_000
ASLEEP_SECONDS = 24 * 3600.0
"""How far the clock may run ahead of the time that a server has been awake, as after a sleep."""
log = logging.getLogger(__name__)


def recover(store: JobStore, folders: JobFolders, now: float) -> None:
    """Settle what a killed server left: no process of it is running any more.

    A job that has its result is done, another one that ran is interrupted; one that waited still
    waits. Folders without a record go, unless none has one: then the records were lost, not the
    jobs.
    """
    known = set()
    for job in store.find(limit=ALL):
        known.add(job.id)
        if job.state == "running":
            state = "interrupted" if folders.result(job.id) is None else "done"
            store.change(job.id, ["running"], state=state, ended=now)
            folders.tidy(job.id)
    strangers = [job_id for job_id in folders.ids() if job_id not in known]
    if strangers and not known:
        log.warning("folders of jobs without a record are left alone: %d", len(strangers))
        return
    for job_id in strangers:
        folders.remove(job_id)


def make_clock() -> Callable[[], float]:
    """The time by which jobs grow old: no clock that jumps years ahead makes them so at once."""
    begun, awake = time.time(), time.monotonic()
    return lambda: min(time.time(), begun + ASLEEP_SECONDS + time.monotonic() - awake)


def delete_old(store: JobStore, folders: JobFolders, settings: Settings, now: float) -> None:
    """Delete jobs that ended too long ago, and the oldest of those that take too much room.

    The newest stays, however large it is.
    """
    kept_bytes = 0
    for job in store.find(ENDED, limit=ALL):
        n_bytes = folders.bytes(job.id)
        expired = now - (job.ended or job.created) > settings.keep_jobs_for
        crowded = kept_bytes > 0 and kept_bytes + n_bytes > settings.max_jobs_bytes
        if not (expired or crowded):
            kept_bytes += n_bytes
        else:
            delete(store, folders, job.id)


def delete(store: JobStore, folders: JobFolders, job_id: str) -> bool:
    """Delete a job that has ended; one that has not stays, and False is returned."""
    store.delete(job_id)
    # Resumed in this very moment, it is no longer one that has ended, and stays.
    if store.get(job_id) is not None:
        return False
    folders.remove(job_id)
    return True

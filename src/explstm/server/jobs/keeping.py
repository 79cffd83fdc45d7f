"""What becomes of jobs that a server left behind, and of those that are old.

Contract: a job is deleted with its folder; one that has not ended is never deleted.
"""

from explstm.server.jobs.folders import JobFolders
from explstm.server.jobs.record import ENDED, JobStore
from explstm.server.settings import Settings

ALL = 1_000_000


def recover(store: JobStore, folders: JobFolders, now: float) -> None:
    """Settle what a killed server left: no process of it is running any more.

    A job that has its result is done, another one that ran is interrupted; one that waited still
    waits. Folders without a record go.
    """
    known = set()
    for job in store.find(limit=ALL):
        known.add(job.id)
        if job.state == "running":
            state = "interrupted" if folders.result(job.id) is None else "done"
            store.change(job.id, ["running"], state=state, ended=now)
            folders.tidy(job.id)
    for job_id in folders.ids():
        if job_id not in known:
            folders.remove(job_id)


def delete_old(store: JobStore, folders: JobFolders, settings: Settings, now: float) -> None:
    """Delete jobs that ended too long ago, and the oldest of those that take too much room."""
    kept_bytes = 0
    for job in store.find(ENDED, limit=ALL):
        kept_bytes += folders.bytes(job.id)
        expired = now - (job.ended or job.created) > settings.keep_jobs_for
        if expired or kept_bytes > settings.max_jobs_bytes:
            delete(store, folders, job.id)


def delete(store: JobStore, folders: JobFolders, job_id: str) -> bool:
    """Delete a job that has ended; one that has not stays, and False is returned."""
    store.delete(job_id)
    # Resumed in this very moment, it is no longer one that has ended, and stays.
    if store.get(job_id) is not None:
        return False
    folders.remove(job_id)
    return True

"""The store: what it says outlives its process, and two that come at once cannot both succeed."""

import resource
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from explstm.errors import ModelFileError
from explstm.server.jobs.record import ID, Job, new_id
from explstm.server.jobs.sqlite_store import SqliteJobs


@pytest.fixture
def store(tmp_path: Path):
    store = SqliteJobs(tmp_path / "jobs.db")
    yield store
    store.close()


def make_job(created: float = 1.0, state="queued") -> Job:
    return Job(new_id(), "backtest", {"h": 3, "level": [80.0], "sample": "ü"}, state, created)


def test_ids_are_long_random_and_fit_their_pattern():
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000 and all(ID.fullmatch(one) for one in ids)
    assert not ID.fullmatch("../../../../../etc/pass") and not ID.fullmatch("a" * 22 + "\n")


def test_a_job_comes_back_as_it_was_from_a_new_store(tmp_path, store):
    job = make_job()
    store.add(job)
    store.change(job.id, ["queued"], state="failed", error={"code": "A", "message": "b"}, ended=2.5)
    again = SqliteJobs(tmp_path / "jobs.db")
    found = again.get(job.id)
    assert found.arguments == job.arguments and found.created == 1.0 and found.ended == 2.5
    assert (found.state, found.error) == ("failed", {"code": "A", "message": "b"})
    assert [event.data["state"] for event in again.events(job.id)] == ["queued", "failed"]
    again.close()


def test_a_change_needs_one_of_the_states_that_it_may_start_from(store):
    job = make_job()
    store.add(job)
    assert store.change(job.id, ["running"], state="done") is None
    assert store.get(job.id).state == "queued" and len(store.events(job.id)) == 1
    assert store.change("unknown", ["queued"], state="done") is None
    with pytest.raises(ValueError):
        store.change(job.id, ["queued"], kind="report")
    with pytest.raises(ValueError):
        store.change(job.id, ["queued"], **{"state = 'done' --": 1})


def test_the_job_that_has_waited_longest_is_claimed_first_and_a_resumed_one_last(store):
    jobs = [make_job(created) for created in (5.0, 3.0, 4.0)]
    for job in jobs:
        store.add(job)
    first = store.claim(6.0)
    assert (first.id, first.state, first.started, first.attempts) == (jobs[1].id, "running", 6, 1)
    store.change(first.id, ["running"], state="interrupted")
    store.change(first.id, ["interrupted"], state="queued", queued=7.0)
    assert [store.claim(8.0).id for _ in range(3)] == [jobs[2].id, jobs[0].id, first.id]
    assert store.claim(9.0) is None and store.get(first.id).attempts == 2


def test_many_threads_claim_every_job_once(store):
    ids = []
    for number in range(40):
        job = make_job(number)
        ids.append(job.id)
        store.add(job)
    claimed: list[str] = []

    def claim() -> None:
        while (job := store.claim(1.0)) is not None:
            claimed.append(job.id)

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(ids)


def test_events_count_up_within_a_job_and_go_with_it(store):
    one, two = make_job(), make_job()
    store.add(one)
    store.add(two)
    store.tell(one.id, "progress", {"step": 1})
    store.tell(two.id, "progress", {"step": 9})
    store.tell(one.id, "progress", {"step": 2})
    store.tell("unknown", "progress", {})
    assert [(event.number, event.data.get("step")) for event in store.events(one.id, 1)] == [
        (2, 1),
        (3, 2),
    ]
    assert store.events("unknown") == []
    store.delete(one.id)
    assert store.get(one.id) is not None  # it waits
    store.change(one.id, ["queued"], state="cancelled")
    store.delete(one.id)
    assert store.get(one.id) is None and store.events(one.id) == [] and store.events(two.id)


def test_jobs_are_listed_newest_first_by_state(store):
    jobs = [make_job(number) for number in range(4)]
    for job in jobs:
        store.add(job)
    store.change(jobs[2].id, ["queued"], state="done")
    assert [job.id for job in store.find()] == [job.id for job in reversed(jobs)]
    assert [job.id for job in store.find(["done", "failed"])] == [jobs[2].id]
    assert len(store.find(limit=2)) == 2
    assert store.count() == {"queued": 3, "done": 1}


def test_what_was_told_outlives_a_kill(tmp_path):
    code = (
        "import os, signal, sys, pathlib\n"
        "from explstm.server.jobs.sqlite_store import SqliteJobs\n"
        "from explstm.server.jobs.record import Job, new_id\n"
        "store = SqliteJobs(pathlib.Path(sys.argv[1]))\n"
        "for n in range(20):\n"
        "    store.add(Job(new_id(), 'tune', {'n': n}, 'queued', n))\n"
        "store._connection.execute('BEGIN IMMEDIATE')\n"
        "store._connection.execute('UPDATE job SET state = \\'done\\'')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "jobs.db"
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9
    store = SqliteJobs(path)
    assert [job.arguments["n"] for job in store.find()] == list(range(19, -1, -1))
    assert {job.state for job in store.find()} == {"queued"}
    (synced,) = store._connection.execute("PRAGMA synchronous").fetchone()
    (mode,) = store._connection.execute("PRAGMA journal_mode").fetchone()
    assert (synced, mode) == (2, "wal")
    store.close()


def test_a_file_that_is_none_of_ours_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "text.db").write_text("no database, but long enough to be looked at " * 50)
    with pytest.raises(ModelFileError, match="move it away"):
        SqliteJobs(tmp_path / "text.db")
    with sqlite3.connect(tmp_path / "new.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ModelFileError, match="layout 99"):
        SqliteJobs(tmp_path / "new.db")


@pytest.mark.parametrize("room", [0, 8192])
def test_a_full_disk_is_told_as_such_and_does_not_stay(tmp_path, store, room):
    job = make_job()
    store.add(job)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    full = (tmp_path / "jobs.db-wal").stat().st_size + room
    resource.setrlimit(resource.RLIMIT_FSIZE, (full, limits[1]))
    try:
        with pytest.raises(sqlite3.OperationalError, match="disk"):
            store.tell(job.id, "progress", {"text": "a" * 3_000_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    store.tell(job.id, "progress", {})
    assert [event.name for event in store.events(job.id)] == ["state", "progress"]

"""The pool: limits, cancel, restart. Every job here is a real process."""

import os
import sqlite3
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from explstm.errors import BusyError
from explstm.server.jobs import keeping, workers
from explstm.server.jobs.folders import write_result
from explstm.server.jobs.kinds import REQUEST
from explstm.server.jobs.record import AGAIN, ENDED, Job, new_id
from explstm.server.jobs.sqlite_store import SqliteJobs
from explstm.server.jobs.workers import JobPool, QueueFullError
from explstm.server.settings import Settings

QUICK = {"kind": "fine-tune", "sample": "air-passengers", "h": 4, "max_steps": 5}
LONG = {**QUICK, "max_steps": 20_000}


def arguments(request: dict) -> dict:
    return REQUEST.validate_python(request).model_dump(mode="json")


@pytest.fixture
def make_pool(tmp_path: Path):
    pools: list[JobPool] = []

    def make(**limits) -> JobPool:
        pool = JobPool(Settings(data=tmp_path / "data", **limits))
        pool.start()
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        if not pool.is_stopping:
            pool.stop()


def submit(pool: JobPool, request: dict) -> Job:
    return pool.submit(request["kind"], arguments(request))


def wait_for(pool: JobPool, job: Job, is_so, seconds: float = 60.0) -> Job:
    deadline = time.monotonic() + seconds
    while not is_so(found := pool.store.get(job.id)):
        assert time.monotonic() < deadline, (found, pool.store.events(job.id)[-3:])
        time.sleep(0.02)
    return found


def wait_for_end(pool: JobPool, job: Job) -> Job:
    return wait_for(pool, job, lambda found: found.state in ENDED)


def wait_for_steps(pool: JobPool, job: Job, least: int = 1) -> None:
    def trains(_: Job) -> bool:
        return any(event.data.get("step", -1) >= least for event in pool.store.events(job.id))

    wait_for(pool, job, trains)


def children() -> set[int]:
    """Processes that this one has started, and they have started, by their parent."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(path.parent.name)] = int(parent)
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


def test_a_fine_tuning_tells_its_progress_and_leaves_model_and_forecast(make_pool):
    pool = make_pool()
    job = wait_for_end(pool, submit(pool, QUICK))
    assert job.state == "done" and job.error is None
    told = [event.data for event in pool.store.events(job.id)]
    assert [data["state"] for data in told if "state" in data] == ["queued", "running", "done"]
    assert any(data.get("stage") == "training" and data["step"] >= 1 for data in told)
    assert set(pool.folders.files(job)) >= {"forecast.csv", "training.csv", "weights.safetensors"}
    assert pool.folders.result(job.id)["training"]["step"] == 5
    assert str(pool.settings.data) not in pool.folders.file(job, "run.json").read_text()


def test_a_cancelled_training_ends_soon_and_leaves_no_result(make_pool):
    pool = make_pool()
    before = children()
    job = submit(pool, LONG)
    waiting = submit(pool, QUICK)
    wait_for_steps(pool, job)
    assert children() - before
    started = time.monotonic()
    assert pool.cancel(waiting.id).state == "cancelled"
    pool.cancel(job.id)
    ended = wait_for_end(pool, job)
    # job_grace_seconds and a little; the generous bound keeps a busy machine from failing the test.
    assert time.monotonic() - started < 10
    assert ended.state == "cancelled" and not children() - before
    left = {path.name for path in pool.folders.path(job.id).iterdir()}
    assert left - {".process.lock"} == {"data.csv", "process.log", "fit.checkpoint"}
    assert pool.cancel(job.id) is None and pool.folders.files(ended) == []
    assert pool.store.get(waiting.id).attempts == 0


def test_a_cancelled_training_can_go_on_from_its_checkpoint(make_pool):
    pool = make_pool()
    job = submit(pool, {**QUICK, "max_steps": 60})
    wait_for_steps(pool, job, 20)
    pool.cancel(job.id)
    assert wait_for_end(pool, job).state == "cancelled" and pool.folders.can_continue(job.id)
    n_told = len(pool.store.events(job.id))
    assert pool.resume(job.id).state == "queued"
    ended = wait_for_end(pool, job)
    assert (ended.state, ended.attempts) == ("done", 2)
    told = [event.data for event in pool.store.events(job.id, n_told)]
    assert next(data["step"] for data in told if "step" in data) > 1  # it did not begin anew
    assert pool.resume(job.id) is None


def test_a_job_that_takes_too_long_fails_in_one_sentence(make_pool):
    pool = make_pool(job_seconds=4.0)
    job = wait_for_end(pool, submit(pool, LONG))
    assert job.state == "failed" and job.error["code"] == "JOB_TIME"
    assert "4 s" in job.error["message"] and "\n" not in job.error["message"]


@pytest.mark.parametrize("mib", [250, 700])
def test_a_job_that_needs_too_much_memory_fails_in_one_sentence(make_pool, mib):
    pool = make_pool(job_memory=mib * 2**20)
    job = wait_for_end(pool, submit(pool, QUICK))
    assert job.state == "failed" and job.error["code"] in ("JOB_MEMORY", "JOB_DIED")
    assert "memory" in job.error["message"] and "\n" not in job.error["message"]


def test_a_killed_process_fails_its_job_and_no_other(make_pool):
    pool = make_pool()
    before = children()
    job, other = submit(pool, LONG), submit(pool, QUICK)
    wait_for_steps(pool, job)
    for pid in children() - before:
        os.kill(pid, 9)
    ended = wait_for_end(pool, job)
    assert ended.error["code"] == "JOB_DIED" and "SIGKILL" in ended.error["message"]
    assert wait_for_end(pool, other).state == "done"


def test_a_silent_process_is_ended(make_pool):
    pool = make_pool(job_silent_seconds=3.0)
    before = children()
    job = submit(pool, LONG)
    wait_for_steps(pool, job)
    for pid in children() - before:
        os.kill(pid, 19)  # SIGSTOP
    assert wait_for_end(pool, job).error["code"] == "JOB_SILENT"
    assert not children() - before


def test_a_failure_of_the_data_is_told_in_its_own_words(make_pool):
    pool = make_pool()
    job = pool.submit(
        "backtest",
        arguments({"kind": "backtest", "data": "a" * 22}),
        b"unique_id,ds,y\na,2020-01-01,1\na,2020-01-02,x\n",
    )
    ended = wait_for_end(pool, job)
    assert ended.state == "failed" and "'x'" in ended.error["message"]
    assert "/" not in ended.error["message"]


def test_a_job_has_a_low_priority_and_one_thread(make_pool):
    pool = make_pool()
    before = children()
    job = submit(pool, LONG)
    wait_for_steps(pool, job)
    (pid,) = children() - before
    assert os.getpriority(os.PRIO_PROCESS, pid) >= min(os.nice(0) + 10, 19)
    assert "OMP_NUM_THREADS=1" in Path(f"/proc/{pid}/environ").read_text().split("\0")


def test_the_queue_is_bounded(make_pool):
    pool = make_pool(queue_length=2)
    running = submit(pool, LONG)
    wait_for(pool, running, lambda found: found.state == "running")
    waiting = [submit(pool, QUICK) for _ in range(2)]
    with pytest.raises(QueueFullError, match="2 jobs wait"):
        submit(pool, QUICK)
    counts = {"queued": 2, "running": 1}
    assert pool.counts() == {**dict.fromkeys(("done", *AGAIN), 0), **counts}
    pool.cancel(waiting[0].id)
    submit(pool, QUICK)
    with pytest.raises(QueueFullError):
        pool.resume(waiting[0].id)


def test_a_server_that_ends_interrupts_its_jobs_and_the_next_one_goes_on(make_pool):
    pool = make_pool()
    running, waiting = submit(pool, LONG), submit(pool, QUICK)
    wait_for_steps(pool, running, 20)
    before = threading.active_count()
    pool.stop()
    assert threading.active_count() < before
    again = make_pool()
    assert again.store.get(running.id).state == "interrupted"
    assert again.folders.can_continue(running.id)
    assert wait_for_end(again, waiting).state == "done"


def test_only_a_job_that_has_ended_is_deleted_and_nothing_of_it_is_left(make_pool):
    pool = make_pool()
    running, waiting = submit(pool, LONG), submit(pool, QUICK)
    wait_for(pool, running, lambda found: found.state == "running")
    assert not pool.delete(running.id) and not pool.delete(waiting.id)
    assert pool.folders.path(running.id).is_dir() and pool.folders.path(waiting.id).is_dir()
    pool.cancel(waiting.id)
    assert pool.delete(waiting.id) and pool.store.get(waiting.id) is None
    assert not pool.folders.path(waiting.id).exists() and pool.store.events(waiting.id) == []
    assert pool.counts()["running"] == 1
    pool.cancel(running.id)
    wait_for_end(pool, running)
    assert pool.delete(running.id) and pool.folders.ids() == []


def test_two_servers_on_one_folder_are_refused(make_pool):
    pool = make_pool()
    with pytest.raises(BusyError, match="another process"):
        make_pool()
    pool.stop()
    make_pool()


def test_what_a_killed_server_left_is_settled(tmp_path, make_pool):
    root = tmp_path / "data" / "jobs"
    root.mkdir(parents=True)
    store = SqliteJobs(tmp_path / "data" / "jobs.db")
    done, cut = (Job(new_id(), "backtest", {}, "running", 1.0, 2.0) for _ in range(2))
    for job in (done, cut):
        store.add(job)
        (root / job.id).mkdir()
        (root / job.id / ".backtest.writing").mkdir()
    store.close()
    (root / done.id / "result.json").write_text('{"use": "Drift"}')
    stray, foreign = root / new_id(), root / "notes"
    stray.mkdir()
    foreign.mkdir()
    pool = make_pool()
    assert pool.store.get(done.id).state == "done" and pool.store.get(cut.id).state == "interrupted"
    assert pool.folders.result(done.id) == {"use": "Drift"}
    assert not stray.exists() and foreign.exists()
    assert not list(root.glob("*/.*.writing"))


def test_ended_jobs_are_deleted_after_their_time_and_the_oldest_beyond_the_room(make_pool):
    pool = make_pool(keep_jobs_for=100.0, max_jobs_bytes=2500)
    jobs = {}
    for name, ended, state in (
        *(("old", 10.0, "done"), ("large", 950.0, "done"), ("new", 990.0, "failed")),
        ("waits", None, "queued"),
    ):
        job = Job(new_id(), "tune", {}, state, ended or 1.0, ended=ended)
        jobs[name] = job
        pool.folders.make(job.id, b"x" * 2000)
    with pool._changed:  # so that nobody claims the one that waits
        for job in jobs.values():
            pool.store.add(job)
        workers.delete_old(pool.store, pool.folders, pool.settings, 1000.0)
        left = {name for name, job in jobs.items() if pool.store.get(job.id) is not None}
        assert (
            left
            == {"new", "waits"}
            == {name for name, job in jobs.items() if pool.folders.path(job.id).exists()}
        )
        pool.store.change(jobs["waits"].id, ["queued"], state="cancelled", ended=999.0)


def test_the_newest_job_stays_however_large_and_takes_no_older_one_with_it(make_pool):
    pool = make_pool(keep_jobs_for=100.0, max_jobs_bytes=2500)
    sizes = {"small": (2000, 980.0), "huge": (9000, 985.0), "newest": (400, 990.0)}
    jobs = {name: Job(new_id(), "tune", {}, "done", t, ended=t) for name, (_, t) in sizes.items()}
    for name, job in jobs.items():
        pool.folders.make(job.id, b"x" * sizes[name][0])
        pool.store.add(job)
    workers.delete_old(pool.store, pool.folders, pool.settings, 1000.0)
    assert {name for name, job in jobs.items() if pool.store.get(job.id)} == {"small", "newest"}
    pool.folders.make(vast := new_id(), b"x" * 9000)
    pool.store.add(Job(vast, "tune", {}, "done", 995.0, ended=995.0))
    workers.delete_old(pool.store, pool.folders, pool.settings, 1000.0)
    assert [job.id for job in pool.store.find(limit=9)] == [vast]


def test_jobs_whose_records_are_gone_are_left_alone(make_pool, caplog):
    pool = make_pool()
    pool.folders.make(stranger := new_id(), b"x")
    workers.recover(pool.store, pool.folders, 1000.0)
    assert pool.folders.path(stranger).exists() and "left alone: 1" in caplog.text
    pool.store.add(Job(known := new_id(), "tune", {}, "done", 1.0, ended=1.0))
    pool.folders.make(known, b"x")
    workers.recover(pool.store, pool.folders, 1000.0)
    assert pool.folders.path(known).exists() and not pool.folders.path(stranger).exists()


def test_no_text_that_is_no_id_becomes_a_path(make_pool):
    pool = make_pool()
    for text in ("../x", "", ".", "a" * 23, "a" * 21 + "/"):
        with pytest.raises(ValueError):
            pool.folders.path(text)


class FailingStore(SqliteJobs):
    """A store whose disk is full the first time that something is written."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.calls: Counter[str] = Counter()

    def _fail_once(self, what: str) -> None:
        self.calls[what] += 1
        if self.calls[what] == 1:
            raise sqlite3.OperationalError("database or disk is full")

    def add(self, job):
        self._fail_once("add")
        super().add(job)

    def claim(self, now):
        self._fail_once("claim")
        return super().claim(now)

    def change(self, job_id, allowed, **changes):
        self._fail_once("change")
        return super().change(job_id, allowed, **changes)

    def find(self, states=(), limit=1000):
        if states:  # of the housekeeping
            self._fail_once("find")
        return super().find(states, limit)


def test_a_store_that_fails_for_a_while_stops_nothing_for_good(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "STORE_SECONDS", 0.01)
    monkeypatch.setattr(workers, "HOUSEKEEPING_SECONDS", 0.01)
    monkeypatch.setattr(JobPool, "_do", lambda pool, job: replace(job, state="done"))
    pool = JobPool(Settings(data=tmp_path / "data"))
    pool.folders.root.mkdir(parents=True)
    store = FailingStore(tmp_path / "jobs.db")
    pool.start(store)
    try:
        with pytest.raises(sqlite3.OperationalError):
            pool.submit("fine-tune", arguments(QUICK), b"a file")
        assert pool.folders.ids() == [], "what could not be queued leaves nothing"
        job = wait_for_end(pool, submit(pool, QUICK))
        assert job.state == "done"
        deadline = time.monotonic() + 20
        while min(store.calls[what] for what in ("claim", "change", "find")) < 2:
            assert time.monotonic() < deadline, store.calls
            time.sleep(0.01)
    finally:
        pool.stop()


def test_what_is_said_to_be_written_is_synced_with_its_name(tmp_path, make_pool, monkeypatch):
    synced: list[str] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(os.path.realpath(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    folders = make_pool(workers=0).folders
    job_id = new_id()
    folders.make(job_id, b"a file")
    folder = str(folders.path(job_id))
    assert synced == [f"{folder}/upload", folder, str(folders.root)]
    synced.clear()
    write_result(Path(folder), {})
    assert len(synced) == 2 and synced[-1] == folder


def test_a_clock_that_jumps_ahead_does_not_make_jobs_old(monkeypatch):
    now = {"clock": 1e9, "awake": 50.0}
    monkeypatch.setattr(keeping.time, "time", lambda: now["clock"])
    monkeypatch.setattr(keeping.time, "monotonic", lambda: now["awake"])
    clock = keeping.make_clock()
    now.update(clock=1e9 + 60, awake=110.0)
    assert clock() == 1e9 + 60
    now["clock"] += 10 * 365 * 86400
    assert clock() == 1e9 + 60 + 86400  # a day at most, and seven days are kept
    now["clock"] = 1e9 - 3600  # and back
    assert clock() == 1e9 - 3600

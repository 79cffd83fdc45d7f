"""A study survives the death of any of its processes at any moment: nothing lost, none twice."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

from explstm.errors import BackendNotInstalledError, UsageError
from explstm.study import (
    MOST_DEATHS,
    claim_trial,
    fail_trial,
    give_back_trial,
    has_running,
    is_own,
    measure_importance,
    prune_trial,
    read_params,
    read_records,
    report_value,
    settle_trial,
)
from toy_study import IDENTITY, KNOBS, OWN, judge, open_toy, run_toy

pytest.importorskip("optuna")
SCRIPT = Path(__file__).with_name("toy_study.py")


def start_child(path, n_trials, seconds=0.0):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(path), str(n_trials), str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
    )


def read_toy(path):
    with open_toy(path) as shared:
        return read_records(shared)


def check_whole(records, n_trials):
    """Each trial asked for has a result; each that was lost is continued once, by its own kind."""
    states = Counter(record.state for record in records)
    assert states["complete"] == n_trials
    assert set(states) <= {"complete", "requeued"}
    successors = Counter(r.retry_of for r in records if r.retry_of is not None)
    lost = [r for r in records if r.state == "requeued"]
    assert successors == {r.number: 1 for r in lost}
    by_origin = {r.retry_of: r for r in records}
    for record in lost:  # with the parameters that it had been given
        assert record.params.items() <= by_origin[record.number].params.items()
    complete = [r for r in records if r.state == "complete"]
    assert sum(r.params == OWN for r in complete) == 1
    assert len({tuple(r.params.items()) for r in complete}) == n_trials
    for record in complete:
        assert record.value == pytest.approx(judge(record.params), abs=1e-12)


def test_the_first_trial_has_the_own_parameters_and_the_seed_says_the_rest(tmp_path):
    found = []
    for name in ("one.db", "two.db"):
        run_toy(tmp_path / name, 10)
        found.append([(r.params, r.value) for r in read_toy(tmp_path / name)])
    assert found[0][0] == (OWN, judge(OWN))
    assert found[0] == found[1]
    check_whole(read_toy(tmp_path / "one.db"), 10)
    assert sorted(path.name for path in tmp_path.iterdir() if "lock" in path.name) == []


def test_more_trials_of_the_same_study_go_on_where_it_was(tmp_path):
    run_toy(tmp_path / "parts.db", 3)
    run_toy(tmp_path / "parts.db", 7)
    run_toy(tmp_path / "whole.db", 7)
    parts, whole = (read_toy(tmp_path / name) for name in ("parts.db", "whole.db"))
    assert [r.params for r in parts] == [r.params for r in whole]


@pytest.mark.slow
def test_killed_at_random_moments_it_loses_no_trial_and_counts_none_twice(tmp_path):
    chance, path, n_trials = random.Random(5), tmp_path / "tune.db", 8
    run_toy(path, 1)  # the tables are made; whether a kill may fall into that is another test
    for _ in range(4):
        child = start_child(path, n_trials, 0.05)
        time.sleep(1.0)  # imports
        child.stdout.readline()
        time.sleep(chance.uniform(0, 0.2))
        child.kill()
        child.wait()
        child.stdout.close()
    assert any(r.state != "complete" for r in read_toy(path)), "no kill hit a running trial"
    run_toy(path, n_trials)
    check_whole(read_toy(path), n_trials)


class Killed(BaseException):
    """What stands for a kill: nothing in the package catches it."""


def kill_at(monkeypatch, n):
    """Let the n-th change of the study, and none of those after it, not happen."""
    from optuna.storages import RDBStorage

    calls = [0]

    def guard(name):
        original = getattr(RDBStorage, name)

        def call(*args, **kwargs):
            calls[0] += 1
            if calls[0] >= n:
                raise Killed
            return original(*args, **kwargs)

        monkeypatch.setattr(RDBStorage, name, call)

    for name in (
        "create_new_study",
        "_create_new_trial",
        "set_study_user_attr",
        "_set_trial_param",
        "set_trial_user_attr",
        "set_trial_system_attr",
        "set_trial_state_values",
    ):
        guard(name)
    return calls


@pytest.mark.slow
def test_a_kill_before_any_change_of_the_study_loses_nothing(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        calls = kill_at(patch, 10**6)
        run_toy(tmp_path / "whole.db", 2)
    assert calls[0] >= 20
    for n in range(1, calls[0] + 1):
        path = tmp_path / f"{n}.db"
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_at(patch, n)
            run_toy(path, 2)
        run_toy(path, 3)
        check_whole(read_toy(path), 3)


def test_a_kill_while_a_lost_trial_is_queued_again_repeats_nothing(tmp_path, monkeypatch):
    path = tmp_path / "tune.db"
    with open_toy(path) as shared:
        claim_trial(shared, 3)
    for n in (1, 2, 3):  # before it is queued, while, and before it is failed
        with monkeypatch.context() as patch, pytest.raises(Killed), open_toy(path) as shared:
            kill_at(patch, n)
            claim_trial(shared, 3)
    run_toy(path, 3)
    check_whole(read_toy(path), 3)


def test_the_locks_of_killed_processes_do_not_stay(tmp_path):
    path = tmp_path / "tune.db"
    child = start_child(path, 1, 60)
    with open_toy(path) as shared:
        while not (records := read_records(shared)) or not records[0].worker:
            time.sleep(0.1)
    (lock,) = tmp_path.glob(".*worker*")  # of the child, which works; its trial is settled here
    run_toy(tmp_path / "other.db", 1)
    with open_toy(path):
        assert lock.exists()
    child.kill()
    child.communicate()
    with open_toy(path):
        assert not lock.exists()
    assert sorted(file.name for file in tmp_path.glob(".*")) == []


@contextmanager
def full_disk(n_bytes):
    """No file grows beyond so many bytes."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_told_as_such_and_loses_no_settled_trial(tmp_path):
    path = tmp_path / "tune.db"
    for n_bytes in (0, 3000, 50_000):  # while the tables are made
        with pytest.raises(UsageError, match=r"STUDY_UNWRITABLE.*make space"), full_disk(n_bytes):
            run_toy(path, 2)
    run_toy(path, 2)
    with pytest.raises(UsageError, match=r"STUDY_UNWRITABLE.*make space"), full_disk(100):
        run_toy(path, 4)
    run_toy(path, 4)
    check_whole(read_toy(path), 4)


def test_a_trial_of_a_living_process_is_left_to_it(tmp_path):
    path = tmp_path / "tune.db"
    with open_toy(path) as one:
        slow = claim_trial(one, 2)
        with open_toy(path) as other:
            quick = claim_trial(other, 2)
            assert quick.number != slow.number
            settle_trial(other, quick, [1.0], 0.0, 1)
            assert claim_trial(other, 2) is None, "as many as asked are settled or running"
            assert has_running(other)
            assert not any(r.state == "requeued" for r in read_records(other))
    with open_toy(path) as later:  # its process has ended now
        taken = claim_trial(later, 2)
        assert read_params(later, taken) == OWN
        assert is_own(taken)
        states = [r.state for r in read_records(later)]
        assert states == ["requeued", "complete", "running"]


@pytest.mark.slow
def test_two_processes_share_a_study(tmp_path):
    path, n_trials = tmp_path / "tune.db", 24
    children = [start_child(path, n_trials, 0.1) for _ in range(2)]
    outputs = [child.communicate(timeout=120)[0].split() for child in children]
    assert [output[-1] for output in outputs] == ["done", "done"]
    records = read_toy(path)
    check_whole(records, n_trials)
    assert not any(r.state == "requeued" for r in records)
    done = Counter(r.worker for r in records)
    assert len(done) == 2 and sorted(done.values()) == sorted(len(o) - 1 for o in outputs)


def test_a_stopped_process_keeps_its_trial_and_a_killed_one_gives_it_up(tmp_path):
    path = tmp_path / "tune.db"
    child = start_child(path, 1, 60)
    with open_toy(path) as shared:
        while not (records := read_records(shared)) or not records[0].worker:
            time.sleep(0.1)
        assert claim_trial(shared, 1) is None  # it has left the claim, and works
        os.kill(child.pid, signal.SIGSTOP)
        assert claim_trial(shared, 1) is None
        child.kill()
        child.communicate()
        assert read_params(shared, claim_trial(shared, 1)) == OWN


def test_a_trial_that_takes_its_process_along_every_time_is_failed_in_the_end(tmp_path):
    path = tmp_path / "tune.db"
    for _ in range(MOST_DEATHS):
        with open_toy(path) as shared:
            assert read_params(shared, claim_trial(shared, 2)) == OWN
    with open_toy(path) as shared:
        assert read_params(shared, claim_trial(shared, 2)) != OWN
        states = [r.state for r in read_records(shared)]
        assert states == ["requeued"] * (MOST_DEATHS - 1) + ["failed", "running"]
        assert "its process ended" in read_records(shared)[MOST_DEATHS - 1].reason


def test_a_trial_given_back_is_taken_up_again_however_often(tmp_path):
    with open_toy(tmp_path / "tune.db") as shared:
        for _ in range(MOST_DEATHS + 2):
            trial = claim_trial(shared, 1)
            assert read_params(shared, trial) == OWN
            give_back_trial(shared, trial, "the time was over")
        records = read_records(shared)
        assert {r.reason for r in records[:-1]} == {"the time was over"}
        assert [r.state for r in records][-2:] == ["requeued", "waiting"]


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_value_that_is_not_finite_is_a_failure_with_its_reason(tmp_path, value):
    with open_toy(tmp_path / "tune.db") as shared:
        settle_trial(shared, claim_trial(shared, 2), [1.0, value], 0.5, 7)
        (record,) = read_records(shared)
        assert (record.state, record.value, record.seconds, record.seed) == ("failed", None, 0.5, 7)
        assert f"{value:g}" in record.reason
        assert shared.study.trials[0].state.name == "FAIL"


def test_failed_and_pruned_trials_count_among_those_asked_for(tmp_path):
    with open_toy(tmp_path / "tune.db") as shared:
        fail_trial(shared, claim_trial(shared, 2), "TRAINING_DIVERGED: at step 3", 0.1, 1)
        trial = claim_trial(shared, 2)
        report_value(trial, 4.0, 1)
        prune_trial(shared, trial, "worse", 0.1, 1)
        assert claim_trial(shared, 2) is None
        one, two = read_records(shared)
        assert (one.state, one.reason) == ("failed", "TRAINING_DIVERGED: at step 3")
        assert (two.state, two.value) == ("pruned", 4.0)


def test_a_trial_worse_than_the_median_is_pruned_but_never_the_own_one(tmp_path):
    with open_toy(tmp_path / "tune.db") as shared:
        own = claim_trial(shared, 20)
        for value in (1.0, 2.0, 3.0, 4.0, 5.0):
            trial = claim_trial(shared, 20)
            assert not report_value(trial, value, 1), "too few to compare with"
            settle_trial(shared, trial, [value], 0.0, 1)
        assert not report_value(own, 9.0, 1)
        assert report_value(claim_trial(shared, 20), 3.5, 1)
        assert not report_value(claim_trial(shared, 20), 2.5, 1)


def test_what_decides_the_value_is_the_most_important(tmp_path):
    with open_toy(tmp_path / "tune.db") as shared:
        assert measure_importance(shared) == {}
        for _ in range(40):
            trial = claim_trial(shared, 40)
            settle_trial(shared, trial, [read_params(shared, trial)["x"] ** 2], 0.0, 1)
        found = measure_importance(shared)
        assert max(found, key=found.get) == "x"
        assert sum(found.values()) == pytest.approx(1)
        assert set(found) == {knob.name for knob in KNOBS}


def test_a_study_of_something_else_is_refused(tmp_path):
    run_toy(tmp_path / "tune.db", 1)
    with (
        pytest.raises(UsageError, match=r"something else \(other data, task\)"),
        open_toy(tmp_path / "tune.db", identity={"task": "cube", "data": "others"}),
    ):
        pass


def test_a_file_that_is_no_study_is_refused_and_stays(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database, and long enough to be looked at as one\n" * 40)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="no study that can be used"), open_toy(path):
        pass
    assert path.read_bytes() == before
    with pytest.raises(UsageError, match="in a folder that exists"), open_toy(tmp_path / "a" / "b"):
        pass


def test_without_optuna_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with (
        pytest.raises(BackendNotInstalledError, match=r"pip install 'explstm\[tune\]'"),
        open_toy(tmp_path / "tune.db"),
    ):
        pass


def test_identity_is_what_was_given(tmp_path):
    with open_toy(tmp_path / "tune.db") as shared:
        assert shared.study.user_attrs["identity"] == IDENTITY

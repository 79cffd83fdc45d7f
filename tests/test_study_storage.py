"""Where a study lies: what is read of an address, what is told of it, and studies in PostgreSQL."""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from databases import PASSWORD
from explstm.errors import BackendNotInstalledError, ExpLSTMError, UsageError
from explstm.study import (
    claim_trial,
    has_running,
    read_params,
    read_records,
    settle_trial,
)
from explstm.study_storage import parse_storage
from test_study import check_whole, kill_at, read_toy, start_child
from toy_study import IDENTITY, OWN, open_toy, run_toy
from toy_tuning import make_toy

pytest.importorskip("optuna")
SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    ("storage", "name"),
    [("sqlite:///tune.db", "tune.db"), ("sqlite:////tmp/a.db", "/tmp/a.db"), ("b.db", "b.db")],
)
def test_a_file_is_a_path_or_an_address(storage, name):
    address = parse_storage(storage)
    assert (address.path, address.shown) == (Path(name), name)


@pytest.mark.parametrize(
    "storage",
    [
        *(
            f"{kind}://me:{SECRET}@host/db"
            for kind in ("mysql", "PostgreSQL", " postgresql", "a_b")
        ),
        "sqlite://",
        "",
    ],
)
def test_another_database_is_refused(storage):
    with pytest.raises(UsageError, match=r"sqlite:///tune\.db") as refused:
        parse_storage(storage)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("storage", "shown"),
    [
        ("postgresql://me:{}@db.example:5433/tuning", "postgresql://db.example:5433/tuning"),
        (
            "postgres://me:{}@db.example/tuning?sslmode=verify-full",
            "postgresql://db.example/tuning",
        ),
        ("postgresql+psycopg://me@[::1]:5433/tuning?password={}", "postgresql://[::1]:5433/tuning"),
        ("postgresql://me:1?{}@host/tuning", "postgresql://host/tuning"),
        (
            "postgresql:///tuning?host=/run/postgresql&user=me&sslpassword={}",
            "postgresql:///tuning?host=/run/postgresql",
        ),
    ],
)
def test_nothing_is_told_of_a_database_but_where_it_is(storage, shown):
    pytest.importorskip("psycopg")
    address = parse_storage(storage.format(SECRET))
    assert address.shown == shown
    assert SECRET not in f"{address!r} {address}"
    assert address.connection["user"] == "me" and SECRET in " ".join(address.connection.values())
    assert pickle.loads(pickle.dumps(address)) == address


@pytest.mark.parametrize(
    "storage",
    [
        "postgresql://me:hunter2hunter2/x@host/db",
        "postgresql://me:hunter2@hunter2hunter2/x@host/db",
        "postgresql://me:1/x?hunter2hunter2@host/db",
        "postgresql://me:1/hunter2hunter2#@host/db",
        "postgresql://me:hunter2hunter2@host",
        "postgresql://me@host/db?passwrod=hunter2hunter2",
    ],
)
def test_an_address_that_cannot_be_read_is_not_repeated(storage):
    pytest.importorskip("psycopg")
    with pytest.raises(UsageError, match="%40") as refused:
        parse_storage(storage)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__context__ is None or refused.value.__suppress_context__


def test_without_the_driver_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(BackendNotInstalledError, match=r"pip install 'explstm\[postgresql\]'"):
        parse_storage("postgresql://me@host/db")


# -------------------------------------------------------------------------------------- a server


def test_a_study_in_a_database_is_that_in_a_file(database, tmp_path):
    run_toy(tmp_path / "tune.db", 3)
    run_toy(database, 3)
    run_toy(tmp_path / "tune.db", 8)
    run_toy(database, 8)
    check_whole(read_toy(database), 8)
    ours, theirs = (
        [(r.params, r.value) for r in read_toy(place)] for place in (database, tmp_path / "tune.db")
    )
    assert ours == theirs


def test_sessions_end_with_the_study_and_their_statements_hold_no_password(
    database_server, database
):
    asked = "SELECT client_addr FROM pg_stat_activity WHERE application_name = 'explstm'"
    with open_toy(database) as shared:
        assert len(database_server.ask(asked)) == 1
        assert PASSWORD not in repr(shared)
        assert shared.study._storage._backend.url == "postgresql+psycopg://"
    assert database_server.ask(asked) == []


def test_a_trial_of_a_living_process_is_left_to_it(database):
    with open_toy(database) as one:
        slow = claim_trial(one, 2)
        with open_toy(database) as other:
            quick = claim_trial(other, 2)
            assert quick.number != slow.number
            settle_trial(other, quick, [1.0], 0.0, 1)
            assert claim_trial(other, 2) is None and has_running(other)
    with open_toy(database) as later:  # its process has ended now
        assert read_params(later, claim_trial(later, 2)) == OWN
        assert [r.state for r in read_records(later)] == ["requeued", "complete", "running"]


def test_processes_share_a_database_and_one_killed_in_the_middle_costs_nothing(database):
    children = [start_child(database, 16, 0.1) for _ in range(2)]
    for _ in range(3):
        children[0].stdout.readline()
    os.kill(children[0].pid, signal.SIGKILL)
    outputs = [child.communicate(timeout=120)[0].split() for child in children]
    assert outputs[1][-1] == "done"
    records = read_toy(database)
    check_whole(records, 16)
    assert len(Counter(r.worker for r in records if r.state == "complete")) == 2


def test_a_kill_before_any_change_of_the_study_loses_nothing(database_server, monkeypatch):
    """As with a file; a change is a transaction here as there, so that a few of them tell."""
    for n in (1, 9, 17):
        database = database_server.create()
        with monkeypatch.context() as patch, pytest.raises(BaseException, match=r"^$"):
            kill_at(patch, n)
            run_toy(database, 2)
        run_toy(database, 3)
        check_whole(read_toy(database), 3)


def test_who_has_lost_the_session_can_tell_nothing_more(database_server, database):
    """What it works on may be another one's by then: it would count twice."""
    from optuna.exceptions import StorageInternalError

    lost = pytest.raises(ExpLSTMError, match=r"STUDY_LOST: .*run it again")
    with lost as told, open_toy(database) as shared:
        trial = claim_trial(shared, 1)
        database_server.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'explstm'"
        )
        with open_toy(database) as other:
            taken = claim_trial(other, 1)
            assert read_params(other, taken) == OWN
            for _ in range(2):
                with pytest.raises(StorageInternalError):
                    settle_trial(shared, trial, [7.0], 0.0, 1)
            settle_trial(other, taken, [1.0], 0.0, 1)
        settle_trial(shared, trial, [7.0], 0.0, 1)
    assert PASSWORD not in str(told.value)
    assert [(r.state, r.value) for r in read_toy(database)] == [("requeued", None), ("complete", 1)]


def test_a_study_of_something_else_is_refused(database):
    run_toy(database, 1)
    with (
        pytest.raises(UsageError, match=r"something else \(other task\)") as refused,
        open_toy(database, identity={**IDENTITY, "task": "cube"}),
    ):
        pass
    assert PASSWORD not in str(refused.value)


def test_what_a_server_refuses_is_told_without_the_password(database_server):
    with (
        pytest.raises(UsageError, match=r"STUDY_UNREACHABLE: .*password authentication") as refused,
        open_toy(database_server.url("postgres", "wrong-" + SECRET)),
    ):
        pass
    assert SECRET not in str(refused.value) and refused.value.__suppress_context__
    with (
        pytest.raises(UsageError, match=r'STUDY_UNREACHABLE: .*"nowhere" does not exist'),
        open_toy(database_server.url("nowhere")),
    ):
        pass
    began = time.monotonic()
    with (
        pytest.raises(UsageError, match="STUDY_UNREACHABLE"),
        open_toy(f"postgresql://me:{SECRET}@127.0.0.1:9/db"),
    ):
        pass
    assert time.monotonic() - began < 60


def test_a_command_tells_nobody_the_password(database_server, tmp_path):
    """Neither the run folder nor what is printed, whatever happens, holds it."""
    make_toy().to_csv(tmp_path / "sales.csv", index=False)
    command = [sys.executable, "-m", "explstm", "tune", "sales.csv", "--horizon", "2", "--debug"]
    done = subprocess.run(
        [*command, "--storage", database_server.url("nowhere"), "--no-plot"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 2 and '"nowhere" does not exist' in done.stderr
    assert "geheim" not in done.stderr + done.stdout

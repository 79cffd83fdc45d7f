"""What is decided before workers begin, and what each of them does."""

import os
import subprocess
import sys
import threading
import uuid
from dataclasses import dataclass

import numpy as np
import pytest

from explstm import ExpLSTM, __version__, cli
from explstm.config import TrainingConfig
from explstm.errors import BackendNotInstalledError, BusyError, DataError, TrainingError, UsageError
from explstm.pretrain import PretrainConfig
from explstm.storage import hold_lock
from part_data import H, cut_rows, make_series, write_files
from toy_team import run_team
from toy_training import digest, make_toy

pytest.importorskip("pyarrow")

from explstm import scaleout
from explstm.scaleout import members, training
from explstm.scaleout.dataset import Dataset
from explstm.scaleout.mirror import Mirror
from explstm.scaleout.options import Reading

READING = Reading(freq=None, fill="error", id_col="unique_id", time_col="ds", target_col="y")


@pytest.fixture
def data(tmp_path):
    return write_files(tmp_path / "data", cut_rows(make_series(23), 3))


@pytest.fixture
def no_cluster(monkeypatch):
    """Runs that are refused before a cluster is begun, with Ray or without it."""
    monkeypatch.setattr(training, "import_ray", lambda: None)
    monkeypatch.setattr(training, "run_team", lambda *_: pytest.fail("workers began"))


# ------------------------------------------------------------------------------------- refusals


def test_without_ray_the_message_says_what_to_install(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BackendNotInstalledError, match=r"pip install 'explstm\[ray\]'"):
        scaleout.train(make_toy("torch"), data, H, checkpoints=tmp_path / "kept")
    command = ["fit", str(data), "--horizon", "3", "--backend", "torch", "--engine", "ray"]
    assert cli.run([*command, "--out", str(tmp_path / "out")]) == 2
    assert "pip install 'explstm[ray]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": ExpLSTM()}, "BACKEND_CANNOT_TRAIN"),
        ({"workers": 0}, "WORKERS_RANGE: workers=0"),
        ({"h": 0}, "HORIZON"),
        ({"fill": "guess"}, "fill='guess' cannot be used"),
        ({"time_col": "y"}, "must be three columns"),
        ({"checkpoints": "nonsense://there"}, "CHECKPOINT_URL"),
    ],
)
def test_what_cannot_run_is_refused_before_workers_begin(
    data, tmp_path, no_cluster, changes, words
):
    asked = {"model": make_toy("torch"), "h": H, "checkpoints": tmp_path / "kept", **changes}
    with pytest.raises(UsageError, match=words):
        scaleout.train(asked.pop("model"), data, asked.pop("h"), **asked)


def test_data_that_cannot_be_used_are_refused_before_workers_begin(tmp_path, no_cluster):
    with pytest.raises(DataError, match="DATA_PATH"):
        scaleout.train(make_toy("torch"), tmp_path / "none", H, checkpoints=tmp_path / "kept")


@pytest.mark.parametrize("url", [False, True])
def test_checkpoints_of_another_run_are_not_gone_on_with_unasked(
    data, tmp_path, no_cluster, url, monkeypatch
):
    place = f"memory://{uuid.uuid4().hex}" if url else tmp_path / "kept"
    folder = tmp_path / "kept"
    make_toy("torch", max_steps=5).fit(make_series(5), H, checkpoint_dir=folder)
    if url:
        Mirror(place).push(folder, folder)
    with pytest.raises(UsageError, match=r"CHECKPOINT_EXISTS: .* holds the checkpoints of another"):
        scaleout.train(make_toy("torch"), data, H, checkpoints=place)
    assert scaleout.prepare_place(place, resume=True, force=True) == place
    with pytest.raises(UsageError, match="CHECKPOINT_EXISTS"):
        scaleout.train(make_toy("torch"), data, H, checkpoints=place)
    scaleout.prepare_place(place, resume=False, force=True)
    monkeypatch.setattr(training, "run_team", lambda *_: (make_toy("torch"), []))
    scaleout.train(make_toy("torch"), data, H, checkpoints=place)


def test_a_place_belongs_to_one_run(data, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "import_ray", lambda: None)
    with hold_lock(tmp_path / "run"), pytest.raises(BusyError, match="another process"):
        scaleout.train(make_toy("torch"), data, H, checkpoints=tmp_path)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["fit", "data", "--workers", "2"], "--workers belongs to --engine"),
        (["fit", "data", "--engine", "ray", "--plot"], "--plot does not go with --engine"),
        (["fit", "data", "--engine", "ray", "--sep", ";"], "which trains on Parquet"),
        (["pretrain", "--config", "c", "--address", "a:1"], "--address belongs to --engine"),
        (["pretrain", "--config", "c", "--engine", "ray", "--device", "cuda"], "--device"),
    ],
)
def test_options_that_would_change_nothing_are_refused(command, words, capsys):
    assert cli.run([*command, *(["--horizon", "3"] if command[0] == "fit" else [])]) == 2
    assert words in capsys.readouterr().err


# --------------------------------------------------------------------------------- what jobs do


@pytest.mark.parametrize("init", ["random", "pretrained"])
def test_a_job_of_two_is_the_fit_of_the_whole_table(data, tmp_path, init):
    model = make_toy("torch", max_steps=10, loss="mse")
    if init == "pretrained":
        model = ExpLSTM(backend="torch", max_steps=10, loss="mse", batch_size=5)
    one = ExpLSTM(**model.get_params()).fit(make_series(23), H)
    job = training.FitJob(model, Dataset(data, READING), H)
    told = []
    two, nothing = run_team(2, lambda team: job.run(tmp_path / "kept", told.append, team))
    assert nothing is None and two.panel_ is None
    assert two.data_fingerprint_ == one.data_fingerprint_ and two.share_ == one.share_
    for name, array in one.weights_.items():
        np.testing.assert_allclose(two.weights_[name], array, atol=1e-5)
    assert max(row.step for row in told) == 10
    # What was kept is what one process goes on with.
    alone = ExpLSTM(**model.get_params())
    alone.fit(make_series(23), H, checkpoint_dir=tmp_path / "kept", resume=True)
    assert digest(alone) == digest(two)


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_pretraining_of_two_is_that_of_one(tmp_path, backend):
    config = PretrainConfig(
        network=make_toy(backend).spec.model_copy(update={"n_features": 9, "horizon": 5}),
        training=TrainingConfig(max_steps=10, learning_rate=0.01, loss="mse"),
        shapes=((5, 20), (7, 12)),
    )
    job = training.PretrainJob(config, backend)
    one = job.run(tmp_path / "one", None, None)
    for two in run_team(2, lambda team: job.run(tmp_path / "two", None, team)):
        for name, array in one.weights.items():
            np.testing.assert_allclose(two.weights[name], array, atol=1e-5)


# ------------------------------------------------------------------------------- what is told


def test_a_board_counts_how_often_the_team_began():
    board = members.Board()
    for rank in (1, 0, 0, 1):
        assert board.begin(rank, "host", 7) is None
    starts, _ = board.read()
    assert [(one.attempt, one.rank) for one in starts] == [(1, 1), (1, 0), (2, 0), (2, 1)]
    board.tell("a row")
    assert (board.take_rows(), board.take_rows()) == (["a row"], [])
    board.fail(error := UsageError("CODE", "message"))
    assert board.begin(0, "host", 8) is error and board.count_errors() == 1
    assert len(board.read()[0]) == 4


def test_who_waits_too_long_for_the_others_ends():
    code = (
        "import time; from explstm.scaleout.members import with_deadline\n"
        "assert with_deadline(abs, 60)(-1) == 1\n"
        "with_deadline(lambda array: time.sleep(60), 0.1)(0)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, timeout=50)
    assert done.returncode == 1


def test_the_place_of_a_run_that_was_killed_is_waited_for(tmp_path):
    plan = members.Plan(None, "torch", 2, str(tmp_path), 30)
    entered = threading.Event()

    def wait():
        with members.open_place(plan, 0) as (folder, _):
            assert folder == tmp_path
            entered.set()

    with members.open_place(plan, 0):
        thread = threading.Thread(target=wait)
        thread.start()
        with members.open_place(plan, 1):  # others only read
            assert not entered.wait(0.5)
    assert entered.wait(30)
    thread.join()


def test_a_place_at_a_url_is_brought_and_sent(tmp_path):
    url = f"memory://{uuid.uuid4().hex}/run"
    plan = members.Plan(None, "torch", 2, url, 30)
    with members.open_place(plan, 0) as (folder, keep):
        make_toy("torch", max_steps=5).fit(make_series(5), H, checkpoint_dir=folder / "whole")
        keep(folder / "whole")
    with members.open_place(plan, 1) as (folder, _):
        assert [path.name for path in folder.glob("whole/step-*")] == ["step-00000005"]


# ------------------------------------------------------------------------------ what goes wrong


@dataclass(frozen=True)
class BadJob:
    """Fails with an error, on some members."""

    error: Exception
    ranks: tuple[int, ...]

    def run(self, folder, on_step, team):
        if team.rank in self.ranks:
            raise self.error
        return "done"


def take_part(job, board, rank, folder, version=__version__):
    plan = members.Plan(job, "torch", 2, str(folder), 30)
    return members.take_part(plan, board, rank, version)


def test_an_error_of_all_ends_the_team_and_no_other_begins(tmp_path):
    error = TrainingError("TRAINING_DIVERGED", "it diverged.")
    job, board = BadJob(error, (0, 1)), members.Board()
    results = []
    threads = [
        threading.Thread(target=lambda at=rank: results.append(take_part(job, board, at, tmp_path)))
        for rank in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [None, None] and board.errors == [error, error]
    assert take_part(BadJob(error, ()), board, 0, tmp_path) is None


def test_an_error_of_one_has_all_begin_again_and_end(tmp_path, monkeypatch):
    monkeypatch.setattr(members, "END_SECONDS", 0.1)
    error = DataError("DATA_CHANGED", "the data changed.")
    board = members.Board()
    with pytest.raises(DataError, match="DATA_CHANGED"):
        take_part(BadJob(error, (0,)), board, 0, tmp_path)
    for rank in range(2):
        assert take_part(BadJob(error, ()), board, rank, tmp_path) is None
    assert len(board.starts) == 1 and set(board.errors) == {error}


def test_members_that_disagree_begin_again(tmp_path):
    error, board = TrainingError("WORKERS_DISAGREE", "at another step."), members.Board()
    with pytest.raises(TrainingError, match="WORKERS_DISAGREE"):
        take_part(BadJob(error, (0,)), board, 0, tmp_path)
    assert board.errors == []
    assert take_part(BadJob(error, ()), board, 0, tmp_path) == "done"
    assert [start.attempt for start in board.starts] == [1, 2]


def test_a_worker_with_another_version_takes_no_part(tmp_path, monkeypatch):
    monkeypatch.setattr(members, "END_SECONDS", 0.1)
    board = members.Board()
    with pytest.raises(UsageError, match=r"WORKER_VERSION: a worker has explstm .* the run 0.0.1"):
        take_part(BadJob(None, ()), board, 1, tmp_path, "0.0.1")

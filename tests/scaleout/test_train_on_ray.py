"""Two workers of a Ray cluster train as one process does, and lose nothing when they are killed."""

import contextlib
import hashlib
import os
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

import toy_training
from explstm import ExpLSTM, cli
from part_data import H, cut_rows, make_bad_series, make_series, write_files
from toy_team import run_team
from toy_training import digest, make_toy, train_toy

pytestmark = [pytest.mark.ray, pytest.mark.slow]
pytest.importorskip("pyarrow")
ray = pytest.importorskip("ray")

from explstm.scaleout.dataset import Dataset  # noqa: E402
from explstm.scaleout.options import Reading  # noqa: E402
from explstm.scaleout.ray_engine import open_ray  # noqa: E402
from explstm.scaleout.ray_training import LEADING, end_training  # noqa: E402
from explstm.scaleout.training import FitJob  # noqa: E402

READING = Reading(freq=None, fill="error", id_col="unique_id", time_col="ds", target_col="y")
PRETRAINING = """
shapes = [[5, 20], [7, 12]]
[network]
hidden_sizes = [4]
horizon = 5
[training]
max_steps = 10
learning_rate = 0.01
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster for all of these runs; its address, and the settings that let in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        with open_ray(2, None):
            folder = Path(ray._private.worker._global_node.get_session_dir_path()).parents[1]
            environment = {**os.environ, "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
            yield ray.get_runtime_context().gcs_address, environment


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    df = pd.concat([make_series(23), make_bad_series(2)])
    return write_files(tmp_path_factory.mktemp("data"), cut_rows(df, 3))


def find_workers():
    """Those of the cluster that this process has begun; there may be others on the machine."""
    found = []
    for one in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "RayTrainWorker" in " ".join(one.cmdline()):
                found.append(one)
    return found


@pytest.mark.parametrize("backend", ["torch", pytest.param("tensorflow", marks=pytest.mark.long)])
def test_a_killed_worker_and_a_killed_driver_cost_nothing_but_time(
    cluster, data, tmp_path, backend
):
    address, environment = cluster
    kept = tmp_path / "kept"
    place = {"torch": str(kept), "tensorflow": f"file://{kept}"}[backend]
    command = [sys.executable, toy_training.__file__, backend, str(data), place, address]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        steps = read_until(process, 8)
        before = find_workers()
        before[-1].kill()
        steps += read_until(process, 25)
        assert not {*before} & {*find_workers()}  # all have begun again
    finally:
        process.kill()
        process.communicate()
    # From a checkpoint, and not from the beginning; what is told may lag behind what was done.
    assert all(now > 5 for told, now in pairwise(steps) if now <= told)
    assert list(kept.glob("step-*"))
    told = []
    fitted = train_toy(backend, data, place, resume=True, on_step=told.append)
    assert 15 < told[0].step <= 61
    assert sorted(fitted.ran["rank"]) == [0, 1] and set(fitted.ran["attempt"]) == {1}
    assert fitted.set_aside["unique_id"].tolist() == ["bad0000", "bad0001"]
    for name, sha256 in zip(fitted.inputs["file"], fitted.inputs["sha256"], strict=True):
        assert hashlib.sha256((data / name).read_bytes()).hexdigest() == sha256
    assert len(fitted.inputs) == 3

    # To the bit what two members of a team do that nobody disturbs, ...
    job = FitJob(make_toy(backend), Dataset(data, READING), H)
    whole, _ = run_team(2, lambda team: job.run(tmp_path / "whole", None, team))
    assert digest(fitted.model) == digest(whole)
    # ... and within rounding what one process does.
    one, two = make_toy(backend).fit(make_series(23), H), fitted.model
    for name, array in one.weights_.items():
        np.testing.assert_allclose(two.weights_[name], array, atol=1e-5)
    losses = [of.training_log_[-1].valid_loss for of in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=0.02) and len(two.training_log_) == 61
    expected = one.predict(h=H).astype({"ds": "datetime64[us]"})
    pd.testing.assert_frame_equal(two.predict(h=H), expected, rtol=1e-4)


class Leader:
    def run(self):
        time.sleep(600)


def _initialize_and_run_controller(ended):
    controller = ray.remote(num_cpus=0)(Leader).remote()
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(controller.run.remote())
    ended.set()


def test_a_training_that_nobody_waits_for_ends(cluster):
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    code = getattr(DataParallelTrainer, LEADING).__code__
    assert "controller" in code.co_varnames  # which is how the leader is found
    ended = threading.Event()
    thread = threading.Thread(target=_initialize_and_run_controller, args=(ended,), daemon=True)
    thread.start()
    end_training(thread, ended)
    assert ended.is_set()


def read_until(process, step):
    """The steps that a child tells of, up to one."""
    steps = []
    for line in process.stdout:
        steps.append(int(line))  # nothing else is written there
        if steps[-1] >= step:
            return steps
    raise AssertionError(f"the run ended before step {step}: {steps}")


def test_a_network_is_pretrained_by_a_command(cluster, tmp_path, capsys):
    config = tmp_path / "small.toml"
    config.write_text(PRETRAINING)
    command = ["pretrain", "--config", str(config), "--json"]
    assert cli.run([*command, "--out", str(tmp_path / "one")]) == 0
    assert cli.run([*command, "--out", str(tmp_path / "two"), "--engine", "ray"]) == 0
    one, two = (ExpLSTM.load(tmp_path / name / "model").weights_ for name in ("one", "two"))
    for name, array in one.items():
        np.testing.assert_allclose(two[name], array, atol=1e-5)
    assert pd.read_csv(tmp_path / "two" / "ran.csv")["rank"].tolist() in ([0, 1], [1, 0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "small.toml", "two"]

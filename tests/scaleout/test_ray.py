"""A Ray cluster that only its owner can use, and that is never replaced in silence."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from explstm.errors import ExpLSTMError, UsageError
from explstm.scaleout.engines import run_tasks
from explstm.scaleout.ray_engine import open_ray
from toy_tasks import double

pytestmark = pytest.mark.ray
ray = pytest.importorskip("ray")
JOIN = """
import sys
from explstm.scaleout.ray_engine import open_ray
with open_ray(int(sys.argv[2]), sys.argv[1]) as engine:
    print(engine.workers)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster as a run begins it, and where it keeps its files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        with open_ray(2, None) as engine:
            session = Path(ray._private.worker._global_node.get_session_dir_path())
            yield engine, session.parents[1]


def join(address: str, workers: int = 1, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", JOIN, address, str(workers)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_only_its_owner_can_use_the_cluster(cluster):
    _, folder = cluster
    for path, mode in ((folder, 0o700), (folder / "token", 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert len((folder / "token").read_text()) == 64
    assert os.listdir(os.environ["HOME"]) == []
    assert not any(path.suffix in (".pkl", ".pickle") for path in folder.rglob("*"))


def test_the_dashboard_is_off(cluster):
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 8265), 5)


def test_who_has_the_token_joins_and_who_asks_for_too_much_is_refused(cluster, tmp_path):
    _, folder = cluster
    address = ray.get_runtime_context().gcs_address
    token = {"RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    done = join(address, **token)
    assert (done.returncode, done.stdout.strip()) == (0, "1")
    done = join(address, workers=3, **token)
    assert "WORKERS_RANGE: workers=3 are more than the 2 CPUs of the cluster" in done.stderr
    wrong = tmp_path / "wrong"
    wrong.write_text("0" * 64)
    for path in (tmp_path / "none", wrong):
        done = join(address, RAY_AUTH_TOKEN_PATH=str(path))
        assert "CLUSTER_UNREACHABLE" in done.stderr and "RAY_AUTH_TOKEN_PATH" in done.stderr


def test_a_cluster_that_this_process_has_begun_is_used_and_goes_on(cluster):
    with open_ray(None, None) as engine:
        assert engine.workers == 2
        assert sorted(run_tasks(engine, double, [1, 2], 60)) == [2, 4]
    with pytest.raises(UsageError, match="WORKERS_RANGE"), open_ray(3, None):
        pass
    assert ray.is_initialized()


@pytest.mark.parametrize("address", ["127.0.0.1:9", "nonsense"])
def test_where_no_cluster_is_nothing_runs(address):
    done = join(address, RAY_ADDRESS="")
    assert done.returncode == 1 and done.stdout == ""
    assert f"CLUSTER_UNREACHABLE: no Ray cluster answers at {address}" in done.stderr


def test_the_address_of_the_environment_counts():
    done = join("", RAY_ADDRESS="127.0.0.1:9")
    assert "CLUSTER_UNREACHABLE: no Ray cluster answers at 127.0.0.1:9" in done.stderr


def test_a_cluster_that_cannot_begin_is_told(cluster, monkeypatch):
    def fail(*_, **__):
        raise Exception("The current node timed out\nduring startup.")

    for name, replacement in (("init", fail), ("is_initialized", bool), ("shutdown", bool)):
        monkeypatch.setattr(ray, name, replacement)
    with (
        pytest.raises(ExpLSTMError, match=r"CLUSTER_FAILED: .*out during startup.*or use.*local"),
        open_ray(1, None),
    ):
        pass


TWICE = """
import os, signal, ray
from explstm.scaleout.engines import run_tasks
from explstm.scaleout.ray_engine import open_ray
from toy_tasks import double
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, _: print("told", number))
    with open_ray(1, None) as engine:
        os.kill(os.getpid(), number)
        print(list(run_tasks(engine, double, [4], 60)))
        print(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert not ray.is_initialized()
"""


@pytest.mark.slow
def test_a_run_leaves_nothing_behind_takes_no_signals_and_the_next_begins_anew(tmp_path):
    # Longer than the path of a socket may be; the folder is then made in /tmp.
    long = tmp_path / ("x" * 80)
    long.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(long)}
    done = subprocess.run(
        [sys.executable, "-c", TWICE], env=environment, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    term, first, first_token, interrupt, second, second_token = done.stdout.splitlines()
    assert [term, first, interrupt, second] == ["told 15", "[8]", "told 2", "[8]"]
    for folder in (Path(first_token).parent, Path(second_token).parent):
        assert folder.parent == Path("/tmp") and not folder.exists()
    left = [one for one in psutil.process_iter(["environ"]) if "x" * 80 in str(one.info["environ"])]
    assert not psutil.wait_procs(left, timeout=60)[1]

"""Workers that die, hang, refuse and lie about their version; the same for every engine."""

import contextlib
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from explstm.errors import DataError, ExpLSTMError, UsageError
from explstm.scaleout.engines import do_task, run_tasks
from explstm.scaleout.local import NICENESS, open_local
from explstm.scaleout.ray_engine import RayEngine, open_ray
from toy_tasks import (
    die,
    die_once,
    divide,
    double,
    fill_the_disk,
    refuse,
    sleep_once,
    tell_priority,
)


@pytest.fixture(scope="module")
def environment():
    """Where the workers of a cluster find the tasks, and more threads than they are to use."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.setenv("OMP_NUM_THREADS", "2")
        yield


@pytest.fixture(scope="module", params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def engine(request, environment):
    if request.param == "ray":
        pytest.importorskip("ray")
    opened = {"local": lambda: open_local(2), "ray": lambda: open_ray(2, None)}[request.param]
    with opened() as engine:
        yield engine


def test_every_result_comes_once(engine):
    assert sorted(run_tasks(engine, double, range(20), 60)) == list(range(0, 40, 2))
    assert list(run_tasks(engine, double, [], 60)) == []


def test_a_task_whose_worker_died_is_done_again(engine, tmp_path, capsys):
    markers = [tmp_path / str(number) for number in range(3)]
    lost = []
    results = run_tasks(engine, die_once, markers, 60, on_lost=lambda: lost.append(1))
    assert list(results) == ["survived"] * 3 and len(lost) == 3
    time.sleep(0.5)
    assert capsys.readouterr().out == ""  # where the results of a command go


def test_of_several_answers_the_first_refusal_is_raised(engine, monkeypatch):
    """The workers of the others have ended too, and are not ended again."""
    wait = engine.wait

    def wait_for_all(seconds):
        ended = []
        while len(ended) < 2:
            ended += wait(seconds)
        return ended

    with monkeypatch.context() as patch, pytest.raises(DataError, match="DATA_GAP"):
        patch.setattr(engine, "wait", wait_for_all)
        list(run_tasks(engine, refuse, [0, 1], 60))
    assert list(run_tasks(engine, double, [1], 60)) == [2]


def test_a_task_that_kills_every_worker_ends_the_run_with_a_remedy(engine):
    with pytest.raises(ExpLSTMError, match=r"WORKER_LOST: 3 workers in turn died.*rows_per_part"):
        list(run_tasks(engine, die, [None], 60))
    assert list(run_tasks(engine, double, [1], 60)) == [2]  # and the engine goes on


def test_a_worker_that_hangs_is_given_up(engine, tmp_path):
    assert list(run_tasks(engine, sleep_once, [tmp_path / "marker"], 5)) == ["awake"]


@pytest.mark.parametrize(
    ("work", "kind", "text"),
    [
        (refuse, DataError, "DATA_GAP: a sentence."),
        (divide, RuntimeError, "ZeroDivisionError"),
        (fill_the_disk, ExpLSTMError, "WORKER_FILES: .*No space left on device"),
    ],
)
def test_what_a_task_raises_is_raised(engine, work, kind, text):
    with pytest.raises(kind, match=text):
        list(run_tasks(engine, work, [0], 60))


def test_a_task_that_has_just_ended_is_not_cancelled():
    """Ray ends the whole process then, see ``task_manager.cc`` of 2.60."""
    remote = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda *_: "name"))
    ray = SimpleNamespace(
        remote=lambda _: remote,
        wait=lambda names, timeout: (names, []),
        cancel=lambda *_, **__: pytest.fail("it was cancelled"),
    )
    engine = RayEngine(ray, 1)
    engine.abandon(engine.start(double, 1))


def test_workers_give_way_and_have_one_thread(engine):
    [(niceness, threads)] = run_tasks(engine, tell_priority, [None], 60)
    assert niceness >= min(19, os.nice(0) + NICENESS) and threads == "1"


def test_a_worker_of_another_version_refuses():
    with pytest.raises(UsageError, match=r"WORKER_VERSION: a worker has explstm .*the run 0\.0"):
        raise do_task("0.0", double, 1)


def test_the_environment_stays_as_it_was():
    before = dict(os.environ)
    with contextlib.closing(contextlib.ExitStack()) as held:
        held.enter_context(open_local(1)).start(double, 1)
    assert dict(os.environ) == before


HANG = """
import sys, time
from pathlib import Path
from explstm.scaleout.local import open_local
from toy_tasks import sleep_once
with open_local(1) as engine:
    engine.start(sleep_once, Path(sys.argv[1]))
    time.sleep(600)
"""


def test_a_worker_ends_with_the_process_that_started_it(tmp_path):
    marker = tmp_path / "marker"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", HANG, str(marker)], env=environment)
    try:
        while not marker.exists():
            assert process.poll() is None
        workers = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.kill()
        process.wait()
    assert workers and not psutil.wait_procs(workers, timeout=120)[1]

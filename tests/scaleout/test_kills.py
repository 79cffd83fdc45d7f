"""``kill -9`` of workers and drivers in the middle: the same bytes, nothing doubled or lost."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import psutil
import pytest

import toy_parts
from part_data import H, cut_rows, make_bad_series, make_series, read_bytes, write_files

pytest.importorskip("pyarrow")
N_GOOD, N_BAD = 300, 10
PART = toy_parts.ROWS_PER_PART
ENGINES = ["local", pytest.param("ray", marks=pytest.mark.ray)]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    df = pd.concat([make_series(N_GOOD), make_bad_series(N_BAD)])
    folder = write_files(tmp_path_factory.mktemp("data"), cut_rows(df, 5))
    (folder / "corrupt.parquet").write_bytes(b"PAR1 not at all")
    return folder


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> dict[str, bytes]:
    """What a run that nobody disturbs writes."""
    out = tmp_path_factory.mktemp("whole") / "out"
    toy_parts.forecast_toy(data, out, "local")
    table = pd.read_parquet(out / "forecast")
    assert len(table) == N_GOOD * H and not table.duplicated(["unique_id", "ds"]).any()
    assert len(pd.read_parquet(out / "dead-letters.parquet")) == N_BAD + 1
    return read_bytes(out)


@contextmanager
def begin(data: Path, out: Path, engine: str) -> Iterator[subprocess.Popen]:
    """A run in a process group of its own."""
    if engine == "ray":
        pytest.importorskip("ray")
    command = [sys.executable, toy_parts.__file__, str(data), str(out), engine]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(process: subprocess.Popen, line: str) -> None:
    assert process.stdout is not None
    for told in process.stdout:
        if told.strip() == line:
            return
    raise AssertionError(f"the run ended before {line!r}")


def find_workers(process: subprocess.Popen, engine: str) -> list[psutil.Process]:
    """The processes that do tasks."""
    signs = {"local": ["spawn_main"], "ray": ["ray::do_task", "ray::IDLE"]}[engine]
    below = psutil.Process(process.pid).children(recursive=True)
    found = [one for one in below if any(sign in " ".join(one.cmdline()) for sign in signs)]
    assert found
    return found


@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_worker_costs_nothing_but_time(data, whole, tmp_path, engine):
    with begin(data, tmp_path / "out", engine) as process:
        wait_for(process, "forecasting 2")
        for worker in find_workers(process, engine):
            worker.kill()
        wait_for(process, "done")
        assert process.wait(60) == 0
    assert read_bytes(tmp_path / "out") == whole


@pytest.mark.parametrize("stage", ["reading 2", "cutting 1", "forecasting 1", "forecasting 6"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_driver_is_gone_on_with(data, whole, tmp_path, engine, stage):
    if engine == "ray" and stage != "forecasting 6":
        pytest.skip("the driver is the same, and a cluster takes seconds to begin")
    out = tmp_path / "out"
    with begin(data, out, engine) as process:
        wait_for(process, stage)
        workers = find_workers(process, engine)
        process.kill()
        process.wait()
        assert not psutil.wait_procs(workers, timeout=120)[1]  # they end by themselves
    done = {path: path.stat().st_mtime_ns for path in out.glob("forecast/*.parquet")}
    batch = toy_parts.forecast_toy(data, out, engine)
    assert batch.n_before >= len(done) - 2  # a part may be in place and its record not
    kept = [path.stat().st_mtime_ns == then for path, then in done.items()]
    assert sum(kept) == batch.n_before
    assert read_bytes(out) == whole


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_interrupted_ends_its_workers_and_can_go_on(
    data, whole, tmp_path, number, code
):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "explstm", "forecast", str(data), "--engine", "local"]
    command += ["--horizon", str(H), "--level", "80", "--out", str(out), "--workers", "2"]
    command += ["--rows-per-part", str(PART)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    while len(list(out.glob("work-*/part-*.json"))) < 2:
        assert process.poll() is None
    workers = find_workers(process, "local")
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in told
    assert not psutil.wait_procs(workers, timeout=120)[1]
    assert toy_parts.forecast_toy(data, out, "local").n_before >= 2
    assert read_bytes(out) == whole


@pytest.mark.ray
def test_a_run_that_began_on_this_machine_ends_on_a_cluster(data, whole, tmp_path):
    pytest.importorskip("ray")
    out = tmp_path / "out"
    with begin(data, out, "local") as process:
        wait_for(process, "forecasting 4")
    assert toy_parts.forecast_toy(data, out, "ray").n_before >= 4
    assert read_bytes(out) == whole

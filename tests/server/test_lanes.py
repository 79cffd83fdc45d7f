"""Processes of the service that die, and a service that does."""

import asyncio
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from explstm.server.app import make_app
from explstm.server.errors import ApiError
from explstm.server.lanes import Lane, Reader
from explstm.server.settings import Settings
from explstm.server.weighing import count_steps
from server.live import Live, start

BODY = {"table": {"ds": list(range(20)), "y": [float(step) for step in range(1, 21)]}, "h": 2}


@pytest.fixture
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with start(tmp_path_factory.mktemp("service")) as live:
        yield live


def processes(service: Live) -> list[psutil.Process]:
    return psutil.Process(service.process.pid).children(recursive=True)


def test_a_process_that_dies_is_replaced_and_nobody_notices(service: Live) -> None:
    before = {process.pid for process in processes(service)}
    for process in processes(service):
        process.kill()
    for path, body in (("forecast", BODY), ("growth", BODY), ("forecast", BODY)):
        answer = httpx.post(f"{service.url}/api/v1/{path}", json=body, timeout=60)
        assert answer.status_code == 200, answer.text
    assert not before & {process.pid for process in processes(service)}


def test_a_short_series_says_nothing_in_the_log(service: Live) -> None:
    table = {"unique_id": ["secret"] * 6, "ds": list(range(6)), "y": [1.0, 2, 4, 8, 16, 32]}
    body = {"table": table, "h": 2}
    for path, more in (("forecast", {}), ("growth", {}), ("backtest", {"n_windows": 1})):
        url = f"{service.url}/api/v1/{path}"
        assert httpx.post(url, json={**body, **more}, timeout=60).status_code in (200, 422)
    log = service.log.read_text()
    assert "secret" not in log and "Warning" not in log
    assert [json.loads(line)["status"] for line in log.splitlines()]


def test_no_process_outlives_the_server(service: Live) -> None:
    left = processes(service)
    assert len(left) >= 3
    service.process.send_signal(signal.SIGKILL)
    assert not psutil.wait_procs(left, timeout=120)[1]


def test_a_service_that_is_told_to_stop_ends_well(service: Live) -> None:
    left = processes(service)
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(120) == 0
    assert not psutil.wait_procs(left, timeout=120)[1]
    assert not (service.data / "uploads").exists()
    assert '"trace"' not in service.log.read_text()


def die_once(marker: Path) -> int:
    """End this process, but only the first."""
    if not marker.exists():
        marker.touch()
        os._exit(1)
    return os.getpid()


def test_work_that_ends_its_process_does_not_end_what_waits_behind_it(tmp_path: Path) -> None:
    async def work() -> list[int]:
        lane = Lane(Settings(data=tmp_path), 0)
        try:
            return await asyncio.gather(
                *(lane.run(die_once, tmp_path / "died") for _ in range(4)),
            )
        finally:
            lane.stop()

    assert len(set(asyncio.run(work()))) == 1


def idle_after(marker: Path, seconds: float) -> int:
    """Say that it has begun, and wait."""
    marker.touch()
    time.sleep(seconds)
    return os.getpid()


def test_a_failure_says_where_in_the_process_it_was(tmp_path: Path) -> None:
    async def work() -> None:
        lane = Lane(Settings(data=tmp_path), 0)
        try:
            with pytest.raises(TypeError) as found:
                await lane.run(idle_after, tmp_path / "never")
            assert "idle_after" in "".join(found.value.__notes__)
            with pytest.raises(FileNotFoundError) as found:
                await lane.run(idle_after, tmp_path / "no-folder" / "marker", 0)
            assert "marker.touch()" in "".join(found.value.__notes__)
            assert await lane.run(abs, -1) == 1
        finally:
            lane.stop()

    asyncio.run(work())


def hold_lock() -> object:
    """What cannot pass a pipe."""
    return threading.Lock()


def test_what_cannot_be_sent_back_is_a_failure_and_not_the_end(tmp_path: Path) -> None:
    async def work() -> None:
        lane = Lane(Settings(data=tmp_path), 0)
        try:
            process = await lane.run(os.getpid)
            with pytest.raises(TypeError, match="pickle"):
                await lane.run(hold_lock)
            with pytest.raises((TypeError, AttributeError)):
                await lane.run(lambda: 1)
            assert await lane.run(os.getpid) == process
        finally:
            lane.stop()

    asyncio.run(work())


async def appears(marker: Path) -> None:
    while not marker.exists():
        await asyncio.sleep(0.01)


def test_work_that_nobody_waits_for_is_dropped_and_ended_where_it_runs(tmp_path: Path) -> None:
    async def work() -> tuple[int, int, int]:
        reader = Reader(Settings(data=tmp_path, readers=1, abandoned_seconds=2))
        try:
            await reader.run(idle_after, tmp_path / "first", 0)  # reads this file
            before = await reader.run(os.getpid)
            brief = asyncio.create_task(reader.run(idle_after, tmp_path / "brief", 0.1))
            await appears(tmp_path / "brief")
            brief.cancel()
            after_brief = await reader.run(os.getpid)
            endless = asyncio.create_task(reader.run(idle_after, tmp_path / "endless", 3600))
            await appears(tmp_path / "endless")
            waits = asyncio.create_task(reader.run(idle_after, tmp_path / "waits", 0))
            await asyncio.sleep(0.1)
            waits.cancel()
            endless.cancel()
            after_endless = await asyncio.wait_for(reader.run(os.getpid), 60)
            assert not psutil.pid_exists(before) or psutil.Process(before).status() == "zombie"
            return before, after_brief, after_endless
        finally:
            reader.stop()

    before, after_brief, after_endless = asyncio.run(work())
    assert before == after_brief != after_endless
    assert not (tmp_path / "waits").exists()


def test_large_work_leaves_a_process_free_and_few_of_it_may_wait(tmp_path: Path) -> None:
    async def work() -> None:
        reader = Reader(Settings(data=tmp_path, readers=2, large_waiting=2))
        large = [
            asyncio.create_task(reader.run(idle_after, tmp_path / name, 3600, is_large=True))
            for name in ("runs", "waits", "waits-too")
        ]
        try:
            await appears(tmp_path / "runs")
            assert await asyncio.wait_for(reader.run(abs, -1), 60) == 1
            with pytest.raises(ApiError, match="more to do"):
                await reader.run(abs, -1, is_large=True)
            assert await asyncio.wait_for(reader.run(abs, -1), 60) == 1
            assert not (tmp_path / "waits").exists()
        finally:
            for task in large:
                task.cancel()
            reader.stop()

    asyncio.run(work())


def many(n_series: int, n_days: int) -> bytes:
    rows = [f"s{at},{day},{at + 1}" for at in range(n_series) for day in range(n_days)]
    return "\n".join(["unique_id,ds,y", *rows]).encode()


def test_a_client_that_leaves_takes_its_work_along(tmp_path: Path) -> None:
    with (
        start(tmp_path, readers=1, forecasters=1, abandoned_seconds=0.5, max_steps=10**12) as live,
        httpx.Client(base_url=f"{live.url}/api/v1", timeout=60) as client,
    ):
        sent = client.post(
            "/inspect", content=many(1900, 200), headers={"content-type": "text/csv"}
        )
        asked = {"data": sent.json()["data"], "h": 1000, "level": [80]}
        for _ in range(3):  # minutes each
            with pytest.raises(httpx.ReadTimeout):
                client.post("/forecast", json=asked, timeout=1.5)
        assert client.post("/growth", json=BODY).status_code == 200
        assert '"status": 499' in live.log.read_text()
        assert '"trace"' not in live.log.read_text()


def test_work_that_would_take_too_long_is_refused_before(tmp_path: Path) -> None:
    few = {"readers": 1, "forecasters": 1, "small_rows": 10, "max_steps": 500}
    months = {"table": {"ds": list(range(144)), "y": [float(1 + at) for at in range(144)]}}
    air = {"sample": "air-passengers"}
    with (
        start(tmp_path, **few) as live,
        httpx.Client(base_url=f"{live.url}/api/v1", timeout=60) as client,
    ):
        for path, body, status in (
            ("forecast", {**air, "h": 12, "level": [80]}, 200),
            ("forecast", {**air, "h": 60, "level": [80]}, 413),
            ("forecast", {**months, "h": 12, "level": [80]}, 200),
            ("forecast", {**months, "h": 60, "level": [80]}, 413),
            ("growth", air, 413),
            ("backtest", {**air, "n_windows": 2}, 200),
            ("backtest", {**air, "n_windows": 3}, 413),
        ):
            answer = client.post(f"/{path}", json=body, timeout=60)
            assert answer.status_code == status, (path, body, answer.text)
            if status == 413:
                error = answer.json()["error"]
                assert error["code"] == f"{path.upper()}_TOO_LARGE"
                assert "fewer series" in error["message"]


@pytest.mark.parametrize(
    ("n_rows", "n_series", "h", "n_levels", "is_taken"),
    [
        (1_000_000, 100_000, 12, 2, True),  # as many series as are taken, as asked by default
        (1_000_000, 1_000, 144, 2, True),
        (900_000, 1_000, 300, 1, False),  # 33 seconds, where nothing else was read
        (200_000, 1_000, 1_000, 10, False),  # did not end in 120 seconds
    ],
)
def test_what_is_too_large(
    n_rows: int, n_series: int, h: int, n_levels: int, is_taken: bool
) -> None:
    assert (count_steps(n_rows, n_series, h, n_levels) <= Settings().max_steps) == is_taken


def test_processes_that_do_not_start_are_told_of_and_do_not_hinder_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(self: object) -> None:
        raise ApiError(503, "TOO_SLOW", "the work took longer than 120 seconds.")

    monkeypatch.setattr(Reader, "warm", fail)
    caplog.set_level(logging.ERROR, "explstm.server")
    app = make_app(Settings(data=tmp_path, readers=1, forecasters=1, workers=0))

    async def live() -> None:
        async with app.router.lifespan_context(app):
            await asyncio.sleep(0.1)
            assert app.state.status == "starting"

    asyncio.run(live())
    assert "the processes could not be started" in caplog.text
    assert not (tmp_path / "uploads").exists()

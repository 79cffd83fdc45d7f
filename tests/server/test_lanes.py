"""Processes of the service that die, and a service that does."""

import asyncio
import logging
import os
import signal
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


def test_no_process_outlives_the_server(service: Live) -> None:
    left = processes(service)
    assert len(left) >= 3
    service.process.send_signal(signal.SIGKILL)
    assert not psutil.wait_procs(left, timeout=20)[1]


def test_a_service_that_is_told_to_stop_ends_well(service: Live) -> None:
    started = time.monotonic()
    left = processes(service)
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(20) == 0
    assert time.monotonic() - started < 15
    assert not psutil.wait_procs(left, timeout=10)[1]
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

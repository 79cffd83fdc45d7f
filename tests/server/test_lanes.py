"""Processes of the service that die, and a service that does."""

import signal
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest

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

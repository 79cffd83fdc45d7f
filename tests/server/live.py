"""A service of its own process, as a user starts it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

PROGRAM = """
import sys
from pathlib import Path
from explstm.server.run import serve
from explstm.server.settings import Settings
serve(Settings(data=Path(sys.argv[1]), port=int(sys.argv[2]), **eval(sys.argv[3])))
"""
START_SECONDS = 120


@dataclass(frozen=True)
class Live:
    port: int
    process: subprocess.Popen
    data: Path
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def memory(self) -> int:
        """Resident bytes of the server and its processes."""
        server = psutil.Process(self.process.pid)
        total = 0
        for process in (server, *server.children(recursive=True)):
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total


@contextmanager
def start(folder: Path, **settings: object) -> Iterator[Live]:
    """Start a service, wait until it is ready, and stop it in the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log, data = folder / "log", folder / "data"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(data), str(port), repr(settings)],
            stderr=errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    try:
        live = Live(port, process, data, log)
        _wait(live)
        yield live
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(live: Live) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if live.process.poll() is not None:
            break
        try:
            if httpx.get(f"{live.url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"the service did not start: {live.log.read_text()}")

"""How fast the service answers when several clients ask at once.

    python benchmarks/load.py                       # 16 clients, one after the other without pause
    python benchmarks/load.py --pause 0.25          # each waits 250 ms between two requests
    python benchmarks/load.py --job '{"kind": "fine-tune", "sample": "sales", "h": 12,
        "backend": "torch", "max_steps": 20000}'    # while a model is trained

Starts the service on a free port, sends zero-shot forecasts of one series of 200 rows as JSON over
connections that stay open, checks every answer, and prints how long they took. The clients share
the machine with the server, which is why they are written on bare connections: a comfortable HTTP
client would cost more than the server does. Every request has a series of its own.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np

ROWS = 200
HORIZON = 12
SERIES = 512
START_SECONDS = 120


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between two requests")
    parser.add_argument("--warm", type=float, default=3.0, help="seconds that are not counted")
    parser.add_argument("--job", help="JSON of a job to run meanwhile, as for POST /api/v1/jobs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        port, server = start_server(Path(folder))
        try:
            job, before = start_job(port, arguments.job) if arguments.job else (None, "")
            times, errors, wall = asyncio.run(load(port, arguments))
            if job is not None:
                print(f"the job beside was {before}, and is {state_of(port, job)} at the end")
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
    show(arguments, np.array(times) * 1000, errors, wall)


def start_server(folder: Path) -> tuple[int, subprocess.Popen]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = (
        "from pathlib import Path; from explstm.server.run import serve; "
        "from explstm.server.settings import Settings; "
        f"serve(Settings(port={port}, data=Path({str(folder / 'data')!r})))"
    )
    log = (folder / "log").open("wb")
    server = subprocess.Popen([sys.executable, "-c", code], stderr=log)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return port, server
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    server.kill()
    raise SystemExit("the server did not get ready")


def start_job(port: int, asked: str) -> tuple[str, str]:
    """Start a job, wait until it reports steps of training, and return its id and state."""
    job = ask(port, "/api/v1/jobs", asked.encode())["id"]
    deadline = time.monotonic() + START_SECONDS
    with urllib.request.urlopen(f"{address(port)}/api/v1/jobs/{job}/events", timeout=60) as events:
        while b"event: progress" not in events.readline() and time.monotonic() < deadline:
            pass
    return job, state_of(port, job)


def state_of(port: int, job: str) -> str:
    return ask(port, f"/api/v1/jobs/{job}")["state"]


def ask(port: int, path: str, body: bytes | None = None) -> dict:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address(port)}{path}", body, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def address(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def make_requests(port: int) -> list[bytes]:
    rng = np.random.default_rng(0)
    dates = np.datetime_as_string(np.datetime64("2005-01") + np.arange(ROWS), unit="M")
    requests = []
    for _ in range(SERIES):
        level = np.cumsum(rng.normal(0.005, 0.05, ROWS)) + 0.2 * np.sin(np.arange(ROWS) * np.pi / 6)
        table = {
            "ds": [f"{month}-01" for month in dates.tolist()],
            "y": np.round(100 * np.exp(level), 3).tolist(),
        }
        body = json.dumps({"table": table, "h": HORIZON}).encode()
        head = (
            f"POST /api/v1/forecast HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        requests.append(head.encode() + body)
    return requests


async def load(
    port: int, arguments: argparse.Namespace
) -> tuple[list[float], dict[str, int], float]:
    requests = make_requests(port)
    times: list[float] = []
    errors: dict[str, int] = {}
    begin = time.perf_counter() + arguments.warm
    end = begin + arguments.seconds

    async def ask(number: int) -> None:
        rng = np.random.default_rng(number)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(rng.uniform(0, arguments.pause or 0.01))
        while (started := time.perf_counter()) < end:
            writer.write(requests[rng.integers(SERIES)])
            status, body = await read_answer(reader)
            took = time.perf_counter() - started
            if started >= begin:
                if status == 200 and body.count(b'"ExpLSTM') == 5 and b"null" in body[-20:]:
                    times.append(took)
                else:
                    errors[str(status)] = errors.get(str(status), 0) + 1
            if arguments.pause:
                await asyncio.sleep(arguments.pause)
        writer.close()

    await asyncio.gather(*(ask(number) for number in range(arguments.clients)))
    return times, errors, time.perf_counter() - begin


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)


def show(
    arguments: argparse.Namespace, took_ms: np.ndarray, errors: dict[str, int], wall: float
) -> None:
    if not len(took_ms):
        raise SystemExit(f"no request succeeded: {errors}")
    p50, p90, p99 = np.percentile(took_ms, (50, 90, 99))
    print(
        "| clients | pause, s | seconds | requests/s | median, ms | 90 % | 99 % | worst | errors |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    print(
        f"| {arguments.clients} | {arguments.pause} | {wall:.0f} | {len(took_ms) / wall:.0f} "
        f"| {p50:.1f} | {p90:.1f} | {p99:.1f} | {took_ms.max():.1f} "
        f"| {sum(errors.values())} {errors or ''} |"
    )
    print(f"{os.cpu_count()} cores, load over the last minute {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

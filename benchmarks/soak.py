"""Whether the service and the streaming form keep to their memory when they work for long.

    python benchmarks/soak.py                    # 20 minutes of both, at once
    python benchmarks/soak.py --minutes 2

The service answers eight clients who ask for forecasts of one series without pause, and one who
asks for pages, metrics, and forecasts of tables with faults. Beside it a process keeps a stream of
200 series: a new step of each, a forecast, again and again. The memory of each process (resident,
with its children) is taken every two seconds. It is flat where the median of the last fifth lies no
more than 2 % above the median of the second fifth; the first is left to warm up. Exit code 1 where
it is not, or where anything was answered that should not have been.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import psutil
from load import address, load, start_server

CLIENTS = 8
FLAT = 0.02
SAMPLE_SECONDS = 2.0
STREAM_SERIES, HISTORY, HORIZON = 200, 120, 12
ODD_REQUESTS = (
    ("/", None, 200),
    ("/metrics", None, 200),
    ("/api/v1/forecast?h=12", b"unique_id,ds,y\na,2024-01-01,1\na,2024-01-02,x\n", 422),
    ("/api/v1/forecast?h=12", b"\x00\x01\x02", 422),
    ("/api/v1/forecast?h=0", b"ds,y\n2024-01-01,1\n2024-01-02,2\n", 422),
    ("/api/v1/nothing", None, 404),
)
STREAM = "stream"


def main() -> int:
    if sys.argv[1:] == [STREAM]:
        return keep_streaming()
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    seconds = 60 * parser.parse_args().minutes
    stop = threading.Event()
    odd: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        port, server = start_server(Path(folder))
        stream = subprocess.Popen(
            [sys.executable, __file__, STREAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        processes = {"service": server, "stream": stream}
        memory: dict[str, list[float]] = {name: [] for name in processes}
        threads = [
            threading.Thread(target=watch, args=(processes, memory, stop)),
            threading.Thread(target=ask_oddly, args=(port, odd, stop)),
        ]
        for thread in threads:
            thread.start()
        try:
            asked = argparse.Namespace(warm=0.0, seconds=seconds, clients=CLIENTS, pause=0.0)
            times, errors, _ = asyncio.run(load(port, asked))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            server.send_signal(signal.SIGTERM)
            told = stream.communicate()[0].decode().strip()
            server.wait(30)
    print(f"{len(times)} forecasts, {told}, {len(odd)} wrong answers {odd[:3]}, {errors or ''}")
    flat = show(memory)
    return int(not flat or bool(odd) or bool(errors) or stream.returncode != 0)


def watch(
    processes: dict[str, subprocess.Popen], memory: dict[str, list[float]], stop: threading.Event
) -> None:
    """Take the resident memory of processes, in MiB, until told to stop, of each until it ends."""
    while not stop.wait(SAMPLE_SECONDS):
        for name, process in processes.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                memory[name].append(measure(process.pid))


def measure(pid: int) -> float:
    """Resident memory of a process and its children, in MiB.

    Raises:
        psutil.NoSuchProcess: It has ended; of children that have, there is no memory.
    """
    process = psutil.Process(pid)
    return measure_alone(process) + sum(map(measure_child, process.children(recursive=True)))


def measure_alone(process: psutil.Process) -> float:
    """Resident memory of a process, in MiB."""
    return process.memory_info().rss / 2**20


def measure_child(child: psutil.Process) -> float:
    """The same, and 0 of one that has ended since it was found."""
    try:
        return measure_alone(child)
    except psutil.NoSuchProcess:
        return 0.0


def ask_oddly(port: int, odd: list[str], stop: threading.Event) -> None:
    """Ask for what is no forecast of one series, ten times a second; note other answers."""
    place = 0
    while not stop.wait(0.1):
        path, body, expected = ODD_REQUESTS[place % len(ODD_REQUESTS)]
        place += 1
        request = urllib.request.Request(address(port) + path, body, {"Content-Type": "text/csv"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                answer.read()
                status = answer.status
        except urllib.error.HTTPError as error:
            error.read()
            status = error.code
        if status != expected:
            odd.append(f"{path} gave {status}")


def keep_streaming() -> int:
    """Take new steps and forecast until the input ends; say how many steps there were."""
    import pandas as pd

    from explstm import ExpLSTM

    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    rng = np.random.default_rng(0)
    ids = np.array([f"s{place}" for place in range(STREAM_SERIES)])
    level = 100 * np.exp(rng.normal(0, 1, STREAM_SERIES))

    def step(ds: int) -> pd.DataFrame:
        season = 1 + 0.2 * np.sin(ds * np.pi / 6)
        y = level * season * np.exp(rng.normal(0, 0.05, STREAM_SERIES))
        return pd.DataFrame({"unique_id": ids, "ds": ds, "y": y})

    history = pd.concat([step(ds) for ds in range(HISTORY)])
    live = ExpLSTM(season_length=12).stream(history)
    ds = HISTORY
    while not ended.is_set():
        forecast = live.update(step(ds)).predict(h=HORIZON, level=[80])
        if len(forecast) != STREAM_SERIES * HORIZON or not np.isfinite(forecast["ExpLSTM"]).all():
            return 1
        ds += 1
    print(f"{ds - HISTORY} steps of {STREAM_SERIES} series")
    return 0


def show(memory: dict[str, list[float]]) -> bool:
    """Print how memory went, and say whether it was flat."""
    print("| | samples | after warming up, MiB | at the end, MiB | change | highest, MiB |")
    print("|---|---|---|---|---|---|")
    flat = True
    for name, taken in memory.items():
        if len(taken) < 5:
            print(f"| {name} | {len(taken)} | too few to tell: it ended early | | | |")
            flat = False
            continue
        parts = np.array_split(taken, 5)
        begun, ended = np.median(parts[1]), np.median(parts[-1])
        flat &= bool(ended <= (1 + FLAT) * begun)
        print(
            f"| {name} | {len(taken)} | {begun:.1f} | {ended:.1f} | {ended / begun - 1:+.2%} "
            f"| {max(taken):.1f} |"
        )
    print(f"{os.cpu_count()} cores, load over the last minute {os.getloadavg()[0]:.1f}")
    return flat


if __name__ == "__main__":
    sys.exit(main())

"""A server that is told to stop while somebody follows a job; one that cannot start."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

import httpx
import pytest

from server.live import start

LONG = {"kind": "fine-tune", "sample": "air-passengers", "h": 4, "max_steps": 20_000}


def test_streams_end_at_once_and_the_job_goes_on_with_the_next_server(tmp_path):
    few = {"forecasters": 1, "readers": 1, "stop_seconds": 300}
    with (
        start(tmp_path, **few) as live,
        httpx.Client(base_url=f"{live.url}/api/v1", timeout=60) as client,
    ):
        job_id = client.post("/jobs", json=LONG).json()["id"]
        with client.stream("GET", f"/jobs/{job_id}/events", timeout=60) as stream:
            lines = stream.iter_lines()
            while "train_loss" not in next(lines):
                pass
            started = time.monotonic()
            live.process.send_signal(signal.SIGTERM)
            assert not any('"interrupted"' in line for line in lines)  # ends, and may be taken up
            # Far below stop_seconds, for which an open stream held the server up.
            assert live.process.wait(60) == 0 and time.monotonic() - started < 60
        assert '"trace"' not in live.log.read_text()
    with (
        start(tmp_path, **few) as live,
        httpx.Client(base_url=f"{live.url}/api/v1", timeout=60) as client,
    ):
        job = client.get(f"/jobs/{job_id}").json()
        assert (job["state"], job["can_resume"]) == ("interrupted", True)
        assert client.delete(f"/jobs/{job_id}").status_code == 204


def test_a_record_of_jobs_that_cannot_be_read_is_told_in_one_sentence(tmp_path):
    (tmp_path / "jobs.db").write_text("this is no database, and never was one")
    ended = subprocess.run(
        [sys.executable, "-m", "explstm", "serve", "--data", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 4 and "Traceback" not in ended.stderr
    assert "JOBS_UNREADABLE" in ended.stderr and "move it away" in ended.stderr


def command(*arguments):
    return [sys.executable, "-m", "explstm", "serve", *map(str, arguments)]


ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.mark.parametrize("below", [(), ("folder",)])
def test_a_folder_that_cannot_be_is_told_in_one_sentence_and_no_address_is(tmp_path, below):
    place = tmp_path.joinpath("file", *below)
    (tmp_path / "file").write_text("this is no folder")
    asked = command("--data", place)
    ended = subprocess.run(asked, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert "SERVE_DATA" in ended.stderr and "INTERNAL" not in ended.stderr
    assert "pass --data" in ended.stderr and "http://" not in ended.stderr


def test_the_address_is_told_when_somebody_listens_there(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        asked = command("--port", port, "--data", tmp_path, "--workers", 0)
        ended = subprocess.run(asked, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
        assert ended.returncode and "http://" not in ended.stderr
    with subprocess.Popen(asked, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"explstm: http://127.0.0.1:{port}/ (Ctrl-C ends it)\n"
        assert httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=30).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_uploads_that_still_come_are_told_that_the_server_ends(tmp_path):
    with start(tmp_path, forecasters=1, readers=1, stop_seconds=1) as live:
        with ExitStack() as held:
            address = ("127.0.0.1", live.port)
            lines = [held.enter_context(socket.create_connection(address, 60)) for _ in range(4)]
            for line in lines:
                line.sendall(
                    b"POST /api/v1/inspect HTTP/1.1\r\nHost: localhost\r\n"
                    b"Content-Type: text/csv\r\nContent-Length: 1000\r\n\r\nds,y\n"
                )
            while sum(1 for _ in (live.data / "uploads").iterdir()) < len(lines):
                time.sleep(0.05)
            live.process.send_signal(signal.SIGTERM)
            for line in lines:
                answer = b"".join(iter(lambda line=line: line.recv(65_536), b""))
                assert answer.startswith(b"HTTP/1.1 503") and b"STOPPING" in answer
        assert live.process.wait(60) == 0
        log = live.log.read_text()
        assert '"trace"' not in log and "Exception" not in log

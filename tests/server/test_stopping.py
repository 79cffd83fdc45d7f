"""A server that is told to stop while somebody follows a job; one that cannot start."""

import os
import signal
import subprocess
import sys
import time

import httpx

from server.live import start

LONG = {"kind": "fine-tune", "sample": "air-passengers", "h": 4, "max_steps": 20_000}


def test_streams_end_at_once_and_the_job_goes_on_with_the_next_server(tmp_path):
    few = {"forecasters": 1, "readers": 1, "stop_seconds": 300}
    with start(tmp_path, **few) as live, httpx.Client(base_url=f"{live.url}/api/v1") as client:
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
    with start(tmp_path, **few) as live, httpx.Client(base_url=f"{live.url}/api/v1") as client:
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

"""``kill -9`` of a real server at random moments: nothing that was done is lost."""

import hashlib
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")

ASKED = {"kind": "fine-tune", "sample": "air-passengers", "h": 4, "max_steps": 30}
CSV = {"Content-Type": "text/csv"}
MOMENTS = [*["at once"] * 3, *["checkpoint"] * 4, *["done"] * 3]
"""What to wait for before a kill, which comes up to a second later."""
ENDED = ("done", "failed", "cancelled", "interrupted")


class Server:
    """A server process on one folder."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        program = Path(__file__).with_name("job_app.py")
        command = [sys.executable, str(program), str(folder), str(port)]
        self.log = folder.with_name(f"{folder.name}-{port}.log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stderr=log)
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30)
        deadline = time.monotonic() + 60
        while self.process.poll() is None:
            try:
                self.client.get("/jobs")
                return
            except httpx2.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def jobs(self) -> dict[str, dict]:
        return {job["id"]: job for job in self.client.get("/jobs").json()["jobs"]}

    def submit(self, **changes) -> str:
        answer = self.client.post("/jobs", json={**ASKED, **changes})
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def digest(self, job_id: str) -> str:
        answer = self.client.get(f"/jobs/{job_id}/files/forecast.csv")
        assert answer.status_code == 200
        return hashlib.sha256(answer.content).hexdigest()

    def children(self) -> set[int]:
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return {int(pid) for path in tasks for pid in path.read_text().split()}

    def end(self, number: int) -> str:
        self.client.close()
        self.process.send_signal(number)
        self.process.wait(timeout=60)
        return self.log.read_text()


@pytest.fixture
def start(tmp_path):
    """Start servers on one folder; none outlives its test."""
    servers: list[Server] = []

    def one() -> Server:
        servers.append(Server(tmp_path))
        return servers[-1]

    yield one
    for server in servers:
        if server.process.returncode is None:
            server.end(signal.SIGKILL)


def are_gone(pids: set[int], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while any(_is_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(moment: str, server: Server, folder: Path, known: set[str]) -> None:
    """Wait for a job to be done that is not known yet, or for a checkpoint."""
    deadline = time.monotonic() + 120
    while moment != "at once":
        if moment == "checkpoint" and list(folder.glob("jobs/*/fit.checkpoint/*/step-*")):
            break
        done = {job_id for job_id, job in server.jobs().items() if job["state"] == "done"}
        if moment == "done" and done - known:
            break
        if not server.jobs().keys() - done:
            server.submit()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def settle(server: Server) -> None:
    """Resume what was interrupted, and wait until all is done."""
    deadline = time.monotonic() + 300
    while any(job["state"] != "done" for job in server.jobs().values()):
        for job_id, job in server.jobs().items():
            assert job["state"] != "failed", job
            if job["state"] == "interrupted":
                server.client.post(f"/jobs/{job_id}/resume")
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.slow
def test_ten_kills_lose_no_result_and_what_was_cut_off_goes_on_to_the_same_end(start, tmp_path):
    seeded = random.Random(6)
    digests: dict[str, str] = {}
    seen = {"interrupted": 0, "continued": 0}
    running: set[str] = set()
    for moment in seeded.sample(MOMENTS, len(MOMENTS)):
        server = start()
        jobs = server.jobs()
        for job_id in digests:
            assert jobs[job_id]["state"] == "done" and server.digest(job_id) == digests[job_id]
        for job_id in running:
            assert jobs[job_id]["state"] in ("interrupted", "done")
        for job_id, job in jobs.items():
            if job["state"] == "interrupted":
                seen["interrupted"] += 1
                seen["continued"] += job["can_continue"]
                assert server.client.post(f"/jobs/{job_id}/resume").status_code == 202
        if all(job["state"] == "done" for job in jobs.values()):
            server.submit()
        wait_until(moment, server, tmp_path, set(digests))
        time.sleep(seeded.uniform(0.0, 1.0))
        jobs = server.jobs()
        digests |= {
            job_id: server.digest(job_id)
            for job_id, job in jobs.items()
            if job["state"] == "done" and job_id not in digests
        }
        running = {job_id for job_id, job in jobs.items() if job["state"] == "running"}
        workers = server.children()
        assert len(workers) > 2 + len(running)  # two lanes, and a tracker of theirs
        server.end(signal.SIGKILL)
        assert are_gone(workers)
    server = start()
    settle(server)
    # Resumed or not, cut off here or there: the same training ends with the same forecast.
    assert len({server.digest(job_id) for job_id in server.jobs()}) == 1
    assert set(digests.values()) <= {server.digest(job_id) for job_id in server.jobs()}
    assert len(digests) >= 3 and seen["interrupted"] >= 3 and seen["continued"] >= 1, seen
    assert "Traceback" not in server.end(signal.SIGTERM)


def test_a_second_server_on_the_same_folder_ends_at_once(start):
    first = start()
    sent = first.client.post("/inspect", content="ds,y\n1,2\n2,4\n3,8\n", headers=CSV).json()
    second = start()
    assert "FOLDER_BUSY" in second.end(signal.SIGTERM) and second.process.returncode != 0
    kept = first.client.post("/forecast", json={"data": sent["data"], "h": 1})
    assert kept.status_code == 200
    first.end(signal.SIGTERM)

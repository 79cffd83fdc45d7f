"""``kill -9`` of a real server at random moments: nothing that was done is lost."""

import hashlib
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from server.live import Live, start

ASKED = {"kind": "fine-tune", "sample": "air-passengers", "h": 4, "max_steps": 30}
CSV = {"Content-Type": "text/csv"}
MOMENTS = [*["at once"] * 3, *["checkpoint"] * 4, *["done"] * 3]
"""What to wait for before a kill, which comes up to a second later."""


@dataclass(frozen=True)
class Server:
    """A server process, and how to talk to it."""

    live: Live
    client: httpx.Client

    def jobs(self) -> dict[str, dict]:
        return {job["id"]: job for job in self.client.get("/jobs").json()["jobs"]}

    def submit(self, **changes: object) -> str:
        answer = self.client.post("/jobs", json={**ASKED, **changes})
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def digest(self, job_id: str) -> str:
        answer = self.client.get(f"/jobs/{job_id}/files/forecast.csv")
        assert answer.status_code == 200
        return hashlib.sha256(answer.content).hexdigest()

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.live.process.pid).children(recursive=True)

    def kill(self) -> None:
        """End the server; what it had started must end by itself."""
        left = self.children()
        self.live.process.kill()
        self.live.process.wait()
        _, alive = psutil.wait_procs(left, timeout=120)
        assert not alive


@contextmanager
def open_server(folder: Path) -> Iterator[Server]:
    with (
        start(folder, forecasters=1, readers=1) as live,
        httpx.Client(base_url=f"{live.url}/api/v1", timeout=60) as client,
    ):
        yield Server(live, client)


def wait_until(moment: str, server: Server, folder: Path, known: set[str]) -> None:
    """Wait for a job to be done that is not known yet, or for a checkpoint."""
    deadline = time.monotonic() + 120
    while moment != "at once":
        if moment == "checkpoint" and list(folder.glob("data/jobs/*/fit.checkpoint/*/step-*")):
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
def test_ten_kills_lose_no_result_and_what_was_cut_off_goes_on_to_the_same_end(tmp_path):
    seeded = random.Random(6)
    digests: dict[str, str] = {}
    seen = {"interrupted": 0, "continued": 0}
    running: set[str] = set()
    for moment in seeded.sample(MOMENTS, len(MOMENTS)):
        with open_server(tmp_path) as server:
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
            for job_id, job in jobs.items():
                if job["state"] == "done" and job_id not in digests:
                    digests[job_id] = server.digest(job_id)
            running = {job_id for job_id, job in jobs.items() if job["state"] == "running"}
            assert len(server.children()) >= 2 + len(running)  # two for forecasts
            server.kill()
    with open_server(tmp_path) as server:
        settle(server)
        # Resumed or not, cut off here or there: the same training ends with the same forecast.
        ends = {server.digest(job_id) for job_id in server.jobs()}
        assert len(ends) == 1 and set(digests.values()) == ends
    assert len(digests) >= 3 and seen["interrupted"] >= 3 and seen["continued"] >= 1, seen


def test_a_second_server_on_the_same_folder_is_refused_and_harms_nothing(tmp_path):
    with open_server(tmp_path) as first:
        sent = first.client.post("/inspect", content="ds,y\n1,2\n2,4\n3,8\n", headers=CSV).json()
        with pytest.raises(AssertionError, match="FOLDER_BUSY"), open_server(tmp_path):
            pass
        assert (first.live.data / "uploads" / sent["data"]).is_file()
        kept = first.client.post("/forecast", json={"data": sent["data"], "h": 1})
        assert kept.status_code == 200


def test_the_process_of_a_long_job_ends_with_a_killed_server(tmp_path):
    with open_server(tmp_path) as server:
        job_id = server.submit(max_steps=20_000)
        wait_until("checkpoint", server, tmp_path, set())
        assert server.jobs()[job_id]["state"] == "running"
        server.kill()

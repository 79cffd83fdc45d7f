"""The OpenAPI description of jobs against the service: no request breaks the server."""

import time
import zlib
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from server.live import start

CHECKS = ("not_a_server_error", "response_schema_conformance", "content_type_conformance")
CASES = 60
QUICK = {"kind": "backtest", "sample": "air-passengers", "methods": ["Pretrained"], "n_windows": 1}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    limits = {"job_seconds": 2.0, "queue_length": 2, "forecasters": 1, "readers": 1}
    with start(tmp_path_factory.mktemp("service"), **limits) as live:
        yield live


@pytest.fixture(scope="module")
def ended(service) -> str:
    jobs = f"{service.url}/api/v1/jobs"
    job_id = httpx.post(jobs, json=QUICK, timeout=60).json()["id"]
    while httpx.get(f"{jobs}/{job_id}", timeout=60).json()["state"] in ("queued", "running"):
        time.sleep(0.1)
    return job_id


@pytest.mark.slow
def test_no_request_about_jobs_breaks_the_server(service, ended):
    description = schemathesis.openapi.from_url(f"{service.url}/api/v1/openapi.json")
    checks = [schemathesis.checks.CHECKS.get_one(name) for name in CHECKS]
    statuses: dict[str, set[int]] = {}
    for found in description.include(path_regex="/jobs").get_all_operations():
        operation = found.ok()

        @settings(max_examples=CASES, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def try_out(case: Any) -> None:
            chance = zlib.crc32(repr((case.body, case.query)).encode())
            if case.method == "DELETE":
                pass  # of jobs that are not there: the one that has ended is still asked for
            elif "{job_id}" in case.path and (chance % 2 or case.path.endswith("/events")):
                case.path_parameters = {**case.path_parameters, "job_id": ended}
            if isinstance(case.body, dict) and chance % 4:
                case.body = {**case.body, "data": None, "sample": "air-passengers"}
            answer = case.call(base_url=service.url, timeout=120)
            statuses.setdefault(f"{case.method} {case.path}", set()).add(answer.status_code)
            # A full queue answers 503, which is meant.
            busy = answer.status_code == 503 and "retry-after" in answer.headers
            case.validate_response(answer, checks=checks[1:] if busy else checks)

        try_out()
    assert 202 in statuses["POST /api/v1/jobs"] and len(statuses) == 9, statuses
    assert '"trace"' not in service.log.read_text()

"""The OpenAPI description against the service: whatever it allows, no request breaks the server."""

import json
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from server.live import Live, start

CHECKS = ("not_a_server_error", "response_schema_conformance", "content_type_conformance")
CASES = {"/forecast": 1_000, "/inspect": 500, "/growth": 120, "/backtest": 80}
OTHER_CASES = 105
WANTED_CASES = 2_000
SAMPLES = ("air-passengers", "epidemic", "sales")
SOURCES = ("data", "sample", "table")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with start(tmp_path_factory.mktemp("service")) as live:
        yield live


@pytest.fixture(scope="module")
def kept(service: Live) -> str:
    answer = httpx.post(f"{service.url}/api/v1/inspect", json={"sample": "epidemic"}, timeout=30)
    return answer.json()["data"]


def lead_to_data(case: Any, kept: str) -> None:
    """Give half of the cases data that exist, so that they come as far as the forecast."""
    chance = zlib.crc32(json.dumps([repr(case.body), repr(case.query)]).encode())
    if "{data}" in case.path and chance % 2:
        case.path_parameters = {**case.path_parameters, "data": kept}
        if case.method == "DELETE":
            case.path_parameters["data"] = "A" * 22
    if isinstance(case.body, dict) and case.media_type == "application/json" and chance % 4:
        body = {name: value for name, value in case.body.items() if name not in SOURCES}
        body.pop("series", None)
        case.body = {**body, "sample": SAMPLES[chance % 3]}


@pytest.mark.slow
def test_no_request_breaks_the_server(service: Live, kept: str) -> None:
    description = schemathesis.openapi.from_url(f"{service.url}/api/v1/openapi.json")
    checks = [schemathesis.checks.CHECKS.get_one(name) for name in CHECKS]
    statuses: Counter[int] = Counter()
    for found in description.exclude(path_regex="/jobs").get_all_operations():
        operation = found.ok()
        wanted = CASES.get(operation.path.removeprefix("/api/v1"), OTHER_CASES)

        @settings(max_examples=wanted, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def try_out(case: Any) -> None:
            lead_to_data(case, kept)
            answer = case.call(base_url=service.url, timeout=120)
            statuses[answer.status_code] += 1
            case.validate_response(answer, checks=checks)

        try_out()
    assert sum(statuses.values()) >= WANTED_CASES, statuses
    assert statuses[200] >= WANTED_CASES / 10, statuses
    assert '"trace"' not in service.log.read_text()

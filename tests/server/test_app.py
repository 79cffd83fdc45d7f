"""The app in this process: what only a broken route or a patient guesser shows."""

import asyncio
import errno
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from explstm.server.app import make_app
from explstm.server.errors import from_system
from explstm.server.security import OPEN_PATHS
from explstm.server.settings import Settings

TOKEN = "a-token-that-nobody-guesses"
RIGHT = {"authorization": f"Bearer {TOKEN}"}
WRONG = {"authorization": "Bearer a-token-that-is-wrong"}


def ask(app: Any, *requests: tuple[str, dict[str, str]], client: str = "10.0.0.1") -> list:
    """Answers to GET requests for paths with headers, one after the other."""

    async def talk() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, client=(client, 1), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as line:
            return [await line.get(path, headers=headers) for path, headers in requests]

    return asyncio.run(talk())


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Any]:
    return lambda **settings: make_app(Settings(data=tmp_path, **settings))


def test_a_failure_of_ours_is_one_sentence_and_its_trace_is_in_the_log(make, caplog):
    app = make()

    @app.get("/api/v1/broken")
    def fail() -> None:
        raise RuntimeError("secret /srv/of/the/server")

    (answer,) = ask(app, ("/api/v1/broken", {}))
    found = answer.json()
    assert answer.status_code == 500 and found["error"]["code"] == "INTERNAL"
    assert found["request_id"] == answer.headers["x-request-id"]
    for inside in ("secret", "/srv", "Traceback", "RuntimeError", "test_app"):
        assert inside not in answer.text
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.request_id == found["request_id"] and "secret" in caplog.text


def test_who_guesses_tokens_has_to_wait(make):
    app = make(token=TOKEN, wrong_tokens=3)
    path = "/api/v1/samples"
    answers = ask(app, (path, RIGHT), *[(path, {})] * 9, *[(path, WRONG)] * 3, (path, WRONG))
    assert [answer.status_code for answer in answers] == [200, *[401] * 12, 429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    # Nor may the right one be told from a wrong one now; what needs no token is served.
    assert [one.status_code for one in ask(app, (path, RIGHT), ("/healthz", {}))] == [429, 200]
    assert ask(app, (path, RIGHT), client="10.0.0.2")[0].status_code == 200


@pytest.mark.parametrize("token", [None, TOKEN])
def test_the_description_says_where_a_token_is_shown_and_holds_none(make, token):
    app = make(token=token)
    description, page = ask(app, ("/api/v1/openapi.json", {}), ("/docs", {}))
    found = description.json()
    assert found["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
    assert found["security"] == [{"token": []}] if token else [{}, {"token": []}]
    for path, routes in found["paths"].items():
        for route in routes.values():
            assert (route.get("security") == []) == (path in OPEN_PATHS)
            assert path in OPEN_PATHS or "401" in route["responses"]
    for answer in (description, page):
        assert answer.status_code == 200 and TOKEN not in answer.text
        assert str(app.state.settings.data) not in answer.text


def test_no_route_takes_a_model_or_a_path(make):
    (answer,) = ask(make(), ("/api/v1/openapi.json", {}))
    description = answer.json()
    fields = {
        field
        for schema in description["components"]["schemas"].values()
        if schema.get("additionalProperties") is False  # what is sent, not what is got
        for field in schema["properties"]
    }
    assert {"data", "sample", "h", "backend", "jobs"} <= fields
    assert not {"path", "file_path", "model", "weights", "checkpoint", "device", "url"} & fields
    assert not [path for path in description["paths"] if "model" in path or "weights" in path]


def test_a_full_disk_is_told_and_a_forecast_of_a_table_needs_none(make, monkeypatch, caplog):
    app = make(readers=1, forecasters=1, small_rows=100)
    write = Path.open

    def fail(self: Path, mode: str = "r", *arguments: Any, **more: Any) -> Any:
        if "r" not in mode:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return write(self, mode, *arguments, **more)

    csv = b"ds,y\n" + b"".join(b"%d,%d\n" % (at, at + 1) for at in range(40))
    table = {"ds": list(range(90)), "y": [float(at + 1) for at in range(90)]}
    raw = {"content": csv, "headers": {"content-type": "text/csv"}}
    form = {"files": {"file": ("a.csv", csv)}}

    async def talk() -> list[httpx.Response]:
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as line:
                data = (await line.post("/api/v1/inspect", **raw)).json()["data"]
                monkeypatch.setattr(Path, "open", fail)
                return [
                    await line.post(f"/api/v1/{path}", **body)
                    for path, body in (
                        ("inspect", raw),
                        ("inspect", form),
                        ("forecast", raw),
                        ("growth", {"json": {"table": table}}),
                        ("jobs", {"json": {"kind": "backtest", "data": data, "h": 2}}),
                        ("forecast", {"json": {"table": table, "h": 2}}),
                        ("forecast", {"json": {"table": table, "h": 12}}),  # large for small_rows
                    )
                ]

    answers = asyncio.run(talk())
    assert [answer.status_code for answer in answers] == [*[507] * 5, 200, 200]
    for answer in answers[:5]:
        assert answer.json()["error"]["code"] == "DISK_FULL"
        assert "try again" in answer.text and "uploads" not in answer.text
    assert len(answers[6].json()["forecast"]["ds"]) == 12
    assert not [record for record in caplog.records if record.exc_info]


def test_a_full_database_is_a_full_disk_and_another_failure_is_none():
    base = sqlite3.connect(":memory:")
    base.execute("PRAGMA max_page_count=2")
    with pytest.raises(sqlite3.OperationalError) as full:
        base.executescript("CREATE TABLE a (b); CREATE TABLE c (d); CREATE TABLE e (f);")
    assert from_system(full.value).status == 507
    with pytest.raises(sqlite3.OperationalError) as unknown:
        base.execute("SELECT * FROM nothing")
    base.close()
    assert from_system(unknown.value) is None
    assert from_system(OSError(errno.EACCES, "no")) is None

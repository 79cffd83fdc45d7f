"""Kept files: bounded in time and room, under names of ours."""

import asyncio
from pathlib import Path

import pytest

from explstm.server.data.reading import read_source
from explstm.server.data.upload_store import Uploads
from explstm.server.errors import ApiError
from explstm.server.schemas import InspectRequest
from explstm.server.settings import Settings


def keep(uploads: Uploads, size: int, name: str = "a.csv") -> str:
    async def send() -> str:
        async with uploads.spool() as path:
            path.write_bytes(bytes(size))
            return uploads.keep(path, name)

    return asyncio.run(send())


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "uploads").iterdir()}


def test_the_oldest_go_when_there_is_no_more_room(tmp_path):
    uploads = Uploads(Settings(data=tmp_path, max_upload_bytes=100))
    ids = [keep(uploads, 40) for _ in range(3)]
    assert files(tmp_path) == set(ids[1:])
    with pytest.raises(ApiError) as found:
        uploads.take(ids[0])
    assert found.value.status == 404
    assert uploads.take(ids[2]).size == 40


def test_they_go_after_their_time(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    uploads = Uploads(Settings(data=tmp_path, keep_uploads_for=50.0))
    kept = keep(uploads, 1)
    now[0] = 150.0
    assert uploads.take(kept).name == "a.csv"
    now[0] = 150.5
    with pytest.raises(ApiError):
        uploads.take(kept)
    assert files(tmp_path) == set()


def test_what_is_forgotten_while_a_request_waits_is_told_as_such(tmp_path):
    settings = Settings(data=tmp_path)
    uploads = Uploads(settings)
    taken = uploads.take(keep(uploads, 1))
    uploads.drop(taken.path.name)
    for read in (
        lambda: taken.content,
        lambda: read_source(taken.source, InspectRequest(), settings),
    ):
        with pytest.raises(ApiError) as found:
            read()
        assert (found.value.status, found.value.code) == (404, "DATA_UNKNOWN")


def test_no_name_of_a_client_becomes_one_of_a_file(tmp_path):
    uploads = Uploads(Settings(data=tmp_path))
    for name in ("../../x", "/etc/passwd", "a\0b", "CON", "n" * 5000):
        kept = keep(uploads, 1, name)
        assert uploads.take(kept).path == tmp_path / "uploads" / kept and len(kept) == 22
    assert {path.name for path in tmp_path.iterdir()} == {"uploads"}


def test_what_is_not_kept_is_gone_and_so_is_what_a_dead_server_left(tmp_path):
    uploads = Uploads(Settings(data=tmp_path))

    async def leave() -> None:
        async with uploads.spool() as path:
            path.write_bytes(b"x")
            raise ConnectionError

    with pytest.raises(ConnectionError):
        asyncio.run(leave())
    assert files(tmp_path) == set()
    keep(uploads, 1)
    Uploads(Settings(data=tmp_path))
    assert files(tmp_path) == set()


def test_only_so_many_come_in_at_once(tmp_path):
    uploads = Uploads(Settings(data=tmp_path, uploads_at_once=2))

    async def send() -> None:
        async with uploads.spool(), uploads.spool():
            with pytest.raises(ApiError) as found:
                async with uploads.spool():
                    pass
            assert found.value.status == 429 and "Retry-After" in found.value.headers
        async with uploads.spool():
            pass

    asyncio.run(send())


def test_json_has_room_of_its_own(tmp_path):
    uploads = Uploads(Settings(data=tmp_path, uploads_at_once=1, waiting=2))

    async def send() -> None:
        json = {"of_file": False}
        async with uploads.spool(), uploads.spool(**json), uploads.spool(**json):
            for kind in ({}, json):
                with pytest.raises(ApiError):
                    async with uploads.spool(**kind):
                        pass

    asyncio.run(send())

"""Requests with their data: what is done where."""

import asyncio
import threading
from pathlib import Path

import pytest
from starlette.datastructures import ImmutableMultiDict

from explstm.server.data import uploads
from explstm.server.data.upload_store import Uploads
from explstm.server.schemas import InspectRequest
from explstm.server.settings import Settings


def test_a_table_is_written_aside_so_that_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers: list[int] = []
    write_csv = uploads.write_csv

    def write(path: Path, table: uploads.Table) -> None:
        writers.append(threading.get_ident())
        write_csv(path, table)

    monkeypatch.setattr(uploads, "write_csv", write)
    asked = InspectRequest(table={"unique_id": ["=a", "b"], "ds": [1, 2], "y": [1.0, None]})
    received = uploads.Received("application/json", b"", ImmutableMultiDict(), None)
    kept = Uploads(Settings(data=tmp_path))
    source = asyncio.run(uploads.choose_source(received, asked, tmp_path / "t", kept))
    assert Path(source.path).read_text() == "unique_id,ds,y\n'=a,1,1.0\nb,2,\n"
    assert writers != [threading.get_ident()]

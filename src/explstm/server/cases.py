"""A request and its data: what is sent, sampled or kept, read once and remembered as a panel.

Contract: data are received into a file of our own name that is gone afterwards, unless it is kept;
they are read in a reader's process, and when the client leaves, its work is dropped.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from explstm.server.data.reading import Source, read_source
from explstm.server.data.upload_store import Uploads
from explstm.server.data.uploads import brings_file, choose_source, parse_request, receive
from explstm.server.lanes import Forecaster, Reader
from explstm.server.panels import Known, Panels
from explstm.server.schemas import DataRequest
from explstm.server.settings import Settings

Asked = TypeVar("Asked", bound=DataRequest)


@dataclass(frozen=True)
class Office:
    """What the routes work with."""

    settings: Settings
    uploads: Uploads
    panels: Panels
    reader: Reader
    forecaster: Forecaster


@dataclass(frozen=True)
class Case(Generic[Asked]):
    """One request with its data: a known panel, or its own table that is still to be read."""

    asked: Asked
    known: Known | None


def office_of(request: Request) -> Office:
    """That of the app."""
    office: Office = request.app.state.office
    return office


@asynccontextmanager
async def open_case(
    request: Request, model: type[Asked], *, keep_table: bool = False
) -> AsyncIterator[Case[Asked]]:
    """Receive a request and its data, which are gone on leaving unless they were kept.

    Args:
        request: The request.
        model: What it must be.
        keep_table: Leave a table in the request unread, which needs no file.
    """
    office = office_of(request)
    async with office.uploads.spool(of_file=brings_file(request)) as path:
        received = await receive(request, path, office.settings)
        asked = parse_request(received, model)
        others = (received.name, asked.data, asked.sample)
        if keep_table and asked.table is not None and others == (None, None, None):
            yield Case(asked, None)
            return
        source = await choose_source(received, asked, path, office.uploads)
        plain = as_plain(asked)
        can_return = asked.data is not None or asked.sample is not None
        known = await office.panels.get(
            origin_of(source) if can_return else None, plain, reading_of(request, source, plain)
        )
        yield Case(asked, known)


def as_plain(asked: Asked) -> Asked:
    """A request without its table, which is a file of our own by now."""
    if asked.table is None:
        return asked
    own = {name: None for name in ("id_col", "time_col", "target_col", "sep", "date_format")}
    without_ids = asked.table.unique_id is None
    fixed: dict[str, Any] = {"table": None, "decimal": ".", "encoding": "utf-8", "missing": []}
    columns = {"id_col": None if without_ids else "unique_id", "time_col": "ds", "target_col": "y"}
    return asked.model_copy(update={**own, **fixed, **columns, "one_series": without_ids})


def origin_of(source: Source) -> str:
    """What a panel is remembered by."""
    return f"{source.kind}:{source.path}:{source.name}"


def reading_of(request: Request, source: Source, asked: DataRequest) -> Any:
    """What reads a source, for :meth:`Panels.get`; a large one apart."""
    settings = office_of(request).settings
    is_large = source.kind == "file" and Path(source.path).stat().st_size >= settings.large_bytes
    return partial(work_for, request, is_large, read_source, source, asked, settings)


async def work_for(request: Request, is_large: bool, function: Any, *arguments: Any) -> Any:
    """Have a function called in a reader's process, for as long as the client is there.

    Raises:
        ClientDisconnect: It has left.
    """
    reader = office_of(request).reader
    work = asyncio.ensure_future(reader.run(function, *arguments, is_large=is_large))
    leaving = asyncio.ensure_future(_leave(request))
    try:
        await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise ClientDisconnect
    finally:
        work.cancel()
        leaving.cancel()


async def _leave(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

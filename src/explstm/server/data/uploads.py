"""Requests with their data, as they come in.

Contract: a body goes to a file of the server's as it comes in and is not held in memory; what it
says is checked against its model, and exactly one place of data is chosen. No part of a path comes
from a client.
"""

import asyncio
import contextlib
import csv
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from anyio.to_thread import run_sync
from fastapi import Request, UploadFile
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.datastructures import ImmutableMultiDict
from starlette.formparsers import MultiPartException

from explstm.server.data.reading import Source
from explstm.server.data.samples import SAMPLES, load_sample
from explstm.server.data.upload_store import Uploads
from explstm.server.errors import ApiError, from_validation
from explstm.server.schemas import DataRequest, Table
from explstm.server.settings import Settings
from explstm.spreadsheets import neutralise

Asked = TypeVar("Asked", bound=DataRequest)

FILE_FIELD = "file"
JSON = "application/json"
FORM = "multipart/form-data"
DESCRIBED = (
    *("text/csv", "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"),
    *("application/vnd.apache.arrow.file", "application/octet-stream"),
)
"""Types of a file in the body; its content decides how it is read."""
RAW = (*DESCRIBED, "text/plain", "application/x-parquet", "application/vnd.ms-excel")
MAX_FIELDS = 64
MAX_FIELD_BYTES = 65_536
PIECE = 65_536


@dataclass(frozen=True)
class Received:
    """A request as it came.

    Attributes:
        media_type: Of the body.
        body: JSON; empty for a file.
        fields: The other fields beside a file.
        name: What the client called the file; None where none came.
    """

    media_type: str
    body: bytes
    fields: ImmutableMultiDict[str, Any]
    name: str | None


def media_type_of(request: Request) -> str:
    """The type of a body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def brings_file(request: Request) -> bool:
    """Whether a body is a file, or may hold one."""
    return media_type_of(request) != JSON


async def receive(request: Request, path: Path, settings: Settings) -> Received:
    """Receive a body; a file goes to ``path``.

    Raises:
        ApiError: It is of another kind, damaged, too long or too slow.
    """
    media_type = media_type_of(request)
    if media_type == JSON:
        body = await receive_json(request, settings)
        return Received(media_type, body, request.query_params, None)
    async with _in_time(settings):
        if media_type == FORM:
            return await _receive_form(request, path)
        if media_type in RAW:
            await _write(path, request.stream())
            return Received(media_type, b"", request.query_params, "the body")
    raise ApiError(
        415,
        "CONTENT_TYPE",
        f"the body must be one of application/json, {FORM}, {', '.join(DESCRIBED)}.",
    )


async def receive_json(request: Request, settings: Settings) -> bytes:
    """Receive a body of JSON, which is shorter than a file may be.

    Raises:
        ApiError: It is too long or too slow.
    """
    body = bytearray()
    async with _in_time(settings):
        async for piece in request.stream():
            body += piece
            if len(body) > settings.max_json_bytes:
                raise ApiError(
                    413,
                    "JSON_TOO_LONG",
                    f"the JSON is longer than {settings.max_json_bytes:,} bytes; send a file.",
                    {"Connection": "close"},  # the rest is not read
                )
    return bytes(body)


@contextlib.asynccontextmanager
async def _in_time(settings: Settings) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(settings.read_seconds):
            yield
    except TimeoutError:
        raise ApiError(
            408,
            "BODY_TOO_SLOW",
            f"the body took longer than {settings.read_seconds:.0f} seconds.",
            {"Connection": "close"},
        ) from None


async def _receive_form(request: Request, path: Path) -> Received:
    try:
        async with request.form(
            max_files=1, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES
        ) as form:
            files = [part for _, part in form.multi_items() if not isinstance(part, str)]
            fields = [(name, part) for name, part in form.multi_items() if isinstance(part, str)]
            if not files:
                return Received(FORM, b"", ImmutableMultiDict(fields), None)
            if not isinstance(form.get(FILE_FIELD), UploadFile | type(files[0])):
                raise ApiError(422, "FORM_FIELD", f"the file must be the field {FILE_FIELD!r}.")
            await _write(path, _pieces(files[0]))
            return Received(FORM, b"", ImmutableMultiDict(fields), files[0].filename or "the file")
    except MultiPartException as error:
        raise ApiError(400, "FORM_INVALID", f"the form cannot be read: {error.message}") from None


async def _pieces(file: Any) -> AsyncIterator[bytes]:
    while piece := await file.read(PIECE):
        yield piece


async def _write(path: Path, pieces: AsyncIterator[bytes]) -> None:
    with path.open("xb") as file:
        async for piece in pieces:
            file.write(piece)


def parse_request(received: Received, model: type[Asked]) -> Asked:
    """The request in what was received.

    Raises:
        ApiError: It is no such request.
    """
    try:
        if received.media_type == JSON:
            return model.model_validate_json(received.body)
        return model.model_validate(collect_fields(received.fields, model))
    except ValidationError as error:
        raise from_validation(error.errors(include_url=False, include_input=False)) from None


def collect_fields(fields: ImmutableMultiDict[str, Any], model: type[DataRequest]) -> Mapping:
    """Fields of a form or a query; those that are lists may come several times."""
    values: dict[str, Any] = {}
    for name in dict.fromkeys(fields.keys()):
        found = fields.getlist(name)
        known = model.model_fields.get(name)
        values[name] = found if known is not None and _is_list(known.annotation) else found[-1]
    if "table" in values:
        with contextlib.suppress(ValueError):
            values["table"] = from_json(values["table"])
    return values


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(_is_list(part) for part in get_args(annotation))


async def choose_source(
    received: Received, asked: DataRequest, path: Path, uploads: Uploads
) -> Source:
    """Where the data of a request are; its own table is written to ``path``.

    Raises:
        ApiError: Not exactly one place, or one that does not exist.
    """
    given = {
        "a file": received.name is not None,
        "data": asked.data is not None,
        "sample": asked.sample is not None,
        "table": asked.table is not None,
    }
    named = [name for name, is_given in given.items() if is_given]
    if len(named) != 1:
        found = " and ".join(named) or "none"
        raise ApiError(
            422, "DATA_SOURCE",
            f"a request needs a file, data, sample or table, exactly one of them; found {found}.",
        )  # fmt: skip
    if received.name is not None:
        return Source("file", str(path), received.name)
    if asked.data is not None:
        return uploads.take(asked.data).source
    if asked.sample is not None:
        return find_sample(asked.sample)
    assert asked.table is not None
    await run_sync(write_csv, path, asked.table)  # a long one takes a tenth of a second
    return Source("file", str(path), "table")


def find_sample(name: str) -> Source:
    """A sample by its name.

    Raises:
        ApiError: 404, there is none.
    """
    if name not in SAMPLES:
        raise ApiError(404, "SAMPLE_UNKNOWN", f"there is no such sample; use {', '.join(SAMPLES)}.")
    return Source("sample", "", name)


def write_csv(path: Path, table: Table) -> None:
    """A table as the file that a client might have sent instead."""
    columns: dict[str, Any] = {"ds": table.ds, "y": table.y}
    if table.unique_id is not None:
        columns = {"unique_id": [neutralise(str(name)) for name in table.unique_id], **columns}
    lengths = {len(cells) for cells in columns.values()}
    if len(lengths) > 1:
        raise ApiError(422, "TABLE_LENGTHS", "table: give all columns the same number of cells.")
    with path.open("x", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def keep_sample(path: Path, name: str) -> None:
    """A sample as the file that a client might have sent."""
    load_sample(name).to_csv(path, index=False, mode="x")

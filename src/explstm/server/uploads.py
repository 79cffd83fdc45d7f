"""Files that clients send: received, kept for a time, and forgotten.

Contract: a body goes to a file of a random name as it comes in and is not held in memory; no part
of a path comes from a client. What is kept is bounded in time and in size. The folder belongs to
the running server: what an older one left is removed at its start.
"""

import asyncio
import contextlib
import csv
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from fastapi import Request, UploadFile
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.datastructures import ImmutableMultiDict
from starlette.formparsers import MultiPartException

from explstm.server.errors import ApiError, from_validation
from explstm.server.reading import Source
from explstm.server.samples import SAMPLES, load_sample
from explstm.server.schemas import DataRequest, Table
from explstm.server.settings import Settings
from explstm.spreadsheets import neutralise

Asked = TypeVar("Asked", bound=DataRequest)

FOLDER = "uploads"
FILE_FIELD = "file"
FORM = "multipart/form-data"
RAW = (
    *("text/csv", "application/vnd.apache.parquet", "application/octet-stream"),
    *("text/plain", "application/x-parquet", "application/vnd.ms-excel"),
)
MAX_FIELDS = 64
MAX_FIELD_BYTES = 65_536
PIECE = 65_536


@dataclass(frozen=True)
class StoredUpload:
    """A kept file.

    Attributes:
        path: Where the server put it.
        name: What the client called it; for display.
        size: In bytes.
        until: When it is forgotten, by :func:`time.monotonic`.
    """

    path: Path
    name: str
    size: int
    until: float

    @property
    def content(self) -> bytes:
        """Its bytes."""
        return self.path.read_bytes()

    @property
    def source(self) -> Source:
        """For the reader."""
        return Source("file", str(self.path), self.name)


class Uploads:
    """All kept files; see the module."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.data / FOLDER
        self._kept: dict[str, StoredUpload] = {}
        self._coming = 0
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, mode=0o700)

    @asynccontextmanager
    async def spool(self) -> AsyncIterator[Path]:
        """The path of a new file, which is removed on leaving unless it was kept."""
        if self._coming >= self._settings.uploads_at_once:
            raise ApiError(
                429, "TOO_MANY_UPLOADS", "too many files come in at once; try again.",
                {"Retry-After": "5"},
            )  # fmt: skip
        path = self._folder / secrets.token_urlsafe(16)
        self._coming += 1
        try:
            yield path
        finally:
            self._coming -= 1
            if path.name not in self._kept:
                path.unlink(missing_ok=True)

    def keep(self, path: Path, name: str) -> str:
        """Keep a spooled file for its time, and return its id."""
        self.expire()
        size = path.stat().st_size
        limit = self._settings.max_upload_bytes - size
        while self._kept and sum(upload.size for upload in self._kept.values()) > limit:
            self.drop(next(iter(self._kept)))
        until = time.monotonic() + self._settings.keep_uploads_for
        self._kept[path.name] = StoredUpload(path, name, size, until)
        return path.name

    def take(self, data_id: str) -> StoredUpload:
        """The kept file of an id.

        Raises:
            ApiError: 404, there is none, or no longer.
        """
        self.expire()
        if data_id not in self._kept:
            raise ApiError(
                404, "DATA_UNKNOWN", "there is no such upload, or no longer; send the file again."
            )
        return self._kept[data_id]

    def drop(self, data_id: str) -> None:
        """Forget a file."""
        upload = self._kept.pop(data_id, None)
        if upload is not None:
            upload.path.unlink(missing_ok=True)

    def expire(self) -> None:
        """Forget what has had its time."""
        now = time.monotonic()
        for data_id in [name for name, upload in self._kept.items() if upload.until < now]:
            self.drop(data_id)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        shutil.rmtree(self._folder, ignore_errors=True)


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


async def receive(request: Request, path: Path, settings: Settings) -> Received:
    """Receive a body; a file goes to ``path``.

    Raises:
        ApiError: It is of another kind, damaged, too long or too slow.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        async with asyncio.timeout(settings.read_seconds):
            if media_type == "application/json":
                return await _receive_json(request, settings)
            if media_type == FORM:
                return await _receive_form(request, path)
            if media_type in RAW:
                await _write(path, request.stream())
                return Received(media_type, b"", request.query_params, "the body")
    except TimeoutError:
        raise ApiError(
            408, "BODY_TOO_SLOW", f"the body took longer than {settings.read_seconds:.0f} seconds."
        ) from None
    raise ApiError(
        415,
        "CONTENT_TYPE",
        "the body must be application/json, multipart/form-data, text/csv, "
        "application/vnd.apache.parquet or application/octet-stream.",
    )


async def _receive_json(request: Request, settings: Settings) -> Received:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > settings.max_json_bytes:
            raise ApiError(
                413,
                "JSON_TOO_LONG",
                f"the JSON is longer than {settings.max_json_bytes:,} bytes; send a file.",
            )
    return Received("application/json", bytes(body), request.query_params, None)


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
        if received.media_type == "application/json":
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


def choose_source(received: Received, asked: DataRequest, path: Path, uploads: Uploads) -> Source:
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
    write_csv(path, asked.table)
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

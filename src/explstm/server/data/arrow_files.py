"""Arrow IPC streams and files, bounded before anything is unpacked.

Contract: :func:`check_arrow` walks over the messages, of which it reads the descriptions only, and
refuses what would unpack to more than the limits; a compressed buffer states its size in its first
eight bytes, and pyarrow allocates no more than that. :func:`read_arrow` then unpacks the columns
that are wanted, and validates them.

Source: Apache Arrow, "Arrow Columnar Format", Serialization and Interprocess Communication (IPC);
format/Message.fbs and format/File.fbs for the places of the fields.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import error
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from flatbuffers import encode, packer
from flatbuffers.number_types import BoolFlags, Int64Flags
from flatbuffers.table import Table

from explstm.columnar import take_arrow
from explstm.errors import DataError
from explstm.plain_text import shorten
from explstm.server.data.columns import LONGEST_SHOWN, Preview, preview_batch
from explstm.server.data.file_failures import damage_told, damaged, too_large
from explstm.server.settings import Settings
from explstm.tables import choose_columns

FILE_MARK = b"ARROW1"
STREAM_START = b"\xff\xff\xff\xff"
MOST_BATCHES = 10_000
VIEW_BYTES = 16
"""Of one cell in an array of views: its length in the first four, then where it is."""
# Places of the fields of a table in a flatbuffer: 4 + 2 * their number in format/Message.fbs.
HEADER = 8
DICTIONARY_BLOCKS, BATCH_BLOCKS = 8, 10
DICTIONARY_ID, DICTIONARY_DATA, IS_DELTA = 4, 6, 8
LENGTH, BUFFERS, COMPRESSION = 4, 8, 10
BLOCK = np.dtype([("offset", "<i8"), ("header", "<i4"), ("gap", "<i4"), ("body", "<i8")])
FOOTER_END = len(FILE_MARK) + 4
"""Behind the footer of a file stand its length and the mark."""


def is_arrow(data: bytes) -> bool:
    """Whether a file is of this kind, by its first bytes."""
    return data.startswith((FILE_MARK, STREAM_START))


def check_arrow(data: bytes, name: str, settings: Settings) -> list[Preview]:
    """The columns with their first cells, if all of it is within the limits.

    Raises:
        DataError: It is not, or is damaged.
    """
    with damage_told(name):
        reader = _open(data)
        if len(reader.schema) > settings.max_columns:
            raise too_large(name, f"{len(reader.schema):,} columns", settings.max_columns)
        n_rows, n_bytes = _measure(data, name)
        if n_rows > settings.max_rows:
            raise too_large(name, f"{n_rows:,} rows", settings.max_rows)
        if n_bytes > settings.max_unpacked_bytes:
            raise too_large(name, f"{n_bytes:,} bytes unpacked", settings.max_unpacked_bytes)
        first = next((batch for batch in _batches(reader) if batch.num_rows), None)
        if first is None:
            raise DataError("DATA_NO_ROWS", f"{name} has no rows; send at least one series.")
        return preview_batch(first)


def read_arrow(
    data: bytes, name: str, columns: tuple[str, str, str], settings: Settings
) -> pd.DataFrame:
    """The columns of ids, dates and values of what :func:`check_arrow` has let pass.

    Raises:
        DataError: They are not there, not plain, or damaged.
    """
    import pyarrow as pa

    with damage_told(name):
        schema = _open(data).schema
        wanted = choose_columns(schema.names, columns, name)
        for column in wanted:
            _check_type(column, schema.field(column).type, name)
        options = pa.ipc.IpcReadOptions(
            use_threads=False, included_fields=[schema.get_field_index(name) for name in wanted]
        )
        table = _open(data, options=options).read_all()
        table.validate(full=True)
        return take_arrow(_unfold_views(table, name, settings), columns, name)


def _open(data: bytes, **options: Any) -> Any:
    import pyarrow as pa

    open_reader = pa.ipc.open_file if data.startswith(FILE_MARK) else pa.ipc.open_stream
    return open_reader(pa.py_buffer(data), **options)


def _batches(reader: Any) -> Iterator[Any]:
    if not hasattr(reader, "get_batch"):
        return iter(reader)
    return (reader.get_batch(place) for place in range(reader.num_record_batches))


def _messages(data: bytes) -> Iterator[Any]:
    """The messages, which are not unpacked: of a file those that its footer names."""
    import pyarrow as pa

    whole = pa.py_buffer(data)
    if not data.startswith(FILE_MARK):
        yield from pa.ipc.MessageReader.open_stream(whole)
        return
    for block in _read_footer(data):
        length = int(block["header"]) + int(block["body"])
        yield pa.ipc.read_message(whole.slice(int(block["offset"]), length))


def _read_footer(data: bytes) -> npt.NDArray[Any]:
    """Where the dictionaries and batches of a file are; pyarrow has found its footer sound."""
    end = len(data) - FOOTER_END
    footer = memoryview(data)[end - int.from_bytes(data[end : end + 4], "little") : end]
    table = Table(footer, encode.Get(packer.uoffset, footer, 0))
    found = [
        np.frombuffer(footer, BLOCK, table.VectorLen(offset), table.Vector(offset))
        for offset in map(table.Offset, (DICTIONARY_BLOCKS, BATCH_BLOCKS))
        if offset
    ]
    return np.concatenate([np.empty(0, BLOCK), *found])


# ------------------------------------------------------------------------------------------- size


@dataclass(frozen=True)
class _Part:
    """A batch; with an id, it is a dictionary."""

    dictionary: int | None
    n_rows: int
    n_bytes: int


def _measure(data: bytes, name: str) -> tuple[int, int]:
    """Rows, and the bytes they unpack to: each batch with the dictionaries that it is read with."""
    n_rows = n_batches = n_bytes = 0
    dictionaries: dict[int, int] = {}
    for message in _messages(data):
        if message.type == "schema":
            continue
        if message.type not in ("record batch", "dictionary"):
            raise damaged(name, f"it has a {message.type}, which is no table")
        try:
            part = _read_part(message)
        except (TypeError, error):  # of flatbuffers, where an offset leads out of the description
            raise damaged(name, "the description of a batch cannot be read") from None
        n_batches += 1
        if n_batches > MOST_BATCHES:
            raise too_large(name, "more batches", MOST_BATCHES, "write it in larger ones")
        n_bytes += part.n_bytes
        if part.dictionary is None:
            n_rows += part.n_rows
            n_bytes += sum(dictionaries.values())
        else:
            dictionaries[part.dictionary] = part.n_bytes
    return n_rows, n_bytes


def _read_part(message: Any) -> _Part:
    """What the description of a batch, or of a dictionary, states."""
    batch = _read_header(memoryview(message.metadata))
    dictionary = None
    if message.type == "dictionary":
        delta = batch.Offset(IS_DELTA)
        if delta and batch.Get(BoolFlags, batch.Pos + delta):
            raise ValueError("it adds to its dictionaries, which is not read")
        dictionary = _read_long(batch, DICTIONARY_ID)
        batch = _read_table(batch, DICTIONARY_DATA)
    return _Part(dictionary, _read_long(batch, LENGTH), _measure_body(batch, message.body))


def _read_header(metadata: memoryview) -> Any:
    """The table that a message describes."""
    root = Table(metadata, encode.Get(packer.uoffset, metadata, 0))
    header = Table(metadata, 0)
    root.Union(header, root.Offset(HEADER))
    return header


def _read_table(table: Any, place: int) -> Any:
    return Table(table.Bytes, table.Indirect(table.Pos + table.Offset(place)))


def _read_long(table: Any, place: int) -> int:
    offset = table.Offset(place)
    value = int(table.Get(Int64Flags, table.Pos + offset)) if offset else 0
    if value < 0:
        raise ValueError("a length is negative")
    return value


def _measure_body(batch: Any, body: Any) -> int:
    """The bytes that the buffers of a batch unpack to."""
    offset = batch.Offset(BUFFERS)
    if not offset:
        return 0
    n = batch.VectorLen(offset)
    place_K2 = np.frombuffer(batch.Bytes, "<i8", 2 * n, batch.Vector(offset)).reshape(-1, 2)
    if not batch.Offset(COMPRESSION):
        return _add_up(place_K2[:, 1])
    place_K2 = place_K2[place_K2[:, 1] > 0]
    stated = [int(np.frombuffer(body, "<i8", 1, at)[0]) for at in place_K2[:, 0].tolist()]
    # -1: this buffer is not compressed after all.
    size_K = np.where(np.array(stated, dtype=np.int64) == -1, place_K2[:, 1], stated)
    return _add_up(size_K)


def _add_up(size_K: npt.NDArray[np.int64]) -> int:
    if (size_K < 0).any():
        raise ValueError("the length of a buffer is negative")
    return sum(size_K.tolist())  # of whole numbers that do not overflow


# ------------------------------------------------------------------------------------------- cells


def _check_type(column: str, kind: Any, name: str) -> None:
    """Refuse what is no plain text, number or date."""
    import pyarrow.types as types

    plain = kind.value_type if types.is_dictionary(kind) else kind
    known = (
        *(types.is_string, types.is_large_string, types.is_string_view, types.is_boolean),
        *(types.is_integer, types.is_floating, types.is_decimal, types.is_temporal, types.is_null),
    )
    if not any(is_known(plain) for is_known in known):
        raise DataError(
            "DATA_COLUMN_TYPE",
            f"{name}: column {shorten(column, LONGEST_SHOWN)!r} holds {shorten(str(kind), 100)}; "
            "send plain texts, numbers or dates.",
        )


def _unfold_views(table: Any, name: str, settings: Settings) -> Any:
    """The table with plain texts for arrays of views, whose texts may all lie in one place."""
    import pyarrow as pa

    total = 0
    for place, column in enumerate(table.columns):
        views = [getattr(chunk, "dictionary", chunk) for chunk in column.chunks]
        if not views or not pa.types.is_string_view(views[0].type):
            continue
        total += sum(map(_measure_views, views))
        if total > settings.max_unpacked_bytes:
            raise too_large(name, f"{total:,} bytes of text", settings.max_unpacked_bytes)
        plain = pa.large_string()
        if pa.types.is_dictionary(column.type):
            plain = pa.dictionary(column.type.index_type, plain)
        table = table.set_column(place, table.field(place).name, column.cast(plain))
    return table


def _measure_views(cells: Any) -> int:
    if not len(cells):
        return 0
    length_K = np.frombuffer(cells.buffers()[1], "<i4")[:: VIEW_BYTES // 4]
    return _add_up(length_K[cells.offset : cells.offset + len(cells)].astype(np.int64))

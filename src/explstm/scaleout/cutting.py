"""Files to cuts: every row goes to the part that a hash of its series names.

Contract: :func:`cut_files` reads some files and writes one file of Arrow record batches, one batch
for each part in turn, again and again, so that a part is read back without reading the others. No
more than a round of rows is in memory, however large the files are. A file that turns out to be
damaged leaves none of its rows; rows without an id are counted and left out. The bytes that are cut
are those whose SHA-256 was stated.
"""

import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from explstm.errors import DataError
from explstm.parsing import quote
from explstm.runfolder import describe_file
from explstm.scaleout.inputs import Columns, Inspection, Kinds, open_parquet, path_values
from explstm.scaleout.plan import Plan
from explstm.scaleout.records import write_record, write_whole

ROWS_PER_ROUND = 1_000_000
ROWS_PER_BATCH = 1 << 17
Letter = dict[str, str | None]


@dataclass(frozen=True)
class CutTask:
    """Some files to cut.

    Attributes:
        plan: The plan.
        number: Which cut it is.
        files: The files.
        first_file: Position of the first of them among all that are cut.
    """

    plan: Plan
    number: int
    files: tuple[Inspection, ...]
    first_file: int


class DamagedFileError(Exception):
    """A file cannot be read to its end; holds its position among all files, and the reason."""


def cut_schema(kinds: Kinds) -> pa.Schema:
    """What a row on its way holds: id, date, value, and the position of its file."""
    id_kind, date_kind, value_kind = kinds
    zone = date_kind.removeprefix("timestamps in ")
    dates = {"text": pa.string(), "integers": pa.int64(), "timestamps": pa.timestamp("us")}
    return pa.schema(
        [
            ("id", pa.string() if id_kind == "text" else pa.int64()),
            ("date", dates.get(date_kind) or pa.timestamp("us", zone)),
            ("value", pa.string() if value_kind == "text" else pa.float64()),
            ("file", pa.int32()),
        ]
    )


def cut_files(task: CutTask) -> dict[str, int]:
    """Cut some files, and return how many rows went on their way."""
    began = time.monotonic()
    damaged: dict[int, DataError] = {}
    path = task.plan.place.cut(task.number)
    while True:
        try:
            with write_whole(task.plan.place, path) as aside:
                rows, nameless = _write_cut(task, str(aside), damaged)
            break
        except DamagedFileError as error:  # its first rows may have gone on their way
            number, reason = error.args
            damaged[number - task.first_file] = reason
    dead = [tell_file(task.files[place].file, error) for place, error in damaged.items()]
    dead += [tell_file(task.files[place].file, tell_nameless(n)) for place, n in nameless.items()]
    write_record(task.plan.place, path, {"rows": rows, "dead": dead}, began)
    return {"rows": rows, "dead": len(dead)}


def _write_cut(
    task: CutTask, aside: str, damaged: dict[int, DataError]
) -> tuple[int, dict[int, int]]:
    """Write the rows of the files that are not damaged; count them, and those without an id."""
    schema, n_parts = cut_schema(task.plan.kinds), task.plan.n_parts
    nameless: dict[int, int] = {}
    rows, held, n_held = 0, list[pa.RecordBatch](), 0
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.OSFile(aside, "wb") as sink, pa.ipc.new_file(sink, schema, options=options) as writer:
        for place in range(len(task.files)):
            if place in damaged:
                continue
            columns, number = task.plan.options.columns, task.first_file + place
            for batch in read_file(task.plan.root, task.files[place], columns, number, schema):
                batch, n_nameless = drop_nameless(batch)
                if n_nameless:
                    nameless[place] = nameless.get(place, 0) + n_nameless
                held.append(batch)
                n_held += len(batch)
                rows += len(batch)
                if n_held >= ROWS_PER_ROUND:
                    _write_round(writer, held, schema, n_parts)
                    held, n_held = [], 0
        _write_round(writer, held, schema, n_parts)
    return rows, nameless


def read_file(
    root: Path, stated: Inspection, columns: Columns, number: int, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """The rows of one file, as the rows of all files are on their way.

    Args:
        root: The folder of the data.
        stated: The file, as it was looked at.
        columns: Names of the columns of ids, dates and values.
        number: Its position among all files.
        schema: See :func:`cut_schema`.

    Raises:
        DamagedFileError: It cannot be read to its end.
        DataError: It is no more what it was when it was looked at.
    """
    path, above = root / stated.file, path_values(stated.file)
    try:
        with open_parquet(path) as file:
            inside = [column for column in columns if column in file.schema_arrow.names]
            for batch in file.iter_batches(ROWS_PER_BATCH, columns=inside):
                arrays = [
                    batch[column] if column in inside else _repeat(above[column], len(batch))
                    for column in columns
                ]
                origin = pa.array(np.full(len(batch), number), pa.int32())
                typed = [*map(_cast, columns, arrays, schema), origin]
                yield pa.record_batch(typed, schema)
    except DataError as error:
        raise DamagedFileError(number, error) from None
    if describe_file(path)["sha256"] != stated.sha256:
        raise DataError(
            "DATA_CHANGED",
            f"{quote(stated.file)} has changed since it was looked at; run again when the data are "
            "complete.",
        )


def drop_nameless(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, int]:
    """The rows that have an id, and how many have none."""
    n = batch["id"].null_count
    return (batch.filter(pc.is_valid(batch["id"])) if n else batch), n


def _repeat(value: str | None, n: int) -> pa.Array:
    return pa.array([value] * n, pa.string())


def _cast(column: str, array: pa.Array, field: pa.Field) -> pa.Array:
    try:
        return array.cast(field.type, safe=field.name != "value")
    except pa.ArrowInvalid as error:
        raise DataError(
            "DATA_COLUMN_TYPE", f"column {column!r} cannot be read as {field.type}: {error}."
        ) from None


def _write_round(writer: Any, held: Sequence[pa.RecordBatch], schema: pa.Schema, n: int) -> None:
    """Write one batch for each of ``n`` parts, with no rows where there are none."""
    table = pa.Table.from_batches(held, schema)
    part_S = _part_of(table["id"].combine_chunks(), n)
    order_S = np.argsort(part_S, kind="stable")
    arrays = [column.combine_chunks() for column in table.take(order_S).columns]
    batch = pa.record_batch(arrays, schema)
    ends = np.searchsorted(part_S[order_S], np.arange(n), side="right")
    begin = 0
    for end in ends.tolist():
        writer.write_batch(batch.slice(begin, end - begin))
        begin = end


def _part_of(ids: pa.Array, n: int) -> npt.NDArray[np.int64]:
    """The part of every row: the same for an id everywhere and always."""
    coded = ids.dictionary_encode()
    part_of = [zlib.crc32(str(one).encode()) % n for one in coded.dictionary.to_pylist()]
    return np.asarray(part_of, dtype=np.int64)[coded.indices.to_numpy()]


def tell_nameless(n: int) -> DataError:
    """What is said of rows without an id."""
    rows = f"{n:,} row has" if n == 1 else f"{n:,} rows have"
    return DataError("DATA_BAD_ID", f"{rows} no id and belong to no series; give every row an id.")


def tell_file(file: str, error: DataError) -> Letter:
    """The letter of a file, or of rows of it."""
    return {"unique_id": None, "file": file, "code": error.code, "message": error.message}

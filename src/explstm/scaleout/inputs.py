"""Which files there are, what they hold, and what is wrong with them.

Contract: a data set is one Parquet file, or a folder of them at any depth, in the order of their
names; names that begin with ``_`` or ``.`` are left to the programs that wrote them. A column that
a file lacks is taken from folders named ``column=value`` above it, as text. :func:`inspect_file`
reads all bytes of a file once, for their SHA-256, and its footer; what is wrong with the file is a
result, not an error.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from explstm.errors import DataError, tell_reason
from explstm.parsing import quote
from explstm.runfolder import describe_file
from explstm.tables import check_names

Columns = tuple[str, str, str]
Kinds = tuple[str, str, str]
"""What the columns of ids, dates and values hold, such as ("text", "timestamps", "numbers")."""

NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Inspection:
    """What was found in one file.

    Attributes:
        file: Its name below the data set's folder.
        bytes: Its size.
        sha256: Of all its bytes.
        rows: By its footer.
        kinds: What its three columns hold; None where there is a fault, or no row.
        fault: Code and sentence; None where it can be used.
    """

    file: str
    bytes: int
    sha256: str
    rows: int
    kinds: Kinds | None
    fault: tuple[str, str] | None


def find_files(dataset: Path) -> tuple[Path, list[str]]:
    """The folder of a data set, and the names of its files below it, in order.

    Raises:
        DataError: There is nothing there.
    """
    if dataset.is_file():
        return dataset.parent, [dataset.name]
    if not dataset.is_dir():
        raise DataError(
            "DATA_PATH",
            f"{quote(str(dataset))} is neither a file nor a folder; pass Parquet on this file "
            "system.",
        )
    names = []
    for folder, below, files in os.walk(dataset):
        below[:] = [name for name in below if not name.startswith((".", "_"))]
        names += [
            (Path(folder) / name).relative_to(dataset).as_posix()
            for name in (*files, *_find_links(folder, below))
            if not name.startswith((".", "_"))
        ]
    if not names:
        raise DataError("DATA_EMPTY", f"{quote(str(dataset))} holds no files; pass Parquet files.")
    return dataset, sorted(names)


def _find_links(folder: str, below: Sequence[str]) -> list[str]:
    """Folders that are links, which are not followed, for they may lead in a circle."""
    return [name for name in below if os.path.islink(os.path.join(folder, name))]


def inspect_file(task: tuple[Path, str, Columns]) -> Inspection:
    """Look at a file of a data set: folder, name, and the names of the three columns."""
    root, name, columns = task
    about: dict[str, Any] = {"bytes": 0, "sha256": ""}
    rows, kinds, fault = 0, None, None
    try:
        if not (root / name).is_file():
            raise DataError(
                "DATA_PATH",
                "it is no regular file, or a link to a folder; remove it from the data.",
            )
        about = describe_file(root / name)
        with open_parquet(root / name) as file:
            rows = file.metadata.num_rows
            if rows:
                kinds = _kinds_of(file.schema_arrow, path_values(name), columns)
    except OSError as error:
        fault = ("DATA_PATH", f"it cannot be read: {error.strerror}; check its permissions.")
    except DataError as error:
        fault = (error.code, error.message)
    return Inspection(name, about["bytes"], about["sha256"], rows, kinds, fault)


@contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a file for reading in pieces; checksums of pages are verified where it has them.

    Raises:
        DataError: It is damaged, or no Parquet, whether that is seen at once or later.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            "DATA_CORRUPT",
            f"it is damaged or no Parquet: {tell_reason(error).rstrip('.')}; export it again.",
        ) from None


def path_values(name: str) -> dict[str, str | None]:
    """Columns that the folders of a file stand for: ``region=north/a.parquet`` gives region."""
    pairs = (folder.split("=", 1) for folder in name.split("/")[:-1] if "=" in folder)
    return {unquote(key): None if value == NULL_FOLDER else unquote(value) for key, value in pairs}


def choose_kinds(found: Sequence[Inspection]) -> tuple[Kinds, list[Inspection]]:
    """What most files hold, and the files with the fault of those that hold something else.

    Raises:
        DataError: No file can be used.
    """
    votes = Counter(one.kinds for one in found if one.kinds is not None)
    if not votes:
        one = found[0]
        code, message = one.fault or ("DATA_NO_ROWS", "it has no rows.")
        more = f", nor can the {len(found) - 1:,} others" if len(found) > 1 else ""
        raise DataError(code, f"file {quote(one.file)} cannot be used{more}: {message}")
    kinds = votes.most_common(1)[0][0]
    judged = []
    for one in found:
        if one.kinds not in (None, kinds):
            one = _refuse_kinds(one, kinds)
        judged.append(one)
    return kinds, judged


def _refuse_kinds(one: Inspection, kinds: Kinds) -> Inspection:
    assert one.kinds is not None
    what, has, most = next(
        (what, has, most)
        for what, has, most in zip(("ids", "dates", "values"), one.kinds, kinds, strict=True)
        if has != most
    )
    text = f"its {what} are {has}, and those of most files {most}; convert it to the same schema."
    return Inspection(one.file, one.bytes, one.sha256, one.rows, None, ("DATA_OTHER_SCHEMA", text))


def _kinds_of(schema: pa.Schema, above: dict[str, str | None], columns: Columns) -> Kinds:
    names = [*schema.names, *(name for name in above if name not in schema.names)]
    check_names(names, columns, "it")
    types = [schema.field(name).type if name in schema.names else pa.string() for name in columns]
    named = zip(columns, types, (_kind_of_id, _kind_of_date, _kind_of_value), strict=True)
    id_kind, date_kind, value_kind = (kind_of(name, of) for name, of, kind_of in named)
    return id_kind, date_kind, value_kind


def _kind_of_id(name: str, of: pa.DataType) -> str:
    of = of.value_type if pa.types.is_dictionary(of) else of
    if pa.types.is_string(of) or pa.types.is_large_string(of):
        return "text"
    if pa.types.is_integer(of):
        return "integers"
    raise _refuse_type(name, of, "ids must be text or integers")


def _kind_of_date(name: str, of: pa.DataType) -> str:
    of = of.value_type if pa.types.is_dictionary(of) else of
    if pa.types.is_string(of) or pa.types.is_large_string(of):
        return "text"
    if pa.types.is_integer(of):
        return "integers"
    if pa.types.is_timestamp(of) and of.tz is not None:
        return f"timestamps in {of.tz}"
    if pa.types.is_timestamp(of) or pa.types.is_date(of):
        return "timestamps"
    raise _refuse_type(name, of, "dates must be timestamps, ISO text or integers")


def _kind_of_value(name: str, of: pa.DataType) -> str:
    of = of.value_type if pa.types.is_dictionary(of) else of
    if pa.types.is_string(of) or pa.types.is_large_string(of):
        return "text"
    if pa.types.is_integer(of) or pa.types.is_floating(of) or pa.types.is_decimal(of):
        return "numbers"
    raise _refuse_type(name, of, "values must be numbers")


def _refuse_type(name: str, of: pa.DataType, rule: str) -> DataError:
    return DataError("DATA_COLUMN_TYPE", f"column {name!r} holds {of}; {rule}.")

"""Files to tables: CSV and Parquet, read strictly.

Contract: :func:`read_table` returns the ids as text, the dates and the values of a regular file; an
index named ``line`` holds the physical lines of a CSV. The content decides what a file is, not its
name. Ids such as ``007`` and ``NA`` stay what they are; nothing is guessed, skipped or padded.
Addresses, pipes and devices are refused. Of a CSV in UTF-8 only one block is in memory at a time,
unless its lines have to be read one by one.

Axes: S rows of a table.
"""

import codecs
import io
import os
import re
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pandas as pd

from explstm.columnar import make_frame, read_parquet
from explstm.delimited import MAX_HEADER, Dialect, read_header, split_exact, split_fast
from explstm.errors import DataError, UsageError
from explstm.parsing import name_cells, parse_dates, quote
from explstm.spreadsheets import restore_all
from explstm.tables import (
    DEFAULT_ID_COL,
    SINGLE_SERIES_ID,
)

MAX_BYTES = 2 * 1024**3
"""Largest file that is read."""

_UNPACK, _SAVE, _EXPORT = "unpack it first", "save it as CSV", "export it as CSV or Parquet"
_SIGNATURES = (
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"PK\x03\x04", "a zip archive", _UNPACK),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", _SAVE),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ", "an xz archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstandard archive", _UNPACK),
    (b"%PDF", "a PDF document", _EXPORT),
    (b"\x89PNG", "a picture", _EXPORT),
    (b"ARROW1", "an Arrow file", _EXPORT),
    (b"\xff\xff\xff\xff", "an Arrow stream", _EXPORT),
    (b"SQLite format 3", "a SQLite database", _EXPORT),
    (b"<", "a web page or XML", _EXPORT),
    (b"{", "JSON", _EXPORT),
    (b"[", "JSON", _EXPORT),
)
_WORKBOOKS = (
    (b"opendocument.spreadsheet", "a spreadsheet of OpenDocument"),
    (b"xl/", "an Excel workbook"),
    (b"[Content_Types].xml", "an Excel workbook"),
)
"""What is in a zip archive that is a workbook."""
_WIDE_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_table(
    path: str | os.PathLike[str],
    *,
    id_col: str = DEFAULT_ID_COL,
    time_col: str = "ds",
    target_col: str = "y",
    sep: str | None = None,
    decimal: str = ".",
    encoding: str = "utf-8",
    date_format: str | None = None,
    missing: Collection[str] = ("",),
) -> pd.DataFrame:
    """Read a long table from a CSV or Parquet file.

    Args:
        path: A regular file.
        id_col: Column of ids. A file without a column ``unique_id`` is one series.
        time_col: Column of dates.
        target_col: Column of values.
        sep: Separator of a CSV; None finds it in the header.
        decimal: Decimal sign of a CSV.
        encoding: Encoding of a CSV.
        date_format: How dates are written, as in ``datetime.strptime``; None for ISO 8601.
        missing: Texts that stand for a missing value in the column of values.

    Returns:
        The columns ``id_col`` (categories of str), ``time_col`` (datetime64 or int64) and
        ``target_col`` (float64).

    Raises:
        UsageError: An argument that cannot be used.
        DataError: A file that cannot be read, or a line that is not what its columns must hold.
        BackendNotInstalledError: A Parquet file, and pyarrow is not installed.
    """
    name = os.fspath(path)
    try:
        with _open_regular(name) as file:
            before = os.fstat(file.fileno())
            try:
                return _parse_file(
                    file,
                    name,
                    (id_col, time_col, target_col),
                    sep=sep,
                    decimal=decimal,
                    encoding=encoding,
                    date_format=date_format,
                    missing=tuple(missing),
                )
            finally:
                _check_unchanged(before, os.fstat(file.fileno()), name)
    except OSError as error:
        raise _unreadable(name, error) from None


def parse_table(
    data: bytes,
    name: str,
    *,
    id_col: str = DEFAULT_ID_COL,
    time_col: str = "ds",
    target_col: str = "y",
    sep: str | None = None,
    decimal: str = ".",
    encoding: str = "utf-8",
    date_format: str | None = None,
    missing: Collection[str] = ("",),
) -> pd.DataFrame:
    """Read a long table from the content of a file; ``name`` names it in messages.

    The other arguments, the result and the errors are those of :func:`read_table`.
    """
    return _parse_file(
        io.BytesIO(data),
        name,
        (id_col, time_col, target_col),
        sep=sep,
        decimal=decimal,
        encoding=encoding,
        date_format=date_format,
        missing=tuple(missing),
    )


def _parse_file(
    file: BinaryIO,
    name: str,
    columns: tuple[str, str, str],
    *,
    encoding: str,
    **written: Any,
) -> pd.DataFrame:
    where = quote(Path(name).name)
    if file.read(4) == b"PAR1":
        file.seek(0)
        return read_parquet(file.read(), where, columns)
    file.seek(0)
    if not _is_utf8(encoding):
        file = io.BytesIO(_decode(file.read(), where, encoding))
    head = file.read(2 * MAX_HEADER) + file.readline()
    dialect = read_header(_decode(head, where), where, columns, **written)
    file.seek(len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0)
    fields = split_fast(file, dialect)
    if fields is None:
        file.seek(0)
        fields = split_exact(_decode(file.read(), where), dialect)
    return _type_columns(*fields, dialect, columns)


def _open_regular(name: str) -> BinaryIO:
    """A regular file of bounded size, open for reading."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", name) and not os.path.exists(name):
        raise UsageError(
            "DATA_PATH", f"path={quote(name)} is an address, not a file; download it first."
        )
    try:
        # Without O_NONBLOCK, opening a pipe would wait for a writer before we can refuse it.
        descriptor = os.open(
            name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
        file = os.fdopen(descriptor, "rb")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _unreadable(name, error) from None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_BYTES:
        return file
    file.close()
    if not stat.S_ISREG(status.st_mode):
        raise DataError(
            "DATA_PATH", f"{quote(name)} is not a regular file; pass a CSV or Parquet file."
        )
    raise DataError(
        "DATA_TOO_LARGE",
        f"{quote(name)} has {status.st_size:,} bytes, more than {MAX_BYTES:,}; split it by series.",
    )


def _unreadable(name: str, error: Exception) -> DataError:
    if isinstance(error, IsADirectoryError):
        return DataError(
            "DATA_PATH",
            f"{quote(name)} is a folder; pass a file (explstm forecast and fit take folders of "
            "Parquet with --engine).",
        )
    reason = getattr(error, "strerror", None) or str(error)
    return DataError("DATA_PATH", f"{quote(name)} cannot be read: {reason}; check the path.")


def _check_unchanged(before: os.stat_result, after: os.stat_result, name: str) -> None:
    """Refuse a file that was written while it was read, whatever that did to its content."""
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise DataError(
            "DATA_PATH", f"{quote(name)} changed while it was read; wait until it is complete."
        )


def _is_utf8(encoding: str) -> bool:
    try:
        "".encode(encoding)  # refuses those that encode something else than text, too
        return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
    except (LookupError, ValueError):
        raise UsageError(
            "CONFIG_VALUE",
            f"encoding={encoding!r} is no encoding of text; use 'latin-1', for example.",
        ) from None


def refuse_other_kinds(data: bytes, where: str) -> None:
    """Refuse what is no text, by its first bytes, and say what it is.

    Args:
        data: The file, or its beginning.
        where: What to call it.

    Raises:
        DataError: It is an archive, a workbook, or another kind of file that is known.
    """
    for signature, meaning, remedy in _SIGNATURES:
        if not data[:64].lstrip().startswith(signature):
            continue
        if signature.startswith(b"PK"):
            found = (name for part, name in _WORKBOOKS if part in data)
            if workbook := next(found, None):
                meaning, remedy = workbook, _SAVE
        raise DataError(
            "DATA_NOT_CSV", f"{where} looks like {meaning}, not like CSV or Parquet; {remedy}."
        )


def _decode(data: bytes, where: str, encoding: str = "utf-8") -> bytes:
    """The text of a CSV in UTF-8, without byte order mark, ended by one line end at most."""
    is_utf8 = _is_utf8(encoding)
    refuse_other_kinds(data, where)
    if is_utf8 and data.startswith(_WIDE_MARKS):
        raise DataError(
            "DATA_ENCODING",
            f"{where} looks like UTF-16 or UTF-32; pass encoding='utf-16' or 'utf-32'.",
        )
    if not is_utf8 or not data.isascii():
        try:
            text = data.decode(encoding)
        except UnicodeError as error:
            at = ""
            if isinstance(error, UnicodeDecodeError):
                at = f": byte {error.start} is 0x{error.object[error.start]:02x}"
            raise DataError(
                "DATA_ENCODING",
                f"{where} is not {encoding}{at}; pass its encoding, for example "
                "encoding='latin-1'.",
            ) from None
        data = data if is_utf8 else text.encode("utf-8", "surrogatepass")
    data = data.removeprefix(codecs.BOM_UTF8)
    if (nul := data.find(b"\0")) >= 0:
        raise DataError(
            "DATA_NUL",
            f"{where} has a NUL at byte {nul}, so it is damaged or not text; export it again.",
        )
    # Gigabytes are not copied for nothing.
    if data.endswith((b"\n\n", b"\r\n")):
        data = data.rstrip(b"\r\n")
    if not data or data.isspace():
        raise DataError("DATA_EMPTY", f"{where} is empty; pass a file with a header and rows.")
    return data


def _type_columns(
    id_S: Any,
    date_S: Any,
    y_S: npt.NDArray[np.float64],
    index: pd.Index,
    dialect: Dialect,
    columns: tuple[str, str, str],
) -> pd.DataFrame:
    """The table of texts and values with its dates read and its ids checked."""
    id_col, time_col, _ = columns
    if id_S is None:
        id_S = pd.Categorical.from_codes(np.zeros(len(y_S), dtype=np.int8), [SINGLE_SERIES_ID])
    id_S = pd.Categorical(id_S)
    blank_N = np.array([name == "" for name in id_S.categories])
    if blank_N.any():
        row = int(np.argmax(id_S.codes == np.argmax(blank_N)))
        cell = name_cells(id_col, index)(row)
        raise DataError("DATA_BAD_ID", f"{cell}: the id is empty; give every row an id.")
    id_S = id_S.rename_categories(restore_all(list(id_S.categories)))
    name_date = name_cells(time_col, index, id_S.__getitem__)
    ds_S, zone = parse_dates(date_S, name_date, date_format=dialect.date_format)
    return make_frame(id_S, ds_S, zone, y_S, columns, index)

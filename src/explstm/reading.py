"""Files to tables: CSV and Parquet, read strictly.

Contract: :func:`read_table` returns the ids as text, the dates and the values of a regular file, with
an index named ``line`` that holds the physical lines of a CSV. The content decides what a file is, not
its name. A CSV has as many fields in each line as in its header; ids such as ``007`` and ``NA`` stay
what they are; nothing is guessed, skipped or padded. Addresses and devices are refused.

Two passes agree on every valid CSV: a vectorised one for speed, and an exact one, line by line, that
takes over where the first cannot vouch for a file, and names the line at fault.

Axes: S rows of a table.
"""

import codecs
import csv
import io
import os
import re
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from explstm.errors import BackendNotInstalledError, DataError, UsageError
from explstm.parsing import Dates, name_row, parse_dates, parse_numbers, quote
from explstm.tables import DEFAULT_ID_COL, SINGLE_SERIES_ID, check_names, take_columns

MAX_BYTES = 2 * 1024**3
"""Largest file, and largest table in a Parquet file, that is read."""
MAX_COLUMNS = 1000
MAX_HEADER = 100_000
SEPARATORS = ",;\t|"

_SIGNATURES = (
    (b"\x1f\x8b", "a gzip archive"),
    (b"PK\x03\x04", "a zip archive or an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstandard archive"),
    (b"%PDF", "a PDF document"),
    (b"ARROW1", "an Arrow file"),
    (b"SQLite format 3", "a SQLite database"),
    (b"<", "a web page or XML"),
    (b"{", "JSON"),
    (b"[", "JSON"),
)
_WIDE_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class _Dialect:
    """How a CSV is written, and where its columns stand.

    Attributes:
        where: Name of the file, for messages.
        sep: Separator of the fields.
        decimal: Decimal sign.
        date_format: How dates are written; None for ISO 8601.
        missing: Texts that stand for a missing value.
        names: The header.
        id_at: Position of the ids; None without an id column.
        time_at: Position of the dates.
        target_at: Position of the values.
    """

    where: str
    sep: str
    decimal: str
    date_format: str | None
    missing: tuple[str, ...]
    names: tuple[str, ...]
    id_at: int | None
    time_at: int
    target_at: int


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
        The columns ``id_col`` (str), ``time_col`` (datetime64 or int64) and ``target_col`` (float64).

    Raises:
        UsageError: An argument that cannot be used.
        DataError: A file that cannot be read, or a line that is not what its columns must hold.
        BackendNotInstalledError: A Parquet file, and pyarrow is not installed.
    """
    data = _read_bytes(path)
    return parse_table(
        data,
        os.fspath(path),
        id_col=id_col,
        time_col=time_col,
        target_col=target_col,
        sep=sep,
        decimal=decimal,
        encoding=encoding,
        date_format=date_format,
        missing=missing,
    )


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
    where = quote(Path(name).name)
    columns = (id_col, time_col, target_col)
    if data[:4] == b"PAR1":
        return _read_parquet(data, where, columns)
    data = _decode(data, where, encoding)
    dialect = _read_header(data, where, columns, sep, decimal, date_format, tuple(missing))
    fields = _split_fast(data, dialect) or _split_exact(data, dialect)
    return _type_columns(*fields, dialect, columns)


def _read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of a regular file of bounded size, as one consistent whole."""
    name = os.fspath(path)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", name) and not os.path.exists(name):
        raise UsageError(
            "DATA_PATH", f"path={quote(name)} is an address, not a file; download it first."
        )
    try:
        # Without O_NONBLOCK, opening a pipe would wait for a writer before we can refuse it.
        descriptor = os.open(
            name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise DataError(
                    "DATA_PATH", f"{quote(name)} is not a regular file; pass a CSV or Parquet file."
                )
            if status.st_size > MAX_BYTES:
                raise DataError(
                    "DATA_TOO_LARGE",
                    f"{quote(name)} has {status.st_size:,} bytes, more than {MAX_BYTES:,}; split it by series.",
                )
            data = file.read(status.st_size + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            "DATA_PATH", f"{quote(name)} cannot be read: {reason}; check the path."
        ) from None
    if len(data) != status.st_size:
        raise DataError(
            "DATA_PATH", f"{quote(name)} changed while it was read; wait until it is complete."
        )
    return data


def _decode(data: bytes, where: str, encoding: str) -> bytes:
    """The text of a CSV in UTF-8, without byte order mark, ended by one line end at most."""
    try:
        is_utf8 = codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
    except LookupError:
        raise UsageError(
            "CONFIG_VALUE", f"encoding={encoding!r} is unknown; use 'latin-1', for example."
        ) from None
    for signature, meaning in _SIGNATURES:
        if data[:64].lstrip().startswith(signature):
            raise DataError(
                "DATA_NOT_CSV",
                f"{where} looks like {meaning}, not like CSV or Parquet; export it as CSV.",
            )
    if is_utf8 and data.startswith(_WIDE_MARKS):
        raise DataError(
            "DATA_ENCODING",
            f"{where} looks like UTF-16 or UTF-32; pass encoding='utf-16' or 'utf-32'.",
        )
    if not is_utf8 or not data.isascii():
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError as error:
            raise DataError(
                "DATA_ENCODING",
                f"{where} is not {encoding}: byte {error.start} is 0x{error.object[error.start]:02x}; pass its "
                "encoding, for example encoding='latin-1'.",
            ) from None
        data = data if is_utf8 else text.encode("utf-8", "surrogatepass")
    data = data.removeprefix(codecs.BOM_UTF8)
    if (nul := data.find(b"\0")) >= 0:
        raise DataError(
            "DATA_NUL",
            f"{where} has a NUL at byte {nul}, so it is damaged or not text; export it again.",
        )
    # Half a gigabyte is not copied for nothing.
    if data.endswith((b"\n\n", b"\r\n")):
        data = data.rstrip(b"\r\n")
    if not data or data.isspace():
        raise DataError("DATA_EMPTY", f"{where} is empty; pass a file with a header and rows.")
    return data


def _read_header(
    data: bytes,
    where: str,
    columns: tuple[str, str, str],
    sep: str | None,
    decimal: str,
    date_format: str | None,
    missing: tuple[str, ...],
) -> _Dialect:
    """Find the separator and the columns in the first line."""
    first = re.split(rb"[\r\n]", data[: MAX_HEADER + 1], maxsplit=1)[0]
    if len(first) > MAX_HEADER:
        raise DataError(
            "DATA_HEADER",
            f"{where}: the header is longer than {MAX_HEADER:,} bytes; is this a CSV?",
        )
    line = first.decode("utf-8")
    for name, value in (("sep", sep), ("decimal", decimal)):
        if value is not None and (len(value) != 1 or value in '"\r\n' or not value.isascii()):
            raise UsageError(
                "CONFIG_VALUE", f"{name}={value!r} cannot be used; pass one character."
            )
    headers = [
        (mark, next(csv.reader([line], delimiter=mark))) for mark in ([sep] if sep else SEPARATORS)
    ]
    fitting = [(mark, names) for mark, names in headers if set(columns[1:]) <= set(names)]
    mark, names = fitting[0] if fitting else max(headers, key=lambda header: len(header[1]))
    if len(names) > MAX_COLUMNS:
        raise DataError(
            "DATA_HEADER",
            f"{where} has {len(names):,} columns, more than {MAX_COLUMNS:,}; drop some.",
        )
    id_col, time_col, target_col = columns
    has_ids = id_col in names or id_col != DEFAULT_ID_COL
    check_names(names, [id_col] * has_ids + [time_col, target_col], f"the header of {where}")
    if len(set(names)) < len(names):
        check_names(names, names, f"the header of {where}")
    if mark == decimal:
        raise UsageError(
            "CONFIG_CONFLICT", f"sep={mark!r} and decimal={decimal!r} are the same; pass both."
        )
    if len(first) >= len(data.rstrip(b"\r\n") if len(data) <= MAX_HEADER else data):
        raise DataError(
            "DATA_NO_ROWS", f"{where} has a header and no rows; pass at least one series."
        )
    at = names.index
    return _Dialect(
        where,
        mark,
        decimal,
        date_format,
        missing,
        tuple(names),
        at(id_col) if has_ids else None,
        at(time_col),
        at(target_col),
    )


def _split_fast(
    data: bytes, dialect: _Dialect
) -> tuple[Any, Any, npt.NDArray[np.float64], pd.Index] | None:
    """Ids, dates (texts), values and lines by vectorised passes; None where those cannot vouch."""
    lines = _count_lines(data, dialect)
    if lines is None or dialect.missing != ("",):
        return None
    columns = {dialect.time_at: "category", dialect.target_at: "float64"}
    if dialect.id_at is not None:
        columns[dialect.id_at] = "category"
    try:
        table = pd.read_csv(
            io.BytesIO(data),
            sep=dialect.sep,
            decimal=dialect.decimal,
            header=None,
            skiprows=1,
            usecols=list(columns),
            dtype=columns,
            keep_default_na=False,
            na_values={dialect.target_at: [""]},
            float_precision="round_trip",
            skip_blank_lines=False,
        )
    except ValueError:
        return None
    y_S = table[dialect.target_at].to_numpy()
    if len(table) != lines - 1 or np.isinf(y_S).any():
        return None
    id_S = None if dialect.id_at is None else table[dialect.id_at].array
    return id_S, table[dialect.time_at].array, y_S, pd.RangeIndex(2, lines + 1, name="line")


def _count_lines(data: bytes, dialect: _Dialect) -> int | None:
    """Lines of a CSV that all have the fields of the header; None where any has not.

    Of the whole file only separators, line ends and quotes are kept; what is left without what the
    quotes enclose must be the same few bytes for every line.
    """
    if b"\r" in data and data.count(b"\r") != data.count(b"\r\n"):
        return None
    structure = data.translate(None, _all_but(b'\n"' + dialect.sep.encode()))
    if b'"' in structure:
        if not _quotes_whole_fields(data, dialect.sep):
            return None
        structure = re.sub(rb'"[^"]*"', b"", structure)
    line = dialect.sep.encode() * (len(dialect.names) - 1) + b"\n"
    if not data.endswith(b"\n"):
        structure += b"\n"
    lines = len(structure) // len(line)
    return lines if structure == line * lines else None


def _all_but(kept: bytes) -> bytes:
    return bytes(byte for byte in range(256) if byte not in kept)


def _quotes_whole_fields(data: bytes, sep: str) -> bool:
    """Whether every quote opens or closes a field, or is one of two inside one."""
    mark = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord('"'))
    around = np.frombuffer(b"\n" + data + b"\n", dtype=np.uint8)
    edges = np.frombuffer(b'"\r\n' + sep.encode(), dtype=np.uint8)
    before, after = around[mark[0::2]], around[mark[1::2] + 2]
    return len(mark) % 2 == 0 and bool(np.isin(before, edges).all() and np.isin(after, edges).all())


def _split_exact(
    data: bytes, dialect: _Dialect
) -> tuple[Any, Any, npt.NDArray[np.float64], pd.Index]:
    """Ids, dates (texts), values and lines, line by line; the truth for :func:`_split_fast`.

    Raises:
        DataError: A line with too few or too many fields, a stray quote, or a value that is no number.
    """
    ids, dates, values, lines = [], [], [], []
    for line, fields in _iterate_rows(data, dialect):
        if dialect.id_at is not None:
            ids.append(fields[dialect.id_at])
        dates.append(fields[dialect.time_at])
        values.append(fields[dialect.target_at])
        lines.append(line)
    if not lines:
        raise DataError(
            "DATA_NO_ROWS", f"{dialect.where} has a header and no rows; pass at least one series."
        )
    index = pd.Index(lines, name="line")
    y_S = parse_numbers(
        np.array(values, dtype=object),
        column=dialect.names[dialect.target_at],
        index=index,
        decimal=dialect.decimal,
        missing=dialect.missing,
    )
    id_S = None if dialect.id_at is None else np.array(ids, dtype=object)
    return id_S, np.array(dates, dtype=object), y_S, index


def _iterate_rows(data: bytes, dialect: _Dialect) -> Iterator[tuple[int, Sequence[str]]]:
    """The line each row starts on, and its fields; blank lines hold no row."""
    text = io.StringIO(data.decode("utf-8"), newline="")
    rows = csv.reader(text, delimiter=dialect.sep, strict=True)
    begin = 1
    try:
        for fields in rows:
            if begin > 1 and fields:
                if len(fields) != len(dialect.names):
                    raise DataError(
                        "DATA_FIELD_COUNT",
                        f"{dialect.where}, line {begin}: found {len(fields)} fields, the header has "
                        f"{len(dialect.names)}; correct the line (see sep and decimal).",
                    )
                yield begin, fields
            begin = rows.line_num + 1
    except csv.Error as error:
        raise DataError(
            "DATA_QUOTE",
            f"{dialect.where}, line {begin}: {error}; correct the quotes of the field that starts there.",
        ) from None


def _type_columns(
    id_S: Any,
    date_S: Any,
    y_S: npt.NDArray[np.float64],
    index: pd.Index,
    dialect: _Dialect,
    columns: tuple[str, str, str],
) -> pd.DataFrame:
    """The table of texts and values with its dates read and its ids checked."""
    id_col, time_col, target_col = columns
    ds_S, zone = parse_dates(date_S, column=time_col, index=index, date_format=dialect.date_format)
    if id_S is None:
        id_S = np.full(len(y_S), SINGLE_SERIES_ID, dtype=object)
    elif isinstance(id_S, pd.Categorical):
        id_S = np.asarray(id_S.categories, dtype=object)[id_S.codes]
    blank_S = id_S == ""
    if blank_S.any():
        row = name_row(index, int(np.argmax(blank_S)))
        raise DataError(
            "DATA_EMPTY_ID", f"column {id_col!r}, {row}: the id is empty; give every row an id."
        )
    return _make_frame(id_S, ds_S, zone, y_S, columns, index)


def _make_frame(
    id_S: npt.NDArray[np.object_],
    ds_S: Dates,
    zone: Any,
    y_S: npt.NDArray[np.float64],
    columns: tuple[str, str, str],
    index: pd.Index,
) -> pd.DataFrame:
    date_S = pd.Series(ds_S)
    if zone is not None:
        date_S = date_S.dt.tz_localize("UTC").dt.tz_convert(zone)
    arrays = (pd.Series(id_S, dtype=object).array, date_S.array, y_S)
    return pd.DataFrame(dict(zip(columns, arrays, strict=True)), index=index)


def _read_parquet(data: bytes, where: str, columns: tuple[str, str, str]) -> pd.DataFrame:
    """A long table from Parquet; checksums are verified where the file has them."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise BackendNotInstalledError(
            "PYARROW_NOT_INSTALLED",
            f"{where} is Parquet, which needs pyarrow; run: pip install 'explstm[parquet]'",
        ) from None
    id_col, time_col, target_col = columns
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        names = file.schema_arrow.names
        has_ids = id_col in names or id_col != DEFAULT_ID_COL
        wanted = [id_col] * has_ids + [time_col, target_col]
        check_names(names, wanted, where)
        # The footer tells the size before anything is unpacked.
        groups = (
            file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups)
        )
        size = max(sum(groups), file.metadata.num_rows * 8 * len(wanted))
        if size > MAX_BYTES:
            raise DataError(
                "DATA_TOO_LARGE",
                f"{where} unpacks to {size:,} bytes, more than {MAX_BYTES:,}; split it by series.",
            )
        table = file.read(columns=wanted).to_pandas()
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError("DATA_CORRUPT", f"{where} is damaged: {reason}; export it again.") from None
    taken = take_columns(table, id_col=id_col, time_col=time_col, target_col=target_col)
    id_S = taken.ids_N[taken.code_S]
    return _make_frame(id_S, taken.ds_S, taken.time_zone, taken.y_S, columns, taken.index)

"""Delimited text: a CSV split into ids, dates and values, strictly.

Contract: every line has as many fields as the header; a field that begins with a quote ends with
one; nothing is skipped or padded. :func:`split_fast` reads block by block, in a few vectorised
passes, and returns None where it cannot vouch for a file; :func:`split_exact` reads line by line,
decides, and names the line at fault. On every valid CSV the two agree.

Axes: S rows of a table.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pandas as pd

from explstm.errors import DataError, UsageError
from explstm.parsing import name_cells, parse_numbers
from explstm.spreadsheets import restore, restore_all
from explstm.tables import check_names, choose_columns

BLOCK_BYTES = 1 << 23
"""Of a file that are read together; of the rest only what its columns hold is kept."""
_BOOLEANS = (b"true", b"True", b"TRUE", b"false", b"False", b"FALSE")
MAX_COLUMNS = 1000
MAX_HEADER = 100_000
SEPARATORS = ",;\t|"


@dataclass(frozen=True)
class Dialect:
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


def read_header(
    data: bytes,
    where: str,
    columns: tuple[str, str, str],
    sep: str | None,
    decimal: str,
    date_format: str | None,
    missing: tuple[str, ...],
) -> Dialect:
    """Find the separator and the columns in the first line."""
    first = re.split(rb"[\r\n]", data[: MAX_HEADER + 1], maxsplit=1)[0]
    if len(first) > MAX_HEADER:
        raise DataError(
            "DATA_HEADER",
            f"{where}: the header is longer than {MAX_HEADER:,} bytes; is this a CSV?",
        )
    line = first.decode("utf-8")
    if sep is not None and (len(sep) != 1 or sep in '"\r\n' or not sep.isascii()):
        raise UsageError("CONFIG_VALUE", f"sep={sep!r} cannot be used; pass one character.")
    if decimal not in (".", ","):
        raise UsageError("CONFIG_VALUE", f"decimal={decimal!r} cannot be used; pass '.' or ','.")
    headers = [
        (mark, next(csv.reader([line], delimiter=mark))) for mark in ([sep] if sep else SEPARATORS)
    ]
    headers = [(mark, restore_all(names)) for mark, names in headers]
    fitting = [
        (mark, names)
        for mark, names in headers
        if set(_as_restored(columns, names)[1:]) <= set(names)
    ]
    mark, names = fitting[0] if fitting else max(headers, key=lambda header: len(header[1]))
    if len(names) > MAX_COLUMNS:
        raise DataError(
            "DATA_HEADER",
            f"{where} has {len(names):,} columns, more than {MAX_COLUMNS:,}; drop some.",
        )
    columns = id_col, time_col, target_col = _as_restored(columns, names)
    wanted = choose_columns(names, columns, f"the header of {where}")
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
    return Dialect(
        where,
        mark,
        decimal,
        date_format,
        missing,
        tuple(names),
        at(id_col) if id_col in wanted else None,
        at(time_col),
        at(target_col),
    )


def _as_restored(columns: tuple[str, str, str], names: Sequence[str]) -> tuple[str, str, str]:
    """The names of columns as a header has them that was restored, whichever way they are given."""
    id_col, time_col, target_col = (name if name in names else restore(name) for name in columns)
    return id_col, time_col, target_col


class _Texts:
    """A column of texts that comes in blocks: every distinct text once, and a code for each row."""

    def __init__(self) -> None:
        self._code_of: dict[str, int] = {}
        self._codes = bytearray()

    def add(self, block: pd.Categorical) -> None:
        code_of = self._code_of
        codes = [code_of.setdefault(text, len(code_of)) for text in block.categories]
        self._codes += np.array(codes, dtype=np.int32)[block.codes].data

    def join(self) -> pd.Categorical:
        return pd.Categorical.from_codes(np.frombuffer(self._codes, np.int32), list(self._code_of))


def split_fast(
    file: BinaryIO, dialect: Dialect
) -> tuple[Any, Any, npt.NDArray[np.float64], pd.Index] | None:
    """Ids, dates (texts), values and lines by vectorised passes; None where those cannot vouch.

    Args:
        file: Stands at its header.
        dialect: How it is written.
    """
    if dialect.missing != ("",) or _count_lines(file.readline(), dialect) != 1:
        return None
    id_S, date_S, values, rows = _Texts(), _Texts(), bytearray(), 0
    for block in _iterate_blocks(file):
        counted = _count_lines(block, dialect)
        table = None if counted is None else _read_block_fast(block, dialect)
        if counted is None or table is None or len(table) != counted:
            return None
        if dialect.id_at is not None:
            id_S.add(table[dialect.id_at].array)
        date_S.add(table[dialect.time_at].array)
        values += table[dialect.target_at].to_numpy().data
        rows += counted
    if rows == 0:
        return None
    ids = None if dialect.id_at is None else id_S.join()
    return ids, date_S.join(), np.frombuffer(values), pd.RangeIndex(2, rows + 2, name="line")


def _iterate_blocks(file: BinaryIO) -> Iterator[bytes]:
    """The rest of a file in blocks of whole lines; the last one without line ends at its end."""
    block = file.read(BLOCK_BYTES) + file.readline()
    while block:
        ahead = file.read(BLOCK_BYTES) + file.readline()
        yield block if ahead else block.rstrip(b"\r\n")
        block = ahead


def _read_block_fast(block: bytes, dialect: Dialect) -> pd.DataFrame | None:
    """The columns of some rows by their positions; None where the exact pass may read others."""
    columns = {dialect.time_at: "category", dialect.target_at: "float64"}
    if dialect.id_at is not None:
        columns[dialect.id_at] = "category"
    try:
        table = pd.read_csv(
            io.BytesIO(block),
            sep=dialect.sep,
            decimal=dialect.decimal,
            header=None,
            usecols=list(columns),
            dtype=columns,
            keep_default_na=False,
            na_values={dialect.target_at: [""]},
            float_precision="round_trip",
            skip_blank_lines=False,
        )
    except ValueError:  # also of bytes that are not UTF-8, in whatever column
        return None
    y_S = table[dialect.target_at].to_numpy()
    # A stretch of nothing but "True" and "False" would pass for ones and zeros.
    is_bool = ((y_S == 0) | (y_S == 1)).any() and any(word in block for word in _BOOLEANS)
    return None if is_bool or np.isinf(y_S).any() else table


def _count_lines(block: bytes, dialect: Dialect) -> int | None:
    """Lines of text that all have the fields of the header; None where any has not.

    Of the whole block only separators, line ends and quotes are kept; what is left without what the
    quotes enclose must be the same few bytes for every line.
    """
    if b"\r" in block and block.count(b"\r") != block.count(b"\r\n"):
        return None
    if b"\0" in block:
        return None
    structure = block.translate(None, _all_but(b'\n"' + dialect.sep.encode()))
    if b'"' in structure:
        if not _quotes_whole_fields(block, dialect.sep):
            return None
        ends = structure.count(b"\n")
        structure = re.sub(rb'"[^"]*"', b"", structure)
        if structure.count(b"\n") < ends:  # a line end inside quotes
            return None
    line = dialect.sep.encode() * (len(dialect.names) - 1) + b"\n"
    if not block.endswith(b"\n"):
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


def split_exact(
    data: bytes, dialect: Dialect
) -> tuple[Any, Any, npt.NDArray[np.float64], pd.Index]:
    """Ids, dates (texts), values and lines, line by line; the truth for :func:`split_fast`.

    Raises:
        DataError: A line with too few or too many fields, a stray quote, or no number as value.
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
    id_at = ids.__getitem__ if ids else None
    y_S = parse_numbers(
        values,
        name_cells(dialect.names[dialect.target_at], index, id_at),
        decimal=dialect.decimal,
        missing=dialect.missing,
    )
    id_S = None if dialect.id_at is None else np.array(ids, dtype=object)
    return id_S, np.array(dates, dtype=object), y_S, index


def _iterate_rows(data: bytes, dialect: Dialect) -> Iterator[tuple[int, Sequence[str]]]:
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
                        f"{dialect.where}, line {begin}: found {len(fields)} fields, the header "
                        f"has {len(dialect.names)}; correct the line (see sep and decimal).",
                    )
                yield begin, fields
            begin = rows.line_num + 1
    except csv.Error as error:
        if csv.field_size_limit() < len(data) and "field limit" in str(error):
            raise DataError(
                "DATA_FIELD_TOO_LONG",
                f"{dialect.where}, line {begin}: a field has more than "
                f"{csv.field_size_limit():,} letters; close its quote, or leave its column out.",
            ) from None
        raise DataError(
            "DATA_QUOTE",
            f"{dialect.where}, line {begin}: {error}; correct the quotes of the field that "
            "starts there.",
        ) from None

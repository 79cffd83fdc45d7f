"""Columnar tables to ours: Parquet, and Arrow that somebody else has read.

Contract: :func:`read_parquet` and :func:`take_arrow` return what :func:`explstm.reading.read_table`
does. A text that many rows share is in memory once, and none is longer than an id, a date or a
number can be.

Axes: S rows of a table.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from explstm.calendar import Dates
from explstm.errors import BackendNotInstalledError, DataError, tell_reason
from explstm.parsing import quote
from explstm.tables import MAX_ID, choose_columns, take_columns

MAX_BYTES = 2 * 1024**3
"""Largest table in a Parquet file that is read."""
LONGEST_ID = 4 * MAX_ID
"""In bytes, of which a letter has up to four."""
LONGEST_CELL = 400


def make_frame(
    id_S: pd.Categorical,
    ds_S: Dates,
    zone: Any,
    y_S: npt.NDArray[np.float64],
    columns: tuple[str, str, str],
    index: pd.Index,
) -> pd.DataFrame:
    """The table of typed columns; dates in UTC go to their zone."""
    date_S = pd.Series(ds_S)
    if zone is not None:
        date_S = date_S.dt.tz_localize("UTC").dt.tz_convert(zone)
    arrays = (id_S, date_S.array, y_S)
    return pd.DataFrame(dict(zip(columns, arrays, strict=True)), index=index, copy=False)


def read_parquet(data: bytes, where: str, columns: tuple[str, str, str]) -> pd.DataFrame:
    """A long table from Parquet; checksums are verified where the file has them.

    Raises:
        DataError: It is damaged, too large, or not what its columns must hold.
        BackendNotInstalledError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise BackendNotInstalledError(
            "PYARROW_NOT_INSTALLED",
            f"{where} is Parquet, which needs pyarrow; run: pip install 'explstm[parquet]'",
        ) from None
    try:
        schema = pq.read_schema(pa.BufferReader(data))
        wanted = choose_columns(schema.names, columns, where)
        # A text that many rows share is in memory once.
        shared = [name for name in wanted if is_text(schema.field(name).type)]
        file = pq.ParquetFile(
            pa.BufferReader(data), page_checksum_verification=True, read_dictionary=shared
        )
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
        return take_arrow(file.read(columns=wanted), columns, where)
    except MemoryError:  # of which one kind is pyarrow's own
        raise MemoryError from None
    # LookupError: a time zone that nobody knows.
    except (pa.ArrowException, OSError, LookupError, UnicodeError) as error:
        raise DataError(
            "DATA_CORRUPT", f"{where} is damaged: {tell_reason(error)}; export it again."
        ) from None


def is_text(kind: Any) -> bool:
    """Whether a column of an Arrow type holds text."""
    import pyarrow.types as types

    return bool(types.is_string(kind) or types.is_large_string(kind))


def take_arrow(table: Any, columns: tuple[str, str, str], where: str) -> pd.DataFrame:
    """A ``pyarrow.Table`` that another reader has read, as :func:`read_table` gives it.

    Raises:
        DataError: A column is missing, or not what it must hold.
    """
    id_col, time_col, target_col = columns
    for name in table.column_names:
        most = LONGEST_ID if name == id_col else LONGEST_CELL
        if (longest := _longest_text(table.column(name))) > most:
            raise DataError(
                "DATA_TEXT_TOO_LONG",
                f"{where}: column {quote(name)} has a text of {longest:,} bytes, more than "
                f"{most:,}; name another column.",
            )
    # What pandas has written of itself beside the columns is not needed, and may say anything.
    frame = table.replace_schema_metadata().to_pandas()
    taken = take_columns(frame, id_col=id_col, time_col=time_col, target_col=target_col)
    id_S = pd.Categorical.from_codes(taken.code_S, taken.ids_N)
    return make_frame(id_S, taken.ds_S, taken.time_zone, taken.y_S, columns, taken.index)


def _longest_text(column: Any) -> int:
    """Bytes of the longest text: many rows may share one, and each is read for itself."""
    import pyarrow.compute as pc

    parts = [getattr(chunk, "dictionary", chunk) for chunk in column.chunks]
    lengths = [pc.max(pc.binary_length(part)).as_py() for part in parts if is_text(part.type)]
    return max((length or 0 for length in lengths), default=0)

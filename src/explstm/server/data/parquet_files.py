"""Parquet files, bounded by their footer before anything is unpacked.

Contract: :func:`check_parquet` reads the footer and the first rows; the whole is then read by
:mod:`explstm.reading`.
"""

from typing import Any

from explstm.columnar import is_text
from explstm.server.data.columns import LOOKED_AT, Preview, preview_batch
from explstm.server.data.file_failures import damage_told, too_large
from explstm.server.settings import Settings

LARGEST_FOOTER = 100_000
"""Entries in a list of a footer."""
LONGEST_FOOTER_TEXT = 1_000_000


def is_parquet(data: bytes) -> bool:
    """Whether a file is of this kind, by its first bytes."""
    return data.startswith(b"PAR1")


def check_parquet(data: bytes, name: str, settings: Settings) -> list[Preview]:
    """The columns with their first cells, if the footer is within the limits.

    Raises:
        DataError: It is not, or is damaged.
    """
    with damage_told(name):
        file = _open(data)
        footer = file.metadata
        groups = (footer.row_group(i).total_byte_size for i in range(footer.num_row_groups))
        for found, limit, what in (
            (footer.num_columns, settings.max_columns, "columns"),
            (footer.num_rows, settings.max_rows, "rows"),
            (sum(groups), settings.max_unpacked_bytes, "bytes unpacked"),
        ):
            if found > limit:
                raise too_large(name, f"{found:,} {what}", limit)
        schema = file.schema_arrow
        # A text that many rows share is in memory once.
        shared = [column.name for column in schema if is_text(column.type)]
        batches = _open(data, read_dictionary=shared).iter_batches(batch_size=LOOKED_AT)
        first = next(batches, None)
        if first is None:
            return [Preview(column, ()) for column in schema.names]
        return preview_batch(first)


def _open(data: bytes, **options: Any) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(
        pa.BufferReader(data),
        thrift_string_size_limit=LONGEST_FOOTER_TEXT,
        thrift_container_size_limit=LARGEST_FOOTER,
        **options,
    )

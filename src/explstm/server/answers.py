"""Tables as clients want them: JSON columns, CSV, Parquet, Arrow.

Contract: dates are ISO text and integers stay integers in JSON and CSV; numbers are not rounded.
A CSV is one that spreadsheets open without running what is in it (:mod:`explstm.spreadsheets`).
"""

import io
import re
from collections.abc import Iterable, Mapping
from datetime import tzinfo
from typing import Any

import numpy as np
import pandas as pd
from pydantic_core import to_json

from explstm.calendar import Dates
from explstm.spreadsheets import neutralise as neutralise
from explstm.spreadsheets import write_csv

JSON = "application/json"
CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
ARROW = "application/vnd.apache.arrow.stream"
FORMATS = (JSON, CSV, PARQUET, ARROW)
FILE_NAMES = {CSV: "csv", PARQUET: "parquet", ARROW: "arrow"}


def choose_format(accept: str) -> str:
    """The media type to answer in, by an Accept header; JSON unless another is asked for first."""
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if any(re.fullmatch(r"q=0(\.0*)?", parameter) for parameter in parameters):
            continue
        if name in FORMATS:
            return name
        if name in ("*/*", "application/*"):
            break
    return JSON


def show_dates(ds_S: Dates, time_zone: tzinfo | None) -> list[Any]:
    """Dates as ISO text, without the time of day where all are midnight; integers as they are."""
    if not np.issubdtype(ds_S.dtype, np.datetime64):
        return list(ds_S.tolist())
    if time_zone is not None:
        index = pd.DatetimeIndex(ds_S).tz_localize("UTC").tz_convert(time_zone)
        return [date.isoformat() for date in index]
    days = ds_S.astype("M8[D]")
    if (days == ds_S).all():
        return list(np.datetime_as_string(days).tolist())
    seconds = ds_S.astype("M8[s]")
    return list(np.datetime_as_string(seconds if (seconds == ds_S).all() else ds_S).tolist())


def write_table(table: Mapping[str, Any], media_type: str) -> bytes:
    """Columns as bytes of a media type.

    Args:
        table: Lists and arrays by name; dates as :func:`show_dates` gives them.
        media_type: One of :data:`FORMATS`.
    """
    if media_type == JSON:
        return dump_json({name: _plain(column) for name, column in table.items()})
    frame = pd.DataFrame(dict(table))
    if media_type == CSV:
        return (write_csv(frame, None, "\r\n") or "").encode()
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    sink = io.BytesIO()
    if media_type == PARQUET:
        pq.write_table(arrow, sink, write_page_checksum=True)
    else:
        with pa.ipc.new_stream(sink, arrow.schema) as writer:
            writer.write_table(arrow)
    return sink.getvalue()


def dump_json(value: Any) -> bytes:
    """JSON; what is no finite number is null."""
    return to_json(value, inf_nan_mode="null")


def _plain(column: Iterable[Any]) -> list[Any]:
    return column.tolist() if isinstance(column, np.ndarray) else list(column)


def list_frame(frame: pd.DataFrame, time_zone: tzinfo | None = None) -> dict[str, list[Any]]:
    """The columns of a frame as plain lists, dates as text, what is missing as None."""
    columns = {}
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_datetime64_any_dtype(column):
            columns[name] = show_dates(_naive(column), time_zone)
        else:
            columns[name] = column.astype(object).where(column.notna(), None).tolist()
    return columns


def _naive(column: pd.Series) -> Dates:
    zone = getattr(column.dtype, "tz", None)
    plain = column.dt.tz_convert("UTC").dt.tz_localize(None) if zone is not None else column
    return plain.to_numpy()

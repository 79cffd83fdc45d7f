"""From what a client sent to a panel, in a process of its own.

Contract: :func:`read_source` takes one :class:`Source` and the request that came with it, refuses
what is beyond the limits before it is unpacked, and returns a panel whose tables are called
``unique_id, ds, y``. A refusal of a file whose header could be read carries its columns, so that
the client can name others.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from explstm.errors import DataError, ExpLSTMError, UsageError
from explstm.frame import build_panel, panel_of
from explstm.panel import Panel
from explstm.parsing import check_date_format, read_days
from explstm.plain_text import shorten
from explstm.reading import parse_table, refuse_other_kinds
from explstm.seasonality import check_season_lengths
from explstm.server.data.arrow_files import check_arrow, is_arrow, read_arrow
from explstm.server.data.columns import (
    LONGEST_SHOWN,
    SHOWN,
    Preview,
    guess_columns,
    preview_csv,
    preview_table,
)
from explstm.server.data.file_failures import too_large
from explstm.server.data.parquet_files import check_parquet, is_parquet
from explstm.server.data.samples import load_sample
from explstm.server.errors import ApiError, from_package
from explstm.server.schemas import MAX_TEXT, ReadRequest, Table
from explstm.server.settings import Settings
from explstm.tables import Layout, one_series

HEAD = 200_000
"""Bytes of a CSV that its columns are found in."""
CANONICAL = ("unique_id", "ds", "y")


@dataclass(frozen=True)
class Source:
    """Where data come from.

    Attributes:
        kind: ``"file"``: spooled by the server; ``"sample"``: made here.
        path: Of the spooled file, chosen by the server; empty for a sample.
        name: What the client called the file, for display; or the sample's name.
    """

    kind: Literal["file", "sample"]
    path: str
    name: str


@dataclass(frozen=True)
class Reading:
    """A panel, and the file it was read from.

    Attributes:
        panel: The series.
        n_rows: Rows of the file.
        columns: name, examples.
        choice: id_col, time_col, target_col as taken.
    """

    panel: Panel
    n_rows: int
    columns: list[dict[str, Any]]
    choice: dict[str, str | None]


def read_source(source: Source, request: ReadRequest, settings: Settings) -> Reading:
    """Read a file or a sample.

    Raises:
        ApiError: It cannot be read.
    """
    try:
        if source.kind == "sample":
            table = load_sample(source.name)
            previews = preview_table({name: table[name].head(SHOWN).tolist() for name in CANONICAL})
            names = dict(zip(("id_col", "time_col", "target_col"), CANONICAL, strict=True))
            panel = build_panel(table, freq=to_freq(request.freq), fill=request.fill)
            return Reading(panel, len(table), _show(previews), dict(names))
        return _read_file(Path(source.path).read_bytes(), source.name, request, settings)
    except ExpLSTMError as error:
        raise from_package(error) from None
    except MemoryError:
        raise out_of_memory() from None
    except FileNotFoundError:  # forgotten while the request waited for its turn
        raise upload_gone() from None


def upload_gone() -> ApiError:
    """What is said of an upload that is not there."""
    return ApiError(
        404, "DATA_UNKNOWN", "there is no such upload, or no longer; send the file again."
    )


def out_of_memory() -> ApiError:
    """What is said of data that need more memory than a process may have."""
    return ApiError(
        413, "DATA_TOO_LARGE", "the data need more memory than the server gives; split them."
    )


def read_table_columns(table: Table, request: ReadRequest) -> Panel:
    """A panel from columns in JSON.

    Raises:
        ExpLSTMError: They cannot be used.
    """
    lengths = {name: len(cells) for name, cells in table if cells is not None}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise UsageError("TABLE_LENGTHS", f"table: {found} cells; give all the same number.")
    if len({type(date) for date in table.ds}) > 1:
        raise DataError(
            "DATA_COLUMN_TYPE", "table.ds mixes texts and integers; write all dates alike."
        )
    freq = to_freq(request.freq)
    y_S = np.array(table.y, dtype=np.float64)  # None becomes NaN
    days_S = read_days(table.ds) if isinstance(table.ds[0], str) else None  # type: ignore[arg-type]
    if days_S is not None and table.unique_id is None:  # needs no table, which would cost more
        return panel_of(one_series(days_S, y_S), freq=freq, fill=request.fill)
    columns: dict[str, Any] = {"ds": table.ds if days_S is None else days_S, "y": y_S}
    if table.unique_id is not None:
        columns["unique_id"] = [str(name) for name in table.unique_id]
    frame = pd.DataFrame(columns, copy=False)
    return build_panel(frame, freq=freq, fill=request.fill)


def to_freq(text: str | None) -> str | int | None:
    """A frequency as the package takes it: digits are an integer step."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 18 else text


def _read_file(data: bytes, name: str, request: ReadRequest, settings: Settings) -> Reading:
    if request.season_length:
        check_season_lengths(request.season_length)
    if request.date_format is not None:
        check_date_format(request.date_format)
    shown_name = shorten(name, 100)
    if is_arrow(data):
        previews = check_arrow(data, shown_name, settings)
    elif is_parquet(data):
        previews = check_parquet(data, shown_name, settings)
    else:
        refuse_other_kinds(data, shown_name)
        previews = _preview_text(data, shown_name, request, settings)
    longest = max((len(column.name) for column in previews), default=0)
    if longest > MAX_TEXT:
        found = f"a column name of {longest:,} characters"
        raise too_large(shown_name, found, MAX_TEXT, "rename the column")
    choice = _choose(previews, request)
    try:
        return _read_columns(data, shown_name, previews, choice, request, settings)
    except ExpLSTMError as error:
        known = {"columns": _show(previews), "choice": choice}
        if previews and error.code != "DATA_NOT_CSV":
            refusal = from_package(error)
            raise ApiError(refusal.status, error.code, error.message, None, known) from None
        raise


def _read_columns(
    data: bytes,
    name: str,
    previews: list[Preview],
    choice: dict[str, str | None],
    request: ReadRequest,
    settings: Settings,
) -> Reading:
    if previews:
        lacking = [role for role in ("time_col", "target_col") if choice[role] is None]
        if lacking:
            names = ", ".join(repr(shorten(column.name, LONGEST_SHOWN)) for column in previews[:20])
            what = {"time_col": "dates", "target_col": "values"}[lacking[0]]
            raise DataError(
                "DATA_COLUMN_MISSING",
                f"no column of {what} was found among {names}; name it through {lacking[0]}.",
            )
    columns: dict[str, Any] = {
        "id_col": choice["id_col"] or "unique_id",
        "time_col": choice["time_col"] or "ds",
        "target_col": choice["target_col"] or "y",
    }
    if is_arrow(data):
        id_col, time_col, target_col = columns.values()
        table = read_arrow(data, name, (id_col, time_col, target_col), settings)
    else:
        table = parse_table(
            data,
            name,
            **columns,
            sep=request.sep,
            decimal=request.decimal,
            encoding=request.encoding,
            date_format=request.date_format,
            missing=("", *request.missing),
        )
    if len(table) > settings.max_rows:
        raise too_large(name, f"{len(table):,} rows", settings.max_rows)
    panel = build_panel(table, **columns, freq=to_freq(request.freq), fill=request.fill)
    if panel.n_series > settings.max_series:
        raise too_large(name, f"{panel.n_series:,} series", settings.max_series)
    layout = Layout()
    panel = replace(
        panel,
        layout=replace(
            panel.layout,
            id_col=layout.id_col,
            time_col=layout.time_col,
            target_col=layout.target_col,
            id_type=None,
        ),
    )
    return Reading(panel, len(table), _show(previews), choice)


def _choose(previews: list[Preview], request: ReadRequest) -> dict[str, str | None]:
    """The columns that the client names, and for the others a proposal from what is left."""
    asked = {role: getattr(request, role) for role in ("id_col", "time_col", "target_col")}
    taken = {name for name in asked.values() if name is not None}
    guess = guess_columns(
        [column for column in previews if column.name not in taken], request.date_format
    )
    choice = {role: asked[role] or guess[role] for role in asked}
    if request.one_series:
        choice["id_col"] = None
    return choice


def _show(previews: list[Preview]) -> list[dict[str, Any]]:
    return [
        {
            "name": column.name,
            "examples": [shorten(cell, LONGEST_SHOWN) for cell in column.cells[:SHOWN]],
        }
        for column in previews
    ]


def _preview_text(
    data: bytes, name: str, request: ReadRequest, settings: Settings
) -> list[Preview]:
    if data.count(b"\n") > settings.max_rows + 1 or data.count(b"\r") > settings.max_rows + 1:
        raise too_large(name, "more rows than are taken", settings.max_rows)
    try:
        head = data[:HEAD].decode(request.encoding, errors="replace")
    except (LookupError, ValueError, TypeError):
        return []  # the reader says what is wrong with the encoding
    return preview_csv(head.removeprefix("\ufeff"), request.sep)

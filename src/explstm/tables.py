"""The caller's table: three columns taken out of it, and new tables given back in its own kind.

Contract: :func:`take_columns` reads a pandas or polars long table without changing it, and refuses
what is not an id, a date or a number; :func:`make_table` writes ids, dates and values back with the
kind, column names and types that the :class:`Layout` remembers. Both meet the same values, whatever
types the caller chose for them.

Axes: N series, S rows.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timezone, tzinfo
from typing import Any, Literal

import narwhals.stable.v2 as nw
import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from explstm.calendar import Dates, refuse_far_dates
from explstm.errors import DataError, UsageError
from explstm.parsing import (
    NameCell,
    name_cells,
    parse_dates,
    parse_numbers,
    quote,
    refuse_coded_dates,
)

DEFAULT_ID_COL = "unique_id"
SINGLE_SERIES_ID = "series"
MAX_ID = 1000
"""Longest id, in characters."""


@dataclass(frozen=True)
class Layout:
    """What a table returned to the caller looks like.

    Attributes:
        kind: Which library's table.
        id_col: Name of the id column.
        time_col: Name of the date column.
        target_col: Name of the value column.
        id_type: The library's type of the ids; None for text.
        time_type: The library's type of the dates; None for that of the panel.
    """

    kind: Literal["pandas", "polars"] = "pandas"
    id_col: str = DEFAULT_ID_COL
    time_col: str = "ds"
    target_col: str = "y"
    id_type: Any = None
    time_type: Any = None


@dataclass(frozen=True)
class Columns:
    """The three columns of a long table, typed, in the order of its rows.

    Attributes:
        ids_N: Distinct ids as text, sorted (numbers by value).
        code_S: Which of ``ids_N`` each row belongs to.
        ds_S: datetime64 (UTC where there is a time zone) or int64.
        y_S: float64; NaN where missing.
        time_zone: Zone of the dates; None for naive dates and integers.
        index: Names of the rows, for messages: lines of a file, or positions.
        layout: How to give tables back.
    """

    ids_N: npt.NDArray[np.object_]
    code_S: npt.NDArray[np.int64]
    ds_S: Dates
    y_S: npt.NDArray[np.float64]
    time_zone: tzinfo | None
    index: pd.Index
    layout: Layout


def take_columns(table: Any, *, id_col: str, time_col: str, target_col: str) -> Columns:
    """Take ids, dates and values out of a table.

    Raises:
        UsageError: Not a pandas or polars table.
        DataError: A column is missing or twice there, or a cell is not what its column must hold.
    """
    kind = _kind_of(table)
    if kind == "pandas":
        table = _index_to_columns(table, (id_col, time_col, target_col))
    names = [str(name) for name in table.columns]
    wanted = choose_columns(names, (id_col, time_col, target_col), "the table")
    if not len(table):
        raise DataError("DATA_NO_ROWS", "the table has no rows; pass at least one series.")

    def column(name: str) -> pd.Series:
        return _take_series(table, names.index(name))

    in_file = kind == "pandas" and table.index.name == "line"
    index = table.index if in_file else pd.RangeIndex(len(table), name="row")
    if id_col in wanted:
        ids_N, code_S = _type_ids(column(id_col), name_cells(id_col, index))
    else:
        ids_N, code_S = (
            np.array([SINGLE_SERIES_ID], dtype=object),
            np.zeros(len(table), dtype=np.int64),
        )

    def id_at(row: int) -> str:
        return str(ids_N[code_S[row]])

    ds_S, time_zone = _type_dates(column(time_col), name_cells(time_col, index, id_at))
    name_value = name_cells(target_col, index, id_at)
    y_S = _type_values(column(target_col), name_value)
    _refuse_infinite(y_S, name_value)
    layout = read_layout(table, id_col=id_col, time_col=time_col, target_col=target_col)
    return Columns(ids_N, code_S, ds_S, y_S, time_zone, index, layout)


def one_series(ds_S: Dates, y_S: npt.NDArray[np.float64]) -> Columns:
    """Dates and values that are typed already and make one series, as columns of pandas.

    Raises:
        DataError: A value is infinite.
    """
    index = pd.RangeIndex(len(y_S), name="row")
    layout = Layout(time_type=ds_S.dtype)
    refuse_far_dates(ds_S, name_cells(layout.time_col, index))
    _refuse_infinite(y_S, name_cells(layout.target_col, index))
    ids_N = np.array([SINGLE_SERIES_ID], dtype=object)
    return Columns(ids_N, np.zeros(len(y_S), np.int64), ds_S, y_S, None, index, layout)


def _refuse_infinite(y_S: npt.NDArray[np.float64], name_value: NameCell) -> None:
    if np.isinf(y_S).any():
        row = int(np.argmax(np.isinf(y_S)))
        raise DataError(
            "DATA_INFINITE",
            f"{name_value(row)}: found {y_S[row]}; every value must be a finite number.",
        )


def read_layout(table: Any, *, id_col: str, time_col: str, target_col: str) -> Layout:
    """What tables given back beside ``table`` look like."""
    kind = _kind_of(table)
    type_of = dict(zip(map(str, table.columns), table.dtypes, strict=True))
    return Layout(kind, id_col, time_col, target_col, type_of.get(id_col), type_of.get(time_col))


def choose_columns(names: Sequence[str], columns: tuple[str, str, str], where: str) -> list[str]:
    """Those of the columns of ids, dates and values that are to be read: all, or all but the ids.

    A table that has no column of the default name, nor one that looks like it, is one series.

    Raises:
        UsageError: One name for two of them.
        DataError: A column is missing or twice there.
    """
    id_col, time_col, target_col = columns
    if len(set(columns)) < len(columns):
        raise UsageError(
            "CONFIG_CONFLICT",
            f"id_col={id_col!r}, time_col={time_col!r} and target_col={target_col!r} must be three "
            "columns; give each its own.",
        )
    others = [name for name in names if name not in columns]
    one_series = id_col == DEFAULT_ID_COL not in names and not _find_near(id_col, others, 0.8)
    wanted = list(columns[1:] if one_series else columns)
    check_names(names, wanted, where)
    return wanted


def check_names(names: Sequence[str], wanted: Sequence[str], where: str) -> None:
    """Refuse a header that lacks one of the wanted columns, or has one twice.

    Raises:
        DataError: As said, with the nearest name or both positions.
    """
    for name in wanted:
        places = [place for place, found in enumerate(names, start=1) if found == name]
        if len(places) > 1:
            raise DataError(
                "DATA_COLUMN_TWICE",
                f"{where} has column {name!r} twice, at positions {places[0]} and {places[1]}; "
                "rename one of them.",
            )
        if not places:
            near = _find_near(name, names)
            remedy = (
                f"did you mean {near!r}?"
                if near
                else "name it through id_col, time_col or target_col."
            )
            found = ", ".join(map(quote, names[:20])) or "nothing"
            raise DataError(
                "DATA_COLUMN_MISSING", f"{where} has no column {name!r}, found {found}; {remedy}"
            )


def _find_near(name: str, names: Sequence[str], cutoff: float = 0.6) -> str | None:
    """The name most like ``name``, upper and lower case and outer blanks aside."""
    plain = {found.strip().casefold(): found for found in names}
    near = difflib.get_close_matches(name.casefold(), plain, n=1, cutoff=cutoff)
    return plain[near[0]] if near else None


def _kind_of(table: Any) -> Literal["pandas", "polars"]:
    if isinstance(table, pd.DataFrame):
        return "pandas"
    if nw.dependencies.is_polars_dataframe(table):
        return "polars"
    lazy = " (collect() it first)" if nw.dependencies.is_polars_lazyframe(table) else ""
    raise UsageError(
        "TABLE_TYPE",
        f"df is a {type(table).__module__}.{type(table).__name__}; pass a pandas or polars "
        f"table{lazy}.",
    )


def _index_to_columns(table: pd.DataFrame, wanted: Sequence[str]) -> pd.DataFrame:
    """The table with those index levels as columns that are wanted and not yet columns."""
    levels = [name for name in table.index.names if name in wanted and name not in table.columns]
    return table.reset_index(level=levels) if levels else table


def _take_series(table: Any, place: int) -> pd.Series:
    """A column as pandas series with a plain index, apart from the table."""
    if isinstance(table, pd.DataFrame):
        return table.iloc[:, place].reset_index(drop=True)
    return _from_polars(nw.from_native(table[:, place], series_only=True))


def _from_polars(column: Any) -> pd.Series:
    dtype = column.dtype
    if isinstance(dtype, nw.Categorical | nw.Enum):
        column = column.cast(nw.String)
    elif isinstance(dtype, nw.Decimal):
        column = column.cast(nw.Float64)
    elif dtype.is_nested():
        raise DataError(
            "DATA_COLUMN_TYPE", f"column {column.name!r} holds {dtype}; pass plain values."
        )
    values = column.to_numpy()
    if values.dtype == np.dtype("M8[D]"):
        values = values.astype("M8[s]")
    series = pd.Series(values, copy=False)
    zone = getattr(dtype, "time_zone", None)
    return series.dt.tz_localize("UTC").dt.tz_convert(zone) if zone else series


def _type_ids(
    column: pd.Series, name_cell: NameCell
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.int64]]:
    """Distinct ids as sorted text, and which of them each row has."""
    try:
        code_S, unique_N = pd.factorize(column)
        odd = types.infer_dtype(unique_N) == "bytes"
    except TypeError:  # lists and dicts cannot be told apart
        odd = True
    if odd:
        raise DataError(
            "DATA_COLUMN_TYPE",
            f"{name_cell(0)}: found {quote(column.iloc[0])}; ids must be text or numbers.",
        )
    value_N = np.asarray(unique_N)
    text_N = np.array(_write_ids(value_N), dtype=object)
    # Code -1, a missing id, picks the last one.
    bad_N = np.array([*(not text.strip() or len(text) > MAX_ID for text in text_N), True])
    if bad_N[code_S].any():
        row = int(np.argmax(bad_N[code_S]))
        length = len(text_N[code_S[row]]) if code_S[row] >= 0 else 0
        found = f"the id has {length:,} characters" if length > MAX_ID else "the id is empty"
        raise DataError(
            "DATA_BAD_ID",
            f"{name_cell(row)}: {found}; give every row an id of 1 to {MAX_ID:,} characters.",
        )
    if len(set(text_N)) < len(text_N):
        row = int(np.argmax(code_S == int(np.argmax(pd.Series(text_N).duplicated()))))
        raise DataError(
            "DATA_ID_TYPES",
            f"{name_cell(row)}: the id {quote(column.iloc[row])} stands elsewhere in another type; "
            "convert the column to text.",
        )
    order_N = np.argsort(value_N if value_N.dtype.kind in "iuf" else text_N, kind="stable")
    rank_N = np.empty(len(order_N), dtype=np.int64)
    rank_N[order_N] = np.arange(len(order_N))
    return text_N[order_N], rank_N[code_S]


def _write_ids(value_N: npt.NDArray[Any]) -> list[str]:
    """Ids as text; dates without a time of day that is midnight for all of them."""
    if value_N.dtype.kind == "m":
        return [str(value) for value in pd.Index(value_N)]
    if value_N.dtype.kind != "M":
        return [str(value) for value in value_N.tolist()]
    known_N = value_N[~np.isnat(value_N)]
    if (known_N == known_N.astype("M8[D]")).all():
        value_N = value_N.astype("M8[D]")
    return [text.replace("T", " ") for text in np.datetime_as_string(value_N).tolist()]


def _type_dates(column: pd.Series, name_cell: NameCell) -> tuple[Dates, tzinfo | None]:
    """Dates as datetime64 (UTC) or int64, and their time zone, none of them beyond the calendar."""
    ds_S, time_zone = _read_dates(column, name_cell)
    refuse_far_dates(ds_S, name_cell, time_zone)
    return ds_S, time_zone


def _read_dates(column: pd.Series, name_cell: NameCell) -> tuple[Dates, tzinfo | None]:
    column = _plain(column)
    if (missing_S := _missing_in(column)).any():
        raise DataError(
            "DATA_DATE_MISSING",
            f"{name_cell(int(np.argmax(missing_S)))}: there is no date; fill it in or drop "
            "the row.",
        )
    if isinstance(column.dtype, pd.PeriodDtype):
        column = _begin_periods(column)
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(), column.dt.tz
    if types.is_datetime64_dtype(column.dtype):
        return column.to_numpy(), None
    if types.is_integer_dtype(column.dtype):
        whole_S = column.to_numpy(np.uint64 if column.dtype.kind == "u" else np.int64)
        refuse_far_dates(whole_S, name_cell)
        return refuse_coded_dates(whole_S.astype(np.int64), name_cell(0)), None
    inferred = types.infer_dtype(column)
    if inferred == "string":
        return parse_dates(column.to_numpy(object), name_cell)
    if inferred in ("date", "datetime", "datetime64"):
        try:
            return _read_dates(pd.to_datetime(column), name_cell)
        except (ValueError, TypeError) as error:
            found = f"the dates do not go together ({error})"
    else:
        found = f"found {inferred}, starting with {quote(column.iloc[0])}"
    raise DataError(
        "DATA_COLUMN_TYPE",
        f"{name_cell(0)}: {found}; dates must be timestamps of one kind, ISO text or integers.",
    )


def _begin_periods(column: pd.Series) -> pd.Series:
    """First moments of periods, in seconds where nanoseconds cannot count that far."""
    if _counts_business_days(column.dtype):
        column = column.dt.asfreq("D", how="start")
    try:
        return column.dt.to_timestamp()
    except pd.errors.OutOfBoundsDatetime:
        seconds = column.dt.asfreq("s", how="start").array.asi8
        return pd.Series(seconds.astype("M8[s]"), index=column.index)


def _counts_business_days(dtype: pd.PeriodDtype) -> bool:
    """Whether periods are business days, which pandas warns of when it makes or converts them."""
    return isinstance(dtype.freq, pd.offsets.BusinessDay)


def _type_values(column: pd.Series, name_cell: NameCell) -> npt.NDArray[np.float64]:
    """Values as float64, NaN where missing."""
    column = _plain(column)
    is_text = column.dtype == object or isinstance(column.dtype, pd.StringDtype)
    if is_text:
        # One path with files: every value is read from its text.
        text_S = (
            None if missing else str(value)
            for value, missing in zip(column, _missing_in(column), strict=True)
        )
        return parse_numbers(text_S, name_cell)
    if not types.is_any_real_numeric_dtype(column.dtype):
        raise DataError(
            "DATA_COLUMN_TYPE", f"{name_cell(0)}: found {column.dtype}; values must be numbers."
        )
    return column.to_numpy(np.float64, na_value=np.nan)


def _plain(column: pd.Series) -> pd.Series:
    """The column without wrapping types (categories, Arrow), integers in objects as integers."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if isinstance(column.dtype, pd.ArrowDtype):
        column = pd.Series(column.to_numpy(object, na_value=None))
    try:
        return column.infer_objects() if column.dtype == object else column
    except ArithmeticError:  # an integer beyond float64 among floats, a NaN that signals
        return column


def _missing_in(column: pd.Series) -> npt.NDArray[np.bool_]:
    """Which values are missing; a NaN of Decimal that signals is none, and no number either."""
    try:
        return column.isna().to_numpy()
    except ArithmeticError:
        return np.zeros(len(column), dtype=bool)


def make_table(
    layout: Layout,
    id_S: npt.NDArray[np.object_],
    ds_S: Dates,
    columns: Mapping[str, npt.NDArray[Any]],
    *,
    time_zone: tzinfo | None = None,
    more_dates: Mapping[str, Dates] | None = None,
) -> Any:
    """A long table of ids, dates and columns, in the caller's kind, names and types.

    Args:
        layout: The caller's kind, names and types.
        id_S: Id of each row.
        ds_S: Date of each row; UTC where there is a time zone.
        columns: Further columns, by name.
        time_zone: Zone of the dates.
        more_dates: Further columns of dates, by name, placed before ``columns``.
    """
    dates = {layout.time_col: ds_S, **(more_dates or {})}
    if layout.kind == "pandas":
        table = pd.DataFrame(
            {
                layout.id_col: _restore_pandas_ids(id_S, layout.id_type),
                **{
                    name: _restore_pandas_dates(ds, layout.time_type, time_zone)
                    for name, ds in dates.items()
                },
                **columns,
            }
        )
        return table
    import polars as pl

    return pl.DataFrame(
        [_restore_polars_ids(layout.id_col, id_S, layout.id_type)]
        + [
            _restore_polars_dates(name, ds, layout.time_type, time_zone)
            for name, ds in dates.items()
        ]
        + [pl.Series(name, np.ascontiguousarray(values)) for name, values in columns.items()]
    )


def _restore_pandas_ids(id_S: npt.NDArray[np.object_], id_type: Any) -> pd.Series:
    """Ids in their type: numbers, truth values, categories and texts; others stay text."""
    ids = pd.Series(id_S)
    if id_type is None or types.is_object_dtype(id_type):
        return ids
    if isinstance(id_type, pd.CategoricalDtype):
        texts = pd.Index([str(value) for value in id_type.categories])
        return pd.Series(pd.Categorical.from_codes(texts.get_indexer(ids), dtype=id_type))
    if types.is_bool_dtype(id_type):
        return (ids == "True").astype(id_type)
    keeps = types.is_numeric_dtype(id_type) or types.is_string_dtype(id_type)
    return ids.astype(id_type) if keeps else ids


def _restore_polars_ids(name: str, id_S: npt.NDArray[np.object_], id_type: Any) -> Any:
    """Ids in their type, see :func:`_restore_pandas_ids`."""
    import polars as pl

    ids = pl.Series(name, id_S.tolist(), dtype=pl.String)
    if id_type == pl.Boolean:
        return ids == "True"
    keeps = id_type is not None and (
        id_type.is_numeric() or isinstance(id_type, pl.String | pl.Categorical | pl.Enum)
    )
    return ids.cast(id_type) if keeps else ids


def _restore_pandas_dates(ds_S: Dates, time_type: Any, time_zone: tzinfo | None) -> pd.Series:
    dates = pd.Series(ds_S)
    if time_zone is not None:
        dates = dates.dt.tz_localize("UTC").dt.tz_convert(time_zone)
    if isinstance(time_type, pd.PeriodDtype):
        if _counts_business_days(time_type):
            count_S = np.busday_count("1970-01-01", ds_S.astype("M8[D]"))
            return pd.Series(pd.arrays.PeriodArray(count_S, dtype=time_type))
        return dates.dt.to_period(time_type.freq)
    keeps = isinstance(time_type, pd.DatetimeTZDtype | pd.ArrowDtype) or types.is_integer_dtype(
        time_type
    )
    return dates.astype(time_type) if time_type is not None and keeps else dates


def _restore_polars_dates(name: str, ds_S: Dates, time_type: Any, time_zone: tzinfo | None) -> Any:
    import polars as pl

    if ds_S.dtype == np.dtype("M8[s]"):
        ds_S = ds_S.astype("M8[ms]")
    dates = pl.Series(name, np.ascontiguousarray(ds_S))
    if time_zone is not None:
        dates = dates.dt.replace_time_zone("UTC")
        if not isinstance(time_zone, timezone):  # of an offset without a name Polars makes UTC too
            dates = dates.dt.convert_time_zone(str(time_zone))
    keeps = time_type is not None and (time_type.is_temporal() or time_type.is_integer())
    return dates.cast(time_type) if keeps else dates

"""Tables that people could hold, good and bad, drawn by Hypothesis.

Contract: :func:`frames` draws a pandas or polars table and the arguments it is forecast with. Most
begin as sound series, of which a few things are then spoilt: kinds of ids, dates and values, order,
repeated and missing rows, columns and the index.
"""

import datetime
import string
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from hypothesis import strategies as st

FREQS = [
    *("YS", "YE", "QS", "QE-JAN", "MS", "ME", "W-MON", "2W", "D", "3D", "B"),
    *("h", "15min", "s", "ms", "us", "ns"),
]
ZONES = ("Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "UTC", "Australia/Lord_Howe")
STARTS = [
    *("0001-01-01", "1500-02-28", "1677-09-22", "1678-01-01", "1883-11-18", "1900-02-28"),
    *("1969-12-31", "2000-02-29", "2020-01-31", "2020-12-28", "2024-03-30 22:30"),
    *("2024-10-26 23:00", "2261-06-01", "2262-04-11", "9990-01-01", "9999-12-01"),
]
HARD_VALUES = [
    *(0.0, -0.0, 1.0, -1.0, 1e-320, 5e-324, 1e-308, 1e-40, 1e39, 1e150, -1e150, 1e300, -1e300),
    *(1.7e308, -1.7e308, 2.0**53 + 2, float("nan"), float("inf"), float("-inf")),
]
ODD_CELLS: list[Any] = [
    *(None, pd.NA, pd.NaT, float("nan"), "", " ", "1", "1.5", "1e400", "nan", "inf", "-", "١"),
    *("1_000", b"1", True, Decimal("1.5"), Decimal("NaN"), Decimal("sNaN"), Fraction(1, 3), 1j),
    *(10**400, -(2**70), [1], {}, (1, 2), object, np.float32(2), np.datetime64("2020-01-01")),
    *(pd.Timedelta(1, "D"), datetime.date(2020, 1, 1), pd.Period("2020-01", "M"), "2020-01-01"),
    *("9999-12-31", "2020-02-30", "\ud800", "x\0y"),
]
TYPES = [
    *("object", "str", "string", "category", "Int64", "Float32", "float16", "bool", "boolean"),
    *("complex128", "uint64", "int8", "double[pyarrow]", "string[pyarrow]", "Sparse[float64]"),
    *("datetime64[s]", "timedelta64[ns]"),
]


@dataclass
class Asked:
    """A table, and what is asked of it."""

    table: Any
    options: dict[str, Any] = field(default_factory=dict)
    freq: str | int | None = None


@st.composite
def _values(draw: st.DrawFn, n: int) -> Any:
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    scale = 10.0 ** draw(st.integers(-300, 300)) if draw(st.booleans()) else 100.0
    shape = draw(st.sampled_from(("walk", "constant", "counts", "explode", "linear", "free")))
    steps = np.arange(n)
    with np.errstate(all="ignore"):
        y = {
            "walk": scale * np.exp(np.cumsum(rng.normal(0.02, 0.1, n))),
            "constant": np.full(n, scale),
            "counts": rng.poisson(1.0, n).astype(float),
            "explode": np.exp(np.clip(steps * draw(st.sampled_from((0.5, 5.0, 50.0))), 0, 700)),
            "linear": scale * (steps - n / 2),
            "free": rng.standard_cauchy(n) * scale,
        }[shape]
    y = np.clip(np.nan_to_num(y), -1e308, 1e308)
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
        y[draw(st.integers(0, n - 1))] = draw(st.sampled_from(HARD_VALUES))
    return y


@st.composite
def _integers(draw: st.DrawFn, n: int) -> Any:
    odd = (20240101, 2**53, 2**62, 2**63 - 200, -(2**63))
    first = draw(st.sampled_from((0, 1, 1, -5, 1990) * 3 + odd))
    step = draw(st.sampled_from((1, 1, 1, 1, 1, 2, 7, 10**6, -1)))
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    return np.array([min(max(first + step * i, low), high) for i in range(n)], dtype=np.int64)


@st.composite
def _stamps(draw: st.DrawFn, n: int, unit: str, freq: str) -> Any:
    usual = STARTS[6:12] if draw(st.integers(0, 2)) else STARTS
    start = np.datetime64(draw(st.sampled_from(usual)).replace(" ", "T"))
    try:
        stamp = pd.Timestamp(start).as_unit(unit)
        return pd.date_range(stamp, periods=n, freq=freq, unit=unit).to_numpy()
    except (pd.errors.OutOfBoundsDatetime, OverflowError, ValueError):
        return pd.date_range("2020-01-01", periods=n, freq="D", unit=unit).to_numpy()


def _dress(draw: st.DrawFn, dates: pd.Series) -> pd.Series:
    """Dates as people hold them: with a zone, as text, as objects, as periods."""
    # What datetime cannot hold ends the process in pandas when it becomes an object.
    years = dates.dt.year
    near = 2 <= years.min() <= years.max() < 9999
    if draw(st.integers(0, 3)) == 0 and near:
        dates = dates.dt.tz_localize("UTC").dt.tz_convert(draw(st.sampled_from(ZONES)))
    if dates.dt.tz is not None and str(dates.dt.tz) != "UTC":
        near = near and years.min() >= 1678
    kinds = ("as is",) * 6 + ("text", "objects", "period", "date", "category") * int(near)
    try:
        match draw(st.sampled_from(kinds)):
            case "text":
                return dates.astype(str)
            case "objects":
                return pd.Series(dates.astype(object).tolist(), dtype=object)
            case "period":
                return dates.dt.tz_localize(None).dt.to_period(draw(st.sampled_from("DMYWh")))
            case "date":
                return pd.Series([stamp.date() for stamp in dates], dtype=object)
            case "category":
                return dates.astype("category")
    except (ValueError, OverflowError, NotImplementedError):
        pass
    return dates


IDS = st.one_of(
    st.text(alphabet=string.ascii_letters + " éÉ٣\u200b\n\t=+@-\"',;", max_size=4),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.booleans(),
    st.dates(),
)


@st.composite
def frames(draw: st.DrawFn) -> Asked:
    """A table and the arguments of a forecast."""
    dated = draw(st.integers(0, 3)) > 0
    unit, freq = draw(st.sampled_from(("s", "ms", "us", "ns"))), draw(st.sampled_from(FREQS))
    kind_of_ids = draw(st.sampled_from(("text", "text", "numbers", "mixed")))
    ids, dates, values = [], [], []
    for i in range(draw(st.integers(1, 4))):
        n = draw(st.sampled_from((1, 2, 3, 4, 5, 7, 12, 13, 24, 30, 60)))
        name = {"text": f"s{i}", "numbers": i}.get(kind_of_ids)
        ids += [draw(IDS) if name is None else name] * n
        dates.append(draw(_stamps(n, unit, freq) if dated else _integers(n)))
        values.append(draw(_values(n)))
    ds = pd.Series(np.concatenate(dates))
    table = pd.DataFrame(
        {
            "unique_id": pd.Series(ids, dtype=object),
            "ds": _dress(draw, ds) if dated else ds,
            "y": np.concatenate(values),
        }
    )
    if kind_of_ids != "mixed":
        table["unique_id"] = table["unique_id"].infer_objects()
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 1, 2)))):
        with suppress(ValueError, OverflowError, TypeError, NotImplementedError):
            table = _spoil(draw, table)  # unless pandas cannot make that table
    if draw(st.integers(0, 5)) == 0:
        table = _to_polars(table)
    options: dict[str, Any] = {
        "h": draw(st.sampled_from((1, 3, 12, 12, 40))),
        "level": draw(st.sampled_from((None, [80], [80, 99.9]))),
        "fill": draw(st.sampled_from(("error", "interpolate", "forward"))),
    }
    of_freq = (None,) * 6 + ((freq,) * 3 if dated else (1, 7)) + ("MS", "D", "B", "h", 1)
    return Asked(table, options, draw(st.sampled_from(of_freq)))


def _to_polars(table: pd.DataFrame) -> Any:
    try:
        return pl.from_pandas(table)
    except Exception:  # what polars cannot hold stays with pandas
        return table


def _spoil(draw: st.DrawFn, table: pd.DataFrame) -> pd.DataFrame:
    """The table with one thing changed."""
    n = len(table)
    if n == 0:
        return table
    columns = [table.iloc[:, place] for place in range(table.shape[1])]
    stamps = [column for column in columns if getattr(column.dtype, "kind", "") == "M"]
    firsts = [2 if stamp.dt.tz is None else 1679 for stamp in stamps]
    far = any(
        not first <= stamp.dt.year.min() <= stamp.dt.year.max() < 9999
        for first, stamp in zip(firsts, stamps, strict=True)
    )
    at = draw(st.integers(0, n - 1))
    column = draw(st.integers(0, min(2, table.shape[1] - 1)))
    safe = ("shuffle", "repeat", "drop", "reverse", "no ids", "empty", "attrs", "rename")
    others = ("cell", "cell", "type", "twice", "index", "levels", "more")
    what = draw(st.sampled_from(safe if far else (*safe, *others)))
    match what:
        case "shuffle":
            order = draw(st.randoms(use_true_random=False))
            rows = list(range(n))
            order.shuffle(rows)
            return table.iloc[rows]
        case "reverse":
            return table.iloc[::-1]
        case "repeat":
            return table.iloc[[*range(n), at]]
        case "drop":
            return table.drop(table.index[at])
        case "cell":
            cells = table.iloc[:, column].astype(object).tolist()
            cells[at] = draw(st.sampled_from(ODD_CELLS))
            rest = {
                place: table.iloc[:, place] for place in range(table.shape[1]) if place != column
            }
            made = pd.Series(cells, index=table.index, dtype=object)
            if draw(st.booleans()):
                made = made.infer_objects()
            ordered = [rest.get(place, made) for place in range(table.shape[1])]
            spoilt = (
                pd.concat(ordered, axis=1)
                if table.index.is_unique
                else table.reset_index(drop=True)
            )
            spoilt.columns = table.columns
            return spoilt
        case "type":
            dtype = draw(st.sampled_from(TYPES))
            try:
                made = table.iloc[:, column].astype(dtype)
            except Exception:
                return table
            return table.assign(**{str(table.columns[column]): made})
        case "no ids":
            return table.drop(columns="unique_id", errors="ignore")
        case "rename":
            names = list(table.columns)
            names[column] = draw(st.sampled_from(("DS", "date", "", 0, None, ("a", "b"), "y ")))
            renamed = table.copy()
            renamed.columns = pd.Index(names, tupleize_cols=False)
            return renamed
        case "twice":
            return pd.concat([table, table.iloc[:, [column]]], axis=1)
        case "index":
            renamed = table.copy()
            indices = [
                *(pd.Index([7] * n), pd.Index(["y"] * n, name="y"), pd.Index([None] * n)),
                *(pd.Index(range(n), name="line"), pd.RangeIndex(n, 0, -1)),
                pd.MultiIndex.from_arrays([[1] * n, range(n)]),
            ]
            renamed.index = draw(st.sampled_from(indices))
            return renamed
        case "levels":
            wanted = [name for name in ("unique_id", "ds") if name in table.columns]
            return table.set_index(wanted) if table.columns.is_unique and wanted else table
        case "empty":
            return table.iloc[:0]
        case "attrs":
            renamed = table.copy()
            renamed.attrs["note"] = {"a": [1]}
            return renamed
        case _:
            return table.assign(z=[[1]] * n, ExpLSTM=1.0)

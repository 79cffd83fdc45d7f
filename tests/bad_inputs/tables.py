"""Lines A1 to A59: files and tables."""

import decimal
import gzip
import io
import os
import unicodedata
import zipfile
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bad_inputs.world import HEADER, World, check, text
from explstm import ExpLSTM, ModelSpec, columnar, reading
from explstm.errors import DataError, UsageError
from explstm.frame import build_panel


@check("A1")
def no_bytes(world: World) -> None:
    world.refuse(b"", "DATA_EMPTY", "data.csv", "is empty")
    world.refuse(b" \n\n", "DATA_EMPTY", "data.csv")


@check("A2")
def header_only(world: World) -> None:
    world.refuse(HEADER, "DATA_NO_ROWS", "data.csv", "a header and no rows")
    world.refuse(HEADER + "\r\n\r\n", "DATA_NO_ROWS", "data.csv")


@check("A3")
def column_missing(world: World) -> None:
    data = text("unique_id,ds,Y ", world.rows())
    world.refuse(
        data, "DATA_COLUMN_MISSING", "'y'", "'unique_id', 'ds', 'Y '", "did you mean 'Y '?"
    )


@check("A4")
def column_twice(world: World) -> None:
    data = text("unique_id,ds,y,y", [row + ",1" for row in world.rows()])
    world.refuse(data, "DATA_COLUMN_TWICE", "'y' twice", "positions 3 and 4")


@check("A5")
def first_row_longer(world: World) -> None:
    rows = world.rows()
    data = text(HEADER, [rows[0] + ",9", *rows[1:]])
    world.refuse(data, "DATA_FIELD_COUNT", "line 2", "found 4 fields", "has 3")


@check("A6")
def row_shorter(world: World) -> None:
    rows, at = world.rows(), world.place()
    rows[at] = rows[at].rpartition(",")[0]
    world.refuse(text(HEADER, rows), "DATA_FIELD_COUNT", f"line {at + 2}", "found 2 fields")


@check("A7")
def later_row_longer(world: World) -> None:
    rows, at = world.rows(), world.place()
    rows[at] += ",7,8"
    world.refuse(
        text(HEADER, rows), "DATA_FIELD_COUNT", f"line {at + 2}", "found 5 fields", "has 3"
    )


@check("A8")
def unclosed_quote(world: World) -> None:
    rows, at = world.rows(), world.place()
    rows[at] = '"' + rows[at]
    world.refuse(text(HEADER, rows), "DATA_QUOTE", f"line {at + 2}", "that starts there")


@check("A9")
def nul(world: World) -> None:
    data = bytearray(text(HEADER, world.rows()).encode())
    at = int(world.rng.integers(20, len(data)))
    data[at] = 0
    world.refuse(bytes(data), "DATA_NUL", f"a NUL at byte {at}")


@check("A10")
def byte_order_mark(world: World) -> None:
    data = text(HEADER, world.rows())
    marked = world.take(b"\xef\xbb\xbf" + data.encode())
    assert next(iter(marked)) == "unique_id"
    pd.testing.assert_frame_equal(marked, world.take(data))


@check("A11")
def other_encodings(world: World) -> None:
    data = text(HEADER, world.rows(name="Köln"))
    latin = data.encode("latin-1")
    place = latin.index(0xF6)
    world.refuse(latin, "DATA_ENCODING", f"byte {place} is 0xf6", "encoding='latin-1'")
    world.refuse(data.encode("utf-16"), "DATA_ENCODING", "looks like UTF-16", "encoding='utf-16'")
    found = world.take(latin, flags=("--encoding", "latin-1"), encoding="latin-1")
    assert set(found["unique_id"]) == {"Köln"}


@check("A12")
def other_kinds(world: World) -> None:
    data = text(HEADER, world.rows()).encode()
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("xl/workbook.xml", "<a/>")
    for made, words in (
        (gzip.compress(data, mtime=0), "looks like a gzip archive"),
        (sink.getvalue(), "looks like an Excel workbook"),
        (b'{"unique_id": []}', "looks like JSON"),
        (b"<!doctype html><title>Log in</title>", "looks like a web page"),
    ):
        world.refuse(made, "DATA_NOT_CSV", words, status=415)


@check("A13")
def decimal_comma(world: World) -> None:
    rows = [row.replace(",", ";").replace(".", ",") for row in world.rows()]
    data = text("unique_id;ds;y", rows)
    world.refuse(data, "DATA_NOT_A_NUMBER", "line 2", "'y'", "decimal names the decimal sign")
    found = world.take(data, flags=("--decimal", ","), decimal=",")
    pd.testing.assert_frame_equal(
        found,
        world.take("\n".join([HEADER, *(r.replace(",", ".").replace(";", ",") for r in rows)])),
    )
    path = world.write(data)
    for name, value in (("sep", ";;"), ("decimal", "x")):
        asked = ("forecast", path, "--horizon", "2", f"--{name}", value)
        world.refuse_arguments("CONFIG_VALUE", f"{name}='{value}'", arguments=asked)
        assert world.post(path.read_bytes(), **{name: value}).status_code == 422
    both = data.replace(";", ",")
    world.refuse(
        both, "CONFIG_CONFLICT", "pass both", exit_code=2, flags=("--decimal", ","), decimal=","
    )


@check("A14")
def thousands_and_signs(world: World) -> None:
    for cell in ("1'000", "€5", "$5", "7%", "1 000", "1_000"):
        rows, at = world.rows(), world.place()
        rows[at] = rows[at].rpartition(",")[0] + "," + cell
        world.refuse(
            text(HEADER, rows),
            "DATA_NOT_A_NUMBER",
            f"line {at + 2}",
            "'y'",
            cell.strip("'"),
            "plain",
        )
    rows[at] = rows[at].rpartition(",")[0] + ',"1,000"'
    world.refuse(text(HEADER, rows), "DATA_NOT_A_NUMBER", f"line {at + 2}", "'1,000'")


@check("A15")
def words_for_missing(world: World) -> None:
    for cell in ("N/A", "-", "#REF!", "nan", "None"):
        rows, at = world.rows(), world.place()
        rows[at] = rows[at].rpartition(",")[0] + "," + cell
        data = text(HEADER, rows)
        world.refuse(data, "DATA_NOT_A_NUMBER", f"line {at + 2}", repr(cell), "missing")
        world.take(
            data,
            flags=(f"--missing={cell}", "--fill", "forward"),
            missing=["", cell],
            fill="forward",
        )


@check("A16")
def ids_like_missing(world: World) -> None:
    names = ["NA", "None", "nan", "null"]
    data = text(HEADER, [row for name in names for row in world.rows(name=name)])
    assert sorted(set(world.take(data)["unique_id"])) == names


@check("A17")
def ids_like_numbers(world: World) -> None:
    names = ["007", "12345678901234567890123", "1e5", "True"]
    data = text(HEADER, [row for name in names for row in world.rows(name=name)])
    assert sorted(set(world.take(data)["unique_id"])) == names


@check("A18")
def ids_alike(world: World) -> None:
    names = ["Ärger", "ärger", unicodedata.normalize("NFD", "Ärger"), "Ärger\u200b", " Ärger"]
    data = text(HEADER, [row for name in names for row in world.rows(name=name)])
    found = world.take(data)
    assert len(set(found["unique_id"])) == 5
    panel = world.panel(world.folder / "data.csv")
    alike = [finding for finding in panel.findings if finding.code == "IDS_ALIKE"]
    assert len(alike) == 4 and all("looks like" in finding.text for finding in alike)


@check("A19")
def id_empty(world: World) -> None:
    rows, at = world.rows(), world.place()
    rows[at] = rows[at].removeprefix("a")
    world.refuse(text(HEADER, rows), "DATA_BAD_ID", f"line {at + 2}", "the id is empty")


@check("A20")
def infinities(world: World) -> None:
    for cell in ("inf", "-Infinity", "1e400"):
        rows, at = world.rows(), world.place()
        rows[at] = rows[at].rpartition(",")[0] + "," + cell
        world.refuse(text(HEADER, rows), "DATA_NOT_A_NUMBER", f"line {at + 2}", "'a'", repr(cell))
    table = world.panel(world.write(text(HEADER, world.rows())))
    frame = pd.DataFrame({"ds": table.ds_S, "y": [*table.y_S[:-1], np.inf]})
    with pytest.raises(DataError, match="DATA_INFINITE: column 'y', series 'series', row 23"):
        build_panel(frame)


@check("A21")
def missing_inside(world: World) -> None:
    rows, at = world.rows(), world.place() // 2 + 2
    for place in range(at, at + 3):
        rows[place] = rows[place].rpartition(",")[0] + ","
    data = text(HEADER, rows)
    first, last = (rows[place].split(",")[1] for place in (at, at + 2))
    world.refuse(data, "DATA_GAP", "'a'", f"{first} to {last}", "3 steps are missing", "fill=")
    world.take(data, flags=("--fill", "interpolate"), fill="interpolate")
    (finding,) = world.panel(world.folder / "data.csv", fill="interpolate").findings
    assert (finding.code, finding.unique_id, finding.count) == ("GAPS_FILLED", "a", 3)


@check("A22")
def all_missing(world: World) -> None:
    empty = [row.rpartition(",")[0] + "," for row in world.rows(name="b")]
    data = text(HEADER, [*world.rows(), *empty])
    world.refuse(data, "DATA_ALL_MISSING", "'b'", "has no value in column 'y'", "drop it")


@check("A23")
def missing_at_the_ends(world: World) -> None:
    rows = world.rows()
    cut = [row.rpartition(",")[0] + "," for row in rows[:2]]
    leading = text(HEADER, [*cut, *rows[2:]])
    pd.testing.assert_frame_equal(world.take(leading), world.take(text(HEADER, rows[2:])))
    (finding,) = world.panel(world.write(leading)).findings
    assert (finding.code, finding.count) == ("LEADING_TRIMMED", 2)
    trailing = text(HEADER, [*rows[:-1], rows[-1].rpartition(",")[0] + ","])
    world.refuse(trailing, "DATA_TRAILING_MISSING", "'a'", "2023-12-01", "forecasts start there")


@check("A24")
def not_positive(world: World) -> None:
    rows, at = world.rows(), world.place()
    for value in ("0", "-50.5"):
        rows[at] = rows[at].rpartition(",")[0] + "," + value
        data = text(HEADER, rows)
        assert np.isfinite(world.take(data).iloc[:, 2]).all()
    model = ExpLSTM(backend="torch", init="random", max_steps=1, spec=ModelSpec(hidden_sizes=(2,)))
    ((curve, reason),) = (
        model.fit(world.panel(world.folder / "data.csv")).growth_.iloc[:, 1:].values
    )
    assert curve in ("asinh", "linear") and "not every value is positive" in reason
    with pytest.raises(DataError, match=r"GROWTH_VALUE: growth='log' needs values above 0.*'a'"):
        ExpLSTM(growth="log").predict(world.panel(world.folder / "data.csv"))


@check("A25")
def constant(world: World) -> None:
    for value in (0.0, 7.25, -3.5, 1e-300, 1e140):
        table = pd.DataFrame({"ds": range(24), "y": value})
        found = ExpLSTM().predict(table, h=12, level=[95]).iloc[:, 1:]
        found = found[[name for name in found if str(name).startswith("ExpLSTM")]]
        np.testing.assert_allclose(found, value, rtol=1e-9, atol=0)
    rows = [row.rpartition(",")[0] + ",7.25" for row in world.rows()]
    np.testing.assert_allclose(world.take(text(HEADER, rows))["ExpLSTM"], 7.25)


@check("A26")
def constant_until_the_end(world: World) -> None:
    rows = [row.rpartition(",")[0] + ",5" for row in world.rows()]
    rows[-1] = rows[-1].rpartition(",")[0] + ",9"
    found = world.take(text(HEADER, rows))
    assert np.isfinite(found["ExpLSTM"]).all()
    flat = pd.DataFrame({"ds": range(24), "y": [5.0] * 23 + [9.0]})
    scaled = ExpLSTM(growth="standard").predict(flat, h=3, level=[80])
    assert np.isfinite(scaled.iloc[:, 2:]).all(axis=None)


@check("A27")
def ends_of_float64(world: World) -> None:
    y = np.array(world.values())
    for unit in (1e-308, 1e39, 1e100, 1e300):
        rows = [f"a,{2000 + i}-01-01,{value * unit!r}"
                for i, value in enumerate((y / 100).tolist())]  # fmt: skip
        found = world.take(text(HEADER, rows))
        plain = world.take(
            text(HEADER, [f"a,{2000 + i}-01-01,{v!r}" for i, v in enumerate((y / 100).tolist())])
        )
        np.testing.assert_allclose(found["ExpLSTM"] / unit, plain["ExpLSTM"], rtol=0.05)
    rows = [f"a,{2000 + i},{(-1) ** i}e200" for i in range(24)]
    world.refuse(text(HEADER, rows), "GROWTH_VALUE", "'a'", "1e+200")


@check("A28")
def overflow_of_the_forecast(world: World) -> None:
    rows = [f"a,{i},{10.0 ** (290 + i)!r}" for i in range(1, 19)]
    world.refuse(
        text(HEADER, rows), "FORECAST_OVERFLOW", "'a'", "at step",
        "growth='linear'",
    )  # fmt: skip


@check("A29")
def large_integers(world: World) -> None:
    rows = [f"a,{1990 + i},{16777217 + 2 * i}" for i in range(24)]
    path = world.write(text(HEADER, rows))
    assert world.panel(path).y_S.tolist() == [16777217 + 2 * i for i in range(24)]
    answer = world.post(path.read_bytes(), history=24).json()
    assert answer["history"]["y"] == [16777217 + 2 * i for i in range(24)]
    large = [f"a,{1990 + i},{2**53 + 1 + 2 * i}" for i in range(24)]
    world.take(text(HEADER, large))
    (finding,) = world.panel(world.folder / "data.csv").findings
    assert finding.code == "VALUES_ROUNDED" and finding.count >= 23


@check("A30")
def repeated_rows(world: World) -> None:
    rows, at = world.rows(), world.place()
    found = world.take(text(HEADER, [*rows[:at], rows[at], *rows[at:]]))
    (finding,) = world.panel(world.folder / "data.csv").findings
    assert (finding.code, finding.count) == ("DUPLICATES_DROPPED", 1)
    pd.testing.assert_frame_equal(found, world.take(text(HEADER, rows)))


@check("A31")
def contradicting_rows(world: World) -> None:
    rows, at = world.rows(), world.place()
    other = rows[at].rpartition(",")[0] + ",1"
    data = text(HEADER, [*rows[:at], other, *rows[at:]])
    world.refuse(data, "DATA_DUPLICATE", f"line {at + 2}", f"line {at + 3}", "sum them")


@check("A32")
def unsorted_rows(world: World) -> None:
    rows = world.rows()
    expected = world.take(text(HEADER, rows))
    mixed = [rows[place] for place in world.rng.permutation(24)]
    pd.testing.assert_frame_equal(world.take(text(HEADER, mixed)), expected)
    assert world.panel(world.folder / "data.csv").findings[0].code == "ROWS_SORTED"


@check("A33")
def shuffled_series(world: World) -> None:
    names = ["c", "a", "b"]
    blocks = {name: world.rows(name=name) for name in names}
    expected = world.take(text(HEADER, [row for name in names for row in blocks[name]]))
    other = [row for name in reversed(names) for row in blocks[name]]
    pd.testing.assert_frame_equal(world.take(text(HEADER, other)), expected)
    for name in names:
        alone = world.take(text(HEADER, blocks[name]))["ExpLSTM"]
        among = expected.loc[expected["unique_id"] == name, "ExpLSTM"]
        np.testing.assert_allclose(alone, among, rtol=1e-6)


@check("A34")
def gap(world: World) -> None:
    rows, at = world.rows(), world.place()
    absent = rows.pop(at).split(",")[1]
    data = text(HEADER, rows)
    world.refuse(data, "DATA_GAP", "'a'", absent, "1 step is missing", "freq='MS'")
    world.take(data, flags=("--fill", "forward"), fill="forward")
    assert world.panel(world.folder / "data.csv", fill="forward").freq == "MS"


@check("A35")
def irregular(world: World) -> None:
    days = np.cumsum(world.rng.choice([1, 2, 5, 11], 24, p=[0.5, 0.2, 0.2, 0.1]) * 24 + 1)
    stamps = np.datetime64("2024-01-01", "h") + days
    rows = [f"a,{stamp}:00,{y}" for stamp, y in zip(stamps, world.values(), strict=True)]
    path = world.write(text(HEADER, rows))
    world.refuse(path.read_bytes(), "DATA_IRREGULAR", "'a'", "most common steps are", "pass freq")
    rows = [f"a,{day}" for day in ("2024-01-31,1", "2024-02-29,2", "2024-03-15,3", "2024-04-30,4")]
    world.refuse(
        text(HEADER, rows), "DATA_IRREGULAR", "'a'", "most common steps are", "pass freq",
        flags=("--freq", "ME"), freq="ME",
    )  # fmt: skip


@check("A36")
def too_short(world: World) -> None:
    short = text(HEADER, [*world.rows(), *world.rows(3, name="b")])
    path = world.write(short)
    out = world.folder / "judged"
    shown = world.run("backtest", path, "--horizon", "6", "--out", out, "--windows", "1")
    assert shown.exit_code == 3 and "'b'" in shown.err and not out.exists(), shown
    answer = world.post(path.read_bytes(), route="backtest", h=6, n_windows=1)
    assert answer.status_code == 422 and "'b'" in answer.json()["error"]["message"]
    with pytest.warns(UserWarning, match=r"1 of 2 series have fewer than 8 values, such as 'b'"):
        assert len(ExpLSTM().predict(world.panel(path), h=6)) == 12


@check("A37")
def one_or_two_points(world: World) -> None:
    (row,) = world.rows(1)
    world.refuse(text(HEADER, [row]), "FREQ_UNKNOWN", "pass freq")
    one = world.take(text(HEADER, [row]), flags=("--freq", "MS"), freq="MS")
    np.testing.assert_allclose(one["ExpLSTM"], float(row.split(",")[2]))
    assert len(world.take(text(HEADER, world.rows(2)))) == 2


@check("A38")
def mixed_offsets(world: World) -> None:
    rows = [f"a,2024-01-{day:02d}T00:00+01:00,{day}" for day in range(1, 13)]
    for other in ("+02:00", ""):
        at = world.place(12)
        mixed = [*rows[:at], rows[at].replace("+01:00", other), *rows[at + 1 :]]
        world.refuse(
            text(HEADER, mixed),
            "DATA_MIXED_OFFSETS",
            "line 2",
            f"line {at + 2}",
            "write all dates in UTC",
        )


@check("A39")
def daylight_saving(world: World) -> None:
    hours = [f"2024-10-27T{hour:02d}:00" for hour in (0, 1, 2, 2, 3, 4, 5, 6, 7, 8)]
    rows = [f"a,{hour},{i}" for i, hour in enumerate(hours, start=1)]
    world.refuse(text(HEADER, rows), "DATA_DUPLICATE", "line 4", "line 5")
    utc = pd.date_range("2024-10-26T22:00", periods=10, freq="h", tz="UTC")
    found = world.take(text(HEADER, [f"a,{t.isoformat()},{i}" for i, t in enumerate(utc, start=1)]))
    assert found["ds"].tolist() == list(pd.date_range(utc[-1], periods=3, freq="h")[1:])


@check("A40")
def days_of_23_and_25_hours(world: World) -> None:
    for start in ("2024-03-20 08:00", "2024-10-15 08:00"):
        days = pd.date_range(start, periods=12, freq="D", tz="Europe/Berlin")
        found = ExpLSTM().predict(pd.DataFrame({"ds": days, "y": world.values(12)}), h=3)
        assert found["ds"].tolist() == list(pd.date_range(days[-1], periods=4, freq="D")[1:])
        assert set(found["ds"].dt.hour) == {8}


@check("A41")
def ambiguous_days(world: World) -> None:
    rows = [f"a,{month:02d}/01/2024,{month}" for month in range(1, 13)]
    data = text(HEADER, rows)
    world.refuse(data, "DATA_BAD_DATE", "line 2", "'01/01/2024'", "date_format")
    months = world.take(data, flags=("--date-format", "%m/%d/%Y"), date_format="%m/%d/%Y")
    days = world.take(data, flags=("--date-format", "%d/%m/%Y"), date_format="%d/%m/%Y")
    assert str(months["ds"][0])[:10] == "2025-01-01" and str(days["ds"][0])[:10] == "2024-01-13"


@check("A42")
def late_bad_date(world: World) -> None:
    rows = [f"a,{month:02d}/01/2024,{month}" for month in range(1, 13)]
    rows[10] = "a,13/02/2024,11"
    world.refuse(
        text(HEADER, rows), "DATA_BAD_DATE", "line 12", "'13/02/2024'", "%m/%d/%Y",
        flags=("--date-format", "%m/%d/%Y"), date_format="%m/%d/%Y",
    )  # fmt: skip


@check("A43")
def days_that_are_not(world: World) -> None:
    rows, at = world.rows(), world.place()
    rows[at] = "a,2023-02-30,1"
    world.refuse(text(HEADER, rows), "DATA_BAD_DATE", f"line {at + 2}", "'2023-02-30'")
    early = [f"a,{1500 + i}-01-01,{i + 1}" for i in range(12)]
    assert world.take(text(HEADER, early))["ds"].astype(str).tolist() == [
        "1512-01-01",
        "1513-01-01",
    ]
    late = [f"a,{9988 + i}-01-01,{i + 1}" for i in range(11)]
    assert len(world.take(text(HEADER, late[:-1]))) == 2
    world.refuse(text(HEADER, late), "DATE_OUT_OF_RANGE", "beyond 9999-12-30", "shorter horizon")


@check("A44")
def coded_dates(world: World) -> None:
    for first, step, words in (
        (20240101, 1, "dates such as 20240131; pass date_format='%Y%m%d'"),
        (1704067200, 86400, "a time since 1970"),
        (1704067200000, 86400000, "a time since 1970"),
    ):
        rows = [f"a,{first + step * i},{i + 1}" for i in range(12)]
        world.refuse(text(HEADER, rows), "DATA_CODED_DATE", "line 2", words)
    rows = [f"a,{20240101 + i},{i + 1}" for i in range(12)]
    found = world.take(text(HEADER, rows), flags=("--date-format", "%Y%m%d"), date_format="%Y%m%d")
    assert str(found["ds"][0])[:10] == "2024-01-13"
    serials = [f"a,{45292 + i},{i + 1}" for i in range(12)]  # days since 1900, as Excel counts
    assert world.take(text(HEADER, serials))["ds"].tolist() == [45304, 45305]
    (finding,) = world.panel(world.folder / "data.csv").findings
    assert finding.code == "DATES_LIKE_SERIALS" and "45292 look like" in finding.text


CALENDARS = (
    ("2023-10-31 2023-11-30 2023-12-31 2024-01-31", "2024-02-29 2024-03-31"),
    ("2020-02-29 2021-02-28 2022-02-28 2023-02-28", "2024-02-29 2025-02-28"),
    ("2020-W50 2020-W51 2020-W52 2020-W53", "2021-01-04 2021-01-11"),
    ("2024-03-05 2024-03-06 2024-03-07 2024-03-08", "2024-03-09 2024-03-10"),
    ("2024-02-28 2024-02-29 2024-03-01 2024-03-04", "2024-03-05 2024-03-06"),
    ("2023-Q1 2023-Q2 2023-Q3 2023-Q4", "2024-01-01 2024-04-01"),
    ("2023-03-31 2023-06-30 2023-09-30 2023-12-31", "2024-03-31 2024-06-30"),
    ("2019-06-30 2020-06-30 2021-06-30 2022-06-30", "2023-06-30 2024-06-30"),
)


@check("A45")
def calendars(world: World) -> None:
    for past, ahead in CALENDARS:
        rows = [f"a,{day},{i + 1}" for i, day in enumerate(past.split())]
        found = world.take(text(HEADER, rows))
        assert found["ds"].astype(str).tolist() == ahead.split(), past


@check("A46")
def several_frequencies(world: World) -> None:
    days = np.datetime64("2022-01-01") + np.arange(40)
    rows = [f"b,{day},{y}" for day, y in zip(days, world.values(40), strict=True)]
    data = text(HEADER, [*world.rows(), *rows])
    world.refuse(
        data, "DATA_MIXED_FREQ", "'a'", "24 of 700 steps of freq='D'", "each frequency apart"
    )


@check("A47")
def ends_at_different_dates(world: World) -> None:
    data = text(HEADER, [*world.rows(20, start="2022-01"), *world.rows(24, "b", "2020-01")])
    found = world.take(data)
    assert found["ds"].astype(str).tolist() == [
        "2023-09-01",
        "2023-10-01",
        "2022-01-01",
        "2022-02-01",
    ]
    out = world.folder / "judged"
    asked = ("--horizon", "3", "--windows", "2", "--method", "Pretrained")
    shown = world.run("backtest", world.folder / "data.csv", *asked, "--out", out)
    assert shown.exit_code == 0, shown.err
    cutoffs = pd.read_csv(out / "forecasts.csv").groupby("unique_id")["cutoff"].unique()
    assert cutoffs["a"].tolist() == ["2023-02-01", "2023-05-01"]
    assert cutoffs["b"].tolist() == ["2021-06-01", "2021-09-01"]


@check("A48")
def in_the_future(world: World) -> None:
    rows = world.rows(start="2190-01")
    found = world.take(text(HEADER, rows))
    assert str(found["ds"][0])[:10] == "2192-01-01"
    with world.monkeypatch.context() as patched:
        patched.setattr("time.time", lambda: 0.0)
        patched.setenv("TZ", "Pacific/Kiritimati")
        again = ExpLSTM().predict(world.panel(world.folder / "data.csv"), h=2)
    pd.testing.assert_frame_equal(again, found)


@check("A49")
def larger_than_allowed(world: World) -> None:
    path = world.write(text(HEADER, world.rows()))
    with world.monkeypatch.context() as patched:
        patched.setattr(reading, "MAX_BYTES", 100)
        patched.setattr(reading, "_parse_file", lambda *_, **__: pytest.fail("was read"))
        world.refuse_path(path, "DATA_TOO_LARGE", "more than 100", "split it by series")
    status, answer = world.raw("POST", "/api/v1/forecast", {"Content-Length": str(2**33)})
    assert status == 413 and b"BODY_TOO_LONG" in answer


@check("A50")
def long_lines_and_fields(world: World) -> None:
    rows = world.rows()
    world.refuse("a" * 400_000, "DATA_HEADER", "longer than 100,000 bytes", over_http=None)
    assert world.post(b"a" * 400_000).status_code == 422
    wide = ",".join([HEADER, *(f"c{i}" for i in range(1_000))])
    world.refuse(text(wide, rows), "DATA_HEADER", "1,003 columns, more than 1,000")
    long = rows[0].replace("a,", "x" * 10_000 + ",", 1)
    world.refuse(text(HEADER, [long, *rows]), "DATA_BAD_ID", "line 2", "10,000 characters")
    field = '"' + "x" * 10_000_000 + '"'
    for flags, options in (((), {}), (("--missing", "-"), {"missing": ["", "-"]})):
        world.refuse(
            text(HEADER + ",note", [f"{rows[0]},{field}", *rows[1:]]), "DATA_FIELD_TOO_LONG",
            "line 2", "131,072", flags=flags, **options,
        )  # fmt: skip


@check("A51")
def many_rows_and_many_series(world: World) -> None:
    steps = np.arange(20)
    n_series = 5_000
    y = world.rng.lognormal(size=(n_series, 20)).cumsum(axis=1)
    table = pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(n_series), 20),
            "ds": np.tile(steps, n_series),
            "y": y.ravel(),
        }
    )
    found = ExpLSTM().predict(table, h=2)
    assert len(found) == 2 * n_series and np.isfinite(found["ExpLSTM"]).all()


def parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def sound(world: World, n: int = 24) -> pa.Table:
    """A sound series, as Arrow."""
    days = np.datetime64("2022-01-01", "ms") + np.arange(n) * np.timedelta64(1, "D")
    return pa.table({"unique_id": ["a"] * n, "ds": days, "y": world.values(n)})


@check("A52")
def parquet_cut(world: World) -> None:
    data = parquet(sound(world))
    for cut in (len(data) // 2, len(data) - 1, 12):
        world.refuse(data[:cut], "DATA_CORRUPT", "is damaged", "export it again")


@check("A53")
def parquet_flipped(world: World) -> None:
    data = parquet(sound(world), write_page_checksum=True, compression="none")
    at = len(data) // 4
    damaged = bytearray(data)
    damaged[at] ^= 1 << int(world.rng.integers(8))
    world.refuse(bytes(damaged), "DATA_CORRUPT", "is damaged")


@check("A54")
def parquet_bomb(world: World) -> None:
    n = 20_000_000
    data = parquet(
        pa.table({"ds": pa.array(np.zeros(n, np.int8)), "y": pa.array(np.zeros(n, np.int8))})
    )
    assert len(data) < 200_000
    path = world.write(data)
    with world.monkeypatch.context() as patched:
        patched.setattr(columnar, "MAX_BYTES", 10**8)
        patched.setattr(pq.ParquetFile, "read", lambda *_, **__: pytest.fail("was unpacked"))
        world.refuse_path(path, "DATA_TOO_LARGE", "unpacks to 320,000,000 bytes")
    answer = world.post(data, one_series=True)
    assert answer.status_code == 413, answer.text


@check("A55")
def parquet_types(world: World) -> None:
    table = sound(world)
    expected = world.take(parquet(table), name="plain.parquet")
    places, y = table.schema.get_field_index, table["y"].to_pylist()
    exact = pa.array([decimal.Decimal(str(value)) for value in y], pa.decimal128(20, 3))
    for column in (
        {"y": exact},
        {"y": pa.array([str(value) for value in y])},
        {"y": table["y"].dictionary_encode()},
        {"unique_id": table["unique_id"].dictionary_encode()},
        {"ds": table["ds"].cast(pa.date32())},
        {"ds": table["ds"].cast(pa.timestamp("us"))},
    ):
        ((name, made),) = column.items()
        found = world.take(
            parquet(table.set_column(places(name), name, made)), name="other.parquet"
        )
        np.testing.assert_allclose(found["ExpLSTM"], expected["ExpLSTM"])
    zoned = table.set_column(1, "ds", table["ds"].cast(pa.timestamp("us", "UTC")))
    assert str(world.take(parquet(zoned), name="zone.parquet")["ds"].dtype).endswith("UTC]")
    nested = table.set_column(2, "y", pa.array([[value] for value in y]))
    for odd in (nested, table.set_column(2, "y", pa.array(range(24), pa.duration("s")))):
        world.refuse(
            parquet(odd), "DATA_COLUMN_TYPE" if odd is not nested else "DATA_NOT_A_NUMBER", "'y'"
        )


@check("A56")
def other_tables(world: World) -> None:
    days = pd.date_range("2022-01-01", periods=24)
    plain = pd.DataFrame({"unique_id": "a", "ds": days, "y": np.arange(1, 25)})
    expected = ExpLSTM().predict(plain, h=2)["ExpLSTM"]
    before_first = plain[:1].assign(ds=days[0] - days.freq, y=pd.array([pd.NA], "Int64"))
    made = {
        "MultiIndex": plain.set_index(["unique_id", "ds"]),
        "periods": plain.assign(ds=pd.period_range("2022-01-01", periods=24)),
        "objects": plain.astype({"y": object}),
        "Int64": plain.astype({"y": "Int64"}),
        "categories": plain.astype({"unique_id": "category"}),
        "an index of its own": plain.set_index(pd.Index(range(100, 124))),
        "leading pd.NA": pd.concat([before_first, plain.astype({"y": "Int64"})]),
    }
    for name, table in made.items():
        before = table.copy(deep=True)
        found = ExpLSTM().predict(table, h=2)
        np.testing.assert_allclose(found["ExpLSTM"], expected, err_msg=name)
        pd.testing.assert_frame_equal(table, before)
    numbered = plain.set_axis([0, 1, 2], axis=1)
    found = ExpLSTM().predict(numbered, h=2, id_col="0", time_col="1", target_col="2")
    np.testing.assert_allclose(found["ExpLSTM"], expected)


@check("A57")
def no_regular_file(world: World) -> None:
    world.refuse_path(world.folder, "DATA_PATH", "is a folder")
    os.mkfifo(world.folder / "pipe")
    world.refuse_path(world.folder / "pipe", "DATA_PATH", "is not a regular file")
    world.refuse_path("/dev/zero", "DATA_PATH", "is not a regular file")
    (world.folder / "link").symlink_to(world.folder / "nowhere")
    world.refuse_path(world.folder / "link", "DATA_PATH", "No such file")
    path = world.write(text(HEADER, world.rows()))
    parse = reading._parse_file

    def grow(*arguments: Any, **options: Any) -> Any:
        with path.open("a") as file:
            file.write("a,2030-01-01,1\n")
        return parse(*arguments, **options)

    with world.monkeypatch.context() as patched:
        patched.setattr(reading, "_parse_file", grow)
        world.refuse_path(path, "DATA_PATH", "changed while it was read")


@check("A58")
def addresses(world: World) -> None:
    for path in ("https://example.org/a.csv", "file:///etc/passwd", "s3://bucket/a.csv"):
        with world.monkeypatch.context() as patched:
            patched.setattr("socket.socket.connect", lambda *_: pytest.fail("was asked"))
            shown = world.forecast(path)
            assert shown.exit_code == 2 and "DATA_PATH: " in shown.err, shown
            assert f"{path[-5:]}' is an address, not a file" in shown.err, shown
            with pytest.raises(UsageError, match=f"DATA_PATH: path='{path}' is an address"):
                reading.read_table(path)
    answer = world.client.post("/api/v1/forecast", json={"sample": "file:///etc/passwd", "h": 2})
    assert answer.status_code == 404, answer.text


@check("A59")
def covariates(world: World) -> None:
    rows = world.rows()
    expected = world.take(text(HEADER, rows))
    more = text(HEADER + ",price", [f"{row},{i}" for i, row in enumerate(rows)])
    pd.testing.assert_frame_equal(world.take(more), expected)
    with pytest.raises(TypeError, match="X_df"):
        ExpLSTM().predict(world.panel(world.folder / "data.csv"), X_df=expected)
    answer = world.client.post("/api/v1/forecast", json={"sample": "sales", "X_df": []})
    assert answer.status_code == 422 and "X_df" in answer.json()["error"]["message"]

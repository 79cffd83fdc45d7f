"""Files to tables: what pandas swallows is refused with its line, what is odd but valid is kept."""

import gzip
import io
import os
import socket
import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explstm import calendar, columnar, delimited, reading
from explstm.errors import BackendNotInstalledError, DataError, ExpLSTMError, UsageError
from explstm.frame import build_panel
from explstm.reading import parse_table, read_table

HEAD = b"unique_id,ds,y\n"


def parse(text, **options):
    data = text if isinstance(text, bytes) else text.encode()
    return parse_table(data, "sales.csv", **options)


def refusal(text, **options):
    with pytest.raises(ExpLSTMError) as caught:
        parse(text, **options)
    return str(caught.value)


def test_a_csv_becomes_a_typed_table_with_its_lines(tmp_path):
    path = tmp_path / "sales numbers.csv"
    path.write_bytes(HEAD + b"a,2024-01-01,1.5\nb,2024-01-01,\n")
    df = read_table(path)
    assert df["unique_id"].tolist() == ["a", "b"]
    assert df["ds"].tolist() == [pd.Timestamp("2024-01-01")] * 2
    assert df["y"].dtype == np.float64
    assert df["y"][2] == 1.5 and np.isnan(df["y"][3])
    assert df.index.name == "line" and df.index.tolist() == [2, 3]
    assert path.read_bytes() == HEAD + b"a,2024-01-01,1.5\nb,2024-01-01,\n"


IDS = [
    "NA",
    "null",
    "None",
    "nan",
    "007",
    "1e5",
    "True",
    "12345678901234567890123",
    " a ",
    "1.0",
    "é",
    "-",
    "'x",
]


@pytest.mark.parametrize("exact", [False, True])
def test_ids_are_text_and_stay_what_they_are(exact, monkeypatch):
    if exact:
        monkeypatch.setattr(reading, "split_fast", lambda *_: None)
    df = parse("unique_id,ds,y\n" + "".join(f"{name},1,1\n" for name in IDS))
    assert df["unique_id"].tolist() == IDS


def test_names_order_and_further_columns_are_free():
    df = parse(
        "sales;note;month;shop\n3;x;2024-01;b\n",
        id_col="shop",
        time_col="month",
        target_col="sales",
    )
    assert list(df) == ["shop", "month", "sales"]
    assert df.iloc[0].tolist() == ["b", pd.Timestamp("2024-01-01"), 3.0]


def test_without_ids_it_is_one_series():
    assert parse("ds,y\n1,5\n2,6\n")["unique_id"].tolist() == ["series", "series"]


@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
def test_the_separator_is_found_in_the_header(sep):
    assert parse(sep.join(["unique_id", "ds", "y"]) + "\n" + sep.join(["a", "1", "2.5"]))[
        "y"
    ].tolist() == [2.5]


def test_decimal_comma_is_read_when_stated_and_refused_when_not():
    text = "unique_id;ds;y\na;1;1,5\nb;1;2\n"
    assert parse(text, decimal=",")["y"].tolist() == [1.5, 2]
    assert "column 'y', series 'a', line 2: '1,5' is not a finite number" in refusal(text)
    assert "line 2: found 4 fields, the header has 3" in refusal("unique_id,ds,y\na,1,1,5\n")
    assert "sep=',' and decimal=',' are the same" in refusal("unique_id,ds,y\na,1,1\n", decimal=",")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", ["", "end", "many"])
def test_every_line_end_is_read(end, last):
    text = (
        end.join(["unique_id,ds,y", "a,1,1", "a,2,2"]) + {"": "", "end": end, "many": 3 * end}[last]
    )
    df = parse(text)
    assert df["y"].tolist() == [1, 2] and df.index.tolist() == [2, 3]


def test_blank_lines_count_as_lines_and_hold_no_row():
    df = parse("unique_id,ds,y\na,1,1\n\na,2,2\n")
    assert df.index.tolist() == [2, 4]


def test_quoted_fields_hold_separators_quotes_and_line_ends():
    df = parse('"unique_id","ds","y"\n"a,b",1,1\n"say ""hi""",1,"2"\n"two\nlines",1,3\nlast,1,4\n')
    assert df["unique_id"].tolist() == ["a,b", 'say "hi"', "two\nlines", "last"]
    assert df["y"].tolist() == [1, 2, 3, 4]
    assert df.index.tolist() == [2, 3, 4, 6]


def test_a_byte_order_mark_is_no_part_of_a_name():
    assert parse(b"\xef\xbb\xbfunique_id,ds,y\na,1,1\n")["unique_id"].tolist() == ["a"]


@pytest.mark.parametrize(
    "text", ["0.1", "1.7976931348623157e308", "5e-324", "9007199254740993", "0.49473390045005083"]
)
def test_numbers_are_the_nearest_ones(text):
    assert parse(f"ds,y\n1,{text}\n")["y"].tolist() == [float(text)]


def test_other_encodings_are_read_when_stated_and_refused_when_not():
    text = "unique_id,ds,y\nZürich,1,1\n"
    assert parse(text.encode("latin-1"), encoding="latin-1")["unique_id"].tolist() == ["Zürich"]
    assert parse(text.encode("utf-16"), encoding="utf-16")["unique_id"].tolist() == ["Zürich"]
    assert "is not utf-8: byte 16 is 0xfc; pass its encoding" in refusal(text.encode("latin-1"))
    assert "looks like UTF-16" in refusal(text.encode("utf-16"))
    assert "encoding='nonsense' is no encoding of text" in refusal(text, encoding="nonsense")


def test_offsets_and_integers_and_formats_reach_the_dates():
    assert str(parse("ds,y\n2024-01-01T00:00Z,1\n")["ds"].dtype) == "datetime64[ns, UTC]"
    assert parse("ds,y\n1,1\n2,1\n")["ds"].dtype == np.int64
    assert parse("ds,y\n31.01.2024,1\n", date_format="%d.%m.%Y")["ds"][2] == pd.Timestamp(
        "2024-01-31"
    )


def test_texts_listed_as_missing_are_missing():
    assert parse("ds,y\n1,NA\n2,-\n3,4\n", missing=("NA", "-"))["y"].isna().tolist() == [
        True,
        True,
        False,
    ]


def zipped(name: str, content: str = "<a/>") -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(name, content)
    return sink.getvalue()


FAULTS = [
    ("", "DATA_EMPTY: 'sales.csv' is empty"),
    (" \n \n", "DATA_EMPTY"),
    ("unique_id,ds,y\n", "DATA_NO_ROWS"),
    ("unique_id,ds,y\n\n\n", "DATA_NO_ROWS"),
    ("unique_id,ds,Y\na,1,1\n", "no column 'y', found 'unique_id', 'ds', 'Y'; did you mean 'Y'?"),
    ("Unique ID,ds,y\na,1,1\n", "has no column 'unique_id', found 'Unique ID', 'ds', 'y'; did you"),
    ("\nunique_id,ds,y\na,1,1\n", "has no column 'ds', found nothing; "),
    ("unique_id,date,y\na,1,1\n", "has no column 'ds'"),
    (
        "unique_id, ds,y\na,1,1\n",
        "has no column 'ds', found 'unique_id', ' ds', 'y'; did you mean ' ds'?",
    ),
    ("unique_id,ds,y,y\na,1,1,2\n", "has column 'y' twice, at positions 3 and 4"),
    ("unique_id,ds,y,n,n\na,1,1,2,3\n", "has column 'n' twice, at positions 4 and 5"),
    ("unique_id,ds,y\na,1,1,9\na,2,2\n", "line 2: found 4 fields, the header has 3"),
    ("unique_id,ds,y\na,1,1\na,2\n", "line 3: found 2 fields, the header has 3"),
    ("unique_id,ds,y\na,1,1\na,2,2,2\n", "line 3: found 4 fields, the header has 3"),
    # Short and long lines that add up.
    ("unique_id,ds,y\na,1\na,2,2,2\n", "line 2: found 2 fields"),
    ('unique_id,ds,y\na,1,1\n"a,2,2\na,3,3\n', "line 3: "),
    ('unique_id,ds,y\n"a"b,1,1\n', "line 2: "),
    ("unique_id,ds,y\na,1,1\x002\n", "has a NUL at byte 20"),
    ("unique_id,ds,y\na,1,1,000\n", "line 2: found 4 fields"),
    ('unique_id,ds,y\na,1,"1,000"\n', "column 'y', series 'a', line 2: '1,000' is not"),
    ("unique_id,ds,y\na,1,1\nb,1,#REF!\n", "column 'y', series 'b', line 3: '#REF!' is not"),
    ("unique_id,ds,y\na,1,N/A\n", "line 2: 'N/A' is not"),
    ("unique_id,ds,y\na,1,nan\n", "line 2: 'nan' is not"),
    ("unique_id,ds,y\na,1,inf\n", "line 2: 'inf' is not"),
    ("unique_id,ds,y\na,1,1e400\n", "line 2: '1e400' is not"),
    ("unique_id,ds,y\na,1,$5\n", "line 2: '$5' is not"),
    ("unique_id,ds,y\na,1,True\n", "line 2: 'True' is not"),
    ("unique_id,ds,y\n,1,5\n", "column 'unique_id', line 2: the id is empty"),
    ("unique_id,ds,y\na,,5\n", "column 'ds', series 'a', line 2: '' is not"),
    ("unique_id,ds,y\na,2024-02-30,5\n", "line 2: '2024-02-30' is not"),
    ("unique_id,ds,y\na,01/02/2024,5\n", "line 2: '01/02/2024' is not"),
    ("unique_id,ds,y\na,2024-01-01,5\nb,1,5\n", "column 'ds', series 'b', line 3: '1' is not"),
    (
        "unique_id,ds,y\na,20240101,5\n",
        "look like dates such as 20240131; pass date_format='%Y%m%d'",
    ),
    ('[{"ds": 1, "y": 2}]', "looks like JSON"),
    ('{"ds": 1, "y": 2}', "looks like JSON"),
    ("\n <!DOCTYPE html><html>ds,y</html>", "looks like a web page"),
    (gzip.compress(HEAD, mtime=0), "looks like a gzip archive"),
    (gzip.compress(HEAD, mtime=0), "; unpack it first."),
    (b"PK\x03\x04....", "looks like a zip archive, not like CSV or Parquet; unpack it first."),
    (zipped("xl/workbook.xml"), "looks like an Excel workbook, not like CSV or Parquet; save it"),
    (zipped("[Content_Types].xml"), "looks like an Excel workbook"),
    (zipped("mimetype", "application/vnd.oasis.opendocument.spreadsheet"), "of OpenDocument"),
    (
        b"\xd0\xcf\x11\xe0" + bytes(99),
        "looks like an old Excel workbook, not like CSV or Parquet; s",
    ),
    (b"\x89PNG\r\n\x1a\n" + bytes(99), "looks like a picture"),
    (b"\xff\xff\xff\xff" + bytes(99), "looks like an Arrow stream"),
    ("a," * 60_000, "the header is longer than 100,000 bytes"),
    (",".join(f"c{i}" for i in range(2000)) + "\n", "has 2,000 columns, more than 1,000"),
]


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_faults_are_refused_where_they_are(text, message):
    found = refusal(text)
    assert message in found
    assert "\n" not in found and found.count(". ") == 0 and len(found) < 600


@pytest.mark.parametrize(
    "options",
    [{"sep": ",,"}, {"sep": '"'}, *({"decimal": mark} for mark in ("", "·", "1", "e", "-"))],
)
def test_unusable_marks_are_refused(options):
    assert "cannot be used; " in refusal("ds,y\n1,1\n", **options)


@pytest.mark.parametrize("encoding", ["klingon", "base64", "a\0b"])
def test_what_is_no_text_encoding_is_refused(encoding):
    assert "CONFIG_VALUE: encoding=" in refusal("ds,y\n1,1\n", encoding=encoding)


def test_a_codec_that_names_no_byte_refuses_too():
    assert "'sales.csv' is not punycode; " in refusal("ds,y\n1,1\n", encoding="punycode")


@pytest.mark.parametrize("twice", [{"id_col": "y"}, {"time_col": "y"}, {"target_col": "ds"}])
def test_one_column_cannot_play_two_roles(twice):
    assert refusal("unique_id,ds,y\na,1,1\n", **twice).startswith("CONFIG_CONFLICT: id_col=")


def test_errors_after_reading_name_lines_too():
    df = parse("unique_id,ds,y\na,1,1\n\na,2,2\na,1,9\n")
    with pytest.raises(DataError, match="1 in line 2 and 9 in line 5"):
        build_panel(df)


# The two passes agree

FIELD = st.sampled_from(
    ["a", "b c", "NA", '"q"', '"a,b"', '"say ""x"""', '"', 'x"y', '"x"y', "", "1", "é", "a\rb"]
)
YEARS = st.sampled_from(
    ["2024-01-01", "2024-02-01", "1", "2024-13-01", "", '"2024-01-01"', "2024-01-01 "]
)
VALUE = st.sampled_from(
    [
        "1",
        "-2.5",
        "0.1",
        "1e-5",
        " 7 ",
        "",
        "nan",
        "inf",
        "1,5",
        '"3"',
        "x",
        "1e400",
        "+1",
        "1_0",
        "True",
    ]
)
ROW = st.tuples(FIELD, YEARS, VALUE).map(",".join)


@given(
    st.lists(ROW, min_size=1, max_size=4),
    st.sampled_from(["\n", "\r\n", "\n\n"]),
    st.booleans(),
    st.sampled_from([1, 12, delimited.BLOCK_BYTES]),
)
def test_what_the_fast_pass_reads_the_exact_pass_reads_alike(rows, end, closed, block_bytes):
    data = end.join(["unique_id,ds,y", *rows]).encode() + (end.encode() if closed else b"")
    dialect = delimited.Dialect("f", ",", ".", None, ("",), ("unique_id", "ds", "y"), 0, 1, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "BLOCK_BYTES", block_bytes)
        fast = delimited.split_fast(io.BytesIO(data), dialect)
    if fast is None:
        return
    exact = delimited.split_exact(data, dialect)
    for left, right in zip(fast, exact, strict=True):
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right))


@pytest.mark.parametrize(
    "text", ['"a",1,1.1\n"b",2,2\n', "a,1,0.1\r\nb,2,\r\n", '"x""y",1,0.30000000000000004\n']
)
def test_the_fast_pass_reads_what_is_common(text):
    dialect = delimited.Dialect("f", ",", ".", None, ("",), ("unique_id", "ds", "y"), 0, 1, 2)
    assert delimited.split_fast(io.BytesIO(HEAD + text.encode()), dialect) is not None


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("s7,2024-01-01,x\n", "line 10: 'x' is not a finite number"),
        ("s7,2024-01-01\n", "line 10: found 2 fields"),
        ("s7,2024-01-32,1\n", "line 10: '2024-01-32' is not written as ISO date"),
        (",2024-01-01,1\n", "line 10: the id is empty"),
        ('"s7\ns8,2024-01-01,1\n', "line 10: unexpected end of data"),
    ],
)
def test_a_fault_in_a_later_block_is_named_by_its_line(fault, message, monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 40)
    rows = [f"s{i},2024-01-01,{i}\n" for i in range(8)]
    assert len(parse("unique_id,ds,y\n" + "".join(rows))) == 8
    assert message in refusal("unique_id,ds,y\n" + "".join([*rows, fault, *rows]))


def test_a_byte_that_is_no_text_is_found_in_any_block(monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 40)
    monkeypatch.setattr(reading, "MAX_HEADER", 40)
    head, row = b"note,unique_id,ds,y\n", b"note,s,1,1\n"
    assert len(parse(head + 99 * row)) == 99
    place = len(head) + 50 * len(row) + 2  # in a column that is not wanted
    for byte, message in ((b"\xfc", f"byte {place} is 0xfc"), (b"\0", f"NUL at byte {place}")):
        assert message in refusal(head + 50 * row + b"no" + byte + b"te,s,1,1\n" + 50 * row)


def test_reading_needs_memory_for_the_columns_and_one_block(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 2**16)
    monkeypatch.setattr(calendar, "BLOCK", 2**12)
    n_rows, note = 60_000, "n" * 200
    rows = (f"{i // 60},2024-{i % 12 + 1:02},{i},{note}\n" for i in range(n_rows))
    path = tmp_path / "long.csv"
    path.write_text("unique_id,ds,y,note\n" + "".join(rows))
    tracemalloc.start()
    try:
        read_table(path)
        assert tracemalloc.get_traced_memory()[1] < 60 * n_rows  # the file has 220 bytes per row
    finally:
        tracemalloc.stop()


@given(st.integers(0, 10**6), st.integers(0, 255))
def test_any_byte_may_change_and_the_answer_is_a_table_or_a_coded_error(place, byte):
    data = bytearray(HEAD + b'a,2024-01-01,1\n"b",2024-02-01,2.5\na,2024-02-01,\n')
    data[place % len(data)] = byte
    try:
        df = parse(bytes(data))
    except ExpLSTMError as error:
        assert error.code.isupper()
    else:
        assert len(df) in (2, 3) and not np.isinf(df["y"]).any()


# Paths


@pytest.mark.parametrize(
    "path", ["https://example.org/a.csv", "file:///etc/hosts", "s3://bucket/a.csv"]
)
def test_addresses_are_refused(path, monkeypatch):
    monkeypatch.setattr(socket, "socket", None)
    with pytest.raises(UsageError, match="is an address, not a file"):
        read_table(path)


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for path, reason in [
        (tmp_path, "is a folder|not a regular file"),
        (tmp_path / "pipe", "not a regular file"),
        ("/dev/zero", "not a regular file"),
        (tmp_path / "link", "No such file"),
        (tmp_path / "missing.csv", "No such file"),
        ("a\0b", "null"),
    ]:
        with pytest.raises(DataError, match=reason) as caught:
            read_table(path)
        assert str(caught.value).count("DATA_PATH") == 1


@pytest.mark.parametrize("rows", [b"a,1,1\n", b"a,1\n"])
def test_a_file_that_changes_while_it_is_read_is_refused(rows, tmp_path, monkeypatch):
    path = tmp_path / "growing.csv"
    path.write_bytes(HEAD + rows)

    def grow(*arguments):
        with path.open("ab") as file:
            file.write(b"a,2,2\n")
        return split(*arguments)

    split = delimited.split_fast
    monkeypatch.setattr(reading, "split_fast", grow)
    with pytest.raises(DataError, match="changed while it was read"):
        read_table(path)


def test_large_files_are_refused_before_they_are_read(tmp_path, monkeypatch):
    path = tmp_path / "large.csv"
    path.write_bytes(HEAD + b"a,1,1\n")
    monkeypatch.setattr(reading, "MAX_BYTES", 10)
    with pytest.raises(DataError, match="has 21 bytes, more than 10; split it by series"):
        read_table(path)


# Parquet


@pytest.fixture
def parquet(tmp_path):
    pytest.importorskip("pyarrow")

    def write(df, name="sales.parquet", **options):
        df.to_parquet(tmp_path / name, **options)
        return tmp_path / name

    return write


def test_parquet_is_known_by_its_content(parquet):
    df = pd.DataFrame(
        {"unique_id": [7, 7], "ds": pd.to_datetime(["2024-01-01", "2024-01-02"]), "y": [1, None]}
    )
    result = read_table(parquet(df, name="misnamed.csv"))
    assert result["unique_id"].tolist() == ["7", "7"]
    assert result["ds"].tolist() == df["ds"].tolist()
    np.testing.assert_array_equal(result["y"], [1, np.nan])


def test_parquet_keeps_time_zones(parquet):
    ds = pd.date_range("2024-03-30", periods=3, tz="Europe/Berlin")
    assert read_table(parquet(pd.DataFrame({"ds": ds, "y": 1.0})))["ds"].tolist() == ds.tolist()


def test_damaged_parquet_is_refused(parquet):
    df = pd.DataFrame({"ds": range(1000), "y": np.linspace(1, 2, 1000)})
    data = parquet(
        df, compression=None, use_dictionary=False, write_page_checksum=True
    ).read_bytes()
    value = data.index(np.float64(df["y"][500]).tobytes())
    flipped = data[:value] + bytes([data[value] ^ 1]) + data[value + 1 :]
    for damaged in (data[: len(data) // 2], data[:-1], b"PAR1", flipped):
        with pytest.raises(DataError, match=r"'sales\.parquet' is damaged"):
            parse_table(damaged, "sales.parquet")


def test_parquet_that_unpacks_to_too_much_is_refused_first(parquet, monkeypatch):
    path = parquet(pd.DataFrame({"ds": np.arange(100_000), "y": 0.0}))
    monkeypatch.setattr(columnar, "MAX_BYTES", path.stat().st_size + 1)
    with pytest.raises(DataError, match=r"unpacks to .* bytes"):
        read_table(path)


def test_parquet_columns_are_checked(parquet):
    with pytest.raises(DataError, match="has no column 'y'"):
        read_table(parquet(pd.DataFrame({"ds": [1], "value": [1]})))
    with pytest.raises(DataError, match="column 'y', series 'series', row 0"):
        read_table(parquet(pd.DataFrame({"ds": [1], "y": [[1, 2]]})))


def test_parquet_without_pyarrow_says_what_to_install(parquet, monkeypatch):
    path = parquet(pd.DataFrame({"ds": [1], "y": [1]}))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(BackendNotInstalledError, match=r"pip install 'explstm\[parquet\]'"):
        read_table(path)

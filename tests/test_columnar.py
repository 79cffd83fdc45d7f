"""Parquet and Arrow: what many rows share costs once, and long texts are refused."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from explstm.columnar import take_arrow
from explstm.errors import DataError
from explstm.reading import parse_table

COLUMNS = ("unique_id", "ds", "y")


def table(ids: list[str], dates: list[str]) -> pa.Table:
    return pa.table({"unique_id": ids, "ds": dates, "y": [1.0] * len(ids)})


def parquet(table: pa.Table, **options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


@pytest.mark.parametrize("dictionary", [True, False])
def test_texts_are_the_same_however_they_are_stored(dictionary):
    ids, dates = ["b", "a", "b", "ü"], ["2024-01-01", "2024-01-01", "2024-01-02", "2024-01-01"]
    data = parquet(table(ids, dates), use_dictionary=dictionary, store_schema=False)
    for found in (parse_table(data, "a.parquet"), take_arrow(table(ids, dates), COLUMNS, "a")):
        assert found["unique_id"].tolist() == ids
        assert found["ds"].dt.strftime("%Y-%m-%d").tolist() == dates


def test_a_long_id_is_counted_in_letters_and_other_texts_are_short():
    long = table(["ü" * 1000, "b"], ["2024-01-01", "2024-01-02"])
    assert len(take_arrow(long, COLUMNS, "a")) == 2
    with pytest.raises(DataError, match="1,001 characters"):
        take_arrow(table(["a" * 1001, "b"], ["2024-01-01", "2024-01-02"]), COLUMNS, "a")
    with pytest.raises(DataError, match="'ds' has a text of 401 bytes, more than 400"):
        take_arrow(table(["a", "a"], ["2024-01-01", "x" * 401]), COLUMNS, "a")


def test_one_text_of_many_rows_is_in_memory_once():
    n = 4_000
    text = pa.DictionaryArray.from_arrays(np.zeros(n, "<i4"), ["x" * 2**20])  # 4 GiB unpacked
    shared = pa.table({"unique_id": text, "ds": range(n), "y": range(n)})
    data = parquet(shared, dictionary_pagesize_limit=2**22, store_schema=False)
    assert len(data) < 2**20
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(DataError, match="1,048,576 bytes"):
        parse_table(data, "a.parquet")
    assert pa.default_memory_pool().max_memory() < before + 512 * 2**20


def test_a_time_zone_that_nobody_knows_and_texts_of_no_encoding_are_told():
    zoned = pa.array([1, 2], pa.timestamp("s", "No/Where"))
    with pytest.raises(DataError, match="damaged: 'No/Where'"):
        parse_table(parquet(pa.table({"ds": zoned, "y": [1.0, 2.0]})), "a.parquet")
    odd = pa.Array.from_buffers(
        pa.string(),
        2,
        [None, pa.py_buffer(np.array([0, 1, 2], "<i4").tobytes()), pa.py_buffer(b"\xff\xfe")],
    )
    data = parquet(pa.table({"unique_id": odd, "ds": [1, 2], "y": [1.0, 2.0]}))
    with pytest.raises(DataError, match="damaged"):
        parse_table(data, "a.parquet")


def say_of_pandas(table: pa.Table, text: bytes) -> pa.Table:
    return table.replace_schema_metadata({b"pandas": text})


ODD_WORDS_OF_PANDAS = {
    "no JSON": b"{",
    "nothing": b"",
    "a list": b"[1]",
    "no text": b"\xff",
    "no type": pa.Table.from_pandas(table(["a"], ["1"]).to_pandas())
    .schema.metadata[b"pandas"]
    .replace(b'"object"', b'"obj%ct"')
    .replace(b'"float64"', b'"float14"'),
}


@pytest.mark.parametrize("words", ODD_WORDS_OF_PANDAS.values(), ids=ODD_WORDS_OF_PANDAS)
def test_what_pandas_wrote_of_itself_is_not_used(words):
    odd = say_of_pandas(table(["a", "a"], ["2024-01-01", "2024-02-01"]), words)
    for found in (parse_table(parquet(odd), "a.parquet"), take_arrow(odd, COLUMNS, "a")):
        assert found["y"].tolist() == [1.0, 1.0] and found["unique_id"].tolist() == ["a", "a"]


def test_an_index_of_pandas_is_a_column_as_any():
    frame = table(["a", "a"], ["2024-01-01", "2024-02-01"]).to_pandas().set_index("ds")
    found = parse_table(parquet(pa.Table.from_pandas(frame)), "a.parquet")
    assert found["ds"].dt.month.tolist() == [1, 2]

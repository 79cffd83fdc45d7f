"""Arrow in: what is read, and what is refused before it is unpacked."""

import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from explstm.panel import Panel
from explstm.server.data.reading import Source, read_source
from explstm.server.errors import ApiError
from explstm.server.schemas import InspectRequest
from explstm.server.settings import Settings
from server.hostile_arrow import SENTINEL, make_arrow, write_file, write_stream

N = 24
NAMED = InspectRequest(time_col="ds", target_col="y")
DAYS = pd.date_range("2024-01-01", periods=N, freq="D")


def read(tmp_path: Path, data: bytes, request: InspectRequest = NAMED, **limits: int) -> Panel:
    (tmp_path / "file").write_bytes(data)
    source = Source("file", str(tmp_path / "file"), "a.arrow")
    return read_source(source, request, Settings(**limits)).panel


def refusal(tmp_path: Path, data: bytes, **limits: int) -> ApiError:
    with pytest.raises(ApiError) as found:
        read(tmp_path, data, **limits)
    return found.value


def two_series(ids: pa.Array, dates: pa.Array, values: pa.Array) -> pa.Table:
    return pa.table({"unique_id": ids, "ds": dates, "y": values})


IDS = ["north", "south and more than twelve letters"] * (N // 2)
VALUES = np.arange(N, dtype=float)


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize(
    ("ids", "dates", "values"),
    [
        (pa.array(IDS), pa.array(DAYS), pa.array(VALUES)),
        (pa.array(IDS, pa.large_string()), pa.array(DAYS.date), pa.array(VALUES, pa.float32())),
        (pa.array(IDS, pa.string_view()), pa.array(DAYS.strftime("%Y-%m-%d")), pa.array(VALUES)),
        (
            pa.array(IDS).dictionary_encode(),
            pa.array(DAYS, pa.timestamp("s")),
            pa.array(range(N), pa.int16()),
        ),
    ],
    ids=["plain", "large", "views", "dictionary"],
)
def test_all_plain_types_are_read(tmp_path, compression, ids, dates, values):
    table = two_series(ids, dates, values)
    for data in (write_stream(table, compression=compression), write_file(table, compression)):
        panel = read(tmp_path, data)
        assert panel.ids_N.tolist() == sorted(set(IDS))
        np.testing.assert_array_equal(panel.y_S, [*VALUES[::2], *VALUES[1::2]])
        assert panel.ds_S[0] == np.datetime64("2024-01-01") and panel.plain_freq == "2D"


def test_a_time_zone_is_kept_and_other_columns_are_not_looked_at(tmp_path):
    table = pa.table(
        {
            "note": [[{"a": 1}]] * N,
            "ds": pa.array(DAYS, pa.timestamp("ns", "Europe/Paris")),
            "y": VALUES,
        }
    )
    panel = read(tmp_path, write_stream(table))
    assert str(panel.time_zone) == "Europe/Paris" and panel.n_series == 1


def test_what_polars_writes_is_read(tmp_path):
    table = pl.DataFrame({"unique_id": IDS, "ds": DAYS, "y": VALUES})
    sink = io.BytesIO()
    table.write_ipc(sink, compression="zstd")
    assert read(tmp_path, sink.getvalue()).n_series == 2
    sink = io.BytesIO()
    table.with_columns(pl.col("unique_id").cast(pl.Categorical)).write_ipc_stream(sink)
    assert read(tmp_path, sink.getvalue()).n_series == 2


def test_a_batch_for_every_row_is_one_table(tmp_path):
    table = two_series(pa.array(IDS).dictionary_encode(), pa.array(DAYS), pa.array(VALUES))
    data = write_stream(*(table.slice(row, 1) for row in range(N)))
    np.testing.assert_array_equal(read(tmp_path, data).y_S, [*VALUES[::2], *VALUES[1::2]])


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_the_size_is_known_before_anything_is_unpacked(tmp_path, compression):
    n = 1000
    table = pa.table({"ds": np.arange(n), "y": np.zeros(n)})
    data = write_stream(table, compression=compression)
    assert read(tmp_path, data, max_unpacked_bytes=16 * n).n_series == 1
    found = refusal(tmp_path, data, max_unpacked_bytes=16 * n - 1)
    assert found.status == 413 and "16,000 bytes unpacked" in found.message
    assert "1,000 rows, more than 999" in refusal(tmp_path, data, max_rows=n - 1).message


def test_a_batch_counts_with_its_dictionary(tmp_path):
    ids = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), ["x" * 1000])
    table = two_series(ids, pa.array([1]), pa.array([1.0]))
    # A batch has 4 bytes of index, 8 of the date and 8 of the value; the dictionary has its text
    # and two offsets, and is there once by itself and once for every batch.
    size = 5 * (4 + 8 + 8) + (1 + 5) * (1000 + 2 * 4)
    found = refusal(tmp_path, write_stream(*[table] * 5), max_unpacked_bytes=size - 1)
    assert f"{size:,} bytes unpacked" in found.message
    data = write_stream(*[table] * 5)
    assert "unpacked" not in refusal(tmp_path, data, max_unpacked_bytes=size).message


def test_no_type_is_unpickled(tmp_path):
    sentinel = Path("/tmp") / SENTINEL
    sentinel.unlink(missing_ok=True)
    assert refusal(tmp_path, make_arrow()["Arrow with a pickled type"]()).status == 422
    assert not sentinel.exists()


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="none")
    return sink.getvalue()


def test_bytes_that_were_changed_are_read_or_refused_and_nothing_else(tmp_path):
    rng = np.random.default_rng(int(os.environ.get("EXPLSTM_FUZZ_SEED", "8")))
    zoned = pa.array(DAYS, pa.timestamp("s", "Europe/Paris"))
    table = two_series(pa.array(IDS).dictionary_encode(), zoned, pa.array(VALUES))
    whole = [write_stream(table), write_stream(table, compression="zstd"), write_file(table, "lz4")]
    whole.append(parquet(table))
    n_refused = 0
    for number in range(1000):
        data = bytearray(whole[number % len(whole)])
        for at in rng.integers(len(data), size=rng.integers(1, 4)):
            data[at] = rng.integers(256)
        try:
            read(tmp_path, bytes(data))
        except ApiError as error:
            assert 400 <= error.status < 500 and error.message.isprintable()
            n_refused += 1
    assert n_refused > 500

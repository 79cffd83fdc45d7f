"""Arrow streams and files that damage, deceive or exhaust a reader, all from one seed.

Contract: :func:`make_arrow` gives bytes by name; each is to be refused.
"""

import io
import pickle
import struct
from collections.abc import Callable

import numpy as np
import pyarrow as pa

MIB = 1024**2
SENTINEL = "explstm-was-here"


def write_stream(*tables: pa.Table, compression: str | None = None) -> bytes:
    """Tables of one schema as a stream."""
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, tables[0].schema, options=options) as writer:
        for table in tables:
            writer.write_table(table)
    return sink.getvalue()


def write_file(table: pa.Table, compression: str | None = None) -> bytes:
    """A table as a file."""
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue()


def plain(n: int = 500) -> pa.Table:
    """A table that is fine."""
    rng = np.random.default_rng(5)
    return pa.table({"unique_id": ["a"] * n, "ds": np.arange(n), "y": rng.normal(size=n)})


def with_values(kind: pa.DataType, values: list) -> bytes:
    return write_stream(pa.table({"ds": range(len(values)), "y": pa.array(values, kind)}))


class _Payload:
    """Unpickled, it would leave a file."""

    def __reduce__(self) -> tuple:
        return open, (f"/tmp/{SENTINEL}", "w")


def _pickled() -> bytes:
    marks = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(_Payload()),
    }
    fields = [pa.field("ds", pa.int64()), pa.field("y", pa.list_(pa.float64()), metadata=marks)]
    table = pa.table([[1, 2], [[1.0], [2.0]]], schema=pa.schema(fields))
    return write_stream(table)


def _replace(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) >= 1 and len(old) == len(new)
    return data.replace(old, new)


def _with_length(stated: int) -> bytes:
    """A compressed buffer that states another length."""
    n = 70_001
    data = write_stream(pa.table({"ds": np.arange(n), "y": np.zeros(n)}), compression="zstd")
    return _replace(data, struct.pack("<q", 8 * n), struct.pack("<q", stated))


def _view_of_one_text() -> bytes:
    """A million cells that all show the same long text."""
    n, text = 400_000, b"x" * 900
    views = np.zeros((n, 4), dtype="<i4")
    views[:, 0], views[:, 1] = len(text), int.from_bytes(text[:4], "little")
    column = pa.Array.from_buffers(
        pa.string_view(), n, [None, pa.py_buffer(views.tobytes()), pa.py_buffer(text)]
    )
    return write_stream(pa.table({"unique_id": column, "ds": np.arange(n), "y": np.arange(n)}))


def _many_with_one_dictionary() -> bytes:
    """Many batches, each of which is read with a large dictionary."""
    names = pa.array([f"{i:0200d}" for i in range(50_000)])
    one = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), names)
    return write_stream(*[pa.table({"unique_id": one, "ds": [1], "y": [1.0]})] * 1000)


def _delta() -> bytes:
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    schema = pa.schema(
        {"unique_id": pa.dictionary(pa.int32(), pa.string()), "ds": pa.int64(), "y": pa.float64()}
    )
    with pa.ipc.new_stream(sink, schema, options=options) as writer:
        for names in (["a"], ["a", "b"], ["a", "b", "c"]):
            ids = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), names)
            writer.write_table(pa.table([ids, [1], [1.0]], schema=schema))
    return sink.getvalue()


def _message(metadata_length: int) -> bytes:
    return b"\xff\xff\xff\xff" + struct.pack("<i", metadata_length) + bytes(64)


def _bad_offsets() -> bytes:
    offsets = np.array([0, 1, 2**30, 3], dtype="<i4")
    column = pa.Array.from_buffers(
        pa.string(), 3, [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(b"abc")]
    )
    # Written as it is: the writer looks at no offset but the first and the last.
    return write_stream(pa.table({"unique_id": column, "ds": [1, 2, 3], "y": [1.0, 2.0, 3.0]}))


def _bad_indices() -> bytes:
    column = pa.DictionaryArray.from_arrays(
        pa.array([0, 7_000_000, 0], pa.int32()), pa.array(["a"]), safe=False
    )
    return write_stream(pa.table({"unique_id": column, "ds": [1, 2, 3], "y": [1.0, 2.0, 3.0]}))


def _bad_text() -> bytes:
    data = write_stream(pa.table({"unique_id": ["name"] * 3, "ds": [1, 2, 3], "y": [1.0, 2, 3]}))
    return _replace(data, b"namenamename", b"name\xff\xfe\xfdename")


def _endless_metadata() -> bytes:
    schema = plain(3).schema.with_metadata({"k": "v" * (32 * MIB)})
    return write_stream(plain(3).cast(schema))


def _bomb(n: int = 60_000_000) -> bytes:
    same = pa.array(np.zeros(n, dtype=np.int8))
    return write_stream(pa.table({"ds": same, "y": same}), compression="zstd")


def _one_wide_batch() -> bytes:
    text = pa.array(["x" * (300 * MIB)], pa.large_string())
    return write_stream(pa.table({"note": text, "ds": [1], "y": [1]}), compression="zstd")


def make_arrow(seed: int = 11) -> dict[str, Callable[[], bytes]]:
    """All of them; equal seeds give equal bytes."""
    rng = np.random.default_rng(seed)
    noise = rng.bytes(2048)
    stream, file = write_stream(plain()), write_file(plain())
    lists = pa.list_(pa.float64())
    return {
        "Arrow file of zeros": lambda: b"ARROW1\0\0" + bytes(100),
        "Arrow file without an end": lambda: file[:-6],
        "Arrow file cut in half": lambda: file[: len(file) // 2],
        "Arrow stream cut in half": lambda: stream[: len(stream) // 2],
        "Arrow stream of noise": lambda: b"\xff\xff\xff\xff" + noise,
        "Arrow stream with a message of 2 GB": lambda: _message(2**31 - 1),
        "Arrow stream with a message of -1": lambda: _message(-1),
        "Arrow stream that ends at once": lambda: b"\xff\xff\xff\xff\0\0\0\0",
        "Arrow stream with a broken schema": lambda: stream[:24] + noise[:200] + stream[224:],
        "Arrow stream without rows": lambda: write_stream(plain().slice(0, 0)),
        "Arrow stream of 60 million rows": _bomb,
        "Arrow stream of one text of 300 MiB": _one_wide_batch,
        "Arrow buffer that says 1 TiB": lambda: _with_length(2**40),
        "Arrow buffer that says 4 EiB": lambda: _with_length(2**62),
        "Arrow buffer that says -2": lambda: _with_length(-2),
        "Arrow buffer that says too little": lambda: _with_length(8),
        "Arrow buffer that says too much": lambda: _with_length(8 * 70_002),
        "Arrow views of one text": _view_of_one_text,
        "Arrow batches with one large dictionary": _many_with_one_dictionary,
        "Arrow dictionaries that grow": _delta,
        "Arrow offsets that lead out": _bad_offsets,
        "Arrow indices that lead out": _bad_indices,
        "Arrow texts of no encoding": _bad_text,
        "Arrow metadata of 32 MiB": _endless_metadata,
        "Arrow of 1,500 columns": lambda: write_stream(
            pa.table({f"c{i}": [1] for i in range(1500)})
        ),
        "Arrow of a column name of 5 MiB": lambda: write_stream(
            plain(3).rename_columns(["x" * (5 * MIB), "ds", "y"])
        ),
        "Arrow of 12,000 batches": lambda: write_stream(*[plain(1)] * 12_000),
        "Arrow with a pickled type": _pickled,
        "Arrow of lists": lambda: with_values(lists, [[1.0], [2.0]]),
        "Arrow of structures": lambda: with_values(pa.struct({"a": pa.int8()}), [{"a": 1}] * 2),
        "Arrow of dictionaries of lists": lambda: write_stream(
            pa.table({"ds": [1, 2], "y": pa.DictionaryArray.from_arrays([0, 0], [[1.0]])})
        ),
        "Arrow of bytes": lambda: with_values(pa.binary(), [b"1", b"\xff"]),
        "Arrow of durations": lambda: with_values(pa.duration("s"), [1, 2]),
        "Arrow of runs": lambda: write_stream(
            pa.table({"ds": range(9), "y": pa.RunEndEncodedArray.from_arrays([9], [1.0])})
        ),
        "Arrow of infinities": lambda: with_values(pa.float64(), [1.0, float("inf")]),
        "Arrow of no dates": lambda: write_stream(
            pa.table({"ds": pa.array([1, 2], pa.time32("s")), "y": [1.0, 2.0]})
        ),
        "Arrow of dates beyond all": lambda: write_stream(
            pa.table({"ds": pa.array([2**62, 2**62 + 1], pa.timestamp("s")), "y": [1.0, 2.0]})
        ),
        "Arrow of a time zone that is none": lambda: write_stream(
            pa.table({"ds": pa.array([1, 2], pa.timestamp("s", "No/Where")), "y": [1.0, 2.0]})
        ),
        "Arrow with a column twice": lambda: write_stream(
            pa.table([[1, 2], [1.0, 2.0], [3.0, 4.0]], names=["ds", "y", "y"])
        ),
    }

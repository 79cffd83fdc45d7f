"""Bodies that damage, deceive or exhaust a reader, all from one seed.

Contract: :func:`make_cases` gives what a client may send to ``/api/v1/inspect`` and must not get
away with: each is to be refused with a 4xx, soon, and without much memory.
"""

import bz2
import gzip
import io
import json
import lzma
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from server.hostile_arrow import make_arrow

MIB = 1024**2
CSV, BINARY, PARQUET = "text/csv", "application/octet-stream", "application/vnd.apache.parquet"
HEADER = b"unique_id,ds,y\n"
NAMED = {"time_col": "ds", "target_col": "y"}
ROW = b"a,2024-01-01,1\n"


@dataclass(frozen=True)
class Hostile:
    name: str
    make: Callable[[], bytes]
    content_type: str = CSV
    filename: str | None = None  # sent as a form where there is one
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    chunked: bool = False


def make_cases(seed: int = 7) -> list[Hostile]:
    """All cases; equal seeds give equal bytes."""
    return [
        *_not_text(np.random.default_rng(seed)),
        *_encodings(),
        *_shapes(np.random.default_rng(seed + 1)),
        *_cells(),
        *_parquet(np.random.default_rng(seed + 2)),
        *(Hostile(name, make, BINARY, query=NAMED) for name, make in make_arrow(seed).items()),
        *_transport(),
        *_names(),
        *_options(),
        *_json(),
    ]


def rows(*cells: str, header: str = "unique_id,ds,y") -> Callable[[], bytes]:
    return lambda: "\n".join([header, *cells, ""]).encode("utf-8", "surrogatepass")


def monthly(*values: str) -> Callable[[], bytes]:
    return rows(*(f"a,2024-{month:02d}-01,{v}" for month, v in enumerate(values, start=1)))


def _zip(content: bytes, name: str = "a.csv") -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return sink.getvalue()


def _zeros_in_gzip() -> bytes:
    sink = io.BytesIO()
    with gzip.GzipFile(fileobj=sink, mode="wb", compresslevel=1, mtime=0) as file:
        for _ in range(256):
            file.write(bytes(MIB))
    return sink.getvalue()


def _not_text(rng: np.random.Generator) -> list[Hostile]:
    noise = rng.bytes(65_536)
    whole = HEADER + 50 * ROW
    return [
        Hostile("empty", lambda: b""),
        Hostile("blank", lambda: b" \r\n \r\n"),
        Hostile("header only", lambda: HEADER),
        Hostile("one word", lambda: b"hello"),
        Hostile("noise", lambda: noise, BINARY),
        Hostile("noise called CSV", lambda: noise, CSV, "data.csv"),
        Hostile("NUL in a cell", lambda: HEADER + b"a,2024-01-01,1\0\n"),
        Hostile("gzip", lambda: gzip.compress(whole, mtime=0), BINARY, "data.csv"),
        Hostile("gzip bomb of 256 MiB", _zeros_in_gzip, BINARY, "data.csv.gz"),
        Hostile("zip", lambda: _zip(whole), CSV, "data.csv"),
        Hostile("zip bomb of 64 MiB", lambda: _zip(bytes(64 * MIB)), BINARY, "data.zip"),
        Hostile("zip in zip", lambda: _zip(_zip(_zip(bytes(8 * MIB)), "b.zip")), BINARY),
        Hostile("workbook", lambda: _zip(b"<a/>", "xl/workbook.xml"), BINARY, "data.xlsx"),
        Hostile("old workbook", lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), BINARY),
        Hostile("bzip2", lambda: bz2.compress(whole), BINARY),
        Hostile("xz", lambda: lzma.compress(whole), BINARY),
        Hostile("zstandard", lambda: b"\x28\xb5\x2f\xfd" + noise[:100], BINARY),
        Hostile("PDF", lambda: b"%PDF-1.7\n" + noise[:100], CSV, "data.csv"),
        Hostile("web page", lambda: b"<!doctype html><script>alert(1)</script>", CSV, "a.csv"),
        Hostile("JSON called CSV", lambda: b'{"unique_id": ["a"]}', CSV, "a.csv"),
        Hostile("database", lambda: b"SQLite format 3\0" + bytes(84), BINARY),
        Hostile("program", lambda: b"\x7fELF\x02\x01\x01" + bytes(57), BINARY),
        Hostile("a model", lambda: b"\x40" + bytes(7) + b'{"w": {"dtype": "F32"}}', BINARY),
        Hostile("picture", lambda: b"\x89PNG\r\n\x1a\n" + noise[:200], BINARY, "data.csv"),
    ]


def _encodings() -> list[Hostile]:
    text = "unique_id,ds,y\nä,2024-01-01,1\n"
    return [
        Hostile("UTF-16 with mark", lambda: text.encode("utf-16")),
        Hostile("UTF-16 without mark", lambda: text.encode("utf-16-le")),
        Hostile("UTF-32", lambda: text.encode("utf-32")),
        Hostile("Latin-1", lambda: text.encode("latin-1")),
        Hostile("cut off in a letter", lambda: "unique_id,ds,y\nä".encode()[:-1]),
        Hostile("overlong", lambda: HEADER + b"\xc0\xaf,2024-01-01,1\n"),
        Hostile("surrogates", rows("\ud800,2024-01-01,1")),
        Hostile("named wrongly", lambda: text.encode("utf-16"), query={"encoding": "cp1252"}),
    ]


def _shapes(rng: np.random.Generator) -> list[Hostile]:
    del rng
    return [
        Hostile("a million columns", lambda: b",".join([b"c"] * 10**6) + b"\n1\n"),
        Hostile("a line of 30 MB", lambda: b"a" * (30 * MIB)),
        Hostile("a header of 200 kB", lambda: b"ds,y," + b"x" * 200_000 + b"\n1,1,1\n"),
        Hostile("a row of a million cells", lambda: HEADER + b"1," * 10**6 + b"\n"),
        Hostile("1,001 columns", lambda: b",".join(b"c%d" % i for i in range(1001)) + b"\n1\n"),
        Hostile("too many rows", lambda: b"ds,y\n" + b"1,1\n" * 1_000_002),
        Hostile("8 million short rows", lambda: b"ds,y\n" + b"1\n" * 8_000_000),
        Hostile(
            "too many series",
            lambda: (
                HEADER + b"".join(b"s%d,%d,1\n" % (i, j) for i in range(100_001) for j in (1, 2))
            ),
        ),
        Hostile(
            "a field of 10 MB", lambda: HEADER + b'"' + b"x" * (10 * MIB) + b'",2024-01-01,1\n'
        ),
        Hostile("an open quote", lambda: HEADER + b'"a,2024-01-01,1\n' * 1000),
        Hostile("quotes inside", rows('a"b"c",2024-01-01,1', 'a,"2024"-01-01,1')),
        Hostile(
            "rows of other lengths", rows("a,2024-01-01,1", "a,2024-02-01", "a,2024-03-01,1,2")
        ),
        Hostile("a column twice", rows("1,2024-01-01,1", "1,2024-02-01,2", header="y,ds,y")),
        Hostile("no dates", rows("a,b,1", "c,d,2", header="p,q,r")),
        Hostile("no numbers", rows("a,2024-01-01,b", header="id,ds,name")),
        Hostile("an id of 10,000 letters", rows("x" * 10_000 + ",2024-01-01,1")),
        Hostile("an empty id", rows(",2024-01-01,1", "a,2024-02-01,2")),
    ]


def _cells() -> list[Hostile]:
    return [
        Hostile("NaN", monthly("1", "NaN", "3")),
        Hostile("infinity", monthly("1", "inf", "3")),
        Hostile("negative infinity", monthly("1", "-Infinity", "3")),
        Hostile("beyond float64", monthly("1", "1e400", "3")),
        Hostile("text among numbers", monthly("1", "two", "3")),
        Hostile("a formula", monthly("1", "=cmd|'/c calc'!A1", "3")),
        Hostile("thousands", monthly("1", '"1,000"', "3")),
        Hostile("currency", monthly("1", "€5", "3")),
        Hostile("hexadecimal", monthly("1", "0x10", "3")),
        Hostile("truth values", monthly("true", "false", "true")),
        Hostile("missing inside", monthly("1", "", "3")),
        Hostile("all missing", monthly("", "", "")),
        Hostile("a 30th of February", rows("a,2024-02-30,1", "a,2024-03-30,2")),
        Hostile("two days in one", rows("a,01/02/2024,1", "a,02/02/2024,2")),
        Hostile("dates of two kinds", rows("a,2024-01-01,1", "a,2 January 2024,2")),
        Hostile("no date", rows("a,,1", "a,2024-02-01,2")),
        Hostile("two offsets", rows("a,2024-01-01T00:00+01:00,1", "a,2024-01-02T00:00+02:00,2")),
        Hostile("seconds since 1970", rows("a,1704067200,1", "a,1704153600,2")),
        Hostile("the year 99999", rows("a,99999-01-01,1", "a,99999-02-01,2")),
        Hostile("two values for a day", rows("a,2024-01-01,1", "a,2024-01-01,2", "a,2024-01-02,3")),
        Hostile("a gap of centuries", rows("a,1700-01-01,1", "a,1700-01-02,1", "a,2200-01-01,2")),
        Hostile("steps without a rule", rows("a,2024-01-01,1", "a,2024-01-02,2", "a,2024-03-07,3")),
        Hostile("a gap that would fill a disk", rows("a,0,1", "a,1,1", "a,900000000000,2"),
                query={"fill": "interpolate"}),
    ]  # fmt: skip


def parquet(table: pa.Table, **options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


def _parquet(rng: np.random.Generator) -> list[Hostile]:
    n = 500
    table = pa.table({"unique_id": ["a"] * n, "ds": np.arange(n), "y": rng.normal(size=n)})
    whole = parquet(table, write_page_checksum=True, compression="none")
    wide = pa.table({f"c{i}": [1] for i in range(1_500)})

    def many_rows() -> bytes:
        same = pa.array(np.zeros(20_000_000, dtype=np.int8))
        return parquet(pa.table({"ds": same, "y": same}), compression="zstd")

    def long_text() -> bytes:
        text = pa.array(["x" * (4 * MIB)] * 40).dictionary_encode()
        return parquet(pa.table({"unique_id": text, "ds": range(40), "y": range(40)}))

    def shared_text(name: str) -> bytes:
        """One text of 8 MiB that 5,000 rows share: it unpacks to 40 GB."""
        n = 5_000
        text = pa.DictionaryArray.from_arrays(np.zeros(n, "<i4"), ["x" * (8 * MIB)])
        table = pa.table({name: text, "ds": range(n), "y": range(n)})
        return parquet(table, dictionary_pagesize_limit=64 * MIB, store_schema=False)

    def bad_text() -> bytes:
        odd = pa.Array.from_buffers(
            pa.string(), 2, [None, pa.py_buffer(np.array([0, 1, 2], "<i4").tobytes()),
                             pa.py_buffer(b"\xff\xfe")],
        )  # fmt: skip
        return parquet(pa.table({"unique_id": odd, "ds": [1, 2], "y": [1.0, 2.0]}))

    return [
        Hostile("Parquet of ids that share a text", lambda: shared_text("unique_id"), PARQUET),
        Hostile("Parquet of dates that share a text",
                lambda: shared_text("note").replace(b"note", b"date"), PARQUET,
                query={"time_col": "date"}),
        Hostile("Parquet of texts of no encoding", bad_text, PARQUET),
        Hostile("Parquet cut in half", lambda: whole[: len(whole) // 2], PARQUET),
        Hostile("Parquet without an end", lambda: whole[:-1], PARQUET),
        Hostile("Parquet magic only", lambda: b"PAR1PAR1", PARQUET),
        Hostile("Parquet with a footer of 4 GB",
                lambda: whole[:-8] + struct.pack("<I", 2**32 - 1) + b"PAR1", PARQUET),
        Hostile("Parquet with a broken footer",
                lambda: whole[:-200] + rng.bytes(192) + whole[-8:], PARQUET),
        Hostile("Parquet with a flipped bit", lambda: _flip(whole, len(whole) // 3), PARQUET),
        Hostile("Parquet of 20 million rows", many_rows, PARQUET, "data.parquet"),
        Hostile("Parquet of 1,500 columns", lambda: parquet(wide), PARQUET),
        Hostile("Parquet of long texts", long_text, PARQUET),
        Hostile("Parquet without rows", lambda: parquet(table.slice(0, 0)), PARQUET),
        Hostile("Parquet of lists",
                lambda: parquet(pa.table({"ds": [1, 2], "y": [[1.0], [2.0]]})), PARQUET),
        Hostile("Parquet of bytes as values",
                lambda: parquet(pa.table({"ds": [1, 2], "y": [b"1", b"\xff"]})), PARQUET),
        Hostile("Parquet of infinities",
                lambda: parquet(pa.table({"ds": [1, 2], "y": [1.0, float("inf")]})), PARQUET),
    ]  # fmt: skip


def _transport() -> list[Hostile]:
    whole = HEADER + 20 * ROW
    form = "multipart/form-data; boundary=x"
    parts = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n1\r\n' % i for i in range(10_000)
    )
    two = 2 * (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n1\r\n')
    long_header = b"--x\r\nContent-Disposition: form-data; name=" + b"n" * MIB + b"\r\n\r\n1\r\n"
    return [
        Hostile("a length of 10 GB", lambda: whole, headers={"Content-Length": str(10 * 2**30)}),
        Hostile("40 MiB", lambda: HEADER + ROW * (40 * MIB // len(ROW))),
        Hostile("40 MiB in pieces", lambda: HEADER + ROW * (40 * MIB // len(ROW)), chunked=True),
        Hostile(
            "said to be gzip",
            lambda: gzip.compress(whole, mtime=0),
            headers={"Content-Encoding": "gzip"},
        ),
        Hostile("of no type", lambda: whole, "application/x-nothing"),
        Hostile("a form without a file", lambda: b"--x--\r\n", form),
        Hostile("a form without an end", lambda: b"--x\r\n", form),
        Hostile("a form without a boundary", lambda: whole, "multipart/form-data"),
        Hostile("a form of 10,000 fields", lambda: parts + b"--x--\r\n", form),
        Hostile("a form with two files", lambda: two + b"--x--\r\n", form),
        Hostile("a form with a header of 1 MiB", lambda: long_header + b"--x--\r\n", form),
    ]


def _names() -> list[Hostile]:
    bad = monthly("1", "two", "3")
    script = "<script>alert(1)</script>"
    return [
        Hostile("a NUL as name", bad, CSV, "a\0b.csv"),
        Hostile("a path as name", bad, CSV, "../../../../etc/passwd"),
        Hostile("an absolute path as name", bad, CSV, "/etc/shadow"),
        Hostile("a Windows path as name", bad, CSV, "..\\..\\CON"),
        Hostile("a script as name", bad, CSV, f"{script}.csv"),
        Hostile("a name of 5,000 letters", bad, CSV, "n" * 5000),
        Hostile("a name that turns around", bad, CSV, "\u202egpj.csv"),
        Hostile("a script as column", rows("a,b,c", header=f"{script},ds,{script}")),
        Hostile("a script as cell", monthly("1", script, "3")),
        Hostile("a terminal's commands as cell", monthly("1", "\x1b[2J\x1b]0;x\x07", "3")),
    ]


def _options() -> list[Hostile]:
    whole = rows(*(f"a,2024-{month:02d}-01,1" for month in range(1, 13)))
    asked = {
        "a path": {"path": "/etc/passwd"},
        "a path as data": {"data": "../../../../etc/passwd"},
        "a path as sample": {"sample": "../../etc/passwd"},
        "a URL as sample": {"sample": "file:///etc/passwd"},
        "no encoding of text": {"encoding": "zlib_codec"},
        "an unknown encoding": {"encoding": "../evil"},
        "a line end as separator": {"sep": "\n"},
        "a format that is none": {"date_format": "%Q%Q%Q"},
        "a frequency that is none": {"freq": "__import__('os')"},
        "a frequency beyond all": {"freq": "99999999999999999999h"},
        "a season of -1": {"season_length": "-1"},
        "an endless column name": {"id_col": "x" * 2000},
        "one column for two": {"time_col": "y", "target_col": "y"},
    }
    return [Hostile(f"option: {name}", whole, query=query) for name, query in asked.items()]


def _json() -> list[Hostile]:
    kind = "application/json"

    def table(ds: str, y: str) -> Callable[[], bytes]:
        return lambda: f'{{"table": {{"ds": {ds}, "y": {y}}}}}'.encode()

    return [
        Hostile("JSON of NaN", table("[1, 2]", "[1, NaN]"), kind),
        Hostile("JSON of infinity", table("[1, 2]", "[1, Infinity]"), kind),
        Hostile("JSON beyond float64", table("[1, 2]", "[1, 1e999]"), kind),
        Hostile(
            "JSON beyond float64 by day", table('["2024-01-01", "2024-02-01"]', "[1, 1e999]"), kind
        ),
        Hostile("JSON of one day twice", table('["2024-01-01", "2024-01-01"]', "[1, 2]"), kind),
        Hostile("JSON of whole numbers beyond all", table(f"[1, {'9' * 400}]", "[1, 2]"), kind),
        Hostile("JSON of two kinds of dates", table('[1, "2024-01-01"]', "[1, 2]"), kind),
        Hostile("JSON of texts as values", table("[1, 2]", '["a", "b"]'), kind),
        Hostile("JSON of two lengths", table("[1, 2, 3]", "[1, 2]"), kind),
        Hostile("JSON 100,000 deep", lambda: b"[" * 100_000, kind),
        Hostile("JSON cut off", lambda: b'{"table": {"ds": [1', kind),
        Hostile("JSON of 5 MiB", lambda: json.dumps({"x": "y" * (5 * MIB)}).encode(), kind),
        Hostile("JSON with half a letter", table(r'["\ud800", "\udfff"]', "[1, 2]"), kind),
        Hostile("JSON without data", lambda: b"{}", kind),
        Hostile(
            "JSON with data twice",
            lambda: b'{"sample": "sales", "data": "' + b"a" * 22 + b'"}',
            kind,
        ),
        Hostile("JSON that is a list", lambda: b"[1, 2, 3]", kind),
        Hostile("JSON in UTF-16", lambda: '{"sample": "sales"}'.encode("utf-16"), kind),
    ]

"""Lines G and H, as far as they need neither a browser nor a job: service, report and exports."""

import csv
import io
import json
import time
from pathlib import Path

import pandas as pd

import explstm
from bad_inputs.configuration import refuse_job
from bad_inputs.world import HEADER, World, check, text
from explstm.reading import read_table
from explstm.server.settings import Settings
from explstm.spreadsheets import write_csv

JSON = {"Content-Type": "application/json"}
ASKED = b'{"sample": "sales", "h": 2}'
NAMES = (
    "../../etc/passwd",
    "/etc/shadow",
    "a\0b.csv",
    "x" * 300,
    "CON",
    "<img src=x onerror=1>.csv",
)


def code_of(answer: bytes) -> str:
    """The code of a failure."""
    return str(json.loads(answer)["error"]["code"])


@check("G1")
def too_long(world: World) -> None:
    said = {"Content-Length": str(40 * 2**20)}
    status, answer = world.raw("POST", "/api/v1/forecast", said)
    assert (status, code_of(answer)) == (413, "BODY_TOO_LONG")
    for length in ("-1", "9" * 30, "ten"):
        status, answer = world.raw("POST", "/api/v1/forecast", {"Content-Length": length})
        assert status == 400
    pieces = (b"a,2024-01-01,1\n" * 70_000 for _ in range(40))
    answer = world.client.post(
        "/api/v1/forecast", content=pieces, headers={"content-type": "text/csv"}
    )
    assert answer.status_code == 413, "in pieces, without a length"


@check("G2")
def many_parts(world: World) -> None:
    part = '--x\r\nContent-Disposition: form-data; name="f{}"\r\n\r\n1\r\n'
    body = "".join(part.format(i) for i in range(10_000)) + "--x--\r\n"
    form = {"content-type": "multipart/form-data; boundary=x"}
    answer = world.client.post("/api/v1/inspect", content=body.encode(), headers=form)
    assert answer.status_code == 400 and "Too many fields" in answer.text
    status, _ = world.raw("GET", "/healthz", {"X-Long": "x" * 2_000_000})
    assert status == 431


@check("G3")
def file_names(world: World) -> None:
    data = text(HEADER, world.rows()).encode()
    for name in NAMES:
        answer = world.client.post("/api/v1/inspect", files={"file": (name, data, "text/csv")})
        assert answer.status_code == 200, answer.text
        assert answer.json()["name"] == name.replace("\0", "%00")  # as a browser sends it
    kept = [path.name for path in (world.live.data / "uploads").iterdir()]
    assert kept and all(len(name) == 22 and "." not in name for name in kept)


@check("G5")
def other_content(world: World) -> None:
    data = text(HEADER, world.rows()).encode()
    for kind in ("application/vnd.ms-excel", "image/png", "text/html"):
        answer = world.client.post("/api/v1/inspect", files={"file": ("a.xlsx.csv", data, kind)})
        assert answer.status_code == 200, answer.text
    for made, words in ((b"PK\x03\x04" + bytes(60), "zip archive"), (b"\x1f\x8b\x08", "gzip")):
        answer = world.client.post("/api/v1/inspect", files={"file": ("a.csv", made, "text/csv")})
        assert answer.status_code == 415 and words in answer.json()["error"]["message"]


@check("G6")
def cross_origin(world: World) -> None:
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": world.live.url.replace("127.0.0.1", "localhost")},
    ):
        answer = world.client.post("/api/v1/forecast", content=ASKED, headers={**JSON, **headers})
        assert answer.status_code == 403, headers
        assert answer.json()["error"]["code"] == "CROSS_ORIGIN"
    own = {**JSON, "Origin": world.live.url, "Sec-Fetch-Site": "same-origin"}
    assert world.client.post("/api/v1/forecast", content=ASKED, headers=own).status_code == 200


@check("G7")
def foreign_host(world: World) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "169.254.169.254"):
        status, answer = world.raw("GET", "/", {"Host": host})
        assert (status, code_of(answer)) == (400, "HOST_UNKNOWN")


@check("G8")
def guessed_ids(world: World) -> None:
    for name in ("1", "a" * 22, "0" * 22, "..", "x" * 5000):
        for path in (
            f"/api/v1/jobs/{name}",
            f"/api/v1/jobs/{name}/result",
            f"/api/v1/data/{name}/series",
        ):
            refused = (422,) if "data" in path and len(name) not in (2, 22) else (404,)
            assert world.client.get(path).status_code in refused, path
    kept = world.client.post("/api/v1/inspect", content=b'{"sample": "sales"}', headers=JSON).json()
    assert len(kept["data"]) == 22  # of 6 bits each: more than 128


@check("G9")
def climbing_paths(world: World) -> None:
    for path in (
        "/api/v1/jobs/..%2f..%2fetc/files/passwd",
        "/api/v1/jobs/" + "a" * 22 + "/files/..%2f..%2frun.json",
        "/static/page/..%2f..%2fapp.py",
        "/static/page/../../app.py",
        "/%2e%2e/%2e%2e/etc/passwd",
    ):
        status, answer = world.raw("GET", path, {})
        assert (status, code_of(answer)) == (404, "NOT_FOUND"), path
        assert b"root:" not in answer and b"import" not in answer


@check("G14")
def crafted_range(world: World) -> None:
    whole = world.client.get("/static/page/app.js")
    assert whole.status_code == 200
    for ranges, status in (
        ("bytes=" + ",".join(f"{3 * i}-{3 * i + 1}" for i in range(2_000)), 200),
        ("bytes=" + "0-," * 5_000 + "0-", 200),
        ("bytes=" + "-" * 20_000, 400),
        (f"bytes=0-{10**30}", 206),
    ):
        started = time.perf_counter()
        answer = world.client.get("/static/page/app.js", headers={"Range": ranges})
        assert answer.status_code == status
        assert answer.content == whole.content or status == 400
        assert time.perf_counter() - started < 10


@check("G16")
def frames_and_types(world: World) -> None:
    for path in ("/", "/docs", "/api/v1/samples", "/static/page/app.js", "/nowhere"):
        headers = world.client.get(path).headers
        policy = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy and "default-src 'none'" in policy
        assert "unsafe" not in policy and "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"


@check("G17")
def settings_by_hand(world: World) -> None:
    extra = "Extra inputs are not permitted"
    for sent, status, words in (
        ({"path": "/etc/passwd"}, 422, f"path: {extra}"),
        ({"device": "cuda:0"}, 422, f"device: {extra}"),
        ({"model": "/tmp/model"}, 422, f"model: {extra}"),
        ({"sample": "../../etc/passwd"}, 404, "there is no such sample"),
        ({"h": 10**9}, 422, "h: Input should be less than or equal to 1000"),
        ({"season_length": [-1]}, 422, "season_length[0]: Input should be greater"),
    ):
        answer = world.client.post("/api/v1/forecast", json={"sample": "sales", **sent})
        assert answer.status_code == status, sent
        assert answer.json()["error"]["message"].startswith(words), answer.text
    for name, value, words in (
        ("max_steps", 10**9, "Input should be less than or equal to 20000"),
        ("checkpoint_dir", "/tmp", extra),
        ("device", "cuda:0", extra),
        ("backend", "/bin/sh", "Input should be 'torch' or 'tensorflow'"),
        ("init", "/tmp/model", "Input should be 'pretrained' or 'random'"),
    ):
        refuse_job(world, f"{name}: {words}", **{name: value})


@check("G18")
def room_for_jobs(world: World) -> None:
    limits = world.client.get("/api/v1/limits").json()
    settings = Settings(data=world.folder)
    for name in ("keep_jobs_for", "max_jobs_bytes", "keep_uploads_for"):
        assert limits[name] == getattr(settings, name), name


FORMULAE = (
    "=1+1",
    "+SUM(1)",
    "-SUM(1)",
    "@SUM(A1)",
    "\tx",
    "\rx",
    "=cmd|' /C calc'!A0",
    "'=1",
    "'plain",
)


@check("H3")
def formulae(world: World) -> None:
    names = [name for name in FORMULAE if name.strip() == name and not name.startswith("'")]
    sink = world.folder / "made.csv"
    made = pd.DataFrame({"unique_id": list(FORMULAE), "ds": 1, "y": -1.5})
    write_csv(made, sink)
    with sink.open(newline="") as file:
        ids = [row[0] for row in csv.reader(file)][1:]
    assert len(ids) == len(FORMULAE) and not any(name.startswith(tuple("=+-@\t\r")) for name in ids)
    assert ",-1.5" in sink.read_text(), "numbers stay numbers"
    assert read_table(sink)["unique_id"].tolist() == list(FORMULAE)
    rows = [row for name in names for row in world.rows(name=f'"{name}"')]
    expected = world.take(text(HEADER, rows))
    answer = world.client.post(
        "/api/v1/forecast?h=2",
        content=text(HEADER, rows).encode(),
        headers={"content-type": "text/csv", "accept": "text/csv"},
    )
    back = pd.read_csv(io.StringIO(answer.text), dtype=str)
    assert not back["unique_id"].str.startswith(tuple("=+-@")).any()
    assert set(expected["unique_id"]) == set(names)


@check("H8")
def no_network(world: World) -> None:
    assert world
    folder = Path(explstm.__file__).parent
    for path in (*folder.rglob("*.j2"), *folder.rglob("*.css"), *folder.rglob("static/*.js")):
        found = path.read_text().replace("http://www.w3.org/", "")
        assert "http://" not in found and "https://" not in found, path

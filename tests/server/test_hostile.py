"""Hostile uploads against the service as a user starts it."""

import http.client
import json
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from server.hostile import BINARY, Hostile, make_cases, parquet
from server.hostile_arrow import plain, write_file, write_stream
from server.live import Live, start

SECONDS = 5.0
MOST_MEMORY = 1_500 * 1024**2
CASES = make_cases()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with start(tmp_path_factory.mktemp("service")) as live:
        yield live


def send(service: Live, case: Hostile, body: bytes) -> tuple[int, dict[str, str], bytes]:
    content_type = case.content_type
    if case.filename is not None:
        name = case.filename.replace('"', "%22")
        disposition = f'Content-Disposition: form-data; name="file"; filename="{name}"'
        head = f"--bound\r\n{disposition}\r\nContent-Type: {case.content_type}\r\n\r\n"
        body = head.encode() + body + b"\r\n--bound--\r\n"
        content_type = "multipart/form-data; boundary=bound"
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.putrequest("POST", "/api/v1/inspect?" + urlencode(case.query))
    headers = {"Content-Type": content_type, **case.headers}
    if case.chunked:
        headers["Transfer-Encoding"] = "chunked"
    else:
        headers.setdefault("Content-Length", str(len(body)))
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    try:
        for at in range(0, len(body), 2**20):
            piece = body[at : at + 2**20]
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if case.chunked else piece)
        if case.chunked:
            connection.send(b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server has refused and does not read on
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)
    again = make_cases()
    for case, same in zip(CASES[:20], again[:20], strict=True):
        assert case.make() == same.make(), case.name


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_hostile_upload_is_refused_in_a_sentence(service: Live, case: Hostile) -> None:
    body = case.make()
    started = time.monotonic()
    status, headers, answer = send(service, case, body)
    took = time.monotonic() - started
    assert 400 <= status < 500, answer
    found = json.loads(answer)
    assert found["error"]["code"].isupper() or "_" in found["error"]["code"]
    message = found["error"]["message"]
    assert message.endswith((".", "?", ")")) and len(message) < 1100
    assert message.isprintable(), "no control character reaches a terminal"
    for inside in ("Traceback", "site-packages", "explstm/", str(service.data)):
        assert inside not in answer.decode()
    assert headers["content-type"] == "application/json"
    assert headers["x-content-type-options"] == "nosniff"
    assert took < SECONDS
    assert service.memory() < MOST_MEMORY


def test_nothing_is_left_of_them(service: Live) -> None:
    kept = list((service.data / "uploads").iterdir())
    assert all(path.is_file() and len(path.name) == 22 for path in kept), kept
    names = " ".join(str(path) for path in service.data.parent.rglob("*"))
    for part in ("passwd", "shadow", "CON", "script", "nnnnn"):
        assert part not in names
    assert sum(path.stat().st_size for path in kept) <= 512 * 1024**2
    assert service.process.poll() is None


@pytest.mark.parametrize("content_type", [None, "text/csv", "application/octet-stream"])
@pytest.mark.parametrize(
    ("name", "own_type", "said"),
    [
        ("gzip", "application/gzip", "looks like a gzip archive, not like CSV or Parquet; unpack"),
        ("zip", "application/zip", "looks like a zip archive, not like CSV or Parquet; unpack"),
        (
            "workbook",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "looks like an Excel workbook, not like CSV or Parquet; save it as CSV",
        ),
        ("old workbook", "application/vnd.ms-excel", "looks like an old Excel workbook"),
        ("picture", "application/octet-stream", "looks like a picture"),
    ],
)
def test_a_file_of_another_kind_is_called_by_its_name(
    service: Live, content_type: str | None, name: str, own_type: str, said: str
) -> None:
    body = next(case for case in CASES if case.name == name).make()
    sent = Hostile(name, lambda: body, content_type or own_type)
    status, _, answer = send(service, sent, body)
    assert status == 415
    assert said in json.loads(answer)["error"]["message"]


@pytest.mark.parametrize("words", [b"{", b"", b"[1]", b"\xff", b'{"columns": 1}'])
def test_what_pandas_wrote_of_itself_breaks_nothing(service: Live, words: bytes) -> None:
    table = plain().replace_schema_metadata({b"pandas": words})
    for body in (parquet(table), write_stream(table), write_file(table)):
        status, _, answer = send(service, Hostile("table", lambda: b"", BINARY), body)
        assert status == 200, answer
        assert json.loads(answer)["n_rows"] == len(table)

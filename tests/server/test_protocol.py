"""Heads of requests: bounded in size and time, whoever sends them."""

import json
import re
import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from server.live import Live, start

MIB = 2**20
HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    few = {"forecasters": 1, "readers": 1, "idle_seconds": 2, "read_seconds": 2.0}
    with start(tmp_path_factory.mktemp("service"), **few) as live:
        yield live


def talk(service: Live, *pieces: bytes) -> bytes:
    found = b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=120) as line:
        try:
            for piece in pieces:
                line.sendall(piece)
        except OSError:
            pass  # it is refused already
        try:
            while piece := line.recv(65_536):
                found += piece
        except ConnectionResetError:
            pass
    return found


def read(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


@pytest.mark.parametrize(
    "pieces",
    [
        [HEAD, b"X: " + b"a" * MIB, b"\r\n\r\n"],
        [HEAD, b"X: ", *[b"a" * MIB] * 100],
        [HEAD, *[b"a: b\r\n" * 10_000] * 10, b"\r\n"],
        [b"GET /healthz?" + b"a" * MIB, b" HTTP/1.1\r\nHost: localhost\r\n\r\n"],
        [HEAD, b"\r\n", HEAD, b"X: ", *[b"a" * MIB] * 2],
    ],
    ids=["long", "endless", "many", "address", "second on a connection"],
)
def test_a_long_head_is_not_waited_for(service: Live, pieces: list[bytes]) -> None:
    before = service.memory()
    answer = talk(service, *pieces)
    assert read(answer[answer.rindex(b"HTTP/1.1") :]) == (431, "HEAD_TOO_LONG")
    assert service.memory() < before + 16 * MIB


def test_what_follows_a_body_is_bounded_too(service: Live) -> None:
    before = service.memory()
    head = b"POST /api/v1/inspect HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n"
    body = b"Transfer-Encoding: chunked\r\n\r\n5\r\nds,y\n\r\n0\r\nX: "
    talk(service, head + body, *[b"a" * MIB] * 100)
    assert service.memory() < before + 16 * MIB
    deadline = time.monotonic() + 120
    while any((service.data / "uploads").iterdir()):  # until the server has seen that it is alone
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("said", [b"", b"GET / HT", HEAD + b"X: 1\r\n"])
def test_a_head_that_does_not_come_is_not_waited_for(service: Live, said: bytes) -> None:
    assert read(talk(service, said)) == (408, "HEAD_TOO_SLOW")


@pytest.mark.parametrize(
    ("request_line", "kind", "status"),
    [
        (b"POST /api/v1/inspect HTTP/1.1", b"image/png", b"415"),
        (b"POST /api/v1/inspect HTTP/1.1", b"text/csv", b"408"),
        (b"POST /healthz HTTP/1.1", b"text/csv", b"405"),
        (b"GET /healthz HTTP/1.1", b"text/csv", b"200"),
    ],
)
def test_a_body_in_drops_does_not_hold_a_connection_whatever_was_answered(
    service: Live, request_line: bytes, kind: bytes, status: bytes
) -> None:
    head = b"\r\nHost: localhost\r\nContent-Length: 100000\r\nContent-Type: " + kind + b"\r\n\r\n"
    deadline, found = time.monotonic() + 120, b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=0.2) as line:
        line.sendall(request_line + head)
        try:
            while True:
                assert time.monotonic() < deadline, "the connection is held"
                line.sendall(b" ")
                try:
                    piece = line.recv(65_536)
                except TimeoutError:
                    continue
                if not piece:
                    break
                found += piece
        except OSError:
            pass  # it has ended
    assert found.split()[1] == status


@pytest.mark.parametrize("takes", [False, True])
def test_an_answer_that_nobody_takes_is_let_go(service: Live, takes: bool) -> None:
    asked = json.dumps({"sample": "sales", "h": 1000, "level": list(range(50, 95, 5))}).encode()
    head = (
        b"POST /api/v1/forecast HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(asked)
    )
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(60)
        line.connect(("127.0.0.1", service.port))
        line.sendall(head + asked)
        found = line.recv(4096)
        length = int(re.search(rb"content-length: (\d+)", found)[1])
        whole = length + found.index(b"\r\n\r\n") + 4
        n_found = len(found)
        deadline = time.monotonic() + 10  # more than twice as long as nothing may be taken
        try:
            while time.monotonic() < deadline:
                time.sleep(0.005)
                n_found += len(line.recv(4096)) if takes else 0
            while piece := line.recv(MIB):
                n_found += len(piece)
        except ConnectionResetError:
            pass
    assert length > 8 * MIB and (n_found == whole) == takes


def test_a_connection_serves_one_request_after_the_other(service: Live) -> None:
    with httpx.Client(base_url=service.url, timeout=60) as client:
        body = b"ds,y\n" + b"".join(b"%d,%d\n" % (step, step) for step in range(200_000))
        for _ in range(3):
            kind = {"content-type": "text/csv"}
            assert client.post("/api/v1/inspect", content=body, headers=kind).status_code == 200
            assert client.get("/healthz", headers={"x": "a" * 30_000}).status_code == 200

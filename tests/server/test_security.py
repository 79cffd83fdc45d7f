"""What stands before the routes."""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from explstm.errors import UsageError
from explstm.server.security import strip_port
from explstm.server.settings import Settings, read_token
from server.live import Live, start

TOKEN = "a-token-that-nobody-guesses"
SMALL = {"table": {"ds": [1, 2, 3, 4, 5, 6, 7, 8], "y": [1, 2, 3, 4, 5, 6, 7, 8]}, "h": 1}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with start(
        tmp_path_factory.mktemp("service"),
        token=TOKEN,
        trusted_hosts=("forecasts.example",),
        uploads_at_once=3,
        read_seconds=2.0,
        max_bytes=20_000,
    ) as live:
        yield live


def ask(service: Live, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named.setdefault("authorization", f"Bearer {TOKEN}")
    return httpx.post(f"{service.url}/api/v1/forecast", json=SMALL, headers=named, timeout=30)


def test_a_client_with_the_token_is_served(service: Live) -> None:
    assert ask(service).status_code == 200
    assert ask(service, origin=service.url, sec_fetch_site="same-origin").status_code == 200
    named = {"host": f"forecasts.example:{service.port}"}
    assert ask(service, **named).status_code == 200
    assert ask(service, **named, origin=f"https://{named['host']}").status_code == 200


@pytest.mark.parametrize("shown", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN])
def test_a_client_without_the_token_is_not(service: Live, shown: str) -> None:
    answer = ask(service, authorization=shown)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text
    paths = ("metrics", "limits", "samples", "jobs", f"jobs/{'x' * 22}", f"data/{'x' * 22}/series")
    for path in ("/metrics", *(f"/api/v1/{path}" for path in paths[1:])):
        assert httpx.get(service.url + path, headers={"authorization": shown}, timeout=60).status_code == 401
    for path in ("/healthz", "/readyz", "/docs", "/api/v1/openapi.json"):
        assert httpx.get(service.url + path, timeout=60).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "file://"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
def test_the_page_of_another_site_cannot_write(service: Live, headers: dict[str, str]) -> None:
    answer = ask(service, **headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "CROSS_ORIGIN")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.:1"])
def test_a_request_to_another_host_is_refused(service: Live, host: str) -> None:
    answer = httpx.get(f"{service.url}/healthz", headers={"host": host}, timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "HOST_UNKNOWN")


def test_every_answer_carries_the_policy(service: Live) -> None:
    for path in ("/healthz", "/nothing", "/api/v1/samples"):
        headers = httpx.get(service.url + path, timeout=60).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert len(headers["x-request-id"]) == 16
        assert "server" not in headers


def talk(service: Live, text: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", service.port), timeout=120) as line:
        line.sendall(text)
        found = b""
        while piece := line.recv(65_536):
            found += piece
        return found


@pytest.mark.parametrize("hosts", [("127.0.0.1", "evil.example"), ("evil.example", "127.0.0.1")])
def test_a_deciding_header_twice_is_refused(service: Live, hosts: tuple[str, str]) -> None:
    named = "".join(f"Host: {host}\r\n" for host in hosts)
    head = f"GET /healthz HTTP/1.1\r\n{named}Connection: close\r\n\r\n"
    assert b"HEADER_TWICE" in talk(service, head.encode())


@pytest.mark.parametrize("form", [False, True])
@pytest.mark.parametrize("says_length", [False, True])
def test_a_body_that_is_too_long_is_not_taken(service: Live, form: bool, says_length: bool) -> None:
    kind, body = "text/csv", b"ds,y\n" + b"1,1\n" * 10_000
    if form:
        kind = "multipart/form-data; boundary=x"
        disposition = b'Content-Disposition: form-data; name="file"; filename="a.csv"'
        body = b"--x\r\n" + disposition + b"\r\n\r\n" + body + b"\r\n--x--\r\n"
    answer = httpx.post(
        f"{service.url}/api/v1/inspect",
        content=body if says_length else iter([body[:9_000], body[9_000:]]),
        headers={"content-type": kind, "authorization": f"Bearer {TOKEN}"},
        timeout=60,
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "BODY_TOO_LONG")
    assert not any((service.data / "uploads").iterdir())


def test_a_slow_body_is_not_waited_for(service: Live) -> None:
    head = (
        f"POST /api/v1/inspect HTTP/1.1\r\nHost: 127.0.0.1:{service.port}\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Type: text/csv\r\nContent-Length: 1000\r\n"
        "Connection: close\r\n\r\nds,y\n"
    )
    assert b" 408 " in talk(service, head.encode()).split(b"\r\n")[0]
    assert not any((service.data / "uploads").iterdir()), "what had come in is removed"


def test_a_client_that_leaves_leaves_nothing(service: Live) -> None:
    head = (
        f"POST /api/v1/inspect HTTP/1.1\r\nHost: 127.0.0.1:{service.port}\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Type: text/csv\r\nContent-Length: 1000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port)) as line:
        line.sendall(head.encode() + b"ds,y\n")
    assert ask(service).status_code == 200
    assert not any((service.data / "uploads").iterdir())
    assert '"trace"' not in service.log.read_text()


def test_slow_uploads_leave_room_for_others_and_the_rest_is_told_to_wait(service: Live) -> None:
    head = (
        f"POST /api/v1/inspect HTTP/1.1\r\nHost: 127.0.0.1:{service.port}\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Type: text/csv\r\nContent-Length: 1000\r\n\r\n"
    )
    lines = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(100)]
    try:
        for line in lines:
            line.settimeout(120)
            line.sendall(head.encode() + b"ds,y\n")
        statuses = [line.recv(100).split()[1] for line in lines]
    finally:
        for line in lines:
            line.close()
    assert statuses.count(b"408") == 3 and statuses.count(b"429") == 97
    assert ask(service).status_code == 200
    assert not any((service.data / "uploads").iterdir())


def test_more_small_forecasts_than_files_may_come_at_once(service: Live) -> None:
    with ThreadPoolExecutor(30) as clients:
        answers = list(clients.map(lambda _: ask(service), range(60)))
    assert {answer.status_code for answer in answers} == {200}


def test_the_token_is_not_in_the_log(service: Live) -> None:
    ask(service)
    assert TOKEN not in service.log.read_text()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "forecasts.example"])
def test_an_address_that_others_reach_needs_a_token(host: str) -> None:
    with pytest.raises(UsageError, match="token"):
        Settings(host=host)
    assert Settings(host=host, token=TOKEN).token == TOKEN
    assert TOKEN not in repr(Settings(host=host, token=TOKEN))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_the_own_machine_needs_none(host: str) -> None:
    assert Settings(host=host).token is None


def test_a_short_token_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 16"):
        Settings(token="short")


def test_the_token_file_is_for_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    assert read_token(file) == TOKEN
    file.chmod(0o644)
    if os.name == "posix":
        with pytest.raises(UsageError, match="chmod 600"):
            read_token(file)
    with pytest.raises(UsageError, match="cannot be read"):
        read_token(tmp_path / "none")


def test_ports_are_no_part_of_a_name() -> None:
    assert strip_port("localhost:80") == "localhost"
    assert strip_port("[::1]:80") == "[::1]"
    assert strip_port("[::1]") == "[::1]"
    assert strip_port("a:b") == "a:b"

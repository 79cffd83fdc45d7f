"""A PostgreSQL server for tests: with a password, in a folder and on a port of its own.

Needs its programs (Debian: ``apt-get install postgresql``), in a usual place or in the folder that
EXPLSTM_POSTGRESQL names; without them a test is skipped. Root starts it as another user, for the
server refuses to be root's.
"""

import glob
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

PLACES = "/usr/lib/postgresql/*/bin"
PASSWORD = "geheim/@:%?#7"
_names = itertools.count()


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        folder: Where its socket is.
        port: Where it listens, on this machine only.
    """

    folder: Path
    port: int
    user: str = "tester"
    password: str = field(default=PASSWORD)

    def url(self, database: str, password: str | None = None) -> str:
        secret = quote(password or self.password, safe="")
        return f"postgresql://{self.user}:{secret}@127.0.0.1:{self.port}/{database}"

    def ask(self, question: str, database: str = "postgres") -> list[Any]:
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            asked = connection.execute(question)
            return asked.fetchall() if asked.description else []

    def create(self) -> str:
        """The address of a new database."""
        name = f"study{next(_names)}"
        self.ask(f"CREATE DATABASE {name}")
        return self.url(name)


def find_postgresql() -> Path | None:
    found = shutil.which("postgres")
    places = [os.environ.get("EXPLSTM_POSTGRESQL"), *sorted(glob.glob(PLACES), reverse=True)]
    places += [str(Path(found).parent)] if found else []
    return next((Path(place) for place in places if place and Path(place, "initdb").exists()), None)


@contextmanager
def serve_postgresql() -> Iterator[Server]:
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install psycopg")
    programs = find_postgresql()
    if programs is None:
        pytest.skip(f"no PostgreSQL server is installed in {PLACES}; set EXPLSTM_POSTGRESQL")
    folder = Path(tempfile.mkdtemp(prefix="explstm-sql-", dir="/tmp"))
    other = _other_user(folder)
    try:
        (folder / "password").write_text(PASSWORD)
        os.chmod(folder / "password", 0o644)
        _run(
            [programs / "initdb", "--pgdata", folder / "data", "--username", "tester", "--no-sync"],
            ["--auth", "scram-sha-256", "--pwfile", folder / "password", "--locale", "C"],
            **other,
        )
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": folder,
            "fsync": "off",
        }
        command = [programs / "postgres", "-D", folder / "data"]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **other)
        try:
            server = Server(folder, port)
            _wait_for(server, process)
            yield server
        finally:
            process.terminate()  # the clients that are still there end it only when killed
            with suppress(subprocess.TimeoutExpired):
                process.wait(1)
            process.send_signal(2)
            process.wait(30)
    finally:
        shutil.rmtree(folder)


def _other_user(folder: Path) -> dict[str, Any]:
    """How to start a program as somebody else, to whom the folder is given; only for root."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            break
    else:
        pytest.skip("root cannot start PostgreSQL, and there is no other user")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _run(*parts: list[Any], **how: Any) -> None:
    done = subprocess.run(
        [str(one) for part in parts for one in part], capture_output=True, text=True, **how
    )
    assert done.returncode == 0, done.stderr


def _wait_for(server: Server, process: subprocess.Popen) -> None:
    import psycopg

    given_up = time.monotonic() + 60
    while time.monotonic() < given_up:
        assert process.poll() is None, (server.folder / "log").read_text()
        try:
            server.ask("SELECT 1")
            return
        except psycopg.OperationalError:
            time.sleep(0.05)
    raise TimeoutError((server.folder / "log").read_text())

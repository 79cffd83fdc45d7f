"""Where a study lies, and how the processes that share it know of each other.

Contract: a study lies in an SQLite file, for processes of one machine, or in a PostgreSQL database,
for those of several. Who has opened it holds a lock for as long as it lives, so that whether it
lives is never guessed from clocks; and one process at a time is *alone*. Both locks end with their
holder, however that ends: on a file they are the operating system's, in a database those of the
session.

In a database a process has one session, in which the locks are and through which everything is
said. A process whose session has ended, so that others may have taken its trials, therefore cannot
say anything more.

The address of a database may hold a password: nothing but ``shown`` of it is ever written or told.
"""

import glob
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from explstm.errors import BackendNotInstalledError, BusyError, UsageError
from explstm.storage import hold_lock

if TYPE_CHECKING:
    from psycopg import Connection

SQLITE = "sqlite:///"
POSTGRESQL = re.compile(r"postgres(ql)?(\+psycopg)?://")
BUSY_SECONDS = 60
POLL_SECONDS = 0.02
CLAIM_KEY = int.from_bytes(b"explstm")
"""Of the lock of who is alone: above all those of workers, which have 48 bits."""
CONNECTING: Mapping[str, str] = {
    "connect_timeout": "10",
    "application_name": "explstm",
    "client_encoding": "utf8",
    # Each end notices within a minute that the machine of the other one is gone.
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
SETTINGS: Mapping[str, str] = {
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "idle_session_timeout": "0",  # PostgreSQL 14 and later: trials take their time
}
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]*|/[A-Za-z0-9._/-]*")
_DATABASE = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Address:
    """Where a study lies.

    Attributes:
        shown: What may be told of it.
        path: The SQLite file; None where it is a database.
        connection: How the database is reached; it may hold a password.
    """

    shown: str
    path: Path | None = None
    connection: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)


class Home(Protocol):
    """A place of studies that one process has opened.

    Attributes:
        url: What Optuna calls it; without any secret.
        errors: What is raised where it cannot be used.
    """

    url: str
    errors: tuple[type[Exception], ...]

    def connect(self) -> Sequence[Mapping[str, Any]]:
        """How Optuna connects: to make and check the tables where it does that apart, and then."""

    def alone(self) -> AbstractContextManager[None]:
        """Wait for the others to leave, then keep them out."""

    def is_alive(self, worker: str) -> bool:
        """Whether the process of that name lives; asked by one that is alone."""


def parse_storage(storage: str | Path) -> Address:
    """Read ``sqlite:///tune.db``, a path, or ``postgresql://user@host/database``.

    Raises:
        UsageError: Another kind of database, or an address that cannot be read.
        BackendNotInstalledError: PostgreSQL needs a package that is not installed.
    """
    text = str(storage)
    if text.startswith(SQLITE) and len(text) > len(SQLITE):
        text = text.removeprefix(SQLITE)
    elif POSTGRESQL.match(text):
        return _parse_database(text)
    elif "://" in text or not text:
        kind = re.match(r"[a-z0-9+]*://", text)  # anything else may hold a password
        raise UsageError(
            "STUDY_STORAGE",
            f"--storage {kind[0] if kind else '...'} is neither an SQLite file nor a PostgreSQL "
            "database; write for example sqlite:///tune.db, or postgresql://user@host/database.",
        )
    return Address(text, Path(text))


def _parse_database(text: str) -> Address:
    psycopg = _import_psycopg()
    uri = POSTGRESQL.sub("postgresql://", text, count=1)
    try:
        found = {name: str(value) for name, value in psycopg.conninfo.conninfo_to_dict(uri).items()}
    except psycopg.Error:
        raise _refuse_address() from None
    host, database = found.get("host", ""), found.get("dbname", "")
    port = found.get("port", "")
    # A password with an @ or / in it makes a host or a database of its end, which is not shown.
    if not (_HOST.fullmatch(host) and _DATABASE.fullmatch(database) and re.fullmatch(r"\d*", port)):
        raise _refuse_address()
    where = f"[{host}]" if ":" in host else host
    where += f":{port}" if port else ""
    shown = f"postgresql://{where}/{database}"
    if host.startswith("/"):  # a socket
        shown = f"postgresql:///{database}?host={host}" + (port and f"&port={port}")
    return Address(shown, None, {**CONNECTING, **found})


def _refuse_address() -> UsageError:
    return UsageError(
        "STUDY_STORAGE",
        "--storage is no address of a PostgreSQL database that can be read; write "
        "postgresql://user@host:port/database, with %40, %2F and so on for signs within user and "
        "password, or leave the password to PGPASSFILE or ~/.pgpass.",
    )


@contextmanager
def open_home(address: Address, worker: str) -> Iterator[Home]:
    """Open the place of a study, as a process of that name, until the block ends.

    Raises:
        UsageError: There is no folder for the file, or the database cannot be reached.
    """
    if address.path is None:
        with _open_session(address) as connection:
            home = ServerHome(connection, lambda: _connect(address))
            home.lock(_worker_key(worker))
            yield home
        return
    if not address.path.parent.is_dir() or address.path.is_dir():
        raise UsageError(
            "STUDY_UNREADABLE",
            f"--storage {address.path} lies in no folder, or is one; give a file in a folder that "
            "exists.",
        )
    file = FileHome(address.path)
    with ExitStack() as held:
        with file.alone():
            file.forget_dead()
            held.enter_context(hold_lock(_worker_path(address.path, worker)))
        yield file


# -------------------------------------------------------------------------------------------- files


class FileHome:
    """An SQLite file."""

    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, path: Path) -> None:
        self.url = f"{SQLITE}{path}"
        self._path = path

    def connect(self) -> Sequence[Mapping[str, Any]]:
        """See :class:`Home`."""
        connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS)
        try:
            connection.execute("PRAGMA journal_mode=WAL")  # readers and a writer get along
        finally:
            connection.close()
        return ({"engine_kwargs": {"connect_args": {"timeout": BUSY_SECONDS}}},)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See :class:`Home`."""
        with ExitStack() as held:
            while True:
                try:
                    held.enter_context(hold_lock(self._path.with_name(f"{self._path.name}.claim")))
                    break
                except BusyError:
                    time.sleep(POLL_SECONDS)
            yield

    def is_alive(self, worker: str) -> bool:
        """See :class:`Home`."""
        try:
            with hold_lock(_worker_path(self._path, worker)):
                return False
        except BusyError:
            return True

    def forget_dead(self) -> None:
        """Remove the locks that killed processes left behind; only while others keep out."""
        for lock in self._path.parent.glob(f".{glob.escape(self._path.name)}.worker-*.lock"):
            self.is_alive(lock.name.rpartition("worker-")[2].removesuffix(".lock"))


def _worker_path(path: Path, worker: str) -> Path:
    return path.with_name(f"{path.name}.worker-{worker}")


# --------------------------------------------------------------------------------------- databases


class ServerHome:
    """A PostgreSQL database, and the one session in which a process speaks to it."""

    url = "postgresql+psycopg://"

    def __init__(
        self, connection: "Connection[Any]", begin_another: Callable[[], "Connection[Any]"]
    ) -> None:
        psycopg = _import_psycopg()
        self.errors: tuple[type[Exception], ...] = (psycopg.Error,)
        self._lost = psycopg.OperationalError("the session with the database has ended")
        self._connection, self._begin_another = connection, begin_another
        self._given = False

    def connect(self) -> Sequence[Mapping[str, Any]]:
        """See :class:`Home`.

        Optuna takes two sessions to look at its tables, which are closed again, and then the one
        that is there. When that has ended, another one is not begun.
        """

        def give() -> Any:
            if self._given:
                raise self._lost
            self._given = True
            return self._connection

        apart = {"creator": self._begin_another, "pool_size": 2}
        one = {"creator": give, "pool_size": 1, "max_overflow": 0}
        return {"engine_kwargs": apart}, {"engine_kwargs": one, "skip_compatibility_check": True}

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See :class:`Home`."""
        self.lock(CLAIM_KEY)
        try:
            yield
        finally:
            with suppress(*self.errors):  # a session that has ended holds no lock
                self._ask("SELECT pg_advisory_unlock(%s)", CLAIM_KEY)

    def is_alive(self, worker: str) -> bool:
        """See :class:`Home`."""
        key = _worker_key(worker)
        if not self._ask("SELECT pg_try_advisory_lock(%s)", key):
            return True
        self._ask("SELECT pg_advisory_unlock(%s)", key)
        return False

    def lock(self, key: int) -> None:
        """Wait for a lock, and hold it until the session ends or it is given back."""
        self._ask("SELECT pg_advisory_lock(%s)", key)

    def _ask(self, question: str, key: int) -> Any:
        with self._connection.transaction():
            row = self._connection.execute(question, (key,)).fetchone()
            return row[0] if row else None


@contextmanager
def _open_session(address: Address) -> Iterator["Connection[Any]"]:
    psycopg = _import_psycopg()
    try:
        connection = _connect(address)
        with connection.transaction():
            for name, value in SETTINGS.items():
                connection.execute(
                    "SELECT set_config(name, %s, false) FROM pg_settings WHERE name = %s",
                    (value, name),
                )
    except psycopg.Error as error:
        raise UsageError(
            "STUDY_UNREACHABLE",
            f"no study can be kept at {address.shown} ({hide_secrets(str(error), address)}); check "
            "the address, that the database exists, and how its password is given.",
        ) from None
    try:
        yield connection
    finally:
        connection.close()


def _connect(address: Address) -> "Connection[Any]":
    connection: Connection[Any] = _import_psycopg().connect(**address.connection)
    return connection


def hide_secrets(text: str, address: Address) -> str:
    """The begin of a text on one line, without what is secret of an address."""
    for name, value in address.connection.items():
        if "pass" in name and value:
            text = text.replace(value, "***")
    return " ".join(text.split())[:200]


def _worker_key(worker: str) -> int:
    return int(worker, 16)


def _import_psycopg() -> Any:
    try:
        import psycopg
        import psycopg.conninfo
    except ImportError:
        raise BackendNotInstalledError(
            "POSTGRESQL_NOT_INSTALLED",
            "a study in PostgreSQL needs psycopg, which is not installed; run pip install "
            "'explstm[postgresql]'.",
        ) from None
    return psycopg

"""Jobs in one SQLite file: the default store.

Contract: each call is one transaction, synced before it returns, so that what it has said outlives
``kill -9`` and a power cut. Values are JSON; nothing is unpickled.

Source: sqlite.org, "Write-Ahead Logging" and "PRAGMA synchronous": FULL syncs the log after each
transaction.
"""

import json
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from explstm.errors import ModelFileError
from explstm.server.jobs.record import ENDED, STATE_EVENT, Event, Job, State

LAYOUT = 1
_TABLES = """
CREATE TABLE job (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    arguments TEXT NOT NULL,
    state TEXT NOT NULL,
    created REAL NOT NULL,
    queued REAL NOT NULL,
    started REAL,
    ended REAL,
    error TEXT,
    attempts INTEGER NOT NULL
);
CREATE INDEX job_state ON job (state, queued);
CREATE TABLE event (
    id TEXT NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (id, number)
) WITHOUT ROWID;
"""
_FIELDS = "id, kind, arguments, state, created, started, ended, error, attempts"
_CHANGED = ("state", "started", "ended", "error", "attempts", "queued")


class SqliteJobs:
    """Jobs in a file, which is made when missing.

    Args:
        path: The file; its folder must exist.

    Raises:
        ModelFileError: The file cannot be used, or is of another version.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                self._connection.execute(f"PRAGMA {setting}")
            self._prepare(path)
        except sqlite3.Error as error:
            raise ModelFileError(
                "JOBS_UNREADABLE",
                f"{path}, where jobs are kept, cannot be used ({error}); move it away to start "
                "with no jobs.",
            ) from None

    def _prepare(self, path: Path) -> None:
        with self._transaction() as connection:
            (layout,) = connection.execute("PRAGMA user_version").fetchone()
            if layout == 0:
                for statement in _TABLES.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {LAYOUT}")
            elif layout != LAYOUT:
                raise ModelFileError(
                    "JOBS_VERSION",
                    f"{path} has layout {layout}, but this version knows {LAYOUT}; move it away to "
                    "start with no jobs.",
                )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk has ended some already
                    self._connection.execute("ROLLBACK")
                raise

    def add(self, job: Job) -> None:
        """Keep a new job."""
        values = (job.id, job.kind, json.dumps(job.arguments), job.state, job.created)
        more = (job.started, job.ended, _dump(job.error), job.attempts, job.created)
        with self._transaction() as connection:
            connection.execute(
                f"INSERT INTO job ({_FIELDS}, queued) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, *more),
            )
            _tell(connection, job.id, STATE_EVENT, {"state": job.state, "error": job.error})

    def get(self, job_id: str) -> Job | None:
        """A job, if it is known."""
        with self._lock:
            return _get(self._connection, job_id)

    def find(self, states: Collection[State] = (), limit: int = 1000) -> list[Job]:
        """Jobs in these states (all unless given), newest first."""
        marks = ", ".join("?" * len(states))
        where = f"WHERE state IN ({marks})" if states else ""
        with self._lock:
            rows = self._connection.execute(
                f"SELECT {_FIELDS} FROM job {where} ORDER BY number DESC LIMIT ?", (*states, limit)
            ).fetchall()
        return [_to_job(row) for row in rows]

    def change(self, job_id: str, allowed: Collection[State], **changes: Any) -> Job | None:
        """Change fields of a job that is in one of the allowed states, and tell of its state."""
        with self._transaction() as connection:
            job = _get(connection, job_id)
            if job is None or job.state not in allowed:
                return None
            return _change(connection, job_id, changes)

    def count(self) -> dict[State, int]:
        """How many jobs there are in each state that one is in."""
        with self._lock:
            rows = self._connection.execute("SELECT state, COUNT(*) FROM job GROUP BY state")
            return dict(rows.fetchall())

    def claim(self, now: float) -> Job | None:
        """Set the job that has waited longest to running, if one waits."""
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT id, attempts FROM job WHERE state = 'queued' ORDER BY queued, number"
            ).fetchone()
            if row is None:
                return None
            changes = {"state": "running", "started": now, "attempts": row[1] + 1}
            return _change(connection, row[0], changes)

    def tell(self, job_id: str, name: str, data: Mapping[str, Any]) -> None:
        """Add an event; of a job that is not there none is kept."""
        with self._transaction() as connection:
            if _get(connection, job_id) is not None:
                _tell(connection, job_id, name, data)

    def events(self, job_id: str, after: int = 0) -> list[Event]:
        """The events of a job after a number, in order."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT number, name, data FROM event WHERE id = ? AND number > ? ORDER BY number",
                (job_id, after),
            ).fetchall()
        return [Event(number, name, json.loads(data)) for number, name, data in rows]

    def delete(self, job_id: str) -> None:
        """Forget a job that has ended, with its events."""
        marks = ", ".join("?" * len(ENDED))
        with self._transaction() as connection:
            connection.execute(
                f"DELETE FROM job WHERE id = ? AND state IN ({marks})", (job_id, *ENDED)
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def _get(connection: sqlite3.Connection, job_id: str) -> Job | None:
    row = connection.execute(f"SELECT {_FIELDS} FROM job WHERE id = ?", (job_id,)).fetchone()
    return None if row is None else _to_job(row)


def _change(connection: sqlite3.Connection, job_id: str, changes: Mapping[str, Any]) -> Job | None:
    for name, value in changes.items():
        if name not in _CHANGED:
            raise ValueError(f"{name} of a job does not change")
        stored = _dump(value) if name == "error" else value
        connection.execute(f"UPDATE job SET {name} = ? WHERE id = ?", (stored, job_id))
    job = _get(connection, job_id)
    if job is not None:
        _tell(connection, job_id, STATE_EVENT, {"state": job.state, "error": job.error})
    return job


def _tell(connection: sqlite3.Connection, job_id: str, name: str, data: Mapping[str, Any]) -> None:
    connection.execute(
        "INSERT INTO event SELECT ?, COALESCE(MAX(number), 0) + 1, ?, ? FROM event WHERE id = ?",
        (job_id, name, json.dumps(data), job_id),
    )


def _dump(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def _to_job(row: tuple[Any, ...]) -> Job:
    job_id, kind, arguments, state, created, started, ended, error, attempts = row
    return Job(
        job_id,
        kind,
        json.loads(arguments),
        state,
        created,
        started,
        ended,
        None if error is None else json.loads(error),
        attempts,
    )

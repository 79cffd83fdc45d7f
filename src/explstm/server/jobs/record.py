"""A job: work that takes longer than an answer may, and what is kept of it.

    queued ──> running ──> done
       │          ├──────> failed        (refused, out of time or memory, or died)
       ├──────────┴──────> cancelled     (on request)
       │                   interrupted   (the server ended while it ran)
       └──< resumed: failed, cancelled and interrupted jobs may be queued again

Contract: a job is a record in a :class:`JobStore` and a folder named after its id, which holds all
that it reads and writes. Every change of a record states the states it may start from, so that two
that come at once cannot both succeed. Whatever a store says it has written outlives a kill. Another
store is any object with these methods. A server belongs to one user or one team: whoever may call
it at all, which is who shows its token where it has one, may see all its jobs.
"""

import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
ENDED: tuple[State, ...] = ("done", "failed", "cancelled", "interrupted")
AGAIN: tuple[State, ...] = ("failed", "cancelled", "interrupted")
"""States from which a job may be queued again."""

ID = re.compile(r"[A-Za-z0-9_-]{22}")
STATE_EVENT = "state"


@dataclass(frozen=True)
class Job:
    """What is known of a job.

    Attributes:
        id: 128 random bits, so that no link to a job can be guessed.
        kind: What it does, see :mod:`explstm.server.jobs.kinds`.
        arguments: The checked request, as JSON values.
        state: Where it stands.
        created: When it was asked for, in seconds since 1970 (UTC), as all times here.
        started: When it last began to run.
        ended: When it ended.
        error: ``code`` and ``message`` of a failure: one sentence.
        attempts: How often it has begun to run.
    """

    id: str
    kind: str
    arguments: Mapping[str, Any]
    state: State
    created: float
    started: float | None = None
    ended: float | None = None
    error: Mapping[str, str] | None = None
    attempts: int = 0


@dataclass(frozen=True)
class Event:
    """Something that followers of a job are told.

    Attributes:
        number: Counts up from 1 within a job, over restarts too.
        name: ``"state"``, or ``"progress"``.
        data: JSON values.
    """

    number: int
    name: str
    data: Mapping[str, Any] = field(default_factory=dict)


class JobStore(Protocol):
    """Where records and events of jobs are kept; its methods may be called from any thread."""

    def add(self, job: Job) -> None:
        """Keep a new job."""
        ...

    def get(self, job_id: str) -> Job | None:
        """A job, if it is known."""
        ...

    def find(self, states: Collection[State] = (), limit: int = 1000) -> list[Job]:
        """Jobs in these states (all unless given), newest first."""
        ...

    def change(self, job_id: str, allowed: Collection[State], **changes: Any) -> Job | None:
        """Change fields of a job that is in one of the allowed states, and tell of its state.

        Returns:
            The job as it is now, or None where nothing was changed.
        """
        ...

    def count(self) -> dict[State, int]:
        """How many jobs there are in each state that one is in."""
        ...

    def claim(self, now: float) -> Job | None:
        """Set the job that has waited longest to running, if one waits."""
        ...

    def tell(self, job_id: str, name: str, data: Mapping[str, Any]) -> None:
        """Add an event; of a job that is not there none is kept."""
        ...

    def events(self, job_id: str, after: int = 0) -> list[Event]:
        """The events of a job after a number, in order."""
        ...

    def delete(self, job_id: str) -> None:
        """Forget a job that has ended, with its events."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


def new_id() -> str:
    """An id that nobody can guess."""
    return secrets.token_urlsafe(16)

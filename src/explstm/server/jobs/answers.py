"""What clients get about jobs."""

from typing import Any

from pydantic import BaseModel, Field

from explstm.server.jobs.record import State
from explstm.server.schemas import Problem


class JobAnswer(BaseModel):
    """A job as it stands. Times are seconds since 1970, UTC."""

    id: str
    kind: str
    state: State
    request: dict[str, Any] = Field(description="What was asked for.")
    created: float
    started: float | None
    ended: float | None
    deleted: float | None = Field(description="When it will be deleted, if it has ended.")
    attempts: int
    error: Problem | None
    can_resume: bool = Field(description="POST .../resume queues it again.")
    can_continue: bool = Field(description="It would go on from a checkpoint.")
    files: list[str] = Field(description="What GET .../files/{name} has.")


class JobList(BaseModel):
    """Jobs, newest first."""

    jobs: list[JobAnswer]


class JobResult(BaseModel):
    """What came of a job.

    ``summary`` is by kind: fine-tune ``sentences`` and the last row of ``training``; backtest and
    report ``n_windows`` and the verdict (``use``, ``sentence``, ``verdicts``); tune the search's
    ``verdict`` and the parameters found.
    """

    id: str
    kind: str
    summary: dict[str, Any]
    forecast: dict[str, list[Any]] | None = Field(
        default=None, description="unique_id, ds, ExpLSTM, ... of the series asked for."
    )
    files: list[str]

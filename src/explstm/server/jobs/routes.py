"""``/jobs``: ask for long work, follow it, end it, fetch what came of it.

    POST /jobs                      JobRequest -> 202 JobAnswer; 404 unknown data, 503 queue full
    GET  /jobs                      -> JobList
    GET  /jobs/{id}                 -> JobAnswer
    GET  /jobs/{id}/events          server-sent events ``state`` and ``progress``; Last-Event-ID
    DELETE /jobs/{id}               -> 204, it is gone with its files; 409 where it waits or runs
    POST /jobs/{id}/cancel          -> 202 JobAnswer; 409 where it has ended
    POST /jobs/{id}/resume          -> 202 JobAnswer; 409 where it waits, runs or is done
    GET  /jobs/{id}/result          ?series=ID&series=ID -> JobResult; 409 where it is not done
    GET  /jobs/{id}/files/{name}    a download; name is one of ``files``

Contract: an id is looked up, never used as a path; so is a name. The stream of a job ends with its
last state; a follower that comes back with Last-Event-ID misses nothing, also after a restart.
"""

import asyncio
import csv
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.responses import FileResponse
from fastapi.routing import APIRoute
from fastapi.sse import EventSourceResponse, ServerSentEvent

from explstm.errors import ExpLSTMError
from explstm.panel import Panel
from explstm.server.answers import JSON
from explstm.server.api import FAILURES
from explstm.server.cases import office_of, origin_of
from explstm.server.data.reading import read_source
from explstm.server.data.upload_store import StoredUpload
from explstm.server.data.uploads import find_sample, receive_json
from explstm.server.errors import ApiError, from_package
from explstm.server.forecasting import series_unknown
from explstm.server.jobs.answers import JobAnswer, JobList, JobResult
from explstm.server.jobs.kinds import Backtest, JobRequest, Report
from explstm.server.jobs.record import AGAIN, ENDED, STATE_EVENT, Event, Job
from explstm.server.jobs.workers import JobPool, QueueFullError
from explstm.server.schemas import MAX_TEXT, Name, Problem
from explstm.server.settings import Settings
from explstm.spreadsheets import restore
from explstm.windows import check_history

ANSWERS = {**FAILURES, 409: FAILURES[404]}
EVENT_NUMBER = re.compile(r"[0-9]{1,18}")
LOOK_SECONDS = 0.1
RETRY_MS = 2000
RETRY_AFTER = {"Retry-After": "30"}
MAX_LISTED = 200
MAX_SERIES = 50
MAX_FORECAST_ROWS = 100_000
TYPES = {
    ".csv": "text/csv",
    ".json": JSON,
    ".html": "text/html",
    ".safetensors": "application/octet-stream",
}

DOWNLOADS = {
    kind: {"schema": {} if kind == JSON else {"type": "string", "format": "binary"}}
    for kind in TYPES.values()
}
"""What a file may be, for the description."""


def make_router(settings: Settings) -> APIRouter:
    """The routes; the pool they speak of lives as long as the app that includes them."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        pool = JobPool(settings)
        await run_sync(pool.start)
        app.state.jobs = pool
        try:
            yield
        finally:
            await run_sync(pool.stop)

    router = APIRouter(
        prefix="/jobs",
        tags=["jobs"],
        lifespan=lifespan,
        responses=ANSWERS,
        route_class=_make_route_class(settings),
    )
    for path, route, method, more in (
        ("", create, "POST", {"status_code": 202}),
        ("", show_all, "GET", {}),
        ("/{job_id}", show, "GET", {}),
        ("/{job_id}", delete, "DELETE", {"status_code": 204}),
        ("/{job_id}/events", follow, "GET", {"response_class": EventSourceResponse}),
        ("/{job_id}/cancel", cancel, "POST", {"status_code": 202}),
        ("/{job_id}/resume", resume, "POST", {"status_code": 202}),
        ("/{job_id}/result", show_result, "GET", {}),
        (
            "/{job_id}/files/{name}",
            download,
            "GET",
            {"response_class": FileResponse, "responses": {200: {"content": DOWNLOADS}}},
        ),
    ):
        router.add_api_route(path, route, methods=[method], **more)
    return router


def _make_route_class(settings: Settings) -> type[APIRoute]:
    """Routes whose JSON comes in within limits: FastAPI would take any length, at any pace."""

    class BoundedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def receive_and_handle(request: Request) -> Response:
                body = await receive_json(request, settings)

                async def give() -> dict[str, Any]:
                    return {"type": "http.request", "body": body, "more_body": False}

                return await handle(Request(request.scope, give))

            return handle if self.body_field is None else receive_and_handle

    return BoundedRoute


def find_pool(request: Request) -> JobPool:
    """The pool of the app."""
    pool: JobPool = request.app.state.jobs
    return pool


Pool = Annotated[JobPool, Depends(find_pool)]


def find_job(job_id: str, pool: Pool) -> Job:
    """The job of the address.

    Raises:
        ApiError: 404.
    """
    job = pool.store.get(job_id)
    if job is None:
        raise ApiError(
            404, "JOB_UNKNOWN", "there is no such job; it may have been deleted after its time."
        )
    return job


Found = Annotated[Job, Depends(find_job)]


def describe(job: Job, pool: JobPool) -> JobAnswer:
    """A job for its client."""
    kept = pool.settings.keep_jobs_for
    return JobAnswer(
        id=job.id,
        kind=job.kind,
        state=job.state,
        request=dict(job.arguments),
        created=job.created,
        started=job.started,
        ended=job.ended,
        deleted=None if job.ended is None else job.ended + kept,
        attempts=job.attempts,
        error=None if job.error is None else Problem(**job.error),
        can_resume=job.state in AGAIN,
        can_continue=job.state in AGAIN and pool.folders.can_continue(job.id),
        files=pool.folders.files(job) if job.state == "done" else [],
    )


# ------------------------------------------------------------------------------------- the routes


async def create(asked: JobRequest, request: Request, response: Response, pool: Pool) -> JobAnswer:
    """Ask for a job. It waits until a worker is free."""
    # Uploads belong to the event loop; what takes time does not.
    upload, panel = None, None
    if asked.data is not None:
        upload = request.app.state.uploads.take(asked.data)
        known = office_of(request).panels.look_up(origin_of(upload.source), asked)
        panel = None if known is None else known.panel
    if asked.sample is not None:
        sample = find_sample(asked.sample)
        panel = (await run_sync(read_source, sample, asked, pool.settings)).panel
    if panel is not None:
        _check_windows(asked, panel)
    answer = await run_sync(_submit, asked, upload, pool)
    response.headers["Location"] = request.url_for("show", job_id=answer.id).path
    return answer


def _check_windows(asked: JobRequest, panel: Panel) -> None:
    """Refuse at once what would fail in its turn."""
    if isinstance(asked, Backtest | Report):
        step_size = getattr(asked, "step_size", None) or asked.h
        try:
            check_history(panel, asked.h, asked.n_windows or 1, step_size)
        except ExpLSTMError as error:
            raise from_package(error) from None


def _submit(asked: JobRequest, upload: StoredUpload | None, pool: JobPool) -> JobAnswer:
    for other in asked.jobs if isinstance(asked, Report) else ():
        job = pool.store.get(other)
        if job is None or job.state != "done":
            raise ApiError(
                422, "JOB_NOT_DONE", f"jobs names {other}, which is no job that is done; leave it."
            )
    with _full_is_503():
        content = None if upload is None else upload.content
        return describe(pool.submit(asked.kind, asked.model_dump(mode="json"), content), pool)


@contextmanager
def _full_is_503() -> Iterator[None]:
    try:
        yield
    except QueueFullError as error:
        raise ApiError(503, error.code, error.message, RETRY_AFTER) from None


def show_all(pool: Pool) -> JobList:
    """The newest jobs."""
    return JobList(jobs=[describe(job, pool) for job in pool.store.find(limit=MAX_LISTED)])


def show(job: Found, pool: Pool) -> JobAnswer:
    """A job."""
    return describe(job, pool)


def delete(job: Found, pool: Pool) -> None:
    """Delete a job that has ended, with all that it made."""
    if not pool.delete(job.id):
        raise ApiError(409, "JOB_NOT_ENDED", f"the job is {job.state}; cancel it first.")


def cancel(job: Found, pool: Pool) -> JobAnswer:
    """End a job that waits or runs."""
    cancelled = pool.cancel(job.id)
    if cancelled is None:
        raise ApiError(409, "JOB_ENDED", f"the job is {job.state}, and cannot be cancelled.")
    return describe(cancelled, pool)


def resume(job: Found, pool: Pool) -> JobAnswer:
    """Queue a job again that did not come to its end: from its checkpoint, where it left one."""
    with _full_is_503():
        queued = pool.resume(job.id)
    if queued is None:
        raise ApiError(409, "JOB_NOT_ENDED", f"the job is {job.state}, and cannot be resumed.")
    return describe(queued, pool)


def show_result(
    job: Found,
    pool: Pool,
    series: Annotated[
        list[Name], Query(max_length=MAX_SERIES, description="Ids to send the forecast of.")
    ] = [],  # noqa: B006 - FastAPI copies it
) -> JobResult:
    """What came of a job that is done."""
    summary = pool.folders.result(job.id) if job.state == "done" else None
    if summary is None:
        raise ApiError(409, "JOB_NOT_DONE", f"the job is {job.state}, and has no result.")
    path = pool.folders.file(job, "forecast.csv")
    return JobResult(
        id=job.id,
        kind=job.kind,
        summary=summary,
        forecast=None if path is None or not series else read_forecast(path, set(series)),
        files=pool.folders.files(job),
    )


def download(job: Found, name: str, pool: Pool) -> Response:
    """A file of a job that is done, never shown but saved."""
    path = pool.folders.file(job, name) if job.state == "done" else None
    if path is None:
        raise ApiError(404, "FILE_UNKNOWN", "the job has no such file; see its list of files.")
    headers = {"Content-Disposition": f'attachment; filename="{path.name}"'}
    return FileResponse(path, media_type=TYPES[path.suffix], headers=headers)


# ------------------------------------------------------------------------------------- the stream


async def follow(
    job: Found,
    pool: Pool,
    request: Request,
    last_event_id: Annotated[str, Header(max_length=MAX_TEXT)] = "",
) -> AsyncIterator[ServerSentEvent]:
    """Events of a job from the one after Last-Event-ID, to the end of the job."""
    seen, looked = int(last_event_id) if EVENT_NUMBER.fullmatch(last_event_id) else 0, -1
    n_followers = pool.n_followers = pool.n_followers + 1
    is_ending = request.app.state.is_ending
    try:
        while not is_ending() and n_followers <= pool.settings.max_followers:
            if looked != pool.n_told:
                looked = pool.n_told
                now, events = await run_sync(_look, pool, job.id, seen)
                for event in events:
                    seen = event.number
                    yield ServerSentEvent(
                        event=event.name, id=str(seen), data=event.data, retry=RETRY_MS
                    )
                if now is None or now.state in ENDED:
                    if now is not None and not events:  # so that whoever comes late knows
                        data = {"state": now.state, "error": now.error}
                        yield ServerSentEvent(event=STATE_EVENT, id=str(seen), data=data)
                    return
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        pool.n_followers -= 1


def _look(pool: JobPool, job_id: str, after: int) -> tuple[Job | None, list[Event]]:
    """The job, and the events up to then at least."""
    job = pool.store.get(job_id)
    return job, pool.store.events(job_id, after)


# -------------------------------------------------------------------------------------- the files


def read_forecast(path: Path, series: set[str]) -> dict[str, list[Any]]:
    """Some series of a forecast, as columns.

    Raises:
        ApiError: There is none of an id.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        columns: dict[str, list[Any]] = {name: [] for name in rows.fieldnames or ()}
        for row in rows:
            row["unique_id"] = restore(row["unique_id"])
            if row["unique_id"] in series and len(columns["ds"]) < MAX_FORECAST_ROWS:
                for name, text in row.items():
                    columns[name].append(text if name in ("unique_id", "ds") else float(text))
    if unknown := sorted(series.difference(columns["unique_id"])):
        raise series_unknown(unknown[0])
    return columns

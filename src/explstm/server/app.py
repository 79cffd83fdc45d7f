"""The app: routes, what stands before them, and what lives as long as it.

Contract: :func:`make_app` puts the parts together and does no work.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from explstm import __version__
from explstm.errors import ExpLSTMError
from explstm.server import api
from explstm.server.cases import Office
from explstm.server.data.upload_store import Uploads
from explstm.server.errors import ApiError, failure_body, from_package, from_system, from_validation
from explstm.server.health import METRICS_TYPE, Metrics
from explstm.server.jobs.routes import make_router
from explstm.server.lanes import open_lanes
from explstm.server.pages import add_pages
from explstm.server.panels import Panels
from explstm.server.process import keep_for_good
from explstm.server.reference import add_reference
from explstm.server.schemas import Health
from explstm.server.security import OPEN_PATHS, BodyTooLongError, Guard, too_long
from explstm.server.settings import Settings

CLIENT_LEFT = 499
BY_STATUS = {404: "NOT_FOUND", 405: "METHOD"}
log = logging.getLogger(__name__)
OPENAPI = f"{api.PREFIX}/openapi.json"


def make_app(settings: Settings) -> FastAPI:
    """The service as an ASGI app.

    Args:
        settings: How it runs, and what it lets in.
    """
    metrics = Metrics()
    app = FastAPI(
        title="Exponential LSTM",
        version=__version__,
        description="Forecasts of series that grow, and of those that do not.",
        lifespan=_open(settings, metrics),
        openapi_url=OPENAPI,
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings, app.state.status = settings, "starting"
    app.state.is_ending = lambda: app.state.status == "stopping"
    app.add_middleware(Guard, settings=settings, metrics=metrics)
    _add_failures(app, settings)
    _add_health(app, metrics)
    app.include_router(api.router)
    app.include_router(make_router(settings), prefix=api.PREFIX)
    add_reference(app)
    add_pages(app)
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]
    return app


def _open(settings: Settings, metrics: Metrics) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        uploads = Uploads(settings)
        async with open_lanes(settings, metrics) as (reader, forecaster):
            app.state.uploads = uploads
            panels = Panels(settings.max_panel_bytes)
            app.state.office = Office(settings, uploads, panels, reader, forecaster)

            async def warm() -> None:
                try:
                    await asyncio.gather(reader.warm(), forecaster.warm())
                except Exception:  # whoever asks /readyz sees that it does not become ready
                    log.exception("the processes could not be started")
                else:
                    keep_for_good()
                    app.state.status = "ok"

            warming = asyncio.create_task(warm())
            try:
                yield
            finally:
                app.state.status = "stopping"
                warming.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await warming
                uploads.clear()

    return lifespan


def _add_failures(app: FastAPI, settings: Settings) -> None:
    """Every failure gets the one shape."""

    def answer(request: Request, error: ApiError) -> Response:
        body = failure_body(error, request.state.request_id)
        headers = {"content-type": "application/json", **(error.headers or {})}
        return Response(body, error.status, headers)

    async def refused(request: Request, error: Any) -> Response:
        return answer(request, error)

    async def failed(request: Request, error: Any) -> Response:
        return answer(request, from_package(error))

    async def hindered(request: Request, error: Any) -> Response:
        refusal = from_system(error)
        if refusal is None:
            raise error
        log.error("the disk is full", extra={"request_id": request.state.request_id})
        return answer(request, refusal)

    async def invalid(request: Request, error: Any) -> Response:
        return answer(request, from_validation(error.errors()))

    async def unknown(request: Request, error: Any) -> Response:
        code = BY_STATUS.get(error.status_code, "HTTP")
        text = f"{error.detail}; see {OPENAPI}."
        return answer(request, ApiError(error.status_code, code, text, error.headers))

    async def too_much(request: Request, error: Any) -> Response:
        refusal = too_long(settings.max_bytes)
        closing = {"connection": "close"}  # the rest of the body is not read
        return answer(request, ApiError(413, refusal.code, refusal.message, closing))

    async def left(request: Request, error: Any) -> Response:
        return Response(status_code=CLIENT_LEFT)

    for kind, handler in (
        (ApiError, refused),
        (ExpLSTMError, failed),
        (RequestValidationError, invalid),
        (HTTPException, unknown),
        (BodyTooLongError, too_much),
        (ClientDisconnect, left),
        (OSError, hindered),
        (sqlite3.OperationalError, hindered),
    ):
        app.add_exception_handler(kind, handler)


def _add_health(app: FastAPI, metrics: Metrics) -> None:
    @app.get("/healthz", tags=["health"])
    async def is_alive() -> Health:
        """The server answers."""
        return Health(status="ok")

    @app.get("/readyz", tags=["health"], responses={503: {"model": Health}})
    async def is_ready(response: Response) -> Health:
        """The server is ready to forecast."""
        status = app.state.status
        response.status_code = 200 if status == "ok" else 503
        return Health(status=status)

    @app.get("/metrics", include_in_schema=False)
    def show_metrics() -> Response:
        jobs = getattr(app.state, "jobs", None)
        metrics.count_jobs({} if jobs is None else jobs.counts())
        return Response(metrics.write(), headers={"content-type": METRICS_TYPE})


def _describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description, with the requests that the routes read themselves."""
    if app.openapi_schema is None:
        described = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
        )
        _, more = models_json_schema(
            [(model, "validation") for model in api.REQUESTS],
            ref_template="#/components/schemas/{model}",
        )
        schemas = described.setdefault("components", {}).setdefault("schemas", {})
        schemas |= more.get("$defs", {})
        _describe_token(described, app.state.settings)
        app.openapi_schema = described
    return app.openapi_schema


def _describe_token(described: dict[str, Any], settings: Settings) -> None:
    """Say where the token is shown, and that without one every request is served."""
    schemes = described["components"].setdefault("securitySchemes", {})
    schemes["token"] = {"type": "http", "scheme": "bearer"}
    described["security"] = [{"token": []}] if settings.token is not None else [{}, {"token": []}]
    for path in OPEN_PATHS & described["paths"].keys():
        for route in described["paths"][path].values():
            route["security"] = []

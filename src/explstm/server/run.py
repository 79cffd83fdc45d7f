"""Start the service."""

import signal
import sys
from contextlib import suppress
from functools import partial
from typing import Any

from explstm.errors import BackendNotInstalledError
from explstm.server.settings import Settings
from explstm.storage import hold_lock

FAILED_TO_START = 1


def serve(settings: Settings) -> None:
    """Listen until told to stop.

    Raises:
        BackendNotInstalledError: The extra ``serve`` is not installed.
        BusyError: Another server has the folder.
        ModelFileError: The record of its jobs cannot be read.
    """
    try:
        import uvicorn  # noqa: F401

        from explstm.server.app import make_app
        from explstm.server.health import start_log
        from explstm.server.jobs.workers import open_store
    except ImportError as error:
        raise BackendNotInstalledError(
            "SERVE_NOT_INSTALLED",
            f"the service needs {error.name}; run: pip install 'explstm[serve]'",
        ) from None
    start_log()
    # Being told to stop is how a service ends, not a failure; uvicorn tells the older handler too.
    signal.signal(signal.SIGTERM, lambda *_: None)
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Before anything is made of the folder: another server may be at work in it.
    with hold_lock(settings.data / "server"):
        open_store(settings).close()  # whose failure uvicorn would tell as a trace
        app = make_app(settings)
        server = _make_server(app, settings)
        # uvicorn waits for open requests first, and tells the app afterwards: streams that go on
        # as long as a job would hold it up.
        app.state.is_ending = lambda: server.should_exit
        with suppress(KeyboardInterrupt):  # so is Ctrl-C
            server.run()
        if not server.started:
            sys.exit(FAILED_TO_START)


def _make_server(app: Any, settings: Settings) -> Any:
    import uvicorn

    config = uvicorn.Config(
        app,
        http=_choose_protocol(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=settings.max_waiting_connections,
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=settings.idle_seconds,
        timeout_graceful_shutdown=settings.stop_seconds,
        h11_max_incomplete_event_size=settings.max_header_bytes,
    )
    return uvicorn.Server(config)


def _choose_protocol(settings: Settings) -> Any:
    """What speaks HTTP: h11, which bounds a head by itself, only where httptools is missing."""
    try:
        from explstm.server.protocol import BoundedProtocol
    except ModuleNotFoundError:
        return "h11"
    return partial(
        BoundedProtocol,
        max_head_bytes=settings.max_header_bytes,
        head_seconds=settings.idle_seconds,
        body_seconds=settings.read_seconds + settings.idle_seconds,  # the app answers before
    )

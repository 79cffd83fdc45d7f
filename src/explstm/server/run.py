"""Start the service."""

from explstm.errors import BackendNotInstalledError
from explstm.server.settings import Settings

GRACE = 10
KEEP_ALIVE = 30
WAITING_CONNECTIONS = 256
CONNECTIONS = 512
LONGEST_HEADERS = 32_768


def serve(settings: Settings) -> None:
    """Listen until told to stop.

    Raises:
        BackendNotInstalledError: The extra ``serve`` is not installed.
    """
    try:
        import uvicorn

        from explstm.server.app import make_app
        from explstm.server.health import start_log
    except ImportError as error:
        raise BackendNotInstalledError(
            "SERVE_NOT_INSTALLED",
            f"the service needs {error.name}; run: pip install 'explstm[serve]'",
        ) from None
    start_log()
    uvicorn.run(
        make_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=WAITING_CONNECTIONS,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
        h11_max_incomplete_event_size=LONGEST_HEADERS,
    )

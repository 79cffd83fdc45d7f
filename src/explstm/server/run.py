"""Start the service."""

import signal

from explstm.errors import BackendNotInstalledError
from explstm.server.settings import Settings
from explstm.storage import hold_lock

GRACE = 10
KEEP_ALIVE = 30
WAITING_CONNECTIONS = 256
CONNECTIONS = 512
LONGEST_HEADERS = 32_768


def serve(settings: Settings) -> None:
    """Listen until told to stop.

    Raises:
        BackendNotInstalledError: The extra ``serve`` is not installed.
        BusyError: Another server has the folder.
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
    # Being told to stop is how a service ends, not a failure; uvicorn tells the older handler too.
    signal.signal(signal.SIGTERM, lambda *_: None)
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Before anything is made of the folder: another server may be at work in it.
    with hold_lock(settings.data / "server"):
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

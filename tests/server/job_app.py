"""The service for tests of jobs: ``python job_app.py FOLDER PORT``, with as little as it can do."""

import sys
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from explstm.server.app import make_app
from explstm.server.settings import Settings


def make_small_app(folder: Path, **limits: Any) -> FastAPI:
    """The real app, with one process of each kind."""
    settings = Settings(
        data=folder, forecasters=1, readers=1, trusted_hosts=("testserver",), **limits
    )
    return make_app(settings)


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(
        make_small_app(Path(sys.argv[1])),
        port=int(sys.argv[2]),
        log_level="warning",
        timeout_graceful_shutdown=1,
    )

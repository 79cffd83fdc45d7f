"""A server with nothing but jobs, for tests: ``python job_app.py FOLDER PORT``.

Uploads are kept in memory under ids of 22 letters.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError

from explstm.server.errors import ApiError, failure_body, from_validation
from explstm.server.job_routes import make_router
from explstm.server.settings import Settings


@dataclass
class Upload:
    content: bytes
    name: str = "data.csv"


@dataclass
class Uploads:
    kept: dict[str, Upload] = field(default_factory=dict)

    def take(self, data_id: str) -> Upload:
        if data_id not in self.kept:
            raise ApiError(404, "DATA_UNKNOWN", "there are no such data; upload them again.")
        return self.kept[data_id]


def make_app(folder: Path, **limits: Any) -> FastAPI:
    settings = Settings(data=folder, **limits)
    app = FastAPI()
    app.state.settings, app.state.uploads = settings, Uploads()
    app.include_router(make_router(settings), prefix="/api/v1")

    @app.exception_handler(ApiError)
    def refuse(_: Request, error: ApiError) -> Response:
        return Response(
            failure_body(error, "-"), error.status, error.headers, media_type="application/json"
        )

    @app.exception_handler(RequestValidationError)
    def refuse_invalid(request: Request, error: RequestValidationError) -> Response:
        return refuse(request, from_validation(error.errors()))

    return app


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(
        make_app(Path(sys.argv[1])),
        port=int(sys.argv[2]),
        log_level="warning",
        timeout_graceful_shutdown=1,
    )

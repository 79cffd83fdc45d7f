"""The service for tests of jobs: ``python job_app.py FOLDER PORT``, with as little as it can do."""

import sys
from pathlib import Path
from typing import Any

from explstm.server.run import serve
from explstm.server.settings import Settings


def small_settings(folder: Path, **limits: Any) -> Settings:
    """One process of each kind."""
    return Settings(data=folder, forecasters=1, readers=1, trusted_hosts=("testserver",), **limits)


if __name__ == "__main__":
    serve(small_settings(Path(sys.argv[1]), port=int(sys.argv[2])))

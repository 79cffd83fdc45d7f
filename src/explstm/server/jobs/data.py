"""The series of a job, read in its own process.

Contract: what the client sent is read as ``/inspect`` reads it, within the limits of the service.
"""

from collections.abc import Mapping
from typing import Any

from explstm.panel import Panel
from explstm.server.data.reading import Source, read_source
from explstm.server.jobs.folders import UPLOAD
from explstm.server.schemas import ReadRequest
from explstm.server.settings import Settings

SHOWN_NAME = "the file"


def read_panel(request: ReadRequest, limits: Mapping[str, Any]) -> Panel:
    """Read the series of a job, whose folder is the current one.

    Args:
        request: What was asked for.
        limits: Numbers of :class:`explstm.server.settings.Settings`.

    Raises:
        ApiError: They cannot be used.
    """
    source = Source("file", UPLOAD, SHOWN_NAME)
    if request.sample is not None:
        source = Source("sample", "", request.sample)
    return read_source(source, request, Settings(**limits)).panel

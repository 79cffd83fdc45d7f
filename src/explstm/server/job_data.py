"""The series of a job, read in its own process.

Contract: what the client sent is read within the limits of the service, as ``/inspect`` read it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from explstm.options import DataOptions
from explstm.panel import Panel
from explstm.server.job_folders import UPLOAD
from explstm.server.schemas import DataRequest


def read_panel(request: DataRequest, limits: Mapping[str, Any]) -> Panel:
    """Read the series of a job, whose folder is the current one.

    Args:
        request: What was asked for.
        limits: Numbers of :class:`explstm.server.settings.Settings`.

    Raises:
        DataError: They cannot be used.
    """
    if request.sample is not None:
        from explstm.datasets import load_air_passengers
        from explstm.frame import build_panel

        return build_panel(load_air_passengers())
    options = DataOptions(
        id_col=request.id_col or "unique_id",
        time_col=request.time_col or "ds",
        target_col=request.target_col or "y",
        fill=request.fill,
        freq=request.freq,
    )
    return options.read(Path(UPLOAD))

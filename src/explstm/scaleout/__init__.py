"""Forecasts of more series, and more trials, than one process or one machine can hold.

Contract: :func:`forecast` reads a folder of Parquet and writes a folder of Parquet, in parts that
do not depend on each other. Each part is a pure function of the bytes that were read and the
options: whichever process computes it, and however often, it has the same bytes. A part appears
whole or not at all, so a run that was killed goes on where it was. What cannot be forecast is set
aside in a table with the reason, and the rest is complete. Memory is bounded by the size of a part,
not by that of the data. :func:`tune` trains the trials of a tuning on the same engines.

    inputs      which files there are, what they hold, what is wrong with them
    cutting     files to cuts: every row goes to the part that a hash of its series names
    rows        the rows of one part, gathered from the cuts
    parts       one part of the series to one file of forecasts
    sifting     the series that cannot be forecast, found among those that can
    engines     processes of this machine, or of a Ray cluster, that do tasks
    crew        which of them is opened
    records     what is written: whole files, the record of every task, the manifest
    run         the whole path
    attempts    checkpoints of trials
    trials      trials of a tuning, asked for and told by the driver
"""

import importlib.util
from typing import TYPE_CHECKING, Any

from explstm.errors import BackendNotInstalledError

if TYPE_CHECKING:
    from explstm.scaleout.run import Batch, Progress
    from explstm.scaleout.trials import SearchProgress

OF_TUNING = ("SearchProgress", "tune")
__all__ = ["Batch", "Progress", "SearchProgress", "forecast", "tune"]


def __getattr__(name: str) -> Any:
    """Import a public name where it lives, so that a worker loads no more than it needs."""
    if name not in __all__:
        raise AttributeError(f"module 'explstm.scaleout' has no attribute {name!r}")
    if name in OF_TUNING:
        from explstm.scaleout import trials

        return getattr(trials, name)
    if importlib.util.find_spec("pyarrow") is None:
        raise BackendNotInstalledError(
            "PYARROW_NOT_INSTALLED",
            "forecasting in parts reads and writes Parquet, which needs pyarrow; run: "
            "pip install 'explstm[parquet]'",
        )
    from explstm.scaleout import run

    return getattr(run, name)

"""Forecasts, training and tuning on more processes or machines than one.

:func:`train` and :func:`pretrain` train on several workers of a Ray cluster as one process does.

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
    run         the whole path of a forecast
    dataset     a folder of Parquet as one panel
    mirror      checkpoints at a URL
    members     what each of those does that train together
    ray_training  a team of them on a Ray cluster
    training    the whole path of a training
    attempts    checkpoints of trials
    trials      trials of a tuning, asked for and told by the driver
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from explstm.errors import BackendNotInstalledError

if TYPE_CHECKING:
    from explstm.scaleout.run import Batch, Progress
    from explstm.scaleout.training import Fitted, Pretrained
    from explstm.scaleout.trials import SearchProgress

OF_FORECASTS = ("Batch", "Progress", "forecast")
OF_TRAINING = ("Fitted", "Pretrained", "prepare_place", "pretrain", "train")
OF_TUNING = ("SearchProgress", "tune")
__all__ = [
    "Batch",
    "Fitted",
    "Pretrained",
    "Progress",
    "SearchProgress",
    "forecast",
    "prepare_place",
    "pretrain",
    "train",
    "tune",
]


def __getattr__(name: str) -> Any:
    """Import a public name where it lives, so that a worker loads no more than it needs."""
    if name not in __all__:
        raise AttributeError(f"module 'explstm.scaleout' has no attribute {name!r}")
    if name not in OF_TUNING and importlib.util.find_spec("pyarrow") is None:
        raise BackendNotInstalledError(
            "PYARROW_NOT_INSTALLED",
            "forecasting in parts and training on several workers read Parquet, which needs "
            "pyarrow; run: pip install 'explstm[parquet]'",
        )
    module = next(
        module
        for module, names in (
            ("run", OF_FORECASTS),
            ("training", OF_TRAINING),
            ("trials", OF_TUNING),
        )
        if name in names
    )
    return getattr(importlib.import_module(f"explstm.scaleout.{module}"), name)

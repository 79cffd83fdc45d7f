"""Forecasts series that grow, with stacked LSTMs in PyTorch and TensorFlow.

Importing this package loads no framework: every public name is looked up on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from explstm.errors import (
        BackendNotInstalledError,
        BusyError,
        DataError,
        ExpLSTMError,
        ModelFileError,
        TrainingError,
        TrainingStopped,
        UsageError,
    )
    from explstm.forecaster import ExpLSTM
    from explstm.models.spec import ModelSpec

__version__ = "0.1.0"

__all__ = [
    "BackendNotInstalledError",
    "BusyError",
    "DataError",
    "ExpLSTM",
    "ExpLSTMError",
    "ModelFileError",
    "ModelSpec",
    "TrainingError",
    "TrainingStopped",
    "UsageError",
    "__version__",
]

_HOME = {"ExpLSTM": "explstm.forecaster", "ModelSpec": "explstm.models.spec"}


def __getattr__(name: str) -> Any:
    """Import a public name where it lives, the first time it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'explstm' has no attribute {name!r}")
    value = getattr(import_module(_HOME.get(name, "explstm.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted(__all__)

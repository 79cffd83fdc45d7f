"""Every failure a user can meet, as one small tree.

    ExpLSTMError                 exit 1   our own fault
    ├── UsageError               exit 2   an argument or a configuration value (also a ValueError)
    │   └── BackendNotInstalledError      an engine's framework is missing (also an ImportError)
    ├── DataError                exit 3   the data (also a ValueError)
    ├── ModelFileError           exit 4   a saved model
    ├── TrainingError            exit 5   training failed
    ├── TrainingStopped          exit 6   stopped on request, can be resumed
    └── BusyError                exit 7   another process holds the folder

A message is one sentence that names the argument, column, series or row, says what was found,
and gives the remedy. ``code`` is stable and meant for machines.
"""


class ExpLSTMError(Exception):
    """Base of all errors raised on purpose by this package.

    Attributes:
        code: Stable upper-case identifier such as ``"DATA_EMPTY"``.
        exit_code: What the command line exits with.
    """

    exit_code = 1

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        """Rebuild from both arguments, so that an error crosses from one process to another."""
        return type(self), (self.code, self.message)


class UsageError(ExpLSTMError, ValueError):
    """An argument, option or configuration value that cannot be used."""

    exit_code = 2


class BackendNotInstalledError(UsageError, ImportError):
    """The framework of the requested engine, or an optional extra, is not installed."""


class DataError(ExpLSTMError, ValueError):
    """Data that cannot be forecast as they are."""

    exit_code = 3


class ModelFileError(ExpLSTMError):
    """A saved model that is missing, damaged, hostile, or from a newer version."""

    exit_code = 4


class TrainingError(ExpLSTMError):
    """Training that failed."""

    exit_code = 5


class TrainingStopped(ExpLSTMError):  # noqa: N818 - a stop on request is not an error
    """Training stopped on request after writing a checkpoint; it can be resumed."""

    exit_code = 6


class BusyError(ExpLSTMError):
    """Another process holds the folder."""

    exit_code = 7


def tell_reason(error: BaseException) -> str:
    """What an error of another package says, on one line of at most 200 signs."""
    return " ".join(str(error).split())[:200]

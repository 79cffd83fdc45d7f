"""Being asked to stop: the first signal is noted, the second acts as if this were not here."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from explstm.errors import TrainingStopped

INTERRUPTED_EXIT_CODE = 130


@dataclass
class Interruption:
    """The signal that arrived, if any.

    Attributes:
        signal: Its number, or None.
    """

    signal: int | None = None

    def to_stop(self, where: str, remedy: str) -> TrainingStopped:
        """The exception for a run that stops because of the signal."""
        name = signal.Signals(self.signal or signal.SIGTERM).name
        stop = TrainingStopped("TRAINING_STOPPED", f"{name} stopped training {where}; {remedy}.")
        if self.signal == signal.SIGINT:
            stop.exit_code = INTERRUPTED_EXIT_CODE
        return stop


@contextlib.contextmanager
def note_signals() -> Iterator[Interruption]:
    """Note SIGINT and SIGTERM instead of acting on them, in the main thread only.

    The handlers found are put back. A signal that nobody acted on is sent again then, so that one
    that arrives at the very end is not lost. Ignored signals stay ignored.
    """
    noted = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    previous: dict[int, Any] = {}

    def note(number: int, _frame: FrameType | None) -> None:
        noted.signal = number
        signal.signal(number, previous[number])

    for caught in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(caught)
        if handler not in (None, signal.SIG_IGN):
            previous[caught] = handler
            signal.signal(caught, note)
    try:
        yield noted
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if noted.signal is not None:
        signal.raise_signal(noted.signal)

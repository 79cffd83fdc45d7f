"""Tasks that go wrong, for the workers of an engine."""

import os
import signal
import time
from pathlib import Path

from explstm.errors import DataError


def double(task: int) -> int:
    return 2 * task


def die(task: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(marker: Path) -> str:
    """Kill this process, unless it was killed here before."""
    if marker.exists():
        return "survived"
    marker.touch()
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


def sleep_once(marker: Path) -> str:
    if not marker.exists():
        marker.touch()
        time.sleep(600)
    return "awake"


def refuse(task: object) -> None:
    raise DataError("DATA_GAP", "a sentence.")


def divide(task: int) -> float:
    return 1 / task


def fill_the_disk(task: object) -> None:
    raise OSError(28, "No space left on device")


def tell_priority(task: object) -> tuple[int, str]:
    return os.nice(0), os.environ["OMP_NUM_THREADS"]

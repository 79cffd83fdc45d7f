"""Work in a process of its own: one framework per process, one thread each.

Contract: pieces of work are done one after the other, and each result is handed back when it is
there. Threads that wait for each other on a busy machine make small networks many times slower, and
torch's sums depend on their number.
"""

import contextlib
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from explstm.errors import ExpLSTMError, TrainingError

Piece = TypeVar("Piece")
Result = TypeVar("Result")

THREADS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
)
"""Environment variables that NumPy and the frameworks read when they are imported."""
KEEP = {"MALLOC_MMAP_THRESHOLD_": str(1 << 25), "MALLOC_TRIM_THRESHOLD_": str(1 << 26)}
"""Of glibc, for processes that ask for much the same again and again: fresh pages cost small
forecasts 6 % of their time. The first is the most that it takes."""


def run_apart(
    work: Callable[[Piece], Result], pieces: Sequence[Piece], doing: str
) -> Iterator[Result]:
    """Do pieces of work in one fresh process, which ends with the last, or when nobody waits.

    Args:
        work: A function of a module, which the process imports.
        pieces: What to call it with.
        doing: What the process does, for the message when it is killed.

    Raises:
        ExpLSTMError: As the work raised it.
        TrainingError: The process was killed, for example because memory ran out.
    """
    # A forked child of a process with threads may hang, so the child starts from nothing.
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(sender, work, pieces), daemon=True)
    process.start()
    sender.close()
    try:
        for _ in pieces:
            outcome = receiver.recv()
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome
    except EOFError:
        process.join()
        raise TrainingError(
            "TRIAL_KILLED",
            f"the process that {doing} ended with code {process.exitcode}, probably for want of "
            "memory; lower batch_size or window.",
        ) from None
    finally:
        process.terminate()
        process.join()


def one_thread() -> AbstractContextManager[None]:
    """Have processes that are started in the block compute with one thread each."""
    return set_environment(dict.fromkeys(THREADS, "1"))


def kept_memory() -> AbstractContextManager[None]:
    """Have processes that are started in the block keep the memory that they free."""
    return set_environment(KEEP)


@contextlib.contextmanager
def set_environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Have environment variables in the block."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _serve(sender: Connection, work: Callable[[Any], Any], pieces: Sequence[Any]) -> None:
    """Send the result of each piece, or the first exception."""
    # The parent ends this process; both would answer Ctrl-C otherwise.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        for piece in pieces:
            sender.send(work(piece))
    except ExpLSTMError as error:
        sender.send(error)
    except Exception:
        sender.send(RuntimeError(traceback.format_exc()))

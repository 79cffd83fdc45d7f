"""One process that works for the server, told through a pipe what to do.

Contract: a :class:`WorkProcess` is started at once and calls one function after the other, with a
limit on its memory; it ends with the server, however that ends. What is sent to it and back are our
own functions, arguments and answers, never bytes of a client unread.
"""

import contextlib
import gc
import os
import threading
import traceback
import warnings
from collections.abc import Callable
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any

from explstm.apart import kept_memory, one_thread
from explstm.server.bounds import bound_process
from explstm.server.errors import ApiError
from explstm.server.forecasting import load_model


class DeadProcessError(Exception):
    """The process has ended, or was, before it answered."""


class WorkProcess:
    """One process; see the module."""

    def __init__(self, memory: int, niceness: int) -> None:
        context = get_context("spawn")
        self._connection, there = context.Pipe()
        self._process = context.Process(target=_work, args=(there, memory, niceness), daemon=True)
        with one_thread(), kept_memory():  # several threads would only get in each other's way
            self._process.start()
        there.close()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Have a function called, and wait for what it returns.

        Raises:
            DeadProcessError: The process is no more.
            Exception: What the function raised.
        """
        try:
            self._connection.send((function, arguments))
            is_done, answer = self._connection.recv()
        except (EOFError, OSError):
            raise DeadProcessError from None
        if is_done:
            return answer
        raise answer

    def kill(self) -> None:
        """End the process, whatever it is doing; a call that waits for it is told."""
        self._process.kill()


def _work(connection: Connection, memory: int, niceness: int) -> None:
    """Answer calls until the server closes the pipe."""
    threading.Thread(target=_end_with_server, daemon=True).start()
    warnings.simplefilter("ignore")  # the log has neither data nor lines that are no JSON
    bound_process(memory, niceness)
    warm_up()
    with contextlib.suppress(EOFError, OSError):
        while True:
            _send(connection, _answer(*connection.recv()))


def _send(connection: Connection, answer: tuple[bool, Any]) -> None:
    try:
        connection.send(answer)
    except OSError:
        raise
    except Exception as error:  # too large for this process, or nothing that can be sent
        connection.send((False, error))


def _answer(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    try:
        return True, function(*arguments)
    except ApiError as refusal:
        return False, refusal
    except Exception as error:
        error.add_note(traceback.format_exc())  # the trace itself does not pass the pipe
        return False, error


def _end_with_server() -> None:
    """End this process when the server has ended, however that happened."""
    server = parent_process()
    if server is not None:
        wait([server.sentinel])
        os._exit(1)


def warm_up() -> None:
    """Import what forecasts need, and load the model."""
    from explstm.server import judging  # noqa: F401

    load_model()
    keep_for_good()


def keep_for_good() -> None:
    """Tell the garbage collector not to look through what lives as long as the process."""
    gc.collect()
    gc.freeze()

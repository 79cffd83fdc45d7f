"""Processes that do the work, so that the server itself only listens and answers.

Contract: a :class:`Lane` is one warm process with a limit on its memory. Work that takes too long
ends with its process, which is replaced; the caller is told. :class:`Reader` gives whole requests
to lanes of low priority, one each; :class:`Forecaster` gives those that wait at the same time to a
lane together. Both refuse more than may wait.
"""

import asyncio
import contextlib
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import Any

from explstm.server.data.reading import out_of_memory
from explstm.server.errors import ApiError
from explstm.server.forecasting import Order, forecast_together, load_model
from explstm.server.health import Metrics
from explstm.server.settings import Settings

RETRY = {"Retry-After": "2"}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
NICER = 10
"""How much lower the priority of a reader is."""
ATTEMPTS = 2
"""How often work is given to a process that dies."""
MOST_TOGETHER = 32
"""Requests of one batch."""


def _start_process(memory: int, niceness: int) -> None:
    """Limit a process before it works; where the system knows no such limit it has none."""
    threading.Thread(target=_end_with_server, daemon=True).start()
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if niceness and hasattr(os, "nice"):
        os.nice(niceness)


def _end_with_server() -> None:
    """End this process when the server has ended, however that happened."""
    server = parent_process()
    if server is not None:
        wait([server.sentinel])
        os._exit(1)


def _warm_up() -> None:
    """Import what forecasts need, and load the model."""
    from explstm.server import judging  # noqa: F401

    load_model()


class Lane:
    """One process; see the module."""

    def __init__(self, settings: Settings, niceness: int) -> None:
        self._settings, self._niceness = settings, niceness
        self._turn = asyncio.Lock()  # a process that is replaced would end the work of others
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        # One thread each: several would only get in each other's way.
        before = {name: os.environ.get(name) for name in THREADS}
        os.environ.update(dict.fromkeys(THREADS, "1"))
        try:
            pool = ProcessPoolExecutor(
                1,
                mp_context=get_context("spawn"),
                initializer=_start_process,
                initargs=(self._settings.work_memory, self._niceness),
            )
            pool.submit(_warm_up)  # starts the process with this environment
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        return pool

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in the process, when what was called before has ended.

        Raises:
            ApiError: What the function refused; that it took too long, or died.
        """
        async with self._turn:
            return await self._run(function, *arguments)

    async def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        for _ in range(ATTEMPTS):
            try:
                future = asyncio.wrap_future(self._pool.submit(function, *arguments))
                return await asyncio.wait_for(future, self._settings.work_seconds)
            except TimeoutError:
                self._replace()
                raise ApiError(
                    503,
                    "TOO_SLOW",
                    f"the work took longer than {self._settings.work_seconds:.0f} seconds; send "
                    "fewer series, or ask for a job.",
                ) from None
            except BrokenProcessPool:  # by this work, or before it
                self._replace()
            except MemoryError:
                break
        raise out_of_memory()

    def _replace(self) -> None:
        self.stop()
        self._pool = self._start()

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        for process in list((getattr(self._pool, "_processes", None) or {}).values()):
            process.kill()
        self._pool.shutdown(wait=False, cancel_futures=True)


class Reader:
    """Whole requests, one to a lane."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lanes = [Lane(settings, NICER) for _ in range(settings.readers)]
        self._idle: asyncio.Queue[Lane] = asyncio.Queue()
        for lane in self._lanes:
            self._idle.put_nowait(lane)
        self._waiting = 0

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in the next lane that is free; see :meth:`Lane.run`."""
        if self._waiting >= self._settings.waiting:
            raise busy()
        self._waiting += 1
        try:
            lane = await self._idle.get()
        finally:
            self._waiting -= 1
        try:
            return await lane.run(function, *arguments)
        finally:
            self._idle.put_nowait(lane)

    async def warm(self) -> None:
        """Wait until all lanes are ready."""
        await asyncio.gather(*(lane.run(_warm_up) for lane in self._lanes))

    def stop(self) -> None:
        """End all lanes."""
        for lane in self._lanes:
            lane.stop()


class Forecaster:
    """Small forecasts, those that wait at the same time together."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._lanes = [Lane(settings, 0) for _ in range(settings.forecasters)]
        self._idle = len(self._lanes)
        self._orders: deque[tuple[Order, asyncio.Future[bytes]]] = deque()
        self._come = asyncio.Condition()
        self._tasks = [asyncio.create_task(self._serve(lane)) for lane in self._lanes]

    async def forecast(self, order: Order) -> bytes:
        """The answer to an order.

        Raises:
            ApiError: It was refused, or too many wait.
        """
        if len(self._orders) >= self._settings.waiting:
            raise busy()
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._orders.append((order, future))
        async with self._come:
            self._come.notify()
        return await future

    async def _serve(self, lane: Lane) -> None:
        while True:
            async with self._come:
                await self._come.wait_for(lambda: self._orders)
            await asyncio.sleep(self._settings.gather_seconds)
            share = -(-len(self._orders) // max(self._idle, 1))
            taken = [self._orders.popleft() for _ in range(min(share, MOST_TOGETHER))]
            if not taken:
                continue
            self._idle -= 1
            try:
                await self._answer(lane, taken)
            finally:
                self._idle += 1

    async def _answer(
        self, lane: Lane, taken: Sequence[tuple[Order, asyncio.Future[bytes]]]
    ) -> None:
        wanted = [(order, future) for order, future in taken if not future.done()]
        if not wanted:
            return
        self._metrics.batches.observe(len(wanted))
        try:
            found = await lane.run(forecast_together, [order for order, _ in wanted])
        except Exception as error:
            if len(wanted) > 1:  # one of them may have failed the others
                for alone in wanted:
                    await self._answer(lane, [alone])
                return
            found = [error]
        for (_, future), answer in zip(wanted, found, strict=True):
            if future.done():  # its client has left
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    async def warm(self) -> None:
        """Wait until all lanes are ready."""
        await asyncio.gather(*(lane.run(_warm_up) for lane in self._lanes))

    def stop(self) -> None:
        """End all lanes."""
        for task in self._tasks:
            task.cancel()
        for lane in self._lanes:
            lane.stop()


def busy() -> ApiError:
    """What is said when too many wait."""
    return ApiError(503, "BUSY", "the server has more to do than it can; try again.", RETRY)


@asynccontextmanager
async def open_lanes(
    settings: Settings, metrics: Metrics
) -> AsyncIterator[tuple[Reader, Forecaster]]:
    """All lanes, ended on leaving."""
    reader, forecaster = Reader(settings), Forecaster(settings, metrics)
    try:
        yield reader, forecaster
    finally:
        reader.stop()
        forecaster.stop()

"""Processes that do the work, so that the server itself only listens and answers.

Contract: a :class:`Lane` is one warm process with a limit on its memory. Work that takes too long
ends with its process, which is replaced; the caller is told. So does work that nobody waits for any
more, unless it is about to end. :class:`Reader` gives whole requests to lanes of low priority, one
each, and leaves one lane to small work; :class:`Forecaster` gives those that wait at the same time
to a lane together. Both refuse more than may wait.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from explstm.server.data.reading import out_of_memory
from explstm.server.errors import ApiError
from explstm.server.forecasting import Order, forecast_together
from explstm.server.health import Metrics
from explstm.server.process import DeadProcessError, WorkProcess, warm_up
from explstm.server.settings import Settings

RETRY = {"Retry-After": "2"}
NICER = 10
"""How much lower the priority of a reader is."""
ATTEMPTS = 2
"""How often work is given to a process that dies."""
MOST_TOGETHER = 32
"""Requests of one batch."""


class Lane:
    """One process; see the module."""

    def __init__(self, settings: Settings, niceness: int) -> None:
        self._settings, self._niceness = settings, niceness
        self._turn = asyncio.Lock()  # a process that is replaced would end the work of others
        self._is_over = False
        self._thread = ThreadPoolExecutor(1)  # which waits for the process
        self._process = self._start()

    def _start(self) -> WorkProcess:
        return WorkProcess(self._settings.work_memory, self._niceness)

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in the process, when what was called before has ended.

        Cancelled, it returns when the process is free again: what has run for long, or goes on, is
        ended with it.

        Raises:
            ApiError: What the function refused; that it took too long, or died.
        """
        async with self._turn:
            return await self._run(function, *arguments)

    async def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        for _ in range(ATTEMPTS):
            try:
                call = self._thread.submit(self._process.call, function, *arguments)
                work = asyncio.wrap_future(call)
                if await self._ends(work):
                    return work.result()
            except DeadProcessError:  # by this work, or before it
                self._replace()
            except MemoryError:
                break
            else:
                self._replace()
                raise ApiError(
                    503,
                    "TOO_SLOW",
                    f"the work took longer than {self._settings.work_seconds:.0f} seconds; send "
                    "fewer series, or ask for a job.",
                )
        raise out_of_memory()

    async def _ends(self, work: asyncio.Future[Any]) -> bool:
        """Whether work ends in time. Where its client leaves, it has a moment: a start costs more.

        A moment from its start, not from then: whoever comes and leaves gets no more of it.
        """
        work.add_done_callback(_note)
        started = time.monotonic()
        try:
            await asyncio.wait({work}, timeout=self._settings.work_seconds)
        except asyncio.CancelledError:
            left = started + self._settings.abandoned_seconds - time.monotonic()
            if not work.done():
                await asyncio.wait({work}, timeout=max(left, 0))
            if not work.done() or (not work.cancelled() and _is_dead(work.exception())):
                self._replace()
            raise
        return work.done()

    def _replace(self) -> None:
        self._process.kill()
        if not self._is_over:
            self._process = self._start()

    def stop(self) -> None:
        """End the process, whatever it is doing, for good."""
        self._is_over = True
        self._process.kill()
        self._thread.shutdown(wait=False)


def _is_dead(error: BaseException | None) -> bool:
    return isinstance(error, DeadProcessError)


def _note(work: asyncio.Future[Any]) -> None:
    """Look at a failure, of which nobody may want to know any more."""
    if not work.cancelled():
        work.exception()


class Reader:
    """Whole requests, one to a lane; where there are several, large ones leave one free."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lanes = [Lane(settings, NICER) for _ in range(settings.readers)]
        self._idle: asyncio.Queue[Lane] = asyncio.Queue()
        for lane in self._lanes:
            self._idle.put_nowait(lane)
        self._for_large = asyncio.Semaphore(max(settings.readers - 1, 1))
        self._waiting = dict.fromkeys((False, True), 0)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(
        self, function: Callable[..., Any], *arguments: Any, is_large: bool = False
    ) -> Any:
        """Call a function in the next lane that is free; see :meth:`Lane.run`.

        Cancelled, it ends at once: what waits is dropped, what runs is left to its lane.
        """
        most = self._settings.large_waiting if is_large else self._settings.waiting
        if self._waiting[is_large] >= most:
            raise busy()
        task = asyncio.create_task(self._run(is_large, function, *arguments))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        finally:
            task.cancel()

    async def _run(self, is_large: bool, function: Callable[..., Any], *arguments: Any) -> Any:
        async with AsyncExitStack() as held:
            self._waiting[is_large] += 1
            try:
                if is_large:
                    await held.enter_async_context(self._for_large)
                lane = await self._idle.get()
            finally:
                self._waiting[is_large] -= 1
            held.callback(self._idle.put_nowait, lane)
            return await lane.run(function, *arguments)

    async def warm(self) -> None:
        """Wait until all lanes are ready."""
        await asyncio.gather(*(lane.run(warm_up) for lane in self._lanes))

    def stop(self) -> None:
        """End all lanes."""
        for lane in self._lanes:
            lane.stop()


class Forecaster:
    """Small forecasts, those that wait at the same time together."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._lanes = [Lane(settings, 0) for _ in range(settings.forecasters)]
        self._in_lanes = 0
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
            self._come.notify_all()
        return await future

    async def _serve(self, lane: Lane) -> None:
        while True:
            taken = await self._take()
            self._in_lanes += len(taken)
            try:
                await self._answer(lane, taken)
            finally:
                self._in_lanes -= len(taken)

    async def _take(self) -> list[tuple[Order, asyncio.Future[bytes]]]:
        """A lane's share of all orders: as soon as so many wait, or what waits a moment later."""
        async with self._come:
            await self._come.wait_for(lambda: self._orders)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.gather_seconds):
                    await self._come.wait_for(lambda: len(self._orders) >= self._share())
            most = min(self._share(), len(self._orders), MOST_TOGETHER)
            return [self._orders.popleft() for _ in range(most)]

    def _share(self) -> int:
        return -(-(len(self._orders) + self._in_lanes) // len(self._lanes))

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
        await asyncio.gather(*(lane.run(warm_up) for lane in self._lanes))

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

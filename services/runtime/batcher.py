"""Group calls: items that arrive while a call is running share the next one.

An idle caller never waits for company. Under load calls grow instead of queueing, and after a large one the next waits a
moment for the callers whom it has just answered. Items share the call, not the outcome: each has its own response or error.
Use from one event loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from services.runtime.process.lifecycle import spawn
from services.runtime.telemetry import tracing

K = TypeVar("K")
V = TypeVar("V")


class _Entry(NamedTuple, Generic[K, V]):
    item: K
    response: asyncio.Future[V]
    cause: str
    since: float


class Batcher(Generic[K, V]):
    """Calls `work` with at most `max_size` items, at most `max_concurrent` calls at a time.

    A call starts beside others only when an item has waited for them for `patience` seconds: calls that are quick follow one
    another and are larger for it, and a slow one does not hold up the rest.

    After a call with at least `many` items the next one waits until as many have arrived again, unless it is full, and at most
    `linger` times as long as that call took or `patience`. Callers who send something again as soon as they have their
    response then share one call instead of two in turn.

    `work` returns one response per item, in order. An exception in place of a response is raised to the caller of that
    item; an exception raised by `work` is raised to the callers of all its items.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[K]], Awaitable[Sequence[V | Exception]]],
        *,
        max_size: int,
        max_concurrent: int = 1,
        patience: float = 0.0,
        many: float = math.inf,
        linger: float = 1.0,
    ) -> None:
        self._name = name
        self._work = work
        self._max_size = max_size
        self._max_concurrent = max_concurrent
        self._patience = patience
        self._many = many
        self._linger_times = linger
        self._running = 0
        self._timer: asyncio.TimerHandle | None = None
        # How many items each call that waits for more has enough with.
        self._lingering: dict[asyncio.Future[None], int] = {}
        self._queue: list[_Entry[K, V]] = []

    async def __call__(self, item: K, *, timeout: float | None = None) -> V:
        """The response for one item. Raises TimeoutError after `timeout` seconds.

        Cancelling it affects neither the call nor the other items.
        """
        response = self.add(item)
        if timeout is None:
            return await response
        timer = asyncio.get_running_loop().call_later(timeout, _expire, response)  # a quarter of `asyncio.timeout`
        try:
            return await response
        finally:
            timer.cancel()

    async def all(self, items: Iterable[K]) -> list[V | BaseException]:
        """The response or the exception of each item, in order. They may be served by several calls."""
        return await asyncio.gather(*map(self.add, items), return_exceptions=True)

    def add(self, item: K) -> asyncio.Future[V]:
        """Add an item, and return the future of its response. Cancelling that affects neither the call nor the others."""
        loop = asyncio.get_running_loop()
        response: asyncio.Future[V] = loop.create_future()
        self._queue.append(_Entry(item, response, tracing.cause(), loop.time()))
        for lingering, enough in self._lingering.items():
            if len(self._queue) >= enough:
                _end(lingering)
        if not self._running or not self._patience:
            self._start()
        elif self._timer is None:
            self._timer = loop.call_later(self._patience, self._start_beside, context=contextvars.Context())
        return response

    def _start(self) -> None:
        if self._running < self._max_concurrent:
            self._running += 1
            # In an empty context: the deadline of the first caller must not apply to the others.
            contextvars.Context().run(spawn, self._name, self._run())

    def _start_beside(self) -> None:
        """Start a call beside those that run if an item has waited long enough; look again when the next one has."""
        self._timer = None
        if self._queue:
            if (left := self._patience_left()) <= 0:
                self._start()
                left = self._patience
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(left, self._start_beside, context=contextvars.Context())

    def _patience_left(self) -> float:
        return self._queue[0].since + self._patience - asyncio.get_running_loop().time()

    async def _run(self) -> None:
        try:
            await asyncio.sleep(0)  # items of this turn of the event loop join the batch
            while self._queue:
                batch, self._queue = self._queue[: self._max_size], self._queue[self._max_size :]
                started = asyncio.get_running_loop().time()
                await self._process(batch)
                if len(batch) >= self._many:
                    await self._linger(len(batch), asyncio.get_running_loop().time() - started)
                if self._queue and self._running > 1 and self._patience_left() > 0:
                    return  # one of the calls that run takes the rest
        finally:
            self._running -= 1

    async def _linger(self, returning: int, took: float) -> None:
        """Wait for the callers who have just been answered, by a call that took so many seconds."""
        enough = min(self._max_size, len(self._queue) + returning)
        if len(self._queue) < enough:
            loop = asyncio.get_running_loop()
            lingering: asyncio.Future[None] = loop.create_future()
            self._lingering[lingering] = enough
            timer = loop.call_later(min(self._linger_times * took, self._patience), _end, lingering)
            try:
                await lingering
            finally:
                timer.cancel()
                del self._lingering[lingering]

    async def _process(self, batch: Sequence[_Entry[K, V]]) -> None:
        outcomes: Sequence[V | Exception]
        try:
            causes = [entry.cause for entry in batch if entry.cause]
            with tracing.joined(self._name, "internal", causes, {"topten.batch.size": len(batch)}):
                outcomes = await self._work([entry.item for entry in batch])
        except Exception as error:  # noqa: BLE001  # raised to the callers
            outcomes = [error] * len(batch)
        except asyncio.CancelledError:
            for entry in batch:
                entry.response.cancel()
            raise
        for entry, outcome in zip(batch, outcomes, strict=True):
            if entry.response.done():  # its caller is gone
                continue
            if isinstance(outcome, Exception):
                entry.response.set_exception(outcome)
                entry.response.exception()  # retrieved, in case the caller leaves before reading it
            else:
                entry.response.set_result(outcome)


def _end(lingering: asyncio.Future[None]) -> None:
    if not lingering.done():
        lingering.set_result(None)


def _expire(response: asyncio.Future[Any]) -> None:
    if not response.done():
        response.set_exception(TimeoutError())

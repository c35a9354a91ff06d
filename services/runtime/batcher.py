"""Group calls: items that arrive while a call is running share the next one.

An idle caller never waits for company; under load calls grow instead of queueing. Items share the call, not the outcome:
each has its own response or error. Use from one event loop.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from services.runtime.lifecycle import spawn
from services.runtime.telemetry import tracing

K = TypeVar("K")
V = TypeVar("V")


class _Entry(NamedTuple, Generic[K, V]):
    item: K
    response: asyncio.Future[V]
    cause: str


class Batcher(Generic[K, V]):
    """Calls `work` with at most `max_size` items, at most `max_concurrent` calls at a time.

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
    ) -> None:
        self._name = name
        self._work = work
        self._max_size = max_size
        self._max_concurrent = max_concurrent
        self._running = 0
        self._queue: list[_Entry[K, V]] = []

    async def __call__(self, item: K) -> V:
        """The response for one item. Cancelling it affects neither the call nor the other items."""
        response: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._queue.append(_Entry(item, response, tracing.cause()))
        if self._running < self._max_concurrent:
            self._running += 1
            # In an empty context: the deadline of the first caller must not apply to the others.
            contextvars.Context().run(spawn, self._name, self._run())
        return await asyncio.shield(response)

    async def _run(self) -> None:
        try:
            await asyncio.sleep(0)  # items of this turn of the event loop join the batch
            while self._queue:
                batch, self._queue = self._queue[: self._max_size], self._queue[self._max_size :]
                await self._process(batch)
        finally:
            self._running -= 1

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
            if isinstance(outcome, Exception):
                entry.response.set_exception(outcome)
                entry.response.exception()  # retrieved, in case the caller is gone
            else:
                entry.response.set_result(outcome)

"""Many callers, one call: what is asked for while a call is under way goes along with the next one.

An idle caller waits for nobody; under load calls grow instead of queueing. They share the way and not the outcome: each
has the answer, or the error, of his own. Use from one event loop.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from services.runtime import tracing
from services.runtime.lifecycle import spawn

K = TypeVar("K")
V = TypeVar("V")


class _Asked(NamedTuple, Generic[K, V]):
    item: K
    answer: asyncio.Future[V]
    cause: str


class Gathered(Generic[K, V]):
    """Calls `work` with at most `most` items, at most `at_once` calls at a time.

    `work` answers for each item in the order that it was given; an exception in the place of an answer is raised to who
    asked for that item alone, one that `work` raises to all of them.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[K]], Awaitable[Sequence[V | Exception]]],
        *,
        most: int,
        at_once: int = 1,
    ) -> None:
        self._name = name
        self._work = work
        self._most = most
        self._at_once = at_once
        self._running = 0
        self._waiting: list[_Asked[K, V]] = []

    async def __call__(self, item: K) -> V:
        """The answer for one item. Whoever is cancelled leaves the others, and the call, alone."""
        answer: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Asked(item, answer, tracing.cause()))
        if self._running < self._at_once:
            self._running += 1
            # Others wait for this call as well: the deadline of who happened to be the first is not theirs.
            contextvars.Context().run(spawn, self._name, self._run())
        return await asyncio.shield(answer)

    async def _run(self) -> None:
        try:
            await asyncio.sleep(0)  # whoever asks in this turn of the loop comes along
            while self._waiting:
                taken, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._answer(taken)
        finally:
            self._running -= 1

    async def _answer(self, taken: Sequence[_Asked[K, V]]) -> None:
        outcomes: Sequence[V | Exception]
        try:
            causes = [asked.cause for asked in taken if asked.cause]
            with tracing.joined(self._name, "internal", causes, {"topten.gathered": len(taken)}):
                outcomes = await self._work([asked.item for asked in taken])
        except Exception as error:  # noqa: BLE001  # whatever it is, it is for those who asked
            outcomes = [error] * len(taken)
        except asyncio.CancelledError:
            for asked in taken:
                asked.answer.cancel()
            raise
        for asked, outcome in zip(taken, outcomes, strict=True):
            if isinstance(outcome, Exception):
                asked.answer.set_exception(outcome)
                asked.answer.exception()  # looked at, in case that nobody waits any more
            else:
                asked.answer.set_result(outcome)

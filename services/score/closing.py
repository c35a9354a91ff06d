"""Closing periods: when nothing of a week or month can come any more, its boards are kept for ever.

A server. A period closes a grace after its end, but not before every event of it is in the ledger:

1. the outbox of quiz holds nothing that was recorded before the period's end;
2. after that, the stream has been emptied as far as it reached then;
3. `closed_through` is moved in MongoDB. Workers adopt it, and say so when nothing is under way that began before. From then
   on an event of the period is `late`: it counts in all totals but those of its week or month;
4. when all have said so, each board of the period is kept (see `archive`).

What a player is voided, adjusted or blocked later changes his totals and open boards, and no closed period. One worker
does this at a time, by a lease; each step is safe if two do, and is begun again wherever it was left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from services.runtime.boards import Board, month_of, period, week_of
from services.runtime.errors import ServiceError
from services.runtime.lifecycle import cancel, spawn
from services.score.answers import STORE_ERRORS
from services.score.archive import Archive
from services.score.fold import SILENCE
from services.score.meta import CLOSING, Meta
from services.score.metrics import PERIOD_OVERDUE
from services.score.reports import BoardsLostError
from services.score.standings import milliseconds_of, time_of

LEASE: Final = timedelta(seconds=30)
_log = structlog.get_logger("closing")


class Closer:
    """Closes periods, and keeps the boards of closed ones.

    `oldest_waiting` says when the oldest event was recorded that is not on the stream, None if all are; `reach` is the
    stream's (see `layout`); `boards` lists the boards that have a key in Redis.
    """

    def __init__(
        self,
        meta: Meta,
        archive: Archive,
        oldest_waiting: Callable[[], Awaitable[datetime | None]],
        reach: Callable[[], Awaitable[tuple[int, int]]],
        boards: Callable[[], Awaitable[list[Board]]],
        worker_id: str,
        *,
        grace: timedelta,
        interval: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._meta = meta
        self._archive = archive
        self._oldest_waiting = oldest_waiting
        self._reach = reach
        self._boards = boards
        self._worker_id = worker_id
        self._grace = grace
        self._interval = interval.total_seconds()
        self._now = now
        self._since = now()
        # The end of the period that is being closed, and the last sequence of the stream when the outbox had passed it.
        self._passed: tuple[datetime, int] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to look, at once and then at the interval."""
        self._task = spawn("closing", self._run())

    async def stop(self) -> None:
        """What is being kept is begun again by whoever is next."""
        if self._task is not None:
            await cancel(self._task)

    async def _run(self) -> None:
        while True:
            try:
                await self._measure()
                if await self._meta.take_lease(self._worker_id, LEASE, CLOSING):
                    await self._look()
            except (*STORE_ERRORS, ServiceError, BoardsLostError) as error:
                _log.info("periods are not closed yet", error=type(error).__name__, detail=str(error)[:200])
            await asyncio.sleep(self._interval)

    async def _measure(self) -> None:
        now = self._now()
        ended = last_end(now - self._grace)
        is_open = ended > time_of((await self._meta.boards()).closed_through)
        PERIOD_OVERDUE.set((now - max(ended + self._grace, self._since)).total_seconds() if is_open else 0)

    async def _look(self) -> None:
        closed = time_of((await self._meta.boards()).closed_through)
        ended = last_end(self._now() - self._grace)
        if ended > closed and await self._has_passed(ended):
            _log.info("periods are closed", through=ended.isoformat())
            await self._meta.close(milliseconds_of(ended))
            closed = ended
        if await self._meta.all_closed(milliseconds_of(closed), SILENCE):
            await self._keep(closed)

    async def _has_passed(self, ended: datetime) -> bool:
        """Whether every event that was recorded before `ended` is in the ledger."""
        if self._passed is None or self._passed[0] != ended:
            oldest = await self._oldest_waiting()
            if oldest is not None and oldest < ended:
                return False
            self._passed = ended, (await self._reach())[1]
        first, _ = await self._reach()
        return first > self._passed[1]

    async def _keep(self, closed: datetime) -> None:
        await self._archive.sweep(self._now())
        for board in await self._boards():
            counted = period(board)
            if counted is None or counted.ends_at > closed or await self._archive.has(board):
                continue
            if not await self._meta.take_lease(self._worker_id, LEASE, CLOSING):
                return
            await self._archive.keep(board, self._now())


def last_end(at: datetime) -> datetime:
    """When the latest week or month that is over by `at` ended."""
    current = (period(Board("weekly", week_of(at))), period(Board("monthly", month_of(at))))
    return max(counted.starts_at for counted in current if counted is not None)

"""Closes periods: once no more events of a week or month can arrive, its boards are archived permanently.

A period is closed some time after its end, but not before every event recorded by its end is in the ledger:

1. The outbox of the quiz service has no event that was recorded before the period's end.
2. After that, the stream has been drained up to its last sequence at that time. If the stream or MongoDB's data was replaced,
   this begins again once a comparison has published again what was lost (see `reconciliation`).
3. `closed_through` is advanced in MongoDB. Workers adopt it, and report when none of their writes started earlier. From then
   on an event of the period is `late`: it counts in all totals except those of its week or month.
4. When all workers have reported, each board of the period is archived (see `archive_store`).

An archived definition's boards are archived in the same way when no worker counts on them. Until then Redis alone has their
last state, so a rebuild fills them, too. The definition is marked as kept only if the boards' generation, read before its
boards were listed, is still in force after the last one was archived: no board was missing while a rebuild replaced it.

A later void, adjustment or block changes a player's totals and open boards, but no closed period until that is resealed. One
worker does this at a time, under a lease. Each step is safe if two do, and is resumed wherever it stopped. The clock of the
database server says what is over, because a period that one worker closes is closed for all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import structlog

from services.boards.board import Board
from services.boards.catalog import Catalog
from services.boards.definition import Definition
from services.boards.periods.period import Period
from services.runtime.clock import milliseconds_of
from services.score.coordination_store import CLOSING_LEASE, CoordinationStore
from services.score.ledger.folds.cache import SILENCE
from services.score.ledger.times import time_of
from services.score.metrics import PERIOD_OVERDUE
from services.score.periods.archive_store import ArchiveStore

LEASE: Final = timedelta(seconds=30)
_log = structlog.get_logger("closing")


class _Published(NamedTuple):
    """That everything recorded before `ended` was published up to a sequence of the stream.

    `data` is the incarnation of MongoDB's data and the creation time of the stream: sequences of another stream say nothing.
    """

    ended: datetime
    data: tuple[str, str]
    last: int


class PeriodCloser:
    """Closes periods and archives the boards of closed ones, a step at a time.

    `incarnation` returns the id of MongoDB's data, `oldest_unpublished` is the one of `QuizOutbox`, `stream_state` the one of
    `durables`; `boards` lists the boards that have a key in Redis, `run_ids` identifies the run of the Redis servers (see
    `RedisState`), and `catalog` returns the boards in force. A period is closed `delay` after its end. The last state of an
    archived definition's boards is archived like a period that ended then; their keys expire after `retention`, and
    `mark_kept` receives the definition's name.
    """

    def __init__(
        self,
        coordination: CoordinationStore,
        archive: ArchiveStore,
        incarnation: Callable[[], str],
        oldest_unpublished: Callable[[], Awaitable[datetime | None]],
        stream_state: Callable[[], Awaitable[tuple[str, int, int]]],
        boards: Callable[[], Awaitable[list[Board]]],
        run_ids: Callable[[], Awaitable[str]],
        catalog: Callable[[], Catalog],
        mark_kept: Callable[[Collection[str]], Awaitable[None]],
        worker_id: str,
        *,
        delay: timedelta,
        retention: timedelta,
    ) -> None:
        self._coordination = coordination
        self._archive = archive
        self._incarnation = incarnation
        self._oldest_unpublished = oldest_unpublished
        self._stream_state = stream_state
        self._boards = boards
        self._run_ids = run_ids
        self._catalog = catalog
        self._mark_kept = mark_kept
        self._worker_id = worker_id
        self._delay = delay
        self._retention = retention
        self._started_at: datetime | None = None
        self._published: _Published | None = None

    async def step(self) -> None:
        """Close and archive as much as is possible now. Raises store errors, BoardsLostError and ServiceError."""
        now = await self._coordination.now()
        self._started_at = self._started_at or now
        ended = self._catalog().latest_end(now - self._delay)
        closed = time_of((await self._coordination.boards()).closed_through)
        overdue = now - max(ended + self._delay, self._started_at)
        PERIOD_OVERDUE.set(overdue.total_seconds() if ended > closed else 0)
        if not await self._coordination.take_lease(self._worker_id, LEASE, CLOSING_LEASE):
            return
        if ended > closed and await self._all_counted(ended):
            await self._coordination.close_periods(milliseconds_of(ended))
            _log.info("periods closed", through=ended.isoformat())
            closed = ended
        if await self._coordination.all_closed(milliseconds_of(closed), SILENCE):
            await self._archive_boards(closed, now)

    async def _all_counted(self, ended: datetime) -> bool:
        """Return whether every event recorded before `ended` is in the ledger."""
        created, _, _ = await self._stream_state()
        reconciled = await self._coordination.reconciled()
        data = (self._incarnation(), created)
        # Before the first comparison of all nothing can have been lost.
        if reconciled.stream and (reconciled.incarnation, reconciled.stream) != data:
            return False
        if self._published is None or (self._published.ended, self._published.data) != (ended, data):
            oldest = await self._oldest_unpublished()
            if oldest is not None and oldest < ended:
                return False
            created, _, last = await self._stream_state()
            self._published = _Published(ended, (data[0], created), last)
        created, first, _ = await self._stream_state()
        return created == self._published.data[1] and first > self._published.last

    async def _archive_boards(self, closed: datetime, now: datetime) -> None:
        await self._archive.remove_abandoned(now)
        before = await self._coordination.boards()
        if await self._run_ids() != before.run_id:
            return  # Redis may have gone back; a worker notices soon, and has the boards rebuilt
        archiving = await self._archiving()
        for board in await self._boards():
            catalog = self._catalog()
            definition = catalog.definition_of(board)
            is_archived = definition is not None and definition.state == "archived"
            period = _period_to_archive(catalog, board, definition, closed, archiving)
            if period is None or (not is_archived and await self._archive.has(board)):
                continue
            if not await self._coordination.take_lease(self._worker_id, LEASE, CLOSING_LEASE):
                return
            state = await self._coordination.boards()
            await self._archive.archive(
                board,
                period,
                now,
                generation=state.completed,
                encoding=state.built_encoding,
                ascending=catalog.is_ascending(board),
            )
            if is_archived:
                await self._archive.expire(board, self._retention)
        is_same = archiving and await self._archive.generation() == before.completed
        if is_same and await self._run_ids() == before.run_id:
            await self._mark_kept(archiving)

    async def _archiving(self) -> frozenset[str]:
        """Return the names of archived definitions on whose boards no worker counts any more, and which are not kept yet."""
        catalog = self._catalog()
        if not catalog.archiving or not await self._coordination.all_defined(catalog.edition, SILENCE):
            return frozenset()
        return frozenset(definition.name for definition in catalog.archiving)


def _period_to_archive(
    catalog: Catalog, board: Board, definition: Definition | None, closed: datetime, archiving: Collection[str]
) -> Period | None:
    """Return the period under which a board is archived now, cut at the archiving of its definition; None if it is not."""
    if board.is_until_freeze:
        return None  # nobody reads it any more
    period = catalog.period_of(board)
    if definition is not None and definition.state == "building":
        return None
    if definition is not None and definition.archived_at is not None:
        # Otherwise it is kept already, or a worker may still count on it.
        return definition.counted_until_archived(period) if definition.name in archiving else None
    return period if period is not None and period.ends_at <= closed else None

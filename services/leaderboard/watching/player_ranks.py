"""Watched players: the standing of each, sent when it changes.

A player whose standing changed is read at the next tick. Players whom others overtook are found by reading all watched
players again every few seconds, if the board changed at all. Each watch is read in the task of its stream.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from services.boards.board import Board
from services.boards.catalog import Catalog
from services.leaderboard.reading.boards import Boards, requested_board
from services.leaderboard.reading.results import Standing, UnreadableError
from services.leaderboard.watching.throttle import RETRY_SECONDS
from services.leaderboard.watching.watch import ROSTER_REREAD, wait_until_set
from services.runtime.errors import Reason, ServiceError

MAX_PLAYERS_A_READ: Final = 100
# A player's share of the streams of a process. Services, which the operator registers, have no such limit.
MAX_PER_PLAYER: Final = 50


class RankChanges(NamedTuple):
    """The watched players whose standing on `board` changed since the last message; None for players not ranked.

    `stale` is whether the board is being built. Once it is not, all players are sent again.
    """

    board: Board
    standings: Mapping[str, Standing | None]
    stale: bool


class _Watch:
    """One stream's players on one board."""

    def __init__(self, user_ids: Sequence[str]) -> None:
        self.user_ids = frozenset(user_ids)
        self.due: set[str] = set(user_ids)
        self.board_changed = False
        self.wake = asyncio.Event()

    def notice(self, user_id: str) -> None:
        """Record a changed standing on the board."""
        self.board_changed = True
        if user_id in self.user_ids:
            self.due.add(user_id)
            self.wake.set()


class PlayerRanks:
    """A server: `stop` ends every stream of standings."""

    def __init__(
        self, boards: Boards, catalog: Catalog, *, tick: timedelta, reread: timedelta, now: Callable[[], datetime]
    ) -> None:
        self._boards = boards
        self._catalog = catalog
        self._tick = tick.total_seconds()
        self._reread = reread.total_seconds()
        self._now = now
        self._watches: defaultdict[str, set[_Watch]] = defaultdict(set)
        self._held: Counter[str] = Counter()
        self._is_stopping = False

    async def start(self) -> None:
        """Do nothing: a watch starts with its stream."""

    async def stop(self) -> None:
        """End every stream."""
        self._is_stopping = True
        for watch in self._all():
            watch.wake.set()

    def notice(self, board: str, user_id: str) -> None:
        """Record a player's changed standing on a board, given by full name."""
        for watch in self._watches.get(board, ()):
            watch.notice(user_id)

    def mark_all(self) -> None:
        """Record that changes may have been missed."""
        for watch in self._all():
            watch.board_changed = True

    async def changes(self, name: str, user_ids: Sequence[str], caller: str = "") -> AsyncGenerator[RankChanges, None]:
        """Stream the standings of the players, at once, then those that changed.

        `caller` is the user id of the calling player; empty for a service.

        A name without a period goes on with the next board when the period is over; a named period ends with it. Sends
        nothing while the board cannot be read. Raises BOARD_NOT_FOUND, RATE_LIMITED at the caller's share of streams, and
        UNAVAILABLE when this instance stops.
        """
        board = requested_board(self._catalog, name, self._now())
        with self._share(caller):
            async with aclosing(self._follow(board, name, user_ids)) as changes:
                async for change in changes:
                    yield change

    @contextmanager
    def _share(self, caller: str) -> Iterator[None]:
        if not caller:
            yield
            return
        if self._held[caller] >= MAX_PER_PLAYER:
            raise ServiceError(
                Reason.RATE_LIMITED,
                f"Limit reached: {MAX_PER_PLAYER} streams of ranks per player. End one and try again.",
                retry_after=timedelta(seconds=1),
            )
        self._held[caller] += 1
        try:
            yield
        finally:
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]

    async def _follow(self, board: Board, name: str, user_ids: Sequence[str]) -> AsyncGenerator[RankChanges, None]:
        """Stream the changes on a board, and on those after it if the name has no period."""
        follows = self._catalog.follows_calendar(name)
        while True:
            watch = _Watch(user_ids)
            self._watches[board.name].add(watch)
            try:
                async for standings, stale in self._changes_on(board, watch):
                    yield RankChanges(board, standings, stale)
            finally:
                self._remove(board, watch)
            period = self._catalog.period_of(board)
            if not follows or period is None:
                return
            board = self._catalog.parse(name, max(self._now(), period.ends_at))

    async def _changes_on(
        self, board: Board, watch: _Watch
    ) -> AsyncGenerator[tuple[Mapping[str, Standing | None], bool], None]:
        """Yield changed standings, and whether the board is being built, until the board's period is over."""
        sent: dict[str, Standing | None] = {}
        was_stale = False
        has_roster = self._catalog.has_roster(board)
        reread = min(self._reread, ROSTER_REREAD.total_seconds()) if has_roster else self._reread
        period = self._catalog.period_of(board)
        reread_at = time.monotonic() + reread
        while True:
            if self._is_stopping:
                raise ServiceError(Reason.UNAVAILABLE, "This instance is stopping. Connect again.")
            remaining = float("inf") if period is None else (period.ends_at - self._now()).total_seconds()
            if remaining <= 0:
                return
            due, watch.due = watch.due, set()
            watch.wake.clear()
            pause = self._tick
            try:
                standings, stale = await self._standings(board, sorted(due))
            except UnreadableError:
                watch.due |= due
                pause = RETRY_SECONDS
            else:
                if due and was_stale != stale:
                    was_stale = stale
                    sent.clear()
                    watch.due |= watch.user_ids - standings.keys()
                changed = {user_id: each for user_id, each in standings.items() if sent.get(user_id, ...) != each}
                sent |= changed
                if changed:
                    yield changed, stale
                # What fills a board is announced to nobody.
                watch.board_changed = watch.board_changed or was_stale
            # Nothing shortens this pause, so a stream gets at most one message a tick.
            await asyncio.sleep(min(pause, remaining))
            if not watch.due:
                await wait_until_set(watch.wake, max(0.0, min(reread_at - time.monotonic(), remaining)))
            if time.monotonic() >= reread_at:
                reread_at = time.monotonic() + reread
                # A player's team also moves by its other members, and every rank by who the members are.
                if watch.board_changed or has_roster:
                    watch.board_changed = False
                    watch.due |= watch.user_ids

    async def _standings(self, board: Board, user_ids: Sequence[str]) -> tuple[dict[str, Standing | None], bool]:
        standings: dict[str, Standing | None] = dict.fromkeys(user_ids)
        is_stale = False
        for start in range(0, len(user_ids), MAX_PLAYERS_A_READ):
            ranked, stale = await self._ranked(board, user_ids[start : start + MAX_PLAYERS_A_READ])
            standings |= ranked
            is_stale = is_stale or stale
        return standings, is_stale

    async def _ranked(self, board: Board, user_ids: Sequence[str]) -> tuple[Mapping[str, Standing], bool]:
        return await self._boards.read_marked(board, lambda view: view.standings(user_ids))

    def _remove(self, board: Board, watch: _Watch) -> None:
        watches = self._watches[board.name]
        watches.discard(watch)
        if not watches:
            del self._watches[board.name]

    def _all(self) -> list[_Watch]:
        return [watch for watches in self._watches.values() for watch in watches]

"""Watched players: where each of them stands, told when it changes.

A player whose own standing changed is read at the next tick. That others passed him by is noticed by reading everybody
again every few seconds, if the board changed at all. One reading loop a watch, in the task of who reads it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from services.leaderboard.head import UnreadableError
from services.leaderboard.watch import Clock
from services.runtime.boards import Board, period
from services.runtime.catalog import Catalog
from services.runtime.errors import Reason, ServiceError

if TYPE_CHECKING:
    from services.leaderboard.boards import Boards, Place

MAX_READ: Final = 100
RETRY_SECONDS: Final = 1.0


class Changes(NamedTuple):
    """Who of the watched players stands otherwise on `board` than was told last, and where; None is nowhere."""

    board: Board
    places: Mapping[str, Place | None]


class _Watch:
    """One reader's players on one board."""

    def __init__(self, user_ids: Sequence[str]) -> None:
        self.user_ids = frozenset(user_ids)
        self.due: set[str] = set(user_ids)
        self.has_moved = False
        self.news = asyncio.Event()

    def notice(self, user_id: str) -> None:
        """A standing on the board has changed."""
        self.has_moved = True
        if user_id in self.user_ids:
            self.due.add(user_id)
            self.news.set()


class RankWatches:
    """A server: `stop` ends every watch, and with it the streams that read them."""

    def __init__(
        self, boards: Boards, catalog: Catalog, *, tick: timedelta, reread: timedelta, clock: Clock | None = None
    ) -> None:
        self._boards = boards
        self._catalog = catalog
        self._tick = tick.total_seconds()
        self._reread = reread.total_seconds()
        self._clock = clock or Clock()
        self._open: defaultdict[str, set[_Watch]] = defaultdict(set)
        self._is_stopping = False

    async def start(self) -> None:
        """Does nothing: a watch begins with its reader."""

    async def stop(self) -> None:
        """Ends every watch."""
        self._is_stopping = True
        for watch in self._all():
            watch.news.set()

    def notice(self, board: str, user_id: str) -> None:
        """A player's standing on a board (as text) has changed."""
        for watch in self._open.get(board, ()):
            watch.notice(user_id)

    def mark_all(self) -> None:
        """Something may have been missed."""
        for watch in self._all():
            watch.has_moved = True

    async def changes(self, text: str, user_ids: Sequence[str]) -> AsyncGenerator[Changes, None]:
        """Where the players stand on the board that `text` names, at once, then whoever stands otherwise.

        A name that follows the calendar goes on with the next board; one that names a period ends with it. While the
        boards can't be read nothing is told. Raises BOARD_NOT_FOUND; UNAVAILABLE when this instance stops.
        """
        board = self._parse(text)
        follows = self._catalog.follows_calendar(text)
        while True:
            watch = _Watch(user_ids)
            self._open[board.text].add(watch)
            try:
                async for places in self._told(board, watch):
                    yield Changes(board, places)
            finally:
                self._leave(board, watch)
            counted = period(board)
            if not follows or counted is None:
                return
            board = self._catalog.parse(text, max(self._clock.now(), counted.ends_at))

    async def _told(self, board: Board, watch: _Watch) -> AsyncGenerator[Mapping[str, Place | None], None]:
        """Until the board's period is over."""
        told: dict[str, Place | None] = {}
        counted = period(board)
        swept_at = self._clock.monotonic()
        while True:
            if self._is_stopping:
                raise ServiceError(Reason.UNAVAILABLE, "this instance is stopping")
            left = float("inf") if counted is None else (counted.ends_at - self._clock.now()).total_seconds()
            if left <= 0:
                return
            due, watch.due = watch.due, set()
            watch.news.clear()
            pause = self._tick
            try:
                found = await self._places(board, sorted(due))
            except UnreadableError:
                watch.due |= due
                pause = RETRY_SECONDS
            else:
                changed = {user_id: place for user_id, place in found.items() if told.get(user_id, ...) != place}
                told |= changed
                if changed:
                    yield changed
            # Not woken before: that is what holds it to one answer a tick.
            await asyncio.sleep(min(pause, left))
            now = self._clock.monotonic()
            if not watch.due:
                await self._clock.wait(watch.news, max(0.0, min(swept_at + self._reread - now, left)))
                now = self._clock.monotonic()
            if now >= swept_at + self._reread:
                swept_at = now
                if watch.has_moved:
                    watch.has_moved = False
                    watch.due |= watch.user_ids

    async def _places(self, board: Board, user_ids: Sequence[str]) -> dict[str, Place | None]:
        found: dict[str, Place | None] = dict.fromkeys(user_ids)
        for start in range(0, len(user_ids), MAX_READ):
            found.update(await self._boards.places(board, user_ids[start : start + MAX_READ]))
        return found

    def _parse(self, text: str) -> Board:
        try:
            return self._catalog.parse(text, self._clock.now())
        except ValueError:
            raise ServiceError(Reason.BOARD_NOT_FOUND, "no board has this name") from None

    def _leave(self, board: Board, watch: _Watch) -> None:
        watches = self._open[board.text]
        watches.discard(watch)
        if not watches:
            del self._open[board.text]

    def _all(self) -> list[_Watch]:
        return [watch for watches in self._open.values() for watch in watches]

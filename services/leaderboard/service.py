"""The use cases of leaderboard, one method a verb, and the watches that are open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from topten.leaderboard.v1 import leaderboard_pb2

from services.leaderboard.head import UnreadableError
from services.leaderboard.ranking import Ranked
from services.leaderboard.watch import Watch, frame_of
from services.runtime.boards import Board, points_of
from services.runtime.errors import Reason, ServiceError
from services.runtime.lifecycle import cancel, spawn

if TYPE_CHECKING:
    from services.leaderboard.boards import Boards
    from services.leaderboard.names import Names
    from services.leaderboard.updates import Updates

DEFAULT_LIMIT: Final = 10
_UNREADABLE: Final = "The boards can't be read at this moment."


@dataclass(frozen=True, slots=True)
class Pace:
    """Sizes and times of a watch, in seconds; see the settings of the same names."""

    frame_size: int
    tick: float
    reread: float
    linger: float
    max_watched: int


@dataclass(slots=True)
class _Open:
    watch: Watch
    task: asyncio.Task[None]
    watchers: int = 0
    closing: asyncio.TimerHandle | None = None


class LeaderboardService:
    """Reading boards, and watching them. A server: `stop` ends every watch."""

    def __init__(
        self, boards: Boards, names: Names, updates: Updates, pace: Pace, *, now: Callable[[], datetime]
    ) -> None:
        self._boards = boards
        self._names = names
        self._updates = updates
        self._pace = pace
        self._now = now
        self._open: dict[str, _Open] = {}
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Nothing has to be started: a watch begins with its first watcher."""

    async def stop(self) -> None:
        """End every watch, so that who watches moves on to another instance."""
        self._stopping.set()
        opened, self._open = list(self._open.values()), {}
        for held in opened:
            self._updates.forget(held.watch)
            held.watch.end()
            if held.closing is not None:
                held.closing.cancel()
        await cancel(*(held.task for held in opened))

    async def leaderboard(self, text: str, limit: int) -> tuple[leaderboard_pb2.Frame, Board]:
        """The first `limit` places (1 to 100, 0 is 10) of a board as it is now.

        If it can't be read, the last frame of a watch, marked stale. Raises BOARD_NOT_FOUND; UNAVAILABLE without a frame.
        """
        limit = limit or DEFAULT_LIMIT
        board = self._board(text)
        try:
            head = await self._boards.head(board, limit)
        except UnreadableError:
            held = self._open.get(text or "all")
            if held is None or held.watch.latest is None:
                raise ServiceError(Reason.UNAVAILABLE, _UNREADABLE) from None
            frame = leaderboard_pb2.Frame()
            frame.CopyFrom(held.watch.latest)
            frame.stale = True
            del frame.entries[limit:]
            return frame, board
        frame, _ = await frame_of(board, head, self._now(), self._names)
        return frame, board

    async def ranks(self, text: str, user_ids: Sequence[str]) -> tuple[list[leaderboard_pb2.Entry], list[str]]:
        """The entries of those who are ranked, by rank, and the ids of the others. Raises BOARD_NOT_FOUND, UNAVAILABLE."""
        board = self._board(text)
        try:
            places, previous = await self._boards.places(board, user_ids)
        except UnreadableError:
            raise ServiceError(Reason.UNAVAILABLE, _UNREADABLE) from None
        names = await self._names.of(places)
        found = [Ranked(rank, user_id, points_of(value)) for user_id, (rank, value) in places.items()]
        entries = [
            leaderboard_pb2.Entry(
                rank=place.rank,
                user_id=place.user_id,
                username=names[place.user_id].username,
                score=place.points,
                country=names[place.user_id].country,
                previous_rank=previous.get(place.user_id),
            )
            for place in sorted(found, key=lambda place: place.rank)
        ]
        return entries, [user_id for user_id in user_ids if user_id not in places]

    async def watch(self, text: str) -> AsyncGenerator[leaderboard_pb2.Frame, None]:
        """The board's frames: the newest at once, then each newer one. Ends when a named period is over.

        Raises BOARD_NOT_FOUND; UNAVAILABLE while this instance watches as many boards as it may, or stops.
        """
        text = text or "all"
        self._board(text)
        held = self._enter(text)
        try:
            async with aclosing(held.watch.frames()) as frames:
                async for frame in frames:
                    yield frame
        finally:
            self._leave(text, held)
        if self._stopping.is_set():
            raise ServiceError(Reason.UNAVAILABLE, "This instance stops; another one goes on.")

    def _board(self, text: str) -> Board:
        try:
            return Board.parse(text or "all", self._now())
        except ValueError:
            raise ServiceError(Reason.BOARD_NOT_FOUND, "There is no such board.") from None

    def _enter(self, text: str) -> _Open:
        held = self._open.get(text)
        if held is None:
            if self._stopping.is_set() or len(self._open) >= self._pace.max_watched:
                raise ServiceError(Reason.UNAVAILABLE, "This instance can't watch another board.")
            watch = Watch(
                text,
                self._boards,
                self._names,
                size=self._pace.frame_size,
                tick=self._pace.tick,
                reread=self._pace.reread,
                now=self._now,
                moved=self._updates.watch,
            )
            held = self._open[text] = _Open(watch, spawn(f"watch {text}", watch.keep()))
        held.watchers += 1
        if held.closing is not None:
            held.closing.cancel()
            held.closing = None
        return held

    def _leave(self, text: str, held: _Open) -> None:
        held.watchers -= 1
        if held.watchers == 0 and not self._stopping.is_set():
            loop = asyncio.get_running_loop()
            held.closing = loop.call_later(0 if held.watch.ended else self._pace.linger, self._close, text, held)

    def _close(self, text: str, held: _Open) -> None:
        if self._open.get(text) is held:
            del self._open[text]
        self._updates.forget(held.watch)
        held.task.cancel()

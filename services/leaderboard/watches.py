"""The watched boards of this process: opened with their first reader, routed to, ended together.

Must never hold more for a slow reader than the newest frame, nor watch more boards than it was told to.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from prometheus_client import Gauge

from services.leaderboard.frames import Reading
from services.leaderboard.pace import Pace
from services.leaderboard.watch import Clock, Watch
from services.runtime.boards import Board
from services.runtime.catalog import Catalog
from services.runtime.errors import Reason, ServiceError
from services.runtime.lifecycle import cancel, spawn

if TYPE_CHECKING:
    from topten.leaderboard.v1.leaderboard_pb2 import Frame

watched_boards = Gauge("topten_leaderboard_watched_boards", "Boards that are watched")


@dataclass(frozen=True, kw_only=True)
class WatchLimits:
    """Sizes and times of watches; see the settings of the same names."""

    frame_size: int
    tick: timedelta
    reread: timedelta
    linger: timedelta
    closing: timedelta
    max_watched: int


class Watches:
    """A server: `stop` ends every watch, and with it the streams that read them."""

    def __init__(
        self,
        read: Callable[[Board, int], Awaitable[Reading]],
        limits: WatchLimits,
        catalog: Catalog,
        clock: Clock | None = None,
    ) -> None:
        self._read = read
        self._catalog = catalog
        self._limits = limits
        self._clock = clock or Clock()
        self._open: dict[str, Watch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    async def start(self) -> None:
        """Does nothing: a watch begins with its first reader."""

    async def stop(self) -> None:
        """Ends every watch; who reads one moves on to another instance."""
        self._is_stopping = True
        await cancel(*self._tasks)

    def board(self, text: str) -> Board:
        """The board that `text` names now. Raises BOARD_NOT_FOUND."""
        try:
            return self._catalog.parse(text, self._clock.now())
        except ValueError:
            raise ServiceError(Reason.BOARD_NOT_FOUND, "no board has this name") from None

    def current(self, board: Board, limit: int) -> Frame | None:
        """A frame with the first `limit` places if one is at hand and nothing newer is known of."""
        watch = self._open.get(board.text)
        return watch.frame if watch is not None and limit <= self._limits.frame_size and watch.is_current else None

    async def frames(self, text: str) -> AsyncGenerator[Frame, None]:
        """The newest frame of the board that `text` names, at once, then each newer one, the latest only.

        A bare `weekly` or `monthly` goes on with the next board when its period is over; what names a period ends after
        the last frame of it. Raises BOARD_NOT_FOUND; UNAVAILABLE when this instance stops or watches enough already.
        """
        board = self.board(text)
        follows = self._catalog.follows_calendar(text)
        while True:
            with self._reading(board) as watch:
                shown = 0
                while True:
                    news, frame = watch.news, watch.frame
                    if frame is not None and watch.shown != shown:
                        shown = watch.shown
                        yield frame
                    elif watch.is_closed or (follows and watch.is_over):
                        break
                    elif watch.has_ended:
                        raise ServiceError(Reason.UNAVAILABLE, "this instance is stopping")
                    else:
                        await news.wait()
            if not follows or watch.ends_at is None:
                return
            # A clock that was set back must not lead to the board that was just left.
            board = self._catalog.parse(text, max(self._clock.now(), watch.ends_at))

    def notice(self, board: str, user_id: str, value: float, *, lowered: bool, causes: Sequence[str] = ()) -> None:
        """A player's standing on a board (as text) has changed; `causes` are the traces that this is part of."""
        watch = self._open.get(board)
        if watch is not None:
            watch.notice(user_id, value, lowered=lowered, causes=causes)

    def mark_all(self) -> None:
        """Something may have been missed: every watched board is read."""
        for watch in self._open.values():
            watch.mark()

    @contextmanager
    def _reading(self, board: Board) -> Iterator[Watch]:
        watch = self._open.get(board.text) or self._begin(board)
        watch.enter()
        try:
            yield watch
        finally:
            watch.leave()

    def _begin(self, board: Board) -> Watch:
        if self._is_stopping or len(self._open) >= self._limits.max_watched:
            raise ServiceError(
                Reason.UNAVAILABLE, "this instance can't watch another board", retry_after=timedelta(seconds=1)
            )
        limits = self._limits
        watch = self._open[board.text] = Watch(
            board,
            self._read,
            Pace(tick=limits.tick.total_seconds(), reread=limits.reread.total_seconds()),
            size=limits.frame_size,
            closing=limits.closing,
            linger=limits.linger,
            clock=self._clock,
        )
        # A context of its own: a watch outlives the call, and so the deadline, of its first reader.
        task = contextvars.Context().run(spawn, f"watch {board.text}", self._keep(watch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A task that is cancelled before its first step has no `finally`.
        task.add_done_callback(lambda _: self._close(watch))
        watched_boards.inc()
        return watch

    async def _keep(self, watch: Watch) -> None:
        try:
            await watch.run()
        finally:
            # At once, so that nobody begins to read a watch that has ended.
            self._close(watch)

    def _close(self, watch: Watch) -> None:
        if not watch.has_ended:
            watch.end()
            del self._open[watch.board.text]
            watched_boards.dec()

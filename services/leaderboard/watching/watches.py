"""The watched boards of this process, each with one task that reads it, however many streams show it.

Never holds more for a slow stream than the newest frame, and never watches more boards than the limit.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from prometheus_client import Gauge

from services.boards.board import Board
from services.boards.catalog import Catalog
from services.boards.existence import Existence, existence_of
from services.boards.periods.freezing import freezes_at
from services.leaderboard.reading.boards import no_such_board, requested_board
from services.leaderboard.reading.frames import Frames
from services.leaderboard.reading.results import UnreadableError
from services.leaderboard.watching.watch import ROSTER_REREAD, Watch, WatchLimits, wait_until_set
from services.runtime.errors import Reason, ServiceError
from services.runtime.process.lifecycle import cancel, spawn
from services.runtime.telemetry import tracing

if TYPE_CHECKING:
    from topten.leaderboard.v1.leaderboard_pb2 import Frame

# A player's share of the boards that a process watches. Services, which the operator registers, have no such limit.
MAX_PER_PLAYER: Final = 50
watched_boards = Gauge("topten_leaderboard_watched_boards", "Boards that are watched")


class Watches:
    """A server: `stop` ends every watch, and with it the streams that show it."""

    def __init__(self, frames: Frames, limits: WatchLimits, catalog: Catalog, *, now: Callable[[], datetime]) -> None:
        self._frames = frames
        self._limits = limits
        self._catalog = catalog
        self._now = now
        self._watches: dict[str, Watch] = {}
        self._held: dict[str, Counter[str]] = {}
        """Streams of each player by board."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    async def start(self) -> None:
        """Do nothing: a watch starts with its first stream."""

    async def stop(self) -> None:
        """End every watch; clients of its streams move on to another instance."""
        self._is_stopping = True
        await cancel(*self._tasks)

    def current(self, board: Board, limit: int) -> Frame | None:
        """Return a frame with the first `limit` ranks if one is shown and no newer state is known."""
        watch = self._watches.get(board.name)
        return watch.frame if watch is not None and limit <= self._limits.frame_size and watch.is_current else None

    async def frames(self, name: str, player: str = "") -> AsyncGenerator[Frame, None]:
        """Stream the newest frame of a board, then each newer one; a slow stream skips to the latest.

        `player` is the caller's user id; empty for a service.

        A name without a period goes on with the next board when the period is over; a named period ends after its last
        frame. Raises BOARD_NOT_FOUND, RATE_LIMITED at the player's share of boards, and UNAVAILABLE when this instance stops
        or already watches enough boards.
        """
        board = requested_board(self._catalog, name, self._now())
        if existence_of(self._catalog, board, self._now()) is Existence.IF_RANKED:
            final = await self._final_frame(board)
            yield final
            if final.stale:
                raise ServiceError(Reason.UNAVAILABLE, "The board is being filled. Connect again.")
            return  # nothing will change, so nothing is watched
        follows = self._catalog.follows_calendar(name)
        while True:
            with self._share(board, player), self._watched(board) as watch:
                seen = 0
                while (frame := await _newer_frame(watch, seen, follows=follows)) is not None:
                    seen = watch.frames_sent
                    yield frame
            if not follows or watch.ends_at is None:
                return
            # The clock may be set back, which must not lead to the board that has just ended.
            board = self._catalog.parse(name, max(self._now(), watch.ends_at))

    def notice(self, board: str, user_id: str, value: float, *, lowered: bool, causes: Sequence[str] = ()) -> None:
        """Record a player's changed standing on a board, given by full name; `causes` are the traces of the change."""
        watch = self._watches.get(board)
        if watch is not None:
            watch.notice(user_id, value, lowered=lowered, causes=causes)

    def mark_all(self) -> None:
        """Record that changes may have been missed: every watched board is read."""
        for watch in self._watches.values():
            watch.mark()

    async def _final_frame(self, board: Board) -> Frame:
        try:
            frame = (await self._frames.read(board, self._limits.frame_size)).frame
        except UnreadableError as error:
            raise ServiceError(Reason.UNAVAILABLE, "The board cannot be read. Connect again.") from error
        if not frame.entries and not frame.stale:
            raise no_such_board(board.name)
        return frame

    @contextmanager
    def _share(self, board: Board, player: str) -> Iterator[None]:
        if not player:
            yield
            return
        boards = self._held.get(player, Counter())
        if board.name not in boards and len(boards) >= MAX_PER_PLAYER:
            raise ServiceError(
                Reason.RATE_LIMITED,
                f"Limit reached: {MAX_PER_PLAYER} watched boards per player. End a stream and try again.",
                retry_after=timedelta(seconds=1),
            )
        boards = self._held.setdefault(player, boards)
        boards[board.name] += 1
        try:
            yield
        finally:
            boards[board.name] -= 1
            if not boards[board.name]:
                del boards[board.name]
            if not boards:
                del self._held[player]

    @contextmanager
    def _watched(self, board: Board) -> Iterator[Watch]:
        watch = self._watches.get(board.name) or self._start(board)
        watch.enter()
        try:
            yield watch
        finally:
            watch.leave(time.monotonic())

    def _limits_of(self, board: Board) -> WatchLimits:
        if not self._catalog.has_roster(board):
            return self._limits
        return replace(self._limits, reread=min(self._limits.reread, ROSTER_REREAD))

    def _start(self, board: Board) -> Watch:
        if self._is_stopping or len(self._watches) >= self._limits.max_watched:
            raise ServiceError(
                Reason.UNAVAILABLE,
                "This instance cannot watch another board. Connect again.",
                retry_after=timedelta(seconds=1),
            )
        watch = self._watches[board.name] = Watch(
            board,
            self._catalog.period_of(board),
            self._limits_of(board),
            time.monotonic(),
            freezes_at=freezes_at(self._catalog, board),
        )
        # A new context: the watch outlives the call, and so the deadline, of its first stream.
        task = contextvars.Context().run(spawn, f"watch {board.name}", self._run(watch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A task that is cancelled before its first step runs no `finally`.
        task.add_done_callback(lambda _: self._end(watch))
        watched_boards.inc()
        return watch

    async def _run(self, watch: Watch) -> None:
        try:
            while not watch.is_done(time.monotonic()):
                pause = watch.pause(self._now(), time.monotonic())
                if pause > 0:
                    await wait_until_set(watch.due, pause)
                else:
                    await self._read(watch)
        finally:
            # At once, so that no stream enters a watch that has ended.
            self._end(watch)

    async def _read(self, watch: Watch) -> None:
        try:
            with tracing.joined("frame", "consumer", watch.begin(), {"topten.board": watch.board.name}):
                reading = await self._frames.read(watch.board, self._limits.frame_size)
                traceparents = tracing.carried()
        except UnreadableError as error:
            watch.fail(str(error), time.monotonic())
        else:
            watch.show(reading, traceparents, time.monotonic())

    def _end(self, watch: Watch) -> None:
        if not watch.has_ended:
            watch.end()
            del self._watches[watch.board.name]
            watched_boards.dec()


async def _newer_frame(watch: Watch, seen: int, *, follows: bool) -> Frame | None:
    """Wait until a watch has a newer frame than number `seen`, and return it; None if there will be no other.

    A stream that `follows` the calendar ends with the period; others wait for the period's last frame. Raises UNAVAILABLE.
    """
    while True:
        changed, frame = watch.changed, watch.frame
        if frame is not None and watch.frames_sent != seen:
            return frame
        if watch.is_closed or (follows and watch.is_over):
            return None
        if watch.has_ended:
            raise ServiceError(Reason.UNAVAILABLE, "This instance is stopping. Connect again.")
        await changed.wait()

"""One watched board: its newest frame, kept so with as few reads as it takes.

A change that can be seen in the head marks the board dirty; a dirty board is read at once, then at most once a tick, and
the last state of a burst is always sent. It is read every few seconds all the same, since a message may be lost, and at
the end of its period. Must never send a frame that is not newer or different, nor queue one for a slow reader.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import Gauge
from topten.leaderboard.v1 import leaderboard_pb2

from services.leaderboard.head import Head, UnreadableError
from services.leaderboard.ranking import Member, may_change, ranked
from services.runtime.boards import Board, follows_calendar, period

if TYPE_CHECKING:
    from services.leaderboard.boards import Boards
    from services.leaderboard.names import Names

stale_boards = Gauge("topten_board_stale", "Watched boards whose last frame is served because they can't be read")
_log = structlog.get_logger("watch")


class Watch:
    """Watches the board that `text` names; a bare `weekly` or `monthly` follows the calendar. Ends with `close`."""

    def __init__(
        self,
        text: str,
        boards: Boards,
        names: Names,
        *,
        size: int,
        tick: float,
        reread: float,
        now: Callable[[], datetime],
        moved: Callable[[Watch, Board], None],
    ) -> None:
        """`moved` is told the board that is watched from now on, at first and when the calendar turns."""
        self.latest: leaderboard_pb2.Frame | None = None
        self.ended = False
        self.board = Board.parse(text, now())
        self._text = text
        self._boards = boards
        self._names = names
        self._size = size
        self._tick = tick
        self._reread = reread
        self._now = now
        self._moved = moved
        self._head: Sequence[Member] = ()
        self._dirty = asyncio.Event()
        self._changed = asyncio.Event()
        self._is_stale = False
        moved(self, self.board)

    def notice(self, user_id: str, value: float, *, lowered: bool) -> None:
        """A standing on this board has changed: read it, if that can be seen in the head."""
        if not self._dirty.is_set() and may_change(self._head, self._size, user_id, value, lowered=lowered):
            self._dirty.set()

    def mark_dirty(self) -> None:
        """Something may have been missed: read the board."""
        self._dirty.set()

    async def frames(self) -> AsyncGenerator[leaderboard_pb2.Frame, None]:
        """The newest frame, and each newer one; a slow reader skips what it missed. Ends when the board has closed."""
        sent: leaderboard_pb2.Frame | None = None
        while True:
            changed, frame = self._changed, self.latest
            if frame is not None and frame is not sent:
                sent = frame
                yield frame
                continue
            if self.ended:
                return
            await changed.wait()

    async def keep(self) -> None:
        """Keep the newest frame until cancelled or the period is over; the task of this watch."""
        loop = asyncio.get_running_loop()
        try:
            while not self.ended:
                self._dirty.clear()
                read_at = loop.time()
                closes = self._turn_calendar()
                await self._read()
                if closes:
                    self.end()
                    return
                # The leading edge is over: whatever comes within the tick is one frame.
                await asyncio.sleep(max(0.0, read_at + self._tick - loop.time()))
                await self._wait_dirty()
        finally:
            if self._is_stale:
                stale_boards.dec()

    def _turn_calendar(self) -> bool:
        """Move on to the board of the present period; True if this is the last look at a named one that is over."""
        counted = period(self.board)
        if counted is None or self._now() < counted.ends_at:
            return False
        if not follows_calendar(self._text):
            return True
        self.board = Board.parse(self._text, self._now())
        self._head = ()
        self.latest = None
        self._moved(self, self.board)
        return False

    async def _wait_dirty(self) -> None:
        seconds = self._reread
        counted = period(self.board)
        if counted is not None:
            seconds = min(seconds, max(0.0, (counted.ends_at - self._now()).total_seconds()) + 0.001)
        try:
            async with asyncio.timeout(seconds):
                await self._dirty.wait()
        except TimeoutError:
            pass

    async def _read(self) -> None:
        read_at = self._now()
        try:
            head = await self._boards.head(self.board, self._size)
        except UnreadableError as error:
            self._become_stale(str(error))
            return
        latest = self.latest
        if latest is not None and (head.generation, head.version) < (latest.generation, latest.version):
            return
        frame, known = await frame_of(self.board, head, read_at, self._names)
        self._head = head.members
        if not known:
            self._dirty.set()
        self._set_stale(stale=False)
        if latest is None or latest.stale or latest.entries != frame.entries or latest.generation != frame.generation:
            self._publish(frame)

    def _become_stale(self, reason: str) -> None:
        if self.latest is not None and not self.latest.stale:
            frame = leaderboard_pb2.Frame()
            frame.CopyFrom(self.latest)
            frame.stale = True
            self._publish(frame)
        if not self._is_stale:
            _log.warning("the board can't be read", board=self.board.text, reason=reason)
        self._set_stale(stale=True)

    def _set_stale(self, *, stale: bool) -> None:
        if stale != self._is_stale:
            self._is_stale = stale
            stale_boards.inc(1 if stale else -1)

    def _publish(self, frame: leaderboard_pb2.Frame) -> None:
        self.latest = frame
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def end(self) -> None:
        """Let every reader end after the newest frame."""
        self.ended = True
        self._changed.set()


async def frame_of(board: Board, head: Head, read_at: datetime, names: Names) -> tuple[leaderboard_pb2.Frame, bool]:
    """The frame of a head, and whether every name in it could be had."""
    timestamp = Timestamp()
    timestamp.FromDatetime(read_at)
    found = await names.of(user_id for user_id, _ in head.members)
    entries = []
    for place in ranked(head.members):
        name = found[place.user_id]
        entries.append(
            leaderboard_pb2.Entry(
                rank=place.rank,
                user_id=place.user_id,
                username=name.username,
                score=place.points,
                country=name.country,
                previous_rank=head.previous.get(place.user_id),
            )
        )
    frame = leaderboard_pb2.Frame(
        board=board.text,
        generation=head.generation,
        version=head.version,
        timestamp=timestamp,
        entries=entries,
    )
    return frame, all(name.known for name in found.values())

"""One watched board: its newest frame, kept so with as few reads as it takes.

A change that can be seen in the head makes the board be read; `pace` says when. Frames that differ are told to who waits
for them, who always takes the newest and never queues. Time never runs backwards here: a state that is older than one
that was shown means that Redis went back, and is not shown. One task a watch, however many read it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter, Gauge

from services.leaderboard.frames import Reading, caused, differs, position, restated
from services.leaderboard.head import UnreadableError
from services.leaderboard.ranking import may_change
from services.runtime import tracing
from services.runtime.boards import Board, period
from services.runtime.clock import utc_now

if TYPE_CHECKING:
    from topten.leaderboard.v1.leaderboard_pb2 import Frame

    from services.leaderboard.pace import Pace
    from services.leaderboard.ranking import Member

stale_boards = Gauge("topten_board_stale", "Watched boards that can't be read, so that their last frame is served")
reads = Counter("topten_leaderboard_reads_total", "Reads of watched boards by what came of them", ["result"])
_sent, _same, _failed = (reads.labels(result) for result in ("sent", "same", "failed"))
_log = structlog.get_logger("watch")


class Clock:
    """Time as a watch sees it."""

    def now(self) -> datetime:
        """The time of day, which decides about periods."""
        return utc_now()

    def monotonic(self) -> float:
        """Seconds that only grow, which decide about pauses."""
        return time.monotonic()

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Returns when the event is set, at the latest after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return


class Watch:
    """Watches `board` while `run` runs, which ends by itself when the board has closed or nobody reads it for `linger`.

    `closing` after its period's end a board has taken in what was under way, and its frame is final.
    """

    def __init__(
        self,
        board: Board,
        read: Callable[[Board, int], Awaitable[Reading]],
        pace: Pace,
        *,
        size: int,
        closing: timedelta,
        linger: timedelta,
        clock: Clock,
    ) -> None:
        self.board = board
        self.frame: Frame | None = None
        self.shown = 0  # how many frames were told
        self.is_over = False  # its period is over; who follows the calendar moves on
        self.is_closed = False  # its last frame was told
        self.has_ended = False  # nothing more will come
        self.news = asyncio.Event()  # set, and replaced, whenever something of the above has changed
        self._read = read
        self._pace = pace
        self._size = size
        self._clock = clock
        self._linger = linger.total_seconds()
        counted = period(board)
        self.ends_at = counted.ends_at if counted else None
        self._closes_at = counted.ends_at + closing if counted else None
        self._closing = False
        self._reading = False
        self._is_stale = False
        self._members: Sequence[Member] = ()
        self._readers = 0
        self._idle_since = clock.monotonic()
        self._wake = asyncio.Event()
        self._causes: deque[str] = deque(maxlen=tracing.MAX_JOINED)

    def enter(self) -> None:
        """Somebody reads this watch."""
        self._readers += 1

    def leave(self) -> None:
        """Somebody does not any more."""
        self._readers -= 1
        self._idle_since = self._clock.monotonic()

    @property
    def is_current(self) -> bool:
        """Whether nothing is known that the newest frame does not show."""
        return self.frame is not None and not self.frame.stale and not self._pace.dirty and not self._reading

    def notice(self, user_id: str, value: float, *, lowered: bool, causes: Sequence[str] = ()) -> None:
        """A standing on this board has changed: the board is read if that can be seen in its head.

        `causes` are the traces that this is part of; the read that shows it is then part of them too.
        """
        # While it is being read, the head in memory is no measure: the one that comes may have been read before this.
        if self._reading or self._is_stale or may_change(self._members, self._size, user_id, value, lowered=lowered):
            self._causes.extend(causes)
            self.mark()

    def mark(self) -> None:
        """Something may have been missed: the board is read."""
        self._pace.mark()
        self._wake.set()

    async def run(self) -> None:
        """Keeps the newest frame; the task of this watch. Whoever runs it calls `end` after it, however it ended."""
        while not self.is_closed and not self._is_idle():
            pause = self._pause()
            if pause > 0:
                self._wake.clear()
                await self._clock.wait(self._wake, pause)
            else:
                await self._look()

    def end(self) -> None:
        """Nothing more will come: lets every reader know."""
        self._set_stale(stale=False)
        self.has_ended = True
        self._tell()

    def _is_idle(self) -> bool:
        return not self._readers and self._clock.monotonic() >= self._idle_since + self._linger

    def _pause(self) -> float:
        """How long nothing has to be done; turns what the calendar has turned."""
        now = self._clock.now()
        pauses: list[float] = []
        if self.ends_at is not None and not self.is_over:
            if now >= self.ends_at:
                self.is_over = True
                self._tell()
            else:
                pauses.append((self.ends_at - now).total_seconds())
        if self._closes_at is not None and not self._closing:
            if now >= self._closes_at:
                self._closing = True
                self._pace.mark()
            else:
                pauses.append((self._closes_at - now).total_seconds())
        if not self._readers:
            pauses.append(max(0.001, self._idle_since + self._linger - self._clock.monotonic()))
        return min(self._pace.pause(self._clock.monotonic()), *pauses, float("inf"))

    async def _look(self) -> None:
        """Reads the board once and tells what is new."""
        is_final = self._closing
        self._pace.begin()
        self._reading = True
        causes = list(self._causes)
        self._causes.clear()
        try:
            with tracing.joined("frame", "consumer", causes, {"topten.board": self.board.text}):
                reading = await self._read(self.board, self._size)
                traces = tracing.carried()
            if self.frame is not None and position(reading.frame) < position(self.frame):
                raise UnreadableError("redis went back")
        except UnreadableError as error:
            self._become_stale(error)
            return
        finally:
            self._reading = False
        self._set_stale(stale=False)
        self._members = reading.members
        is_new = differs(reading.frame, self.frame)
        # Also what shows nothing new is newer, and the next reader's first frame.
        self.frame = caused(reading.frame, traces) if traces else reading.frame
        self.is_closed = is_final
        self._pace.end(self._clock.monotonic(), sent=is_new, settled=reading.has_all_names)
        (_sent if is_new else _same).inc()
        if is_new:
            self.shown += 1
        if is_new or is_final:
            self._tell()

    def _become_stale(self, error: UnreadableError) -> None:
        _failed.inc()
        if not self._is_stale:
            _log.warning("the board can't be read", board=self.board.text, reason=str(error))
        self._set_stale(stale=True)
        if self.frame is not None and not self.frame.stale:
            self.frame = restated(self.frame, stale=True)
            self.shown += 1
            self._tell()
        self._pace.end(self._clock.monotonic(), sent=True, settled=False)

    def _set_stale(self, *, stale: bool) -> None:
        if stale != self._is_stale:
            self._is_stale = stale
            stale_boards.inc(1 if stale else -1)

    def _tell(self) -> None:
        news, self.news = self.news, asyncio.Event()
        news.set()

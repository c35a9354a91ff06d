"""One watched board: its newest frame, and what must be read or sent next. Does no I/O; times are passed in.

Changes that can be seen in the head are marked for a read, and `Throttle` says when. Streams always take the newest frame
and never queue. Frames never go backwards: an older state than the shown one means that Redis lost writes, and counts as
a failed read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client import Counter, Gauge

from services.boards.board import Board
from services.boards.periods.period import Period
from services.leaderboard.ranking import may_change
from services.leaderboard.reading.frames import Reading, differs, position, stale_copy, traced
from services.leaderboard.watching.throttle import Throttle
from services.runtime.telemetry import tracing

if TYPE_CHECKING:
    from topten.leaderboard.v1.leaderboard_pb2 import Frame

    from services.leaderboard.ranking import Member

# A board of groups is read this often: no message says that their members have changed.
ROSTER_REREAD: Final = timedelta(seconds=0.5)
stale_boards = Gauge("topten_board_stale", "Watched boards that cannot be read, so that their last frame is served")
reads = Counter("topten_leaderboard_reads_total", "Reads of watched boards by their result", ["result"])
_sent, _same, _failed = (reads.labels(result) for result in ("sent", "same", "failed"))
_log = structlog.get_logger("watch")


@dataclass(frozen=True, kw_only=True)
class WatchLimits:
    """Sizes and times of watches; see the settings of the same names."""

    frame_size: int
    tick: timedelta
    reread: timedelta
    linger: timedelta
    closing: timedelta
    max_watched: int


class Watch:
    """The state of one watched board. `now` is the time of day, `clock` the seconds of a monotonic clock.

    `limits.closing` after the end of its period, a board has counted every event that was under way: the next frame is
    its last one. `freezes_at` is when it freezes, until its period is over.
    """

    def __init__(
        self,
        board: Board,
        period: Period | None,
        limits: WatchLimits,
        clock: float,
        *,
        freezes_at: datetime | None = None,
    ) -> None:
        self.board = board
        self.frame: Frame | None = None
        self.frames_sent = 0
        self.is_over = False  # the period has ended; streams that follow the calendar move on
        self.is_closed = False  # the last frame is sent
        self.has_ended = False  # nothing more will come
        self.changed = asyncio.Event()  # set, and replaced, when any of the above changes
        self.due = asyncio.Event()  # set when a read may be due before the last `pause` is over
        self._size = limits.frame_size
        self._linger = limits.linger.total_seconds()
        self._throttle = Throttle(tick=limits.tick.total_seconds(), reread=limits.reread.total_seconds())
        self.ends_at = period.ends_at if period else None
        self._closes_at = period.ends_at + limits.closing if period else None
        # The board shows something else from these moments on, though nothing is written.
        self._turns = [freezes_at, period.ends_at] if period and freezes_at else []
        self._is_closing = False
        self._reads_last_frame = False
        self._is_reading = False
        self._is_stale = False
        self._members: Sequence[Member] = ()
        self._movers: Container[str] | None = None
        self._streams = 0
        self._idle_since = clock
        self._causes: deque[str] = deque(maxlen=tracing.MAX_JOINED)

    def enter(self) -> None:
        """Count a stream that reads this watch."""
        self._streams += 1

    def leave(self, clock: float) -> None:
        """Stop counting a stream that `enter` counted."""
        self._streams -= 1
        self._idle_since = clock

    def is_done(self, clock: float) -> bool:
        """Whether the watch can end: the board is closed, or no stream has read it for `limits.linger`."""
        return self.is_closed or (not self._streams and clock >= self._idle_since + self._linger)

    @property
    def is_current(self) -> bool:
        """Whether the newest frame shows every change that is known."""
        return self.frame is not None and not self.frame.stale and not self._throttle.dirty and not self._is_reading

    def notice(self, user_id: str, value: float, *, lowered: bool, causes: Sequence[str] = ()) -> None:
        """Record a changed standing: the board is read if the head can show it.

        `causes` are the traces of the change; the read that shows it becomes part of them.
        """
        # During a read the known head decides nothing: the next one may still have been read before this change.
        if self._is_reading or self._is_stale or self._may_show(user_id, value, lowered=lowered):
            self._causes.extend(causes)
            self.mark()

    def _may_show(self, user_id: str, value: float, *, lowered: bool) -> bool:
        if self._movers is not None:
            return user_id in self._movers
        return may_change(self._members, self._size, user_id, value, lowered=lowered)

    def mark(self) -> None:
        """Record that a change may have been missed: the board is read."""
        self._throttle.mark()
        self.due.set()

    def pause(self, now: datetime, clock: float) -> float:
        """Return the seconds until something is due; 0 if a read is. Applies the ends of the period that have passed."""
        self.due.clear()
        pauses: list[float] = []
        if self.ends_at is not None and not self.is_over:
            if now >= self.ends_at:
                self.is_over = True
                self._notify()
            else:
                pauses.append((self.ends_at - now).total_seconds())
        while self._turns and now >= self._turns[0]:
            self._turns.pop(0)
            self._throttle.mark()
        if self._turns:
            pauses.append((self._turns[0] - now).total_seconds())
        if self._closes_at is not None and not self._is_closing:
            if now >= self._closes_at:
                self._is_closing = True
                self._throttle.mark()
            else:
                pauses.append((self._closes_at - now).total_seconds())
        if not self._streams:
            pauses.append(max(0.001, self._idle_since + self._linger - clock))
        return min([self._throttle.pause(clock), *pauses])

    def begin(self) -> list[str]:
        """Begin a read; return the traces that it is part of. `show` or `fail` ends it."""
        self._throttle.begin()
        self._is_reading = True
        self._reads_last_frame = self._is_closing
        causes = list(self._causes)
        self._causes.clear()
        return causes

    def show(self, reading: Reading, traceparents: Sequence[str], clock: float) -> None:
        """End a read with its result, which streams are sent if it differs from the shown frame."""
        if self.frame is not None and position(reading.frame) < position(self.frame):
            self.fail("Redis lost writes", clock)
            return
        self._is_reading = False
        self._set_stale(stale=False)
        self._members = reading.members
        self._movers = reading.movers
        is_new = differs(reading.frame, self.frame)
        # A frame that shows nothing new still has a newer version, and is what the next stream starts with.
        self.frame = traced(reading.frame, traceparents) if traceparents else reading.frame
        # A board that is being filled is not over before it is whole.
        self.is_closed = self._reads_last_frame and not reading.frame.stale
        self._throttle.end(clock, sent=is_new, complete=reading.has_all_names)
        (_sent if is_new else _same).inc()
        if is_new:
            self.frames_sent += 1
        if is_new or self.is_closed:
            self._notify()

    def fail(self, reason: str, clock: float) -> None:
        """End a read that failed: the shown frame becomes stale."""
        self._is_reading = False
        _failed.inc()
        if not self._is_stale:
            _log.warning("board unreadable", board=self.board.name, reason=reason)
        self._set_stale(stale=True)
        if self.frame is not None and not self.frame.stale:
            self.frame = stale_copy(self.frame)
            self.frames_sent += 1
            self._notify()
        self._throttle.end(clock, sent=True, complete=False)

    def end(self) -> None:
        """Tell every stream that nothing more will come."""
        self._set_stale(stale=False)
        self.has_ended = True
        self._notify()

    def _set_stale(self, *, stale: bool) -> None:
        if stale != self._is_stale:
            self._is_stale = stale
            stale_boards.inc(1 if stale else -1)

    def _notify(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


async def wait_until_set(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set, at the latest after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return

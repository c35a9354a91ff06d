"""The throttle of a watched board: read at once, then at most once a tick, and periodically all the same. Pure.

All times are in seconds of one monotonic clock, and passed in.
"""

from __future__ import annotations

from typing import Final

# A failed or incomplete read is repeated after this long.
RETRY_SECONDS: Final = 1.0
# A read that showed nothing new delays the next one by only this fraction of a tick.
UNCHANGED_FRACTION: Final = 0.1


class Throttle:
    """Schedules the reads of one board. A change marked between `begin` and `end` is read after that."""

    def __init__(self, *, tick: float, reread: float) -> None:
        self.dirty = True
        self._tick = tick
        self._reread = reread
        self._not_before = float("-inf")
        self._reread_at = float("-inf")

    def mark(self) -> None:
        """Record that the board may have changed."""
        self.dirty = True

    def pause(self, now: float) -> float:
        """Return the time until the next read is due; 0 if it is due now."""
        due = self._not_before if self.dirty else max(self._reread_at, self._not_before)
        return max(0.0, due - now)

    def begin(self) -> None:
        """Begin a read, which sees every change marked before."""
        self.dirty = False

    def end(self, now: float, *, sent: bool, complete: bool) -> None:
        """End a read. `sent` says that it led to a frame, `complete` that nothing of it must be read again soon."""
        self._not_before = now + self._tick * (1.0 if sent or not complete else UNCHANGED_FRACTION)
        self._reread_at = now + (self._reread if complete else min(self._reread, RETRY_SECONDS))

"""When a watched board is read: at once, then at most once a tick, and every few seconds all the same. Pure.

All times are in seconds of one clock that never goes back, and handed in.
"""

from __future__ import annotations

from typing import Final

# What can't be read, or not all of it, is tried again after this long.
RETRY_SECONDS: Final = 1.0
# A read that showed nothing new costs the next change only this share of a tick.
UNSEEN: Final = 0.1


class Pace:
    """One board's. Between `begin` and `end` it is being read; what is marked meanwhile is read after that."""

    def __init__(self, *, tick: float, reread: float) -> None:
        self.dirty = True
        self._tick = tick
        self._reread = reread
        self._not_before = float("-inf")
        self._again_at = float("-inf")

    def mark(self) -> None:
        """The board may have changed."""
        self.dirty = True

    def pause(self, now: float) -> float:
        """How long until the next read is due; 0 if it is due now."""
        due = self._not_before if self.dirty else max(self._again_at, self._not_before)
        return max(0.0, due - now)

    def begin(self) -> None:
        """A read begins: it will see all that was marked until now."""
        self.dirty = False

    def end(self, now: float, *, sent: bool, settled: bool) -> None:
        """The read ended. `sent`: it led to a frame; `settled`: it need not be tried again before it changes."""
        self._not_before = now + self._tick * (1.0 if sent or not settled else UNSEEN)
        self._again_at = now + (self._reread if settled else min(self._reread, RETRY_SECONDS))

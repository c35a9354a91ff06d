"""Whether this process has work. Loops that only look for leftovers of other processes run less often while it has none.

Work is a call, a request to the edge, or a message of the stream. A call from a background loop of another process is none:
it is marked by `IN_BACKGROUND`, because processes would keep each other awake otherwise. Use from one event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

# How long after its last work a process counts as working.
WORKING_SECONDS: Final = 10.0
# Long pauses of all processes of a machine end at multiples of this by its monotonic clock: what follows them finds caches
# warm, in the process and in the stores.
TOGETHER_SECONDS: Final = 5.0
BACKGROUND_KEY: Final = "topten-background"
IN_BACKGROUND: Final = ((BACKGROUND_KEY, "1"),)
"""Metadata of a call that is no work."""


class Activity:
    """The time of a process's last work, and the loops that wait for more. A new process counts as working."""

    def __init__(self, working_seconds: float = WORKING_SECONDS) -> None:
        self._working_seconds = working_seconds
        self._worked_at = time.monotonic()
        self._resting: set[asyncio.Future[bool]] = set()
        self._on_work: list[Callable[[], None]] = []

    def on_work(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever work comes after a rest."""
        self._on_work.append(callback)

    def note(self) -> None:
        """Note that there is work."""
        rested, self._worked_at = not self.works_for(0), time.monotonic()
        if rested:
            for callback in self._on_work:
                callback()
        while self._resting:
            _end(self._resting.pop(), True)

    def works_for(self, seconds: float) -> bool:
        """Return whether the process will still count as working after `seconds`, even without further work."""
        return time.monotonic() + seconds - self._worked_at < self._working_seconds

    async def rest(self, seconds: float) -> bool:
        """Wait for work, for up to `seconds`, and return whether any came. Returns False at once while the process works."""
        if self.works_for(0):
            return False
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        self._resting.add(future)
        timer = loop.call_at(_end_of_pause(loop.time(), seconds), _end, future, False)
        try:
            return await future
        finally:
            timer.cancel()
            self._resting.discard(future)


def _end_of_pause(now: float, seconds: float) -> float:
    """Return the last moment within a pause at which others end as well, if there is one; otherwise its own end."""
    ends = now + seconds
    together = ends - ends % TOGETHER_SECONDS
    return together if together > now else ends


def _end(future: asyncio.Future[bool], came: bool) -> None:  # a callback
    if not future.done():
        future.set_result(came)


PROCESS: Final = Activity()
"""Of this process."""

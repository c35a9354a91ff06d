"""Whether this process has work. Loops that only look for leftovers of other processes run less often while it has none.

Work is a call, or a message of the stream. A call from a background loop of another process is not work: it is marked by
`IN_BACKGROUND`, because processes would keep each other awake otherwise. Use from one event loop.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

# How long after its last work a process counts as working.
WORKING_SECONDS: Final = 10.0
BACKGROUND_KEY: Final = "topten-background"
IN_BACKGROUND: Final = ((BACKGROUND_KEY, "1"),)
"""Metadata of a call that is no work."""


class Activity:
    """The time of a process's last work, and the loops that wait for more. A new process counts as working."""

    def __init__(self, working_seconds: float = WORKING_SECONDS) -> None:
        self._working_seconds = working_seconds
        self._worked_at = time.monotonic()
        self._resting: set[asyncio.Future[bool]] = set()

    def note(self) -> None:
        """Note that there is work."""
        self._worked_at = time.monotonic()
        while self._resting:
            _end(self._resting.pop(), True)

    def works_for(self, seconds: float) -> bool:
        """Return whether the process will still count as working after `seconds`, even without further work."""
        return time.monotonic() + seconds - self._worked_at < self._working_seconds

    async def rest(self, seconds: float) -> bool:
        """Wait for work, for up to `seconds`, and return whether any came. Returns False at once while the process works."""
        if self.works_for(0):
            return False
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._resting.add(future)
        timer = future.get_loop().call_later(seconds, _end, future, False)
        try:
            return await future
        finally:
            timer.cancel()
            self._resting.discard(future)


def _end(future: asyncio.Future[bool], came: bool) -> None:  # a callback
    if not future.done():
        future.set_result(came)


PROCESS: Final = Activity()
"""Of this process."""

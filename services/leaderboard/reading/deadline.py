"""The time limit of what waits for Redis."""

from __future__ import annotations

import asyncio
from typing import Final

from services.leaderboard.reading.results import UnreadableError

_CANCEL_AGAIN_SECONDS: Final = 0.02


class Deadline:
    """Cancels the task in its block after `seconds`, repeatedly until the task ends; raises UnreadableError then.

    Not `asyncio.timeout`: before Python 3.12 the driver swallows a cancellation that arrives while it writes, and goes on
    until the sockets' own timeouts. A separate task for each read would cost a fifth of its time.
    """

    __slots__ = ("_cancellations", "_loop", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._cancellations = 0

    def __enter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._timer = self._loop.call_later(self._seconds, self._cancel)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        self._timer.cancel()
        if not self._cancellations:
            return
        assert self._task is not None, "a coroutine is run by a task"
        remaining = 0
        for _ in range(self._cancellations):
            remaining = self._task.uncancel()
        if kind is asyncio.CancelledError and remaining == 0:
            raise UnreadableError("Redis did not answer in time") from error

    def _cancel(self) -> None:
        assert self._task is not None, "a coroutine is run by a task"
        self._cancellations += 1
        self._task.cancel()
        self._timer = self._loop.call_later(_CANCEL_AGAIN_SECONDS, self._cancel)

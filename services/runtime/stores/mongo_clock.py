"""MongoDB's time, as every process that uses it tells it: a process whose clock is wrong must end nothing for the others.

Each ping reads MongoDB's clock, and gives a range in which its difference from the monotonic clock lies. As long as the
clock of the process is within this range, it is used as it is; otherwise the time is MongoDB's, with an error of no more than
the ping took. Between pings, and while MongoDB is away, the monotonic clock counts on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from services.runtime.clock import milliseconds_of

# Told by a ping that took longer, a difference is used only if it contradicts the last one.
PRECISE_SECONDS: Final = 0.1
# A smaller difference is not worth a line of the log.
REPORTED_SECONDS: Final = 2.0
# MongoDB's times are cut to whole milliseconds.
_PRECISION: Final = 0.001
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_log = structlog.get_logger("mongo")


class MongoClock:
    """Tells MongoDB's time. Before the first ping it is the time of the process.

    `wall` is the clock of the process, `time.time` by default, and `monotonic` one that nobody sets, both in seconds.
    """

    def __init__(
        self, *, wall: Callable[[], float] | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = time.time if wall is None else wall
        self._monotonic = monotonic
        self._ahead: float | None = None
        self._is_wrong = False

    def now(self) -> datetime:
        """Return the time in UTC, in whole milliseconds."""
        seconds = self._wall() if self._ahead is None else self._monotonic() + self._ahead
        return _EPOCH + timedelta(milliseconds=int(seconds * 1000))

    def milliseconds(self) -> int:
        """Return the time in whole milliseconds since 1970."""
        return milliseconds_of(self.now())

    def started(self) -> float:
        """Return the start of a ping, to be passed to `note` with its response."""
        return self._monotonic()

    def note(self, server_time: datetime, started: float) -> None:
        """Use the time with which MongoDB responded just now to a ping that began at `started`."""
        ended = self._monotonic()
        served = (server_time.replace(tzinfo=UTC) - _EPOCH).total_seconds()
        least, most = served - ended, served + _PRECISION - started
        own = self._wall() - ended
        if self._ahead is not None and least <= self._ahead <= most and ended - started > PRECISE_SECONDS:
            return
        known = [ahead for ahead in (own, self._ahead) if ahead is not None and least <= ahead <= most]
        self._ahead = known[0] if known else (least + most) / 2
        self._report(own - self._ahead)

    def _report(self, difference: float) -> None:
        is_wrong = abs(difference) > REPORTED_SECONDS
        if is_wrong and not self._is_wrong:
            _log.warning("clock differs from mongodb", seconds=round(difference, 1))
        self._is_wrong = is_wrong

"""Admission: a process does so much at once, and refuses the rest at once.

Under more load than it can carry a queue only grows, until everything in it is answered too late; what is refused early
costs little, and the rest is answered as if there were no overload. Use from one event loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from prometheus_client import Counter, Gauge

from services.runtime.errors import Reason, ServiceError

RETRY_AFTER: Final = timedelta(seconds=1)
_running = Gauge("topten_requests_running", "Requests and calls that are being worked on; streams do not count", ["at"])
_shed = Counter(
    "topten_requests_shed_total", "Requests and calls that were refused because too many were running", ["at"]
)


class OverloadError(ServiceError):
    """UNAVAILABLE, because too much is being done. It is counted and not logged: a line each would add to the load."""

    def __init__(self) -> None:
        super().__init__(Reason.UNAVAILABLE, "too much is asked for at this moment", retry_after=RETRY_AFTER)


class Admission:
    """At most `most` at a time; `at` is the label of the metrics."""

    def __init__(self, at: str, *, most: int) -> None:
        self._most = most
        self._count = 0
        self._running = _running.labels(at)
        self._shed = _shed.labels(at)

    @property
    def is_full(self) -> bool:
        """Whether as many are running as may."""
        return self._count >= self._most

    def require(self) -> None:
        """Raises OverloadError if too many are running: to be asked before anything is done for a request."""
        if self.is_full:
            self._shed.inc()
            raise OverloadError

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Counts as running while the block runs. Raises OverloadError if too many do."""
        self.require()
        self._count += 1
        self._running.inc()
        try:
            yield
        finally:
            self._count -= 1
            self._running.dec()

"""Admission: limits the requests in progress and refuses the rest at once (load shedding).

Under overload a queue only grows, until every response is late. Early refusals are cheap and keep the other responses
fast. Use from one event loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from prometheus_client import Counter, Gauge

from services.runtime.errors import Reason, ServiceError

RETRY_AFTER: Final = timedelta(seconds=1)
_running = Gauge("topten_requests_running", "Requests and calls in progress, without streams", ["at"])
_shed = Counter("topten_requests_shed_total", "Requests and calls refused because too many were in progress", ["at"])


class OverloadError(ServiceError):
    """UNAVAILABLE because of overload. It is counted and not logged: a line each would add to the load."""

    def __init__(self) -> None:
        super().__init__(Reason.UNAVAILABLE, "The server is overloaded. Retry in 1 s.", retry_after=RETRY_AFTER)


class Admission:
    """Admits at most `limit` requests at a time. `at` is the label of the metrics."""

    def __init__(self, at: str, *, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._running = _running.labels(at)
        self._shed = _shed.labels(at)

    @property
    def is_full(self) -> bool:
        """Whether the limit is reached."""
        return self._count >= self._limit

    def require(self) -> None:
        """Raise OverloadError at the limit. Call it before any work on a request."""
        if self.is_full:
            self._shed.inc()
            raise OverloadError

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a request as in progress while the block runs. Raises OverloadError at the limit."""
        self.require()
        self._count += 1
        self._running.inc()
        try:
            yield
        finally:
            self._count -= 1
            self._running.dec()

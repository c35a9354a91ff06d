"""Admission: limits the requests in progress and refuses the rest at once (load shedding).

Under overload a queue only grows, until every response is late. Early refusals are cheap and keep the other responses
fast. Use from one event loop.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Self

from prometheus_client import Counter, Gauge

from services.runtime.errors import Reason, ServiceError

RETRY_AFTER: Final = timedelta(seconds=1)
_running = Gauge("topten_requests_running", "Requests and calls in progress, without streams", ["at"])
_shed = Counter("topten_requests_shed_total", "Requests and calls refused because too many were in progress", ["at"])


class OverloadError(ServiceError):
    """UNAVAILABLE because of overload. It is counted and not logged: a line each would add to the load."""

    def __init__(self) -> None:
        super().__init__(Reason.UNAVAILABLE, "The server is overloaded. Retry in 1 s.", retry_after=RETRY_AFTER)


class Place:
    """The place of an admitted request while a `with` block runs."""

    __slots__ = ("_admission", "_waits")

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._waits = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._admission.leave(waited=self._waits)

    def wait(self) -> None:
        """Give the place to another request: from now on this one waits for a service, and costs this process little.

        For requests that share a call with others, and for those that many people wait for.

        The request keeps its place if too many wait already.
        """
        if not self._waits:
            self._waits = self._admission.let_wait()


class Admission:
    """Admits at most `limit` requests at a time, besides `max_waiting` that wait. `at` is the label of the metrics."""

    def __init__(self, at: str, *, limit: int, max_waiting: int = 0) -> None:
        self._limit = limit
        self._max_waiting = max_waiting
        self._count = 0
        self._waiting = 0
        _running.labels(at).set_function(lambda: self._count + self._waiting)
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

    def admitted(self) -> Place:
        """Count a request as in progress, which ends with its place. Raises OverloadError at the limit."""
        self.require()
        self._count += 1
        return Place(self)

    def let_wait(self) -> bool:
        """Count a request as waiting instead of running, unless too many wait; return whether that was done."""
        if self._waiting >= self._max_waiting:
            return False
        self._count -= 1
        self._waiting += 1
        return True

    def leave(self, *, waited: bool) -> None:
        """Count one request less."""
        if waited:
            self._waiting -= 1
        else:
            self._count -= 1

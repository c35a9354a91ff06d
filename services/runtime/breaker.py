"""A circuit breaker: who calls an upstream that does not answer is told so at once, and the upstream is left in peace.

After M. Nygard, "Release It!" (2007). Closed, calls pass; so many failures in a row open it; open, every call is refused
at once; after a pause one call at a time goes ahead as a probe, and its outcome decides. Use from one event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import IntEnum

import structlog
from prometheus_client import Gauge

from services.runtime.errors import Reason, ServiceError

FAILURES = 5
PAUSE = timedelta(seconds=2)
_state = Gauge("topten_breaker_state", "Whether calls pass: 0 closed, 1 half open, 2 open", ["upstream"])
_log = structlog.get_logger("breaker")


class State(IntEnum):
    """What becomes of a call; the number is the metric's."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """The breaker of one upstream; `is_failure` says which exceptions mean that it is away."""

    def __init__(
        self, upstream: str, *, is_failure: Callable[[Exception], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.state = State.CLOSED
        self._upstream = upstream
        self._is_failure = is_failure
        self._clock = clock
        self._failures = 0
        self._opened_at = 0.0
        self._is_probing = False
        self._metric = _state.labels(upstream)
        self._metric.set(State.CLOSED)

    @contextmanager
    def passing(self) -> Iterator[None]:
        """A call, whose outcome is counted. Raises UNAVAILABLE with `retry_after`, and makes no call, while it is open.

        What is cancelled says nothing of the upstream.
        """
        is_probe = self._enter()
        try:
            yield
        except Exception as error:
            if self._is_failure(error):
                self._failed(is_probe=is_probe)
            else:
                self._succeeded(is_probe=is_probe)
            raise
        else:
            self._succeeded(is_probe=is_probe)
        finally:
            if is_probe:
                self._is_probing = False

    def _enter(self) -> bool:
        """Whether the call that begins is a probe."""
        if self.state is State.CLOSED:
            return False
        left = self._opened_at + PAUSE.total_seconds() - self._clock()
        if left > 0 or self._is_probing:
            raise ServiceError(
                Reason.UNAVAILABLE,
                "a service that is needed does not answer at this moment",
                retry_after=timedelta(seconds=max(left, 1.0)),
            )
        self._is_probing = True
        self._become(State.HALF_OPEN)
        return True

    def _succeeded(self, *, is_probe: bool) -> None:
        if is_probe:
            _log.info("answers again", upstream=self._upstream)
            self._become(State.CLOSED)
        self._failures = 0

    def _failed(self, *, is_probe: bool) -> None:
        """A call that began before the breaker opened, and fails now, says nothing new."""
        self._failures += 1
        if is_probe or (self.state is State.CLOSED and self._failures >= FAILURES):
            if not is_probe:
                _log.warning("does not answer; calls are refused", upstream=self._upstream, failures=self._failures)
            self._opened_at = self._clock()
            self._become(State.OPEN)

    def _become(self, state: State) -> None:
        self.state = state
        self._metric.set(state)

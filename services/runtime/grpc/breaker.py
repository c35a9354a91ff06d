"""A circuit breaker: refuses calls to an upstream that does not respond, so that neither side waits for the other.

After M. Nygard, "Release It!" (2007). Closed, calls pass; `FAILURES` failures in a row open it. Open, every call is
refused at once; after `PAUSE` one call at a time passes as a probe, and its outcome closes or reopens the breaker. Use
from one event loop.
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
_state = Gauge("topten_breaker_state", "State of the circuit breaker: 0 closed, 1 half open, 2 open", ["upstream"])
_log = structlog.get_logger("breaker")


class State(IntEnum):
    """The state of a breaker; the numbers are those of the metric."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """The breaker of one upstream. `is_failure` tells which exceptions mean that the upstream does not respond."""

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
        """Run a call and count its outcome. Raises UNAVAILABLE with `retry_after`, without a call, while it is open.

        A cancelled call is not counted.
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
        """Admit a call; True if it is a probe."""
        if self.state is State.CLOSED:
            return False
        remaining = self._opened_at + PAUSE.total_seconds() - self._clock()
        if remaining > 0 or self._is_probing:
            raise ServiceError(
                Reason.UNAVAILABLE,
                "A required service is unavailable. Try again later.",
                retry_after=timedelta(seconds=max(remaining, 1.0)),
            )
        self._is_probing = True
        self._become(State.HALF_OPEN)
        return True

    def _succeeded(self, *, is_probe: bool) -> None:
        if is_probe:
            _log.info("circuit breaker closed", upstream=self._upstream)
            self._become(State.CLOSED)
        self._failures = 0

    def _failed(self, *, is_probe: bool) -> None:
        """Count a failure. Calls that started before the breaker opened do not prolong the pause."""
        self._failures += 1
        if is_probe or (self.state is State.CLOSED and self._failures >= FAILURES):
            if not is_probe:
                _log.warning("circuit breaker opened", upstream=self._upstream, failures=self._failures)
            self._opened_at = self._clock()
            self._become(State.OPEN)

    def _become(self, state: State) -> None:
        self.state = state
        self._metric.set(state)

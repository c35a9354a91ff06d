"""What is measured and said of every answer, whichever way it came about."""

from __future__ import annotations

import logging
from typing import Any, Final

import structlog
from prometheus_client import Histogram

from edge.session import STREAM_PATH
from services.runtime.telemetry import LATENCY_BUCKETS

SLOW_SECONDS: Final = 1.0
_QUIET: Final = frozenset({"/livez", "/readyz"})
# Who fails to prove himself, or may not.
_FAILED_ATTEMPTS: Final = frozenset({401, 403})
# Refused because it was too much: counted elsewhere, and a line each would add to the load.
_TOO_MUCH: Final = frozenset({429, 503})
_request_seconds = Histogram(
    "http_server_request_duration_seconds",
    "From a request to its answer; streams, which last for hours, only where they were refused",
    ["http_request_method", "http_route", "http_response_status_code"],
    buckets=LATENCY_BUCKETS,
)


class Record:
    """The metrics and the log of one process's answers."""

    def __init__(self) -> None:
        # Bound once: the module's own is bound anew for every line, whether it is written or not.
        self._log = structlog.get_logger("http").bind()
        self._timers: dict[tuple[str, str, int], Any] = {}

    def answered(self, method: str, route: str, status: int, seconds: float, **said: str) -> None:
        """Takes note of an answer; `said` is what a line about it tells besides."""
        if not (route == STREAM_PATH and status == 200):
            key = (method if status != 405 else "other", route, status)
            timer = self._timers.get(key)
            if timer is None:
                timer = self._timers[key] = _request_seconds.labels(*key)
            timer.observe(seconds)
        # What went well is in the metrics; a line each would cost as much as a quarter of a hot answer.
        level = logging.DEBUG if route in _QUIET else _level(status, seconds)
        if self._log.is_enabled_for(level):
            self._log.log(level, "answered", method=method, status=status, ms=round(seconds * 1000, 1), **said)


def _level(status: int, seconds: float) -> int:
    """How much an answer is worth a line."""
    if status in _FAILED_ATTEMPTS:
        return logging.WARNING
    is_notable = (status >= 400 and status not in _TOO_MUCH) or seconds > SLOW_SECONDS
    return logging.INFO if is_notable else logging.DEBUG

"""The metrics and the log line of each response."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import structlog
from prometheus_client import Histogram

from edge.http.callers.cookies import STREAM_ROUTES
from services.runtime.process.activity import PROCESS
from services.runtime.telemetry.logging import LATENCY_BUCKETS

SLOW_SECONDS: Final = 1.0
_PROBES: Final = frozenset({"/livez", "/readyz"})
_AUTHENTICATION_FAILURES: Final = frozenset({401, 403})
# Rate limits and overload have counters of their own; a line each would add to the load.
_OVERLOAD: Final = frozenset({429, 503})
_request_seconds = Histogram(
    "http_server_request_duration_seconds",
    "Duration of HTTP requests; of streams, only the refused ones",
    ["http_request_method", "http_route", "http_response_status_code"],
    buckets=LATENCY_BUCKETS,
)


def record(method: str, route: str, status: int, seconds: float, fields: Callable[[], Mapping[str, str]]) -> None:
    """Measure a response, and log it with `fields` if it is worth a line. Any but that of a probe is work."""
    if route not in _PROBES:
        PROCESS.note()
    if not (route in STREAM_ROUTES and status == 200):  # a stream lasts for hours
        _timer(method if status != 405 else "other", route, status).observe(seconds)
    # Successful requests are in the metrics; a line each would cost a quarter of a cached response.
    level = logging.DEBUG if route in _PROBES else _level(status, seconds)
    log = _logger()
    if log.is_enabled_for(level):
        log.log(level, "request completed", method=method, status=status, ms=round(seconds * 1000, 1), **fields())


@cache  # `labels` takes a lock; methods, routes and statuses are few
def _timer(method: str, route: str, status: int) -> Histogram:
    return _request_seconds.labels(method, route, status)


@cache  # structlog binds the module's logger again for each line, and logging is configured only after this import
def _logger() -> Any:
    return structlog.get_logger("http").bind()


def _level(status: int, seconds: float) -> int:
    """Return the log level that a response deserves."""
    if status in _AUTHENTICATION_FAILURES:
        return logging.WARNING
    is_notable = (status >= 400 and status not in _OVERLOAD) or seconds > SLOW_SECONDS
    return logging.INFO if is_notable else logging.DEBUG

"""The metrics of a gRPC server, by the names of go-grpc-prometheus, which public dashboards know.

Labels are the method and the status code, never what a caller sent; children are looked up once a method.
"""

from __future__ import annotations

import grpc
from prometheus_client import Counter, Histogram

from services.runtime.telemetry import LATENCY_BUCKETS

_METHOD = ["grpc_type", "grpc_service", "grpc_method"]

started_total = Counter("grpc_server_started_total", "Calls that began", _METHOD)
handled_total = Counter("grpc_server_handled_total", "Calls that ended, by status", [*_METHOD, "grpc_code"])
handling_seconds = Histogram(
    "grpc_server_handling_seconds", "From begin to end of a call", _METHOD, buckets=LATENCY_BUCKETS
)

_CODE_NAMES = {code: "".join(word.capitalize() for word in code.name.split("_")) for code in grpc.StatusCode} | {
    grpc.StatusCode.OK: "OK"
}


class MethodMetrics:
    """The counters of one method."""

    def __init__(self, grpc_type: str, method: str) -> None:
        service, name = method.lstrip("/").split("/", 1)
        self._labels = (grpc_type, service, name)
        self._started = started_total.labels(*self._labels)
        self._seconds = handling_seconds.labels(*self._labels)
        self._handled = {grpc.StatusCode.OK: handled_total.labels(*self._labels, "OK")}

    def begin(self) -> None:
        """Counts a call that begins."""
        self._started.inc()

    def end(self, code: grpc.StatusCode, seconds: float) -> None:
        """Counts a call that ended with `code` after `seconds`."""
        handled = self._handled.get(code)
        if handled is None:
            handled = self._handled[code] = handled_total.labels(*self._labels, _CODE_NAMES[code])
        handled.inc()
        self._seconds.observe(seconds)

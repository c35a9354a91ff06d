"""The metrics of a gRPC server, with the names of go-grpc-prometheus, which public dashboards use.

Labels are the method and the status code, never data of a caller. Children are looked up once per method.
"""

from __future__ import annotations

import grpc
from prometheus_client import Counter, Histogram

from services.runtime.telemetry.logging import LATENCY_BUCKETS

_METHOD = ["grpc_type", "grpc_service", "grpc_method"]

started_total = Counter("grpc_server_started_total", "Calls started", _METHOD)
handled_total = Counter("grpc_server_handled_total", "Calls completed, by status code", [*_METHOD, "grpc_code"])
handling_seconds = Histogram("grpc_server_handling_seconds", "Duration of a call", _METHOD, buckets=LATENCY_BUCKETS)

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
        """Count the start of a call."""
        self._started.inc()

    def end(self, code: grpc.StatusCode, seconds: float) -> None:
        """Count a call that ended with `code` after `seconds`."""
        handled = self._handled.get(code)
        if handled is None:
            handled = self._handled[code] = handled_total.labels(*self._labels, _CODE_NAMES[code])
        handled.inc()
        self._seconds.observe(seconds)

"""Logs, metrics and traces: one configuration for every process.

Owns the format of log lines, the redaction of secrets, the protection against forged lines, and the buckets of histograms.
Nothing is configured at import: the composition root calls `configure` once.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from importlib import metadata
from typing import Any

import orjson
import prometheus_client
import structlog

from services.runtime.config.settings import ProcessConfig
from services.runtime.telemetry import tracing

REDACTED = "[redacted]"
# From 5 ms to 10 s, as OpenTelemetry recommends for request durations.
LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
MAX_TEXT = 16_384

_SECRET_KEY = re.compile(r"authorization|password|passwd|token|cookie|secret|signing_key|private", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"(?i:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"  # an authorization header
    r"|eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"  # a JWT
    r"|(?<=://)[^/@\s]*:[^/@\s]*(?=@)"  # user:password in a URL
)
_PLAIN = re.compile(r"[^\s\"'=\\\x00-\x1f\x7f\x85\u2028\u2029]+")
# At level info these log a line per call, which repeats the service's own lines.
_QUIET_LOGGERS = ("aiohttp.access", "asyncio", "grpc", "pymongo", "nats", "redis", "urllib3")

build_info = prometheus_client.Gauge(
    "topten_build_info", "Always 1, with the running version", ["service", "version", "python"]
)

Event = MutableMapping[str, Any]


def configure(config: ProcessConfig, service: str) -> None:
    """Configure logs, metrics and traces; every line names `service`. May be called again."""
    as_json = config.log_format == "json" or (config.log_format == "auto" and config.production)
    configure_logs(service, config.log_level, as_json=as_json)
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left it unannotated
    tracing.configure(
        config.trace_endpoint,
        dict(pair.strip().split("=", 1) for pair in config.trace_headers.split(",") if pair),
        config.trace_sample_ratio,
        {
            "service.name": f"topten-{service}",
            "service.namespace": "topten",
            "service.version": version(),
            "deployment.environment.name": config.environment,
        },
    )
    build_info.labels(service, version(), sys.version.split()[0]).set(1)


def configure_logs(service: str, level: str = "warning", *, as_json: bool = False) -> None:
    """Configure logs alone, on stderr from `level` on. May be called again.

    Without this, the library shows a traceback with the values of local variables, secrets among them.
    """
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _name_service(service),
            _name_trace,
            structlog.processors.format_exc_info,
            redact,
            _render_json if as_json else _render_text,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=False,
    )
    _bridge_stdlib(number)


def version() -> str:
    """The installed version of the project; `0` if it is not installed."""
    try:
        return metadata.version("topten")
    except metadata.PackageNotFoundError:
        return "0"


def redact(_logger: Any, _method: str, event: Event) -> Event:
    """Redact secrets by their keys, at any depth, and what looks like a credential inside text."""
    for key, value in event.items():
        # The last lines of a traceback matter most.
        event[key] = _SECRET_TEXT.sub(REDACTED, value[-MAX_TEXT:]) if key == "exception" else _clean(key, value)
    return event


def _clean(key: object, value: Any, depth: int = 4) -> Any:
    if isinstance(key, str) and _SECRET_KEY.search(key) and not isinstance(value, bool | int | float | None):
        return REDACTED
    if isinstance(value, str):
        return _SECRET_TEXT.sub(REDACTED, value[:MAX_TEXT])
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if depth == 0:
        return "…"
    if isinstance(value, Mapping):
        return {inner: _clean(inner, item, depth - 1) for inner, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(None, item, depth - 1) for item in value]
    return value if isinstance(value, bool | int | float | None) else _SECRET_TEXT.sub(REDACTED, str(value)[:MAX_TEXT])


def _name_service(service: str) -> Any:
    def name(_logger: Any, _method: str, event: Event) -> Event:
        event["service"] = service
        return event

    return name


def _name_trace(_logger: Any, _method: str, event: Event) -> Event:
    ids = tracing.ids()
    if ids is not None:
        event["trace_id"], event["span_id"] = ids
    return event


def _render_json(_logger: Any, _method: str, event: Event) -> bytes:
    """`timestamp`, `level`, `service` and `message`, the names that log collectors expect, then the other fields."""
    head = {"timestamp": event.pop("time", ""), "level": event.pop("level", ""), "service": event.pop("service", "")}
    return _json({**head, "message": event.pop("event", ""), **event}).encode("utf-8", "backslashreplace")


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # lone surrogates and numbers beyond 64 bits, which the slow encoder supports
        return json.dumps(value, default=str, skipkeys=True)


def _render_text(_logger: Any, _method: str, event: Event) -> bytes:
    """`time level service event key=value …`, followed by the lines of a traceback, each marked.

    Line breaks and other control characters in values are escaped, so that a record is one line and input cannot forge one.
    """
    time, level, service = (event.pop(key, "") for key in ("time", "level", "service"))
    trace = event.pop("exception", None)
    message = _escaped(str(event.pop("event", "")))
    pairs = "".join(f" {_escaped(str(key))}={_quoted(value)}" for key, value in event.items())
    line = f"{time} {level:<7} {service} {message}{pairs}"
    if trace:
        line += "".join(f"\n  | {_escaped(part)}" for part in str(trace).splitlines())
    return line.encode("utf-8", "backslashreplace")


def _quoted(value: Any) -> str:
    text = value if isinstance(value, str) else _json(value)
    if isinstance(value, str) and not _PLAIN.fullmatch(text):
        return '"' + _escaped(text).replace('"', '\\"') + '"'
    return _escaped(text)


def _escaped(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class _Bridge(logging.Handler):
    """Forwards records of the standard library's logging, for one format and one redaction."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
            structlog.get_logger().log(level, record.getMessage(), logger=record.name, exc_info=record.exc_info)
        except Exception:  # noqa: BLE001  # logging must never fail its caller
            self.handleError(record)


def _bridge_stdlib(level: int) -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge())
    root.setLevel(level)
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))

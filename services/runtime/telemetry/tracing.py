"""Traces of an action through all processes, as OpenTelemetry spans.

Owns the current span, and how a trace propagates: as a W3C `traceparent` in the metadata of calls, the headers of messages,
in documents and in frames. Off unless configured, at the cost of reading one variable. Traces start where requests enter the
system; background work starts none. Spans never contain the identity of players or data of requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from services.runtime.telemetry.otlp import Span, Spans

Kind = Literal["server", "client", "producer", "consumer", "internal"]
Attributes = Mapping[str, str | int]

TRACEPARENT: Final = "traceparent"
# A batch of 500 events may belong to as many traces, each of which costs a span per step; the rest is not traced.
MAX_JOINED: Final = 16
# The `traceparent` of background work, so that upstreams start no traces.
_NOT_SAMPLED: Final = f"00-{'f' * 32}-{'f' * 16}-00"
_NOTHING: Final[AbstractContextManager[None]] = nullcontext()

_spans: Spans | None = None
_current: ContextVar[tuple[Span, ...]] = ContextVar("spans", default=())


def configure(endpoint: str, headers: Mapping[str, str], ratio: float, resource: Mapping[str, str]) -> None:
    """Export spans to the OTLP/HTTP address `endpoint`, for `ratio` of the traces that start here; empty turns it off."""
    global _spans  # noqa: PLW0603  # one per process, like logging
    if _spans is not None:
        _spans.close()
        _spans = None
    if not endpoint:
        return
    from services.runtime.telemetry.otlp import Spans  # noqa: PLC0415  # 100 ms and 15 MB, only if tracing is on

    _spans = Spans(endpoint, headers, ratio, resource)


def is_on() -> bool:
    """Whether this process traces."""
    return _spans is not None


def request(name: str, traceparent: str, attributes: Attributes) -> AbstractContextManager[None]:
    """A span of an incoming request: in the caller's trace, or, without a valid `traceparent`, in a new one."""
    if _spans is None:
        return _NOTHING
    span = _spans.begin(name, "server", traceparent or None, (), attributes)
    return _activate((span,), (span,))


def step(name: str, kind: Kind = "internal", attributes: Attributes | None = None) -> AbstractContextManager[None]:
    """A child of the current span; nothing without one."""
    current = _current.get()
    if _spans is None or not current:
        return _NOTHING
    span = _spans.begin(name, kind, current[0], (), attributes or {})
    return _activate((span, *current[1:]), (span,))


def leaf(name: str, attributes: Attributes) -> Span | None:
    """A client span below the current one, which the caller must end, for drivers; None if that one is not sampled."""
    current = _current.get()
    if _spans is None or not current or not current[0].is_recording():
        return None
    return _spans.begin(name, "client", current[0], (), attributes)


def fail(span: Span, error: str) -> None:
    """Mark a span as failed with this type of error."""
    if _spans is not None:
        _spans.annotate(span, {"error.type": error}, failed=True)


def joined(name: str, kind: Kind, causes: Sequence[str], attributes: Attributes) -> AbstractContextManager[None]:
    """Spans of work that is done once for several traces: one in each, so that each trace is complete.

    Steps become children of the first, which links to the other causes; the others link to it. At most 16, without
    duplicates; nothing without causes.
    """
    if _spans is None or not causes:
        return _NOTHING
    first, *others = list(dict.fromkeys(causes))[:MAX_JOINED]
    leading = _spans.begin(name, kind, first, others, attributes)
    link = _spans.traceparent(leading)
    spans = leading, *(_spans.begin(name, kind, other, (link,), attributes) for other in others)
    return _activate(spans, spans)


def annotate(attributes: Attributes, *, failed: bool = False) -> None:
    """Add attributes to the current spans; `failed` marks them as errors."""
    if _spans is not None:
        for span in _current.get():
            _spans.annotate(span, attributes, failed=failed)


def header() -> str:
    """The `traceparent` of a call made now, also if it is not sampled; empty if tracing is off."""
    if _spans is None:
        return ""
    current = _current.get()
    return _spans.traceparent(current[0]) if current else _NOT_SAMPLED


def carried() -> list[str]:
    """The `traceparent` of each current sampled trace, for work that continues later or elsewhere."""
    return [] if _spans is None else [_spans.traceparent(span) for span in _current.get() if span.is_recording()]


def cause() -> str:
    """The first of `carried`; empty without one."""
    return next(iter(carried()), "")


def of_message(headers: bytes) -> str:
    """The `traceparent` in the headers of a NATS message as on the wire; empty without one."""
    if _spans is None:
        return ""
    _, found, rest = headers.partition(b"\r\ntraceparent:")
    return rest.partition(b"\r\n")[0].strip().decode("ascii", "replace") if found else ""


def ids() -> tuple[str, str] | None:
    """The current trace id and span id, for logs; None if not sampled."""
    current = _current.get()
    return _spans.ids(current[0]) if _spans is not None and current and current[0].is_recording() else None


@contextmanager
def _activate(current: tuple[Span, ...], started: tuple[Span, ...]) -> Iterator[None]:
    token = _current.set(current)
    try:
        yield
    finally:
        _current.reset(token)
        for span in started:
            span.end()

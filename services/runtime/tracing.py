"""Traces: what one action leads to, over all processes, as spans of OpenTelemetry.

Owns which span is at work, and the form in which a trace travels: the W3C's `traceparent`, in the metadata of a call, in
the headers of a message, in a document or a frame. Off unless it is configured, and then no more than a look at a
variable. A trace begins where a request comes in; background work makes none of its own. Must never hold who a player is,
or anything that was sent: attributes are of the program, not of the request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from services.runtime.otlp import Span, Spans

Kind = Literal["server", "client", "producer", "consumer", "internal"]
Attributes = Mapping[str, str | int]

TRACEPARENT: Final = "traceparent"
# A batch of five hundred may be of as many traces. Each costs a span a step; whoever samples that much sees these.
MAX_JOINED: Final = 16
# What background work sends along, so that whoever is called begins no trace of its own.
_NOT_SAMPLED: Final = f"00-{'f' * 32}-{'f' * 16}-00"
_NOTHING: Final[AbstractContextManager[None]] = nullcontext()

_spans: Spans | None = None
_current: ContextVar[tuple[Span, ...]] = ContextVar("spans", default=())


def configure(endpoint: str, headers: Mapping[str, str], ratio: float, resource: Mapping[str, str]) -> None:
    """Sends spans to the OTLP/HTTP address `endpoint`, of `ratio` of the traces that begin here; an empty one is off."""
    global _spans  # noqa: PLW0603  # one a process, like logging
    if _spans is not None:
        _spans.close()
        _spans = None
    if not endpoint:
        return
    from services.runtime.otlp import Spans  # noqa: PLC0415  # 100 ms and 15 MB that only those who trace pay

    _spans = Spans(endpoint, headers, ratio, resource)


def is_on() -> bool:
    """Whether this process traces."""
    return _spans is not None


def request(name: str, traceparent: str, attributes: Attributes) -> AbstractContextManager[None]:
    """A span for what came in: part of the caller's trace, or the first of a new one without a (sound) `traceparent`."""
    if _spans is None:
        return _NOTHING
    span = _spans.begin(name, "server", traceparent or None, (), attributes)
    return _at_work((span,), (span,))


def step(name: str, kind: Kind = "internal", attributes: Attributes | None = None) -> AbstractContextManager[None]:
    """A span within the one that is at work; nothing if none is."""
    current = _current.get()
    if _spans is None or not current:
        return _NOTHING
    span = _spans.begin(name, kind, current[0], (), attributes or {})
    return _at_work((span, *current[1:]), (span,))


def leaf(name: str, kind: Kind, attributes: Attributes) -> Span | None:
    """A span within the one that is at work, for what makes none itself: whoever asked ends it. None if nothing is sampled."""
    current = _current.get()
    if _spans is None or not current or not current[0].is_recording():
        return None
    return _spans.begin(name, kind, current[0], (), attributes)


def fail(span: Span, error: str) -> None:
    """Marks it as an error of this type."""
    if _spans is not None:
        _spans.annotate(span, {"error.type": error}, failed=True)


def joined(name: str, kind: Kind, causes: Sequence[str], attributes: Attributes) -> AbstractContextManager[None]:
    """What is done once for several traces: a span in each, so that each can be followed to its end.

    The first is the one that steps are made in, and links to all other causes; those link to it. At most 16, without
    repetition; nothing if there is no cause.
    """
    if _spans is None or not causes:
        return _NOTHING
    first, *others = list(dict.fromkeys(causes))[:MAX_JOINED]
    leading = _spans.begin(name, kind, first, others, attributes)
    link = _spans.traceparent(leading)
    spans = leading, *(_spans.begin(name, kind, other, (link,), attributes) for other in others)
    return _at_work(spans, spans)


def annotate(attributes: Attributes, *, failed: bool = False) -> None:
    """Adds to the spans at work; `failed` marks them as errors."""
    if _spans is not None:
        for span in _current.get():
            _spans.annotate(span, attributes, failed=failed)


def header() -> str:
    """The `traceparent` of a call made now, which says so if nothing of it is to be traced; empty if tracing is off."""
    if _spans is None:
        return ""
    current = _current.get()
    return _spans.traceparent(current[0]) if current else _NOT_SAMPLED


def carried() -> list[str]:
    """The `traceparent` of each sampled trace at work, for what goes on later or elsewhere."""
    return [] if _spans is None else [_spans.traceparent(span) for span in _current.get() if span.is_recording()]


def cause() -> str:
    """The first of `carried`; empty if there is none."""
    return next(iter(carried()), "")


def of_message(headers: bytes) -> str:
    """The `traceparent` in the headers of a NATS message, as they are on the wire; empty if there is none."""
    if _spans is None:
        return ""
    _, found, rest = headers.partition(b"\r\ntraceparent:")
    return rest.partition(b"\r\n")[0].strip().decode("ascii", "replace") if found else ""


def ids() -> tuple[str, str] | None:
    """Trace id and span id at work, as logs carry them; None if nothing is sampled."""
    current = _current.get()
    return _spans.ids(current[0]) if _spans is not None and current and current[0].is_recording() else None


@contextmanager
def _at_work(current: tuple[Span, ...], begun: tuple[Span, ...]) -> Iterator[None]:
    token = _current.set(current)
    try:
        yield
    finally:
        _current.reset(token)
        for span in begun:
            span.end()

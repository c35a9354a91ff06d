"""Spans made, sampled and exported by OpenTelemetry's SDK. Only `tracing` imports it, if tracing is on.

A thread exports batches from a bounded queue: an unreachable collector loses spans but delays nothing. The SDK's own
variables (`OTEL_RESOURCE_ATTRIBUTES`, `OTEL_BSP_*`) apply too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

__all__ = ["Span", "Spans"]

# Also the longest that an unreachable collector delays the end of a process.
EXPORT_SECONDS: Final = 3.0
TRACES_PATH: Final = "/v1/traces"
_propagator = TraceContextTextMapPropagator()


class Spans:
    """Starts spans. A parent's sampling decision applies; of traces that start here, `ratio` are sampled."""

    def __init__(self, endpoint: str, headers: Mapping[str, str], ratio: float, resource: Mapping[str, str]) -> None:
        address = endpoint if urlsplit(endpoint).path.strip("/") else endpoint.rstrip("/") + TRACES_PATH
        provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)), resource=Resource.create(dict(resource))
        )
        exporter = OTLPSpanExporter(endpoint=address, headers=dict(headers), timeout=EXPORT_SECONDS)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        self._provider = provider
        self._tracer = provider.get_tracer("topten")

    def close(self) -> None:
        """Export the remaining spans, as the end of a process also does."""
        self._provider.shutdown()

    def begin(
        self, name: str, kind: str, parent: Span | str | None, links: Sequence[str], attributes: Mapping[str, str | int]
    ) -> Span:
        """Start a span. A malformed `traceparent` counts as no parent."""
        context = set_span_in_context(parent, Context()) if isinstance(parent, Span) else _context(parent)
        return self._tracer.start_span(
            name,
            context=context,
            kind=SpanKind[kind.upper()],
            links=[Link(get_current_span(_context(link)).get_span_context()) for link in links],
            attributes=dict(attributes),
        )

    def annotate(self, span: Span, attributes: Mapping[str, str | int], *, failed: bool) -> None:
        """Add attributes, and mark a failure."""
        span.set_attributes(dict(attributes))
        if failed:
            span.set_status(Status(StatusCode.ERROR))

    def traceparent(self, span: Span) -> str:
        """The span as a W3C `traceparent`."""
        context = span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def ids(self, span: Span) -> tuple[str, str]:
        """Trace id and span id in hexadecimal."""
        context = span.get_span_context()
        return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def _context(traceparent: str | None) -> Context:
    return _propagator.extract({"traceparent": traceparent}, Context()) if traceparent else Context()

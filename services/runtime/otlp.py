"""Spans as OpenTelemetry's SDK makes, samples and exports them. Imported by `tracing` alone, and only when it is on.

Exporting is a thread's work, in batches of a bounded queue: a collector that is away costs spans, never a player's time.
The SDK's own variables (`OTEL_RESOURCE_ATTRIBUTES`, `OTEL_BSP_*`) hold beside ours.
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

# Also how long the end of a process may wait for a collector that is away.
EXPORT_SECONDS: Final = 3.0
TRACES_PATH: Final = "/v1/traces"
_propagator = TraceContextTextMapPropagator()


class Spans:
    """Begins spans. A parent's decision to sample holds; of traces that begin here `ratio` are sampled."""

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
        """Sends what is left. The end of a process does so by itself."""
        self._provider.shutdown()

    def begin(
        self, name: str, kind: str, parent: Span | str | None, links: Sequence[str], attributes: Mapping[str, str | int]
    ) -> Span:
        """A span that has begun; a parent that is no sound `traceparent` is none."""
        context = set_span_in_context(parent, Context()) if isinstance(parent, Span) else _context(parent)
        return self._tracer.start_span(
            name,
            context=context,
            kind=SpanKind[kind.upper()],
            links=[Link(get_current_span(_context(link)).get_span_context()) for link in links],
            attributes=dict(attributes),
        )

    def annotate(self, span: Span, attributes: Mapping[str, str | int], *, failed: bool) -> None:
        """Adds attributes, and marks a failure."""
        span.set_attributes(dict(attributes))
        if failed:
            span.set_status(Status(StatusCode.ERROR))

    def traceparent(self, span: Span) -> str:
        """The span as the W3C's header has it."""
        context = span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def ids(self, span: Span) -> tuple[str, str]:
        """Trace id and span id in hexadecimal."""
        context = span.get_span_context()
        return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def _context(traceparent: str | None) -> Context:
    return _propagator.extract({"traceparent": traceparent}, Context()) if traceparent else Context()

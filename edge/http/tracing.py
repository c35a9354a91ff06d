"""A span for each HTTP request, the root of its trace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web

from edge.config import Network
from edge.http.callers.cookies import STREAM_ROUTES
from edge.http.callers.peer import is_trusted
from services.runtime.telemetry import tracing

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# A stream lasts for hours, and probes say nothing about clients.
_UNTRACED = STREAM_ROUTES | {"/livez", "/readyz"}


def middlewares(trusted: Sequence[Network]) -> list[Any]:
    """Return the tracing middleware; an empty list if tracing is off.

    A `traceparent` header is accepted only from a trusted proxy: any other client could have all its requests sampled.
    """
    if not tracing.is_on():
        return []

    @web.middleware
    async def traced(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        route = "unknown" if resource is None else resource.canonical
        if route in _UNTRACED:
            return await handler(request)
        method = request.method if request.method in {"GET", "POST", "HEAD", "OPTIONS"} else "other"
        parent = request.headers.get(tracing.TRACEPARENT, "") if is_trusted(request.remote or "", trusted) else ""
        attributes = {"http.request.method": method, "http.route": route}
        with tracing.request(f"{method} {route}", parent, attributes):
            response = await handler(request)
            tracing.annotate({"http.response.status_code": response.status}, failed=response.status >= 500)
            return response

    return [traced]

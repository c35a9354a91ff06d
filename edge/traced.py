"""A span for each HTTP request, where traces begin."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web

from edge.config import Network
from edge.peer import is_trusted
from edge.session import STREAM_PATH
from services.runtime import tracing

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# A stream lasts for hours, and probes tell nothing.
_LEFT_OUT = frozenset({STREAM_PATH, "/livez", "/readyz"})


def middlewares(trusted: Sequence[Network]) -> list[Any]:
    """The middleware if this process traces, else none.

    A caller's own trace is believed behind a trusted proxy only: whoever else sent one could have every request sampled.
    """
    if not tracing.is_on():
        return []

    @web.middleware
    async def traced(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        route = "unknown" if resource is None else resource.canonical
        if route in _LEFT_OUT:
            return await handler(request)
        method = request.method if request.method in {"GET", "POST", "HEAD", "OPTIONS"} else "other"
        given = request.headers.get(tracing.TRACEPARENT, "") if is_trusted(request.remote or "", trusted) else ""
        attributes = {"http.request.method": method, "http.route": route}
        with tracing.request(f"{method} {route}", given, attributes):
            response = await handler(request)
            tracing.annotate({"http.response.status_code": response.status}, failed=response.status >= 500)
            return response

    return [traced]

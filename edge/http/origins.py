"""Cross-origin requests (CORS): which pages of other origins a browser lets use this server, and the refusal of the others.

Must never allow cookies: a page of another origin sends a token, which is its own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from cachetools import TTLCache

from edge.http.callers.cookies import GRAPHQL_PATH
from edge.http.callers.peer import is_same_origin
from services.runtime.errors import Reason, ServiceError
from services.runtime.texts import without_controls

SETTING: Final = "TOPTEN_EDGE_ALLOWED_ORIGINS"
MAX_ORIGIN: Final = 200
# A refused origin is logged once in a while, and only so many of them: anybody can send any origin.
LOG_EVERY_SECONDS: Final = 60.0
MAX_LOGGED: Final = 20
_EXPOSED: Final = "Date, X-Request-Id, Retry-After, RateLimit, RateLimit-Policy"
_ACCEPTED: Final = "authorization, content-type, last-event-id, x-request-id"
_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_log = structlog.get_logger("http.origins")


class Origins:
    """The allowed origins: those in `configured` and, if `local`, every origin of this machine (localhost, any port)."""

    def __init__(self, configured: Sequence[str], *, local: bool) -> None:
        self._configured = frozenset(configured)
        self._local = local
        self._logged: TTLCache[str, None] = TTLCache(MAX_LOGGED, LOG_EVERY_SECONDS, timer=time.monotonic)

    @property
    def vary(self) -> bool:
        """Whether responses depend on the origin of the page that made the request."""
        return self._local or bool(self._configured)

    def headers_for(self, request: web.Request) -> Mapping[str, str]:
        """Return the headers by which a browser lets a page of another origin read the response."""
        origin = request.headers.get("Origin")
        if origin is None or is_same_origin(request):
            return _NONE
        if self.are_allowed(origin):
            return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": _EXPOSED}
        self._log_refusal(origin, request)
        return _NONE

    async def preflight(self, request: web.Request) -> web.Response:
        """Return what a page may send (never cookies: no Allow-Credentials). Raises PERMISSION_DENIED, naming the origin."""
        methods = "GET, POST" if request.path == GRAPHQL_PATH else "GET, HEAD"
        headers = {"Allow": f"{methods}, OPTIONS"}
        origin = request.headers.get("Origin")
        if origin is not None and not is_same_origin(request):
            if not self.are_allowed(origin):
                name = _shown(origin)
                message = f"Pages of the origin {name} may not use this server. Add the origin to {SETTING}."
                raise ServiceError(Reason.PERMISSION_DENIED, message)
            headers |= {
                "Access-Control-Allow-Methods": methods,
                "Access-Control-Allow-Headers": _ACCEPTED,
                "Access-Control-Max-Age": "600",
            }
        return web.Response(status=204, headers=headers)

    def are_allowed(self, origin: str) -> bool:
        """Return whether pages of an origin may use this server."""
        return origin in self._configured or (self._local and is_local(origin))

    def _log_refusal(self, origin: str, request: web.Request) -> None:
        name = _shown(origin)
        if name not in self._logged and len(self._logged) < MAX_LOGGED:
            self._logged[name] = None
            _log.warning("origin refused", origin=name, path=request.path[:MAX_ORIGIN], setting=SETTING)


def is_local(origin: str) -> bool:
    """Return whether an origin is of the machine that the browser runs on: localhost, below it, or a loopback address."""
    try:
        url = urlsplit(origin)
        host = url.hostname or ""
    except ValueError:
        return False
    if url.scheme not in ("http", "https") or origin != f"{url.scheme}://{url.netloc}" or "@" in url.netloc:
        return False
    return host in ("localhost", "127.0.0.1", "::1") or host.endswith(".localhost")


def _shown(origin: str) -> str:
    return without_controls(origin[:MAX_ORIGIN])

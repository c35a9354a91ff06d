"""Signing in by cookie: what a browser keeps and no script can read.

Three HttpOnly, SameSite=Strict cookies, each sent only where it is needed. They count on POST /graphql only together
with the header `Topten-Session: cookie`, which no page of another origin can send without this server's consent, and
only for requests of this origin: both keep a foreign page from acting in the player's name (CSRF).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from aiohttp import web
from topten.identity.v1.identity_pb2 import Session

from edge.peer import is_same_origin
from services.runtime.errors import Reason, ServiceError

HEADER = "Topten-Session"
ACCESS = "topten_access"
REFRESH = "topten_refresh"
STREAM = "topten_stream"
GRAPHQL_PATH = "/graphql"
STREAM_PATH = "/api/v1/leaderboard/stream"
PATHS = {ACCESS: GRAPHQL_PATH, REFRESH: GRAPHQL_PATH, STREAM: STREAM_PATH}


def wants_cookies(request: web.Request) -> bool:
    """Whether the request is in cookie mode. Raises PERMISSION_DENIED if a page of another origin made it."""
    if request.method != "POST" or request.headers.get(HEADER) != "cookie":
        return False
    if not is_same_origin(request):
        raise ServiceError(Reason.PERMISSION_DENIED, "cookies are good for this origin's own pages alone")
    return True


@dataclass
class CookieSession:
    """The cookies of one request: what came, and what the answer shall change."""

    refresh_token: str = ""
    _changes: dict[str, tuple[str, int]] = field(default_factory=dict)

    def open(self, session: Session, now: datetime) -> None:
        """Signs the browser in; the access token's cookie goes when the token does, the others with the session."""
        ends_in = max(0, int(session.session_expires_at.seconds - now.timestamp()))
        self._changes = {
            ACCESS: (session.access_token, session.expires_in),
            REFRESH: (session.refresh_token, ends_in),
            STREAM: (session.stream_token, ends_in),
        }

    def close(self) -> None:
        """Signs the browser out."""
        self._changes = dict.fromkeys(PATHS, ("", 0))

    def apply(self, response: web.StreamResponse, *, secure: bool) -> None:
        """Writes the changes into the answer."""
        for name, (value, max_age) in self._changes.items():
            response.set_cookie(
                name, value, max_age=max_age, path=PATHS[name], httponly=True, secure=secure, samesite="Strict"
            )

"""Cookie mode: the browser keeps the tokens where no script can read them.

HttpOnly, SameSite=Strict cookies, each sent only to the path that needs it. They count on POST /graphql only with
the header `Topten-Session: cookie`, which no page of another origin can send without this server's consent, and only for
requests of this origin; both prevent cross-site request forgery.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from aiohttp import web
from topten.identity.v1.identity_pb2 import Session

from edge.http.callers.peer import require_same_origin

HEADER = "Topten-Session"
ACCESS = "topten_access"
REFRESH = "topten_refresh"
BOARD_STREAM = "topten_stream"
BOARD_ACCESS = "topten_board_access"
ROOM_STREAM = "topten_room_stream"
GRAPHQL_PATH = "/graphql"
STREAM_PATH = "/api/v1/leaderboard/stream"
ROOMS_PATH = "/api/v1/rooms"
ROOM_STREAM_PATH = f"{ROOMS_PATH}/{{pin}}/stream"
# Routes whose responses last for hours.
STREAM_ROUTES = frozenset({STREAM_PATH, ROOM_STREAM_PATH})
PATHS = {
    ACCESS: GRAPHQL_PATH,
    REFRESH: GRAPHQL_PATH,
    BOARD_STREAM: STREAM_PATH,
    BOARD_ACCESS: STREAM_PATH,  # for boards that not everybody may read: the other one carries no roles
    ROOM_STREAM: ROOMS_PATH,
}


def wants_cookies(request: web.Request) -> bool:
    """Return whether the request is in cookie mode. Raises PERMISSION_DENIED if a page of another origin made it."""
    if request.method != "POST" or request.headers.get(HEADER) != "cookie":
        return False
    require_same_origin(request)
    return True


@dataclass
class CookieSession:
    """The cookies of one request: the refresh token received, and the changes to send with the response."""

    refresh_token: str = ""
    _changes: dict[str, tuple[str, int]] = field(default_factory=dict)

    def open(self, session: Session, now: datetime) -> None:
        """Sign the browser in: the access cookies expire with their token, the others with the session."""
        remaining = max(0, int(session.session_expires_at.seconds - now.timestamp()))
        self._changes = {
            ACCESS: (session.access_token, session.expires_in),
            REFRESH: (session.refresh_token, remaining),
            BOARD_STREAM: (session.stream_token, remaining),
            BOARD_ACCESS: (session.access_token, session.expires_in),
            ROOM_STREAM: (session.stream_token, remaining),
        }

    def close(self) -> None:
        """Sign the browser out."""
        self._changes = dict.fromkeys(PATHS, ("", 0))

    def apply(self, response: web.StreamResponse, *, secure: bool) -> None:
        """Set the changed cookies on the response."""
        for name, (value, max_age) in self._changes.items():
            response.set_cookie(
                name, value, max_age=max_age, path=PATHS[name], httponly=True, secure=secure, samesite="Strict"
            )

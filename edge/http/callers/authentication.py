"""The caller of a request: from a header, a cookie, or a URL parameter, which takes stream and board tokens only.

Must never read an access token from a URL, because logs and browser histories keep URLs. Must never fall back to weaker
credentials when stronger ones are present and invalid.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from edge.http.callers.cookies import ACCESS, BOARD_ACCESS
from edge.http.callers.outside_players import OutsidePlayers
from edge.http.callers.peer import require_same_origin
from edge.http.callers.sessions import Sessions
from services.runtime.auth.access import BOARD_READERS, EVERYBODY
from services.runtime.auth.claims import Claims
from services.runtime.auth.verification import TokenVerifier, bearer_token
from services.runtime.errors import Reason, ServiceError


@dataclass(frozen=True)
class Caller:
    """The caller of a request; anonymous if `claims` is None. The holder of a board token has claims and no access token."""

    claims: Claims | None = None
    access_token: str = ""

    def require(self, access: frozenset[str] = EVERYBODY) -> Claims:
        """Return the caller's claims. Raises UNAUTHENTICATED for an anonymous caller, PERMISSION_DENIED without `access`."""
        if self.claims is None:
            raise ServiceError(Reason.UNAUTHENTICATED, "Not signed in. Sign in and try again.")
        if self.claims.board:
            raise _only_its_board()
        if not self.claims.may(access):
            raise ServiceError(Reason.PERMISSION_DENIED, "Permission denied. Your account lacks the role for this.")
        return self.claims

    @property
    def board(self) -> str:
        """The one board that the caller's board token reads; empty for every other caller."""
        return "" if self.claims is None else self.claims.board

    def token(self) -> str:
        """Return the token for calls on the caller's behalf. Raises UNAUTHENTICATED for an anonymous caller."""
        self.require()
        return self.access_token


ANONYMOUS = Caller()


def require_board(claims: Claims, board: str) -> None:
    """Raise PERMISSION_DENIED if the claims are those of a board token for another board than `board`, by its one name."""
    if claims.board not in ("", board):
        raise _only_its_board()


class Authenticator:
    """Identifies the caller of a request."""

    def __init__(self, verifier: TokenVerifier, outside_players: OutsidePlayers, sessions: Sessions) -> None:
        self._verifier = verifier
        self._sessions = sessions
        self._outside_players = outside_players

    async def caller(self, request: web.Request, *, cookies: bool) -> Caller:
        """Return the caller of a GraphQL request; cookies are read only if `cookies` is true.

        An invalid token in the header, or an invalid board token in the URL, raises UNAUTHENTICATED. An invalid one in the
        cookie is ignored: the page can neither read nor delete it, and must be able to sign in again.
        """
        if "Authorization" in request.headers:
            return await self._bearer(request)
        if "token" in request.query:
            claims = await self._verifier.verify(request.query["token"], "board")
            # Asked each time: it may be valid for months, and its revocation is learned nowhere else.
            await self._sessions.require_open(claims.session_id)
            return Caller(claims)
        token = request.cookies.get(ACCESS, "") if cookies else ""
        if not token:
            return ANONYMOUS
        try:
            return Caller(await self._verify(token), token)
        except ServiceError as error:
            if error.reason is Reason.UNAUTHENTICATED:
                return ANONYMOUS
            raise

    async def stream_claims(self, request: web.Request, cookie: str) -> Claims:
        """Return the claims of a stream's client: an access token in the header, a stream token in the URL or the
        cookie of this name, a board token in the URL.

        Raises UNAUTHENTICATED, and PERMISSION_DENIED for a caller who may not read boards or for a cookie that another
        origin's page sent.
        """
        if "Authorization" in request.headers:
            return (await self._bearer(request)).require(BOARD_READERS)
        if "token" in request.query:
            return await self._verifier.verify(request.query["token"], "stream", "board")
        token = request.cookies.get(cookie, "")
        if not token:
            raise ServiceError(Reason.UNAUTHENTICATED, "Not signed in. Sign in to watch.")
        require_same_origin(request)
        return await self._verifier.verify(token, "stream")

    async def board_claims(self, request: web.Request, claims: Claims) -> Claims:
        """Return the claims by which a stream's client may read a board that is not public.

        They are `claims`, those of `stream_claims`, unless these came from a cookie, which carries no roles: then those of
        the session's access token, from a cookie of its own, if it is there and valid.
        """
        token = request.cookies.get(BOARD_ACCESS, "")
        if not token or "Authorization" in request.headers or "token" in request.query:
            return claims
        try:
            access = await self._verify(token)
        except ServiceError as error:
            if error.reason is Reason.UNAUTHENTICATED:
                return claims
            raise
        return access if access.session_id == claims.session_id else claims

    async def _bearer(self, request: web.Request) -> Caller:
        token = bearer_token(request.headers["Authorization"])
        return Caller(await self._outside_players.with_account(await self._verify(token), token), token)

    async def _verify(self, token: str) -> Claims:
        """Return the claims of a valid access token whose session is not known to have ended."""
        claims = await self._verifier.verify(token)
        self._sessions.require_not_ended(claims.session_id)
        return claims


def _only_its_board() -> ServiceError:
    return ServiceError(Reason.PERMISSION_DENIED, "A board token reads its board and nothing else.")

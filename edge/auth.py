"""Who makes a request: from a header, a cookie, or for the stream alone from the URL.

Must never take an access token from a URL, where logs and histories keep it, and never fall back to a weaker proof when
a stronger one was given and is bad.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from edge.admission import Admission
from edge.peer import is_same_origin
from edge.session import ACCESS, STREAM
from edge.stream.sessions import Sessions
from services.runtime.access import BOARD_READERS, EVERYBODY
from services.runtime.auth import TokenVerifier, bearer_token
from services.runtime.claims import Claims
from services.runtime.errors import Reason, ServiceError


@dataclass(frozen=True)
class Caller:
    """Who makes a request; nobody known if `claims` is None."""

    claims: Claims | None = None
    access_token: str = ""

    def require(self, access: frozenset[str] = EVERYBODY) -> Claims:
        """The caller's claims. Raises UNAUTHENTICATED if nobody is signed in, PERMISSION_DENIED if he may not."""
        if self.claims is None:
            raise ServiceError(Reason.UNAUTHENTICATED, "Sign in first.")
        if not self.claims.may(access):
            raise ServiceError(Reason.PERMISSION_DENIED, "You may not do this.")
        return self.claims

    def token(self) -> str:
        """The token to call services with in the caller's name. Raises UNAUTHENTICATED if nobody is signed in."""
        self.require()
        return self.access_token


NOBODY = Caller()


class Authenticator:
    """Finds the caller of a request."""

    def __init__(self, verifier: TokenVerifier, admission: Admission, sessions: Sessions) -> None:
        self._verifier = verifier
        self._sessions = sessions
        self._admission = admission

    async def caller(self, request: web.Request, *, cookies: bool) -> Caller:
        """The caller of a GraphQL request; `cookies` says whether cookies count.

        A header that holds no good token raises UNAUTHENTICATED. A cookie that holds none counts as absent: the page can
        neither see nor remove it, and must be able to sign in again.
        """
        if "Authorization" in request.headers:
            return await self._bearer(request)
        token = request.cookies.get(ACCESS, "") if cookies else ""
        if not token:
            return NOBODY
        try:
            return Caller(await self._verified(token), token)
        except ServiceError as error:
            if error.reason is Reason.UNAUTHENTICATED:
                return NOBODY
            raise

    async def reader(self, request: web.Request) -> Claims:
        """Who opens a stream: by an access token in the header, or a stream token in `token=` or in the cookie.

        Raises UNAUTHENTICATED, and PERMISSION_DENIED for who may not read boards and for a page of another origin that
        relies on the cookie.
        """
        if "Authorization" in request.headers:
            return (await self._bearer(request)).require(BOARD_READERS)
        if "token" in request.query:
            return await self._verifier.verify(request.query["token"], "stream")
        token = request.cookies.get(STREAM, "")
        if not token:
            raise ServiceError(Reason.UNAUTHENTICATED, "The stream needs a token.")
        if not is_same_origin(request):
            raise ServiceError(Reason.PERMISSION_DENIED, "cookies are good for this origin's own pages alone")
        return await self._verifier.verify(token, "stream")

    async def _bearer(self, request: web.Request) -> Caller:
        token = bearer_token(request.headers["Authorization"])
        return Caller(await self._admission.admitted(await self._verified(token), token), token)

    async def _verified(self, token: str) -> Claims:
        """The claims of a good access token, unless its session is known to have ended."""
        claims = await self._verifier.verify(token)
        if self._sessions.has_ended(claims.session_id):
            raise ServiceError(Reason.UNAUTHENTICATED, "The session has ended. Please sign in again.")
        return claims

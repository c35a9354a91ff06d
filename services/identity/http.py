"""Identity over HTTP: its public keys, and tokens for services.

`GET /.well-known/jwks.json` (RFC 7517) and `POST /oauth/token`, the client credentials grant (RFC 6749, 4.4), on the
operations port, which never faces clients; the edge publishes the keys. Must never tell why credentials were refused.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import unquote_plus

import structlog
from aiohttp import web

from services.identity.clients.client import UNKNOWN_CLIENT
from services.identity.clients.service import ServiceClients
from services.identity.tokens import TokenIssuer
from services.runtime.errors import ServiceError
from services.runtime.process.ops_server import HttpHandler

_log = structlog.get_logger("identity.http")
MAX_CLIENT_ID = 64
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class IdentityHttp:
    """The two routes."""

    def __init__(self, tokens: TokenIssuer, clients: ServiceClients, *, now: Callable[[], datetime]) -> None:
        self._tokens = tokens
        self._clients = clients
        self._now = now

    def routes(self) -> list[tuple[str, str, HttpHandler]]:
        """Return method, path and handler of each route, for the operations server."""
        return [("GET", "/.well-known/jwks.json", self._jwks), ("POST", "/oauth/token", self._token)]

    async def _jwks(self, _request: web.Request) -> web.Response:
        return web.json_response(self._tokens.jwks, headers={"Cache-Control": "public, max-age=300"})

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("grant_type") != "client_credentials":
            return _oauth_error(400, "unsupported_grant_type")
        client_id, secret = _credentials(request, form)
        try:
            client = await self._clients.find(client_id[:MAX_CLIENT_ID]) or UNKNOWN_CLIENT
        except ServiceError:
            return _oauth_error(503, "temporarily_unavailable")
        if not client.proves(secret, self._now()):
            _log.warning("client credentials refused", client=client_id[:MAX_CLIENT_ID])
            return _oauth_error(401, "invalid_client")
        token = self._tokens.service_token(client_id, client.roles, client.scopes, self._now(), issuer=client.issuer)
        body = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": int(self._tokens.access_ttl.total_seconds()),
            "scope": " ".join(sorted(client.scopes)),
        }
        return web.json_response(body, headers=_NO_STORE)


def _credentials(request: web.Request, form: Mapping[str, object]) -> tuple[str, str]:
    """Return client id and secret from HTTP Basic (RFC 6749, 2.3.1), else from the form; empty if missing or malformed."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return unquote_plus(name), unquote_plus(secret)
    return str(form.get("client_id", "")), str(form.get("client_secret", ""))


def _oauth_error(status: int, error: str) -> web.Response:
    headers = _NO_STORE | {401: {"WWW-Authenticate": 'Basic realm="topten"'}, 503: {"Retry-After": "1"}}.get(status, {})
    return web.json_response({"error": error}, status=status, headers=headers)

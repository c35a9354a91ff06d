"""An issuer of real tokens, with a real HTTP server for its keys and its token address."""

from __future__ import annotations

import base64
import json
import time
import uuid
from typing import Any, Self

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.runtime.auth.jwks import public_jwk


def encoded(part: Any) -> str:
    """A part of a token: JSON, or bytes as they are, in base64url without padding."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(key: Any, payload: Any, headers: dict[str, Any]) -> str:
    """A token signed by hand, because a library refuses to make a wrong one; a header that is None is left out."""
    given = {name: value for name, value in ({"alg": "EdDSA"} | headers).items() if value is not None}
    body = f"{encoded(given)}.{encoded(payload)}"
    return f"{body}.{encoded(key.sign(body.encode()))}"


class Issuer:
    """Signs tokens; what it is asked over HTTP is counted, and `status` or `body` replace its answers."""

    def __init__(self) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.published = [public_jwk(self.key.public_key())]
        self.status = 200
        self.body: bytes | None = None
        self.fetches = 0
        self.token_requests: list[tuple[str, dict[str, str]]] = []
        self.token_answer: dict[str, Any] = {"access_token": "service-1", "token_type": "Bearer", "expires_in": 100}
        self.url = ""
        self._runner: web.AppRunner | None = None

    @property
    def key_id(self) -> str:
        return public_jwk(self.key.public_key())["kid"]

    @property
    def jwks_url(self) -> str:
        return f"{self.url}/.well-known/jwks.json"

    @property
    def token_url(self) -> str:
        return f"{self.url}/oauth/token"

    def payload(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        payload = {
            "iss": "topten",
            "aud": "topten",
            "iat": now,
            "exp": now + 600,
            "jti": str(uuid.uuid4()),
            "sub": "u-1",
            "userId": "u-1",
            "username": "ada",
            "roles": ["player"],
            "country": "VN",
            "sid": "s-1",
        } | changes
        return {name: value for name, value in payload.items() if value is not None}

    def token(self, *, headers: dict[str, Any] | None = None, key: Any = None, **changes: Any) -> str:
        """A good token but for what is changed; a claim or header changed to None is left out."""
        wanted = {"kid": self.key_id, "typ": "at+jwt"} | (headers or {})
        return signed(key or self.key, self.payload(**changes), wanted)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/.well-known/jwks.json", self._jwks)
        app.router.add_post("/oauth/token", self._token)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _jwks(self, _request: web.Request) -> web.Response:
        self.fetches += 1
        if self.body is not None:
            return web.Response(body=self.body, status=self.status)
        return web.json_response({"keys": self.published}, status=self.status)

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.token_requests.append((request.headers.get("Authorization", ""), form))
        return web.json_response(self.token_answer, status=self.status)

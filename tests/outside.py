"""An outside issuer, as a company's own sign-in is one: it signs with RSA and publishes its keys over HTTP."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any, Self

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.servers import HOST, free_port

ISSUER, AUDIENCE = "https://id.example", "quizzes"
PORT = free_port()
# What the session's system is told; the issuer need not be there before somebody comes with a token of it.
OUTSIDE_ISSUERS = json.dumps(
    {
        ISSUER: {
            "jwks_url": f"http://{HOST}:{PORT}/keys",
            "audience": AUDIENCE,
            "type": "JWT",
            "username": "nickname",
            "roles": "groups",
            "grants": {"quiz-masters": "moderator"},
        }
    }
)


class OutsideIssuer:
    """Signs tokens, and serves its keys between `async with`."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        self.key_id = uuid.uuid4().hex
        self._runner: web.AppRunner | None = None

    def token(self, *, typ: str = "JWT", algorithm: str = "RS256", key: Any = None, **changes: Any) -> str:
        """A good token but for what is changed; a claim that is None is left out."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": [AUDIENCE, "another"],
            "iat": now,
            "exp": now + 300,
            "sub": "auth0|42",
            "nickname": "ada",
            "groups": ["everybody"],
        } | changes
        payload = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(payload, key or self.key, algorithm, headers={"typ": typ, "kid": self.key_id})

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/keys", self._keys)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, PORT).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _keys(self, _request: web.Request) -> web.Response:
        jwk = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return web.json_response({"keys": [jwk | {"kid": self.key_id, "use": "sig", "alg": "RS256"}]})

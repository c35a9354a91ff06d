"""What is outside: a partner team's service, and an issuer like a company's own sign-in, which signs with RSA."""

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
# One key: processes look for an unknown one only now and then.
KEY, KEY_ID = rsa.generate_private_key(65537, 2048), uuid.uuid4().hex
# The setting of the session's system; the issuer need not run before one of its tokens is used.
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
# A partner team's service, as the operator declares it to the session's system.
PARTNER, PARTNER_SECRET = "reports", "a secret of the partner team's service"
# The service of a team that brings its own players, actions and boards.
TEAM, TEAM_SECRET = "studio", "a secret of the other team's service"
TEAM_SCOPES = ["action:define", "action:submit", "board:define", "leaderboard:read", "player:write"]
PARTNERS = json.dumps(
    {
        PARTNER: {"secret": PARTNER_SECRET, "scopes": ["leaderboard:read"]},
        TEAM: {"secret": TEAM_SECRET, "scopes": TEAM_SCOPES},
    }
)


class OutsideIssuer:
    """Signs tokens, and serves its keys within `async with`."""

    def __init__(self) -> None:
        self.key, self.key_id = KEY, KEY_ID
        self._runner: web.AppRunner | None = None

    def token(self, *, typ: str = "JWT", algorithm: str = "RS256", key: Any = None, **changes: Any) -> str:
        """Return a valid token with these claims changed; a claim that is None is left out."""
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

"""The issuer's public keys, published once more by the edge, which is the only process that clients reach."""

from __future__ import annotations

import orjson
from aiohttp import web

from services.runtime.jwks import Jwks


class PublicKeys:
    """The JWKS, as this process has it."""

    def __init__(self, keys: Jwks) -> None:
        self._keys = keys

    async def handle(self, _request: web.Request) -> web.Response:
        """The keys as they were published. Raises ServiceError UNAVAILABLE if they were never had."""
        await self._keys.ping()
        headers = {"Content-Type": "application/json", "Cache-Control": "public, max-age=300"}
        return web.Response(body=orjson.dumps(self._keys.document), headers=headers)

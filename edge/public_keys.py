"""The issuer's public keys, published once more by the edge, which is the only process that clients reach."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self

import orjson
import structlog
from aiohttp import web

from services.runtime.errors import Reason, ServiceError
from services.runtime.http_json import FAILURES, JsonClient
from services.runtime.jwks import read_jwks

MAX_AGE_SECONDS = 60.0
RETRY_SECONDS = 1.0
_log = structlog.get_logger("public_keys")


class PublicKeys:
    """The JWKS at `url`, as an async context manager; asked for at most once a minute, kept while nobody answers."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._body = b""
        self._ask_at = 0.0
        self._asking = asyncio.Lock()
        self._http = JsonClient()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def handle(self, _request: web.Request) -> web.Response:
        """The keys as they were published. Raises ServiceError UNAVAILABLE if they were never had."""
        if time.monotonic() >= self._ask_at:
            async with self._asking:
                if time.monotonic() >= self._ask_at:
                    await self._ask()
        if not self._body:
            raise ServiceError(Reason.UNAVAILABLE, "the keys can't be had at this moment")
        headers = {"Content-Type": "application/json", "Cache-Control": "public, max-age=300"}
        return web.Response(body=self._body, headers=headers)

    async def _ask(self) -> None:
        try:
            document = await self._http.get(self._url)
            read_jwks(document)  # what is no JWKS is not handed on
            self._body = orjson.dumps(document)
            self._ask_at = time.monotonic() + MAX_AGE_SECONDS
        except FAILURES as error:
            self._ask_at = time.monotonic() + RETRY_SECONDS
            _log.warning("the keys could not be fetched", error=type(error).__name__)

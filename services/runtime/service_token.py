"""The process's own access token, by OAuth 2.0 client credentials (RFC 6749, 4.4).

Owns when it is bought again: after 80 % of its life, once for all who ask, none of whom waits while the old one is good.
Must never hand out an expired one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import structlog

from services.runtime.errors import Reason, ServiceError
from services.runtime.http_json import FAILURES, JsonClient
from services.runtime.lifecycle import cancel, spawn

RENEW_AT = 0.8
RETRY_SECONDS = 1.0
# Who needs a token and has none waits this long; more would use up the deadline of the call that it is for.
WAIT_SECONDS = 2.0
_log = structlog.get_logger("service_token")


class ServiceToken:
    """The token of `client_id` at `token_url`, as an async context manager; it is bought when it is first asked for."""

    def __init__(
        self, token_url: str, client_id: str, client_secret: str, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = token_url
        self._client_id = client_id
        self._client_secret = client_secret
        self._now = now
        self._token = ""
        self._renew_at = float("-inf")
        self._expires_at = float("-inf")
        self._failed_at: float | None = None
        self._buying: asyncio.Task[None] | None = None
        self._http = JsonClient()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._buying is not None:
            await cancel(self._buying)
        await self._http.close()

    async def get(self) -> str:
        """A token that is good now. Raises ServiceError UNAVAILABLE if none can be had within two seconds."""
        if self._due() and self._buying is None:
            self._buying = spawn("service token", self._buy())
        if self._buying is not None and self._now() >= self._expires_at:
            await asyncio.wait({self._buying}, timeout=WAIT_SECONDS)
        if self._now() >= self._expires_at:
            raise ServiceError(Reason.UNAVAILABLE, "a service that is needed did not answer")
        return self._token

    async def ping(self) -> None:
        """Raises ServiceError UNAVAILABLE unless there is a token or one can be had."""
        await self.get()

    def _due(self) -> bool:
        now = self._now()
        if self._failed_at is not None and now - self._failed_at < RETRY_SECONDS:
            return False
        return now >= self._renew_at

    async def _buy(self) -> None:
        begun = self._now()
        try:
            token, life = await self._ask()
        except FAILURES as error:
            self._failed_at = self._now()
            _log.warning("no service token", error=type(error).__name__, detail=str(error)[:100])
        else:
            self._failed_at = None
            self._token, self._renew_at, self._expires_at = token, begun + RENEW_AT * life, begun + life
        finally:
            self._buying = None

    async def _ask(self) -> tuple[str, float]:
        # The ids and secrets used here are plain ASCII, so the form encoding of RFC 6749, 2.3.1 changes nothing.
        answer = await self._http.post_form(
            self._url, {"grant_type": "client_credentials"}, user=self._client_id, password=self._client_secret
        )
        token = answer.get("access_token") if isinstance(answer, Mapping) else None
        life = answer.get("expires_in") if isinstance(answer, Mapping) else None
        if not isinstance(token, str) or not token or not isinstance(life, int | float) or life <= 0:
            raise ValueError("answered no token")
        return token, float(life)

"""The access token of this process, by OAuth 2.0 client credentials (RFC 6749, 4.4).

Owns its renewal: after 80 % of its lifetimetime, one request for all callers, none of whom waits while the old token is valid.
Must never return an expired token.
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
from services.runtime.process.lifecycle import cancel, spawn

RENEW_AT = 0.8
RETRY_SECONDS = 1.0
# How long a caller waits for a token; longer would use up the deadline of its own call.
WAIT_SECONDS = 2.0
_log = structlog.get_logger("service_token")


class ServiceToken:
    """The token of `client_id` at `token_url`: an async context manager. It is requested when first needed."""

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
        self._renewing: asyncio.Task[None] | None = None
        self._http = JsonClient()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._renewing is not None:
            await cancel(self._renewing)
        await self._http.close()

    async def get(self) -> str:
        """A valid token. Raises ServiceError UNAVAILABLE if there is none within two seconds."""
        if self._is_due() and self._renewing is None:
            self._renewing = spawn("service token", self._renew())
        if self._renewing is not None and self._now() >= self._expires_at:
            await asyncio.wait({self._renewing}, timeout=WAIT_SECONDS)
        if self._now() >= self._expires_at:
            raise ServiceError(Reason.UNAVAILABLE, "A required service did not respond. Try again later.")
        return self._token

    def _is_due(self) -> bool:
        now = self._now()
        if self._failed_at is not None and now - self._failed_at < RETRY_SECONDS:
            return False
        return now >= self._renew_at

    async def _renew(self) -> None:
        started = self._now()
        try:
            token, lifetime = await self._request()
        except FAILURES as error:
            self._failed_at = self._now()
            _log.warning("service token not renewed", error=type(error).__name__, detail=str(error)[:100])
        else:
            self._failed_at = None
            self._token, self._renew_at, self._expires_at = token, started + RENEW_AT * lifetime, started + lifetime
        finally:
            self._renewing = None

    async def _request(self) -> tuple[str, float]:
        # Client ids and secrets are plain ASCII, which the form encoding of RFC 6749, 2.3.1 does not change.
        response = await self._http.post_form(
            self._url, {"grant_type": "client_credentials"}, user=self._client_id, password=self._client_secret
        )
        token = response.get("access_token") if isinstance(response, Mapping) else None
        lifetime = response.get("expires_in") if isinstance(response, Mapping) else None
        if not isinstance(token, str) or not token or not isinstance(lifetime, int | float) or lifetime <= 0:
            raise ValueError("no token in the response")
        return token, float(lifetime)

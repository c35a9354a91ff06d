"""A small HTTP client for JSON from known addresses: bounded in time and size, without redirects."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

TIMEOUT = aiohttp.ClientTimeout(total=5, connect=2)
MAX_BYTES = 64 * 1024
# The exceptions of a failed request.
FAILURES: tuple[type[Exception], ...] = (aiohttp.ClientError, TimeoutError, OSError, ValueError)


class JsonClient:
    """One HTTP session, opened by the first request. Use from one event loop."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the session. The next request opens another."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, url: str) -> Any:
        """The JSON at `url`. Raises one of FAILURES; ValueError for any status but 200 and for malformed JSON."""
        return await self._json("GET", url)

    async def post_form(self, url: str, form: Mapping[str, str], *, user: str, password: str) -> Any:
        """Post a form with basic authentication and return the JSON response. Raises one of FAILURES, as `get` does."""
        headers = {"Authorization": aiohttp.encode_basic_auth(user, password)}
        return await self._json("POST", url, data=form, headers=headers)

    async def _json(self, method: str, url: str, **arguments: Any) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=TIMEOUT)
        async with self._session.request(method, url, allow_redirects=False, **arguments) as response:
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ValueError(f"longer than {MAX_BYTES} bytes")
        return orjson.loads(body)

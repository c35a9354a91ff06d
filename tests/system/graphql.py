"""A GraphQL client with cookies, which returns the whole HTTP response."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

LOGIN = "mutation ($input: LoginInput!) { login(input: $input) { accessToken refreshToken expiresIn user { userId } } }"
COOKIE_MODE = {"Topten-Session": "cookie"}


@dataclass
class Answer:
    """A response: status, headers, and the JSON of its body (None if it has none)."""

    status: int
    headers: Mapping[str, str]
    body: Any
    cookies: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """The reason of the first error."""
        reason: str = self.body["errors"][0]["extensions"]["reason"]
        return reason


class Web:
    """A client with its own cookie jar."""

    def __init__(self, http: str) -> None:
        self.http = http
        self.session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))

    async def graphql(self, document: str, variables: Any = None, token: str = "", **options: Any) -> Answer:
        """POST a document to /graphql; `options` are aiohttp's."""
        headers = dict(options.pop("headers", {})) | ({"Authorization": f"Bearer {token}"} if token else {})
        body = {"query": document, "variables": variables}
        return await self.request("POST", "/graphql", **{"json": body, **options}, headers=headers)

    async def request(self, method: str, path: str, **options: Any) -> Answer:
        """Send any request."""
        async with self.session.request(method, f"{self.http}{path}", **options) as response:
            body = (
                await response.json(content_type=None) if "json" in response.headers.get("Content-Type", "") else None
            )
            return Answer(response.status, response.headers, body, dict(response.cookies))

    def cookies(self, path: str) -> dict[str, str]:
        """Return the cookies that a browser would send to a path."""
        found = self.session.cookie_jar.filter_cookies(URL(f"{self.http}{path}"))
        return {name: morsel.value for name, morsel in found.items()}


@asynccontextmanager
async def browsing(http: str) -> AsyncIterator[Web]:
    """Open a client."""
    web = Web(http)
    try:
        yield web
    finally:
        await web.session.close()

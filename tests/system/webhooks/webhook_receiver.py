"""A receiver of webhooks, which tests tell how to respond."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web


@dataclass
class Received:
    """A request that the receiver got."""

    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event

    def is_signed_by(self, secret: str) -> bool:
        """Verify as the guide for receivers says."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        return any(hmac.compare_digest(expected, each) for each in self.headers["webhook-signature"].split())


@dataclass
class Receiver:
    """A server on loopback. It responds with `statuses`, then with 200, and not before `open` is set."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    requests: list[Received] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    most_at_once: int = 0
    _now: int = 0

    async def respond(self, request: web.Request) -> web.Response:
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            self.requests.append(Received({k.lower(): v for k, v in request.headers.items()}, await request.read()))
            await self.open.wait()
            status = self.statuses.pop(0) if self.statuses else 200
            return web.Response(status=status, headers={"Location": self.url} if status == 302 else None)
        finally:
            self._now -= 1


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    found.open.set()
    app = web.Application()
    app.router.add_post("/hook", found.respond)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield found
    await runner.cleanup()

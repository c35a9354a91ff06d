"""The internal HTTP port of a process: /livez, /readyz, /metrics, and what its owner adds.

Owns whether the process is ready. It starts before the stores are opened, so that liveness is answered while they are
waited for. Must never be reachable from outside, and never says why a check failed: the log does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import prometheus_client
import structlog
from aiohttp import web

from services.runtime.values import split_address

Ping = Callable[[], Awaitable[Any]]
HttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PING_SECONDS = 2.0
_CLOSING_SECONDS = 1.0
_log = structlog.get_logger("ops")


class OpsServer:
    """Serves on `address` (port 0 takes a free one: see `port`). Enter it before the stores, give it to `run` as well.

    /readyz is 200 between `announce` and `withdraw` while every ping succeeds within 2 s, else 503. `?exclude=mongo,redis`
    leaves out some pings: a store that all share must not take every process out of service at once.
    """

    def __init__(self, address: str) -> None:
        self.port = 0
        self._address = address
        self._pings: dict[str, Ping] = {}
        self._routes: dict[tuple[str, str], HttpHandler] = {
            ("GET", "/livez"): self._livez,
            ("GET", "/readyz"): self._readyz,
            ("GET", "/metrics"): self._metrics,
        }
        self._announced = False
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    def add_ping(self, name: str, ping: Ping) -> None:
        """Makes readiness depend on `ping`, which raises if what it asks does not answer."""
        self._pings[name] = ping

    def add_route(self, method: str, path: str, handler: HttpHandler) -> None:
        """Serves `path`, exactly, from now on."""
        self._routes[method, path] = handler

    async def start(self) -> None:
        """Listens, unless it does so already."""
        await self._listen()

    async def announce(self) -> None:
        """The process may be ready from now on."""
        self._announced = True

    async def withdraw(self) -> None:
        """The process is not ready any more."""
        self._announced = False

    async def stop(self) -> None:
        """Does nothing: liveness and metrics are answered until the `async with` block is left."""

    async def _listen(self) -> None:
        if self._runner is not None:
            return
        app = web.Application(client_max_size=64 * 1024)
        app.router.add_route("*", "/{path:.*}", self._dispatch)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSING_SECONDS)
        await self._runner.setup()
        host, port = split_address(self._address)
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError:
            await self._close()
            raise
        self.port = self._runner.addresses[0][1]
        _log.info("listening", address=self._address, port=self.port)

    async def _close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        method = "GET" if request.method == "HEAD" else request.method
        handler = self._routes.get((method, request.path))
        if handler is not None:
            return await handler(request)
        if any(path == request.path for _, path in self._routes):
            raise web.HTTPMethodNotAllowed(method, [known for known, path in self._routes if path == request.path])
        raise web.HTTPNotFound

    async def _livez(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        checks = {"started": self._announced}
        excluded = request.query.get("exclude", "").split(",")
        asked = {name: ping for name, ping in self._pings.items() if name not in excluded}
        outcomes = await asyncio.gather(*(self._answers(name, ping) for name, ping in asked.items()))
        checks |= dict(zip(asked, outcomes, strict=True))
        ready = all(checks.values())
        body = {"ready": ready, "checks": {name: "ok" if good else "failing" for name, good in checks.items()}}
        return web.json_response(body, status=200 if ready else 503)

    async def _answers(self, name: str, ping: Ping) -> bool:
        try:
            await asyncio.wait_for(ping(), PING_SECONDS)
        except Exception as error:  # noqa: BLE001  # whatever a driver raises, the store is not ready
            _log.warning("a store does not answer", store=name, error=type(error).__name__)
            return False
        return True

    async def _metrics(self, _request: web.Request) -> web.Response:
        body = prometheus_client.generate_latest()
        return web.Response(body=body, headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST})

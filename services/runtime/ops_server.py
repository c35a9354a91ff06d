"""The internal HTTP port of a process: /livez, /readyz, /metrics, and what its owner adds.

Owns whether the process is ready. It starts before the stores are opened, so that liveness is answered while they are
waited for. Must never be reachable from outside.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import prometheus_client
import structlog
from aiohttp import web

from services.runtime.values import split_address

HttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CLOSING_SECONDS = 1.0
_log = structlog.get_logger("ops")


class OpsServer:
    """Serves on `address` (port 0 takes a free one: see `port`). Enter it before the stores, give it to `run` as well.

    /readyz is 200 between `announce` and `withdraw`, else 503: from when the process has reached what it can't begin
    without until it is told to stop. What is away in between is told by `store_watch`.
    """

    def __init__(self, address: str) -> None:
        self.port = 0
        self._address = address
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

    def add_route(self, method: str, path: str, handler: HttpHandler) -> None:
        """Serves `path`, exactly, from now on."""
        self._routes[method, path] = handler

    async def start(self) -> None:
        """Listens, unless it does so already."""
        await self._listen()

    async def announce(self) -> None:
        """The process is ready from now on."""
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

    async def _readyz(self, _request: web.Request) -> web.Response:
        return web.json_response({"ready": self._announced}, status=200 if self._announced else 503)

    async def _metrics(self, _request: web.Request) -> web.Response:
        body = prometheus_client.generate_latest()
        return web.Response(body=body, headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST})

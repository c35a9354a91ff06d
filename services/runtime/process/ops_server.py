"""The operations port of a process: /livez, /startedz, /readyz, /metrics, /config and routes of its owner, over HTTP.

Owns the readiness of the process. It listens before the stores are opened, so that the process is live while it waits for
them. Must never be reachable from outside.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import prometheus_client
import structlog
from aiohttp import web

from services.runtime.config.loading import in_force
from services.runtime.config.values import split_address

HttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Condition = Callable[[], Awaitable[bool]]

_CLOSING_SECONDS = 1.0
_log = structlog.get_logger("ops")


class OpsServer:
    """Serves on `address` (port 0 takes a free one: see `port`). Enter it before the stores, and pass it to `run` too.

    /startedz is 200 between `announce` and `withdraw`, else 503: from the complete start until the stop. /readyz is 200 if
    the condition of its owner holds as well. A store that is down in between changes neither (see `store_watch`). /config
    tells the settings of `config` in force and where each is from, with secrets masked.
    """

    def __init__(self, address: str, config: Any = None) -> None:
        self.port = 0
        self._config = [] if config is None else in_force(config, os.environ)
        self._address = address
        self._routes: dict[tuple[str, str], HttpHandler] = {
            ("GET", "/livez"): self._livez,
            ("GET", "/startedz"): self._startedz,
            ("GET", "/readyz"): self._readyz,
            ("GET", "/metrics"): self._metrics,
            ("GET", "/config"): self._settings,
        }
        self._announced = False
        self._condition: Condition | None = None
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    def add_route(self, method: str, path: str, handler: HttpHandler) -> None:
        """Serve exactly this path from now on."""
        self._routes[method, path] = handler

    def require(self, condition: Condition) -> None:
        """Be ready only while `condition` returns True as well; it is asked at each probe."""
        self._condition = condition

    async def start(self) -> None:
        """Listen, unless it already does."""
        await self._listen()

    async def announce(self) -> None:
        """Report ready."""
        self._announced = True

    async def withdraw(self) -> None:
        """Report not ready."""
        self._announced = False

    async def stop(self) -> None:
        """Do nothing: liveness and metrics are served until the `async with` block ends."""

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
        _log.info("operations listening", address=self._address, port=self.port)

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
            raise web.HTTPMethodNotAllowed(method, [allowed for allowed, path in self._routes if path == request.path])
        raise web.HTTPNotFound

    async def _livez(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        ready = self._announced and (self._condition is None or await self._condition())
        return web.json_response({"ready": ready}, status=200 if ready else 503)

    async def _startedz(self, _request: web.Request) -> web.Response:
        return web.json_response({"started": self._announced}, status=200 if self._announced else 503)

    async def _settings(self, _request: web.Request) -> web.Response:
        return web.json_response({"pid": os.getpid(), "settings": self._config}, headers={"Cache-Control": "no-store"})

    async def _metrics(self, _request: web.Request) -> web.Response:
        body = prometheus_client.generate_latest()
        return web.Response(body=body, headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST})

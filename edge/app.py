"""The HTTP server of the edge: routes, and what every request has in common.

Owns the request id, the log line, the metrics, the headers that keep browsers safe, and the last word on an error.
Must never let an exception's text out.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import orjson
import structlog
from aiohttp import HttpVersion11, web

from edge.assets import Assets
from edge.config import EdgeConfig
from edge.graphql.handler import GraphQLHandler
from edge.graphql.schema import sdl
from edge.peer import client_address
from edge.problems import problem, problem_of_http
from edge.protocol import Runner
from edge.public_keys import PublicKeys
from edge.record import Record
from edge.repeats import Repeats
from edge.session import GRAPHQL_PATH, STREAM_PATH
from edge.stream.hub import Hub
from edge.stream.sse import StreamHandler
from edge.traced import middlewares
from edge.upstreams import Readiness
from services.runtime.call_context import begin_call, request_id
from services.runtime.errors import Reason, ServiceError
from services.runtime.values import split_address

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "Server": "topten",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_log = structlog.get_logger("http")


class HttpServer:
    """Serves clients on `config.http_address` (port 0 takes a free one: see `port`)."""

    def __init__(
        self,
        config: EdgeConfig,
        *,
        graphql: GraphQLHandler,
        stream: StreamHandler,
        hub: Hub,
        keys: PublicKeys,
        readiness: Readiness,
        assets: Assets,
        record: Record,
        repeats: Repeats,
    ) -> None:
        self.port = 0
        self._config = config
        self._record = record
        self._hub = hub
        self._readiness = readiness
        self._announced = False
        self._site: web.TCPSite | None = None
        app = web.Application(
            middlewares=[*middlewares(config.trusted_proxies), self._outermost], client_max_size=config.max_body_bytes
        )
        app.on_response_prepare.append(self._add_headers)
        app.router.add_post(GRAPHQL_PATH, graphql.handle, expect_handler=_expect)
        app.router.add_get(GRAPHQL_PATH, graphql.handle, allow_head=False)
        app.router.add_get(STREAM_PATH, stream.handle, allow_head=False)
        for path in (GRAPHQL_PATH, STREAM_PATH):
            app.router.add_route("OPTIONS", path, self._preflight)
        if not config.process.production:
            app.router.add_get(f"{GRAPHQL_PATH}/schema.graphql", self._schema)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/.well-known/jwks.json", keys.handle)
        app.router.add_get("/{path:.*}", assets.handle)
        self._runner = Runner(
            app,
            headers=SECURITY_HEADERS,
            repeats=repeats,
            access_log=None,
            auto_decompress=False,  # a body that unpacks to more than it seems is refused, see `requests`
            handler_cancellation=True,
            keepalive_timeout=config.idle_timeout.total_seconds(),
            lingering_time=config.body_timeout.total_seconds(),
            shutdown_timeout=config.shutdown_timeout.total_seconds(),
        )

    async def start(self) -> None:
        """Listens."""
        await self._hub.start()
        await self._runner.setup()
        host, port = split_address(self._config.http_address)
        self._site = web.TCPSite(self._runner, host, port, reuse_port=self._config.reuse_port or None)
        await self._site.start()
        self.port = self._runner.addresses[0][1]
        _log.info("listening", address=self._config.http_address, port=self.port)

    async def announce(self) -> None:
        """The process may be ready from now on."""
        self._announced = True

    async def withdraw(self) -> None:
        """The process is not ready any more."""
        self._announced = False

    async def stop(self) -> None:
        """Takes no new connections, ends the streams, then waits for the requests in flight.

        In this order, because a stream would hold the wait up to its timeout.
        """
        if self._site is not None:
            await self._site.stop()
        await self._hub.stop()
        await self._runner.cleanup()

    @web.middleware
    async def _outermost(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        begun = time.perf_counter()
        timeout = self._config.request_timeout.total_seconds()
        begin_call(request.headers.get("X-Request-Id"), timeout=None if request.path == STREAM_PATH else timeout)
        try:
            response = await handler(request)
        except ServiceError as error:
            response = problem(error, request)
        except web.HTTPException as error:
            response = problem_of_http(error, request)
        except ConnectionError:
            raise  # the client left; there is nobody to answer
        except Exception:  # noqa: BLE001  # whatever it is, the client reads no more of it than that it was
            _log.exception("a request failed", method=request.method, path=request.path)
            fault = ServiceError(Reason.INTERNAL, "A fault of the server's own; the request id finds it.")
            response = problem(fault, request)
        resource = request.match_info.route.resource
        self._record.answered(
            request.method,
            resource.canonical if resource is not None else "unknown",
            response.status,
            time.perf_counter() - begun,
            path=request.path[:200],
            client=client_address(request, self._config.trusted_proxies),
        )
        return response

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        headers = response.headers
        headers.update(SECURITY_HEADERS)
        if self._config.secure_cookies:
            headers["Strict-Transport-Security"] = "max-age=31536000"
        headers["X-Request-Id"] = request_id()
        if self._config.allowed_origins:
            headers["Vary"] = "Origin"
            origin = request.headers.get("Origin")
            if origin in self._config.allowed_origins:
                headers["Access-Control-Allow-Origin"] = origin
                headers["Access-Control-Expose-Headers"] = "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy"

    async def _preflight(self, request: web.Request) -> web.Response:
        """Lets the pages of the configured origins send tokens in headers; never cookies (no Allow-Credentials)."""
        methods = "GET, POST" if request.path == GRAPHQL_PATH else "GET"
        headers = {"Allow": f"{methods}, OPTIONS"}
        if request.headers.get("Origin") in self._config.allowed_origins:
            headers |= {
                "Access-Control-Allow-Methods": methods,
                "Access-Control-Allow-Headers": "authorization, content-type, last-event-id, x-request-id",
                "Access-Control-Max-Age": "600",
            }
        return web.Response(status=204, headers=headers)

    async def _schema(self, _request: web.Request) -> web.Response:
        """The schema as text, for tools, where it can be asked for by introspection, too."""
        return web.Response(text=sdl(), headers={"Cache-Control": "no-cache"})

    async def _livez(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        checks = {"started": self._announced, **await self._readiness.checks()}
        ready = all(checks.values())
        body = {"ready": ready, "checks": {name: "ok" if good else "failing" for name, good in checks.items()}}
        return web.Response(
            body=orjson.dumps(body),
            status=200 if ready else 503,
            headers={"Content-Type": "application/json", "Cache-Control": "no-store"},
        )


async def _expect(request: web.Request) -> None:
    """Lets a body come that waits to be asked for. What else is expected may be ignored (RFC 9110, 10.1.1).

    aiohttp's own refuses that in plain text, before anything here has seen the request.
    """
    if request.version >= HttpVersion11 and request.headers["Expect"].lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer is not begun by this

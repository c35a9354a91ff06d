"""The HTTP server of the edge: its routes, and what all requests have in common.

Owns the request id, deadlines, security headers, and the response to every error. Must never expose an exception's text.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial

import orjson
import structlog
from aiohttp import HttpVersion11, web

from edge.config import EdgeConfig
from edge.graphql.execution.handler import GraphQLHandler
from edge.graphql.schema import sdl
from edge.http.answer import Answer
from edge.http.callers.cookies import GRAPHQL_PATH, ROOM_STREAM_PATH, STREAM_PATH, STREAM_ROUTES
from edge.http.callers.peer import client_address
from edge.http.explorer import PREFIX, Explorer, wants_page
from edge.http.malformed import Server
from edge.http.origins import Origins
from edge.http.page import Page
from edge.http.policy import policy_of
from edge.http.problems import INTERNAL_ERROR, problem, problem_of_http
from edge.http.request_metrics import record
from edge.http.tracing import middlewares
from edge.stream.hub import Hub
from edge.stream.sse import StreamHandler
from edge.upstreams import Readiness
from services.runtime.auth.jwks import Jwks
from services.runtime.config.values import split_address
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.call_context import begin_call, request_id
from services.runtime.telemetry import tracing

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SECURITY_HEADERS = {
    "Content-Security-Policy": policy_of(),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "Server": "topten",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# The part of a stopping process's grace in which requests on open connections are still answered.
FAREWELL_PART = 0.05
FAREWELL_POLL_SECONDS = 0.02
_log = structlog.get_logger("http")


class HttpServer:
    """Serves clients on `config.http_address`; with port 0, `port` is the free port that was chosen."""

    def __init__(
        self,
        config: EdgeConfig,
        *,
        graphql: GraphQLHandler,
        stream: StreamHandler,
        hub: Hub,
        keys: Jwks,
        readiness: Readiness,
        page: Page,
    ) -> None:
        self.port = 0
        self._config = config
        self._graphql = graphql
        self._hub = hub
        self._keys = keys
        self._readiness = readiness
        self._origins = Origins(config.allowed_origins, local=not config.process.production)
        self._timeout = config.request_timeout.total_seconds()
        self._headers = dict(SECURITY_HEADERS)
        if config.secure_cookies:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"
        if self._origins.vary:
            self._headers["Vary"] = "Origin"
        self._same = "".join(f"{name}: {value}\r\n" for name, value in self._headers.items())
        self._announced = False
        self._ends_connections = False
        self._site: web.TCPSite | None = None
        self._runner: web.ServerRunner | None = None
        app = web.Application(
            middlewares=[*middlewares(config.trusted_proxies), self._respond], client_max_size=config.max_body_bytes
        )
        app.on_response_prepare.append(self._add_headers)
        app.router.add_post(GRAPHQL_PATH, graphql.handle, expect_handler=_expect)
        app.router.add_get(GRAPHQL_PATH, self._get_graphql, allow_head=False)
        app.router.add_get(STREAM_PATH, stream.handle)  # and HEAD
        app.router.add_get(ROOM_STREAM_PATH, stream.handle_room)
        for path in (GRAPHQL_PATH, STREAM_PATH, ROOM_STREAM_PATH):
            app.router.add_route("OPTIONS", path, self._origins.preflight)
        self._explorer = Explorer() if config.introspection else None
        if self._explorer is not None:
            app.router.add_get(f"{GRAPHQL_PATH}/schema.graphql", self._schema)
            app.router.add_get(f"{PREFIX}/{{path:.*}}", self._explorer.file)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/.well-known/jwks.json", self._jwks)
        app.router.add_get("/{path:.*}", page.handle)
        self._application = web.AppRunner(app)

    async def start(self) -> None:
        """Start the hub and listen."""
        await self._hub.start()
        await self._application.setup()
        assert self._application.server is not None
        server = Server(
            self._serve,
            self._application.server,
            SECURITY_HEADERS,
            access_log=None,
            auto_decompress=False,  # compressed bodies are refused, see `edge.graphql.execution.requests`
            keepalive_timeout=self._config.idle_timeout.total_seconds(),
            lingering_time=self._config.body_timeout.total_seconds(),
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=self._config.shutdown_timeout.total_seconds())
        await self._runner.setup()
        host, port = split_address(self._config.http_address)
        self._site = web.TCPSite(self._runner, host, port, reuse_port=self._config.reuse_port or None)
        await self._site.start()
        self.port = self._runner.addresses[0][1]
        _log.info("http listening", address=self._config.http_address, port=self.port)

    async def announce(self) -> None:
        """Report ready as soon as the checks pass."""
        self._announced = True

    async def withdraw(self) -> None:
        """Report not ready."""
        self._announced = False

    async def stop(self) -> None:
        """Stop listening, end the streams, then wait for the requests in flight, which an open stream would delay."""
        self._ends_connections = True
        if self._site is not None:
            await self._site.stop()
        await self._hub.stop()
        if self._runner is not None:
            await self._farewell(self._runner)
            await self._runner.cleanup()
        await self._application.cleanup()

    async def _farewell(self, runner: web.ServerRunner) -> None:
        """Wait until clients have closed their connections, as each response now tells them to, for a part of the grace.

        A request that arrives while the server closes its connection is lost, and one that acts is not always sent again:
        proxies do that for reads alone.
        """
        grace = self._config.process.shutdown_grace.total_seconds()
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_PART * grace):
                while runner.server is not None and runner.server.connections:  # noqa: ASYNC110  # no event tells it
                    await asyncio.sleep(FAREWELL_POLL_SECONDS)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        """Return the response to a request; nearly all are GraphQL by POST, for which routing would cost as much as a read."""
        if (
            request.method == "POST"
            and request.rel_url.raw_path == GRAPHQL_PATH
            and "Expect" not in request.headers
            and not tracing.is_on()
        ):
            response = await self._answer(request, self._graphql.handle, GRAPHQL_PATH)
            if not isinstance(response, Answer):
                await self._add_headers(request, response)  # aiohttp calls the hook of requests that it has routed
            return response
        assert self._application.server is not None
        return await self._application.server.request_handler(request)

    @web.middleware
    async def _respond(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        return await self._answer(request, handler, resource.canonical if resource is not None else "unknown")

    async def _answer(self, request: web.Request, handler: Handler, route: str) -> web.StreamResponse:
        started = time.perf_counter()
        timeout = self._timeout
        begin_call(request.headers.get("X-Request-Id"), timeout=None if route in STREAM_ROUTES else timeout)
        try:
            response = await handler(request)
        except ServiceError as error:
            response = problem(error, request)
        except web.HTTPException as error:
            response = problem_of_http(error, request)
        except ConnectionError:
            raise  # the client disconnected
        except Exception:  # noqa: BLE001  # the client must not read the exception's text
            _log.exception("request failed", method=request.method, path=request.path)
            response = problem(ServiceError(Reason.INTERNAL, INTERNAL_ERROR), request)
        if self._ends_connections:
            response.force_close()
        if isinstance(response, Answer):
            response.common = self._fields(request)
        record(request.method, route, response.status, time.perf_counter() - started, partial(self._described, request))
        return response

    def _described(self, request: web.Request) -> Mapping[str, str]:
        return {"path": request.path[:200], "client": client_address(request, self._config.trusted_proxies)}

    def _fields(self, request: web.Request) -> str:
        """Return the lines that each head has."""
        origin = self._origins.headers_for(request)
        others = "".join(f"{name}: {value}\r\n" for name, value in origin.items()) if origin else ""
        return f"{self._same}X-Request-Id: {request_id()}\r\n{others}"

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        headers = response.headers
        policy = headers.get("Content-Security-Policy", SECURITY_HEADERS["Content-Security-Policy"])
        vary = headers.getall("Vary", [])
        headers.update({**self._headers, "Content-Security-Policy": policy})
        if "frame-ancestors 'none'" not in policy:
            del headers["X-Frame-Options"]  # it knows no list, and browsers that know the policy ignore it
        if vary and self._origins.vary:
            headers["Vary"] = ", ".join([*vary, "Origin"])
        headers["X-Request-Id"] = request_id()
        headers.update(self._origins.headers_for(request))

    async def _get_graphql(self, request: web.Request) -> web.StreamResponse:
        """Return the explorer to a person's browser where there is one, and a GraphQL response to everything else."""
        if self._explorer is not None and wants_page(request):
            return await self._explorer.page(request)
        return await self._graphql.handle(request)

    async def _schema(self, _request: web.Request) -> web.Response:
        """Return the schema as text, for tools; served only where introspection is allowed."""
        return web.Response(text=sdl(), headers={"Cache-Control": "no-cache"})

    async def _jwks(self, _request: web.Request) -> web.Response:
        """Return the issuer's public keys, because clients reach only the edge. Raises UNAVAILABLE while there are none."""
        await self._keys.ping()
        headers = {"Content-Type": "application/json", "Cache-Control": "public, max-age=300"}
        return web.Response(body=orjson.dumps(self._keys.document), headers=headers)

    async def _livez(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        checks = {"started": self._announced, **await self._readiness.checks()}
        ready = all(checks.values())
        body = {"ready": ready, "checks": {name: "ok" if passed else "failing" for name, passed in checks.items()}}
        return web.Response(
            body=orjson.dumps(body),
            status=200 if ready else 503,
            headers={"Content-Type": "application/json", "Cache-Control": "no-store"},
        )


async def _expect(request: web.Request) -> None:
    """Ask for a body that is announced by `Expect: 100-continue`; ignore other expectations (RFC 9110, 10.1.1).

    aiohttp's default refuses those in plain text, before any middleware runs.
    """
    if request.version >= HttpVersion11 and request.headers["Expect"].lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # these bytes are not part of the response

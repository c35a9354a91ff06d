"""Malformed requests: answered with a problem and logged as an event of the client.

aiohttp would answer them with its parser's message and its own name, and log an error with a traceback. Clients send such
bytes all day (TLS to a plain port, scanners, broken proxies). Uses only public hooks of aiohttp.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web

from edge.http.callers.peer import canonical
from edge.http.problems import INTERNAL_ERROR, problem
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.call_context import begin_call, request_id

Handler = Callable[[Any], Awaitable[web.StreamResponse]]
_log = structlog.get_logger("http")


class Connection(web.RequestHandler):
    """One connection of a client. `headers` go with each response that no middleware has seen."""

    __slots__ = ("_headers",)

    def __init__(self, server: web.Server, headers: Mapping[str, str], **options: Any) -> None:
        super().__init__(server, **options)
        self._headers = headers

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # the parser's message may repeat what was sent
    ) -> web.StreamResponse:
        """Return the response to a malformed request; the connection is closed after it."""
        begin_call(None)
        if request.writer.output_size > 0:
            raise ConnectionError("a response was already started")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("request failed", exc_info=exc)
            error = ServiceError(Reason.INTERNAL, INTERNAL_ERROR)
        else:
            _log.info(
                "malformed request", status=status, client=canonical(request.remote or ""), error=type(exc).__name__
            )
            error = ServiceError(Reason.INVALID_ARGUMENT, "Malformed HTTP request.")
        response = problem(error, request, status=status)
        response.headers.update({**self._headers, "X-Request-Id": request_id()})
        response.force_close()
        return response


class Server(web.Server):
    """Serves an application, `AppRunner.server`, on `Connection`s with `options`.

    A handler is finished even if its client disconnects: a cancelled call costs a store connection, and could leave it
    unknown whether an action was recorded.
    """

    def __init__(self, handler: Handler, application: web.Server, headers: Mapping[str, str], **options: Any) -> None:
        super().__init__(handler, request_factory=application.request_factory, handler_cancellation=False)
        self._headers = headers
        self._options = options

    def __call__(self) -> Connection:
        """Return the protocol of one more connection."""
        return Connection(self, self._headers, loop=asyncio.get_running_loop(), **self._options)

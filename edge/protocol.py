"""What is no HTTP, answered as every other refusal is.

aiohttp answers it by itself, before any handler or middleware: with what its parser says of the bytes, its own name, and
an error with a traceback in the log. Clients send such things all day.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web

from edge.problems import problem
from services.runtime.call_context import begin_call, request_id
from services.runtime.errors import Reason, ServiceError

_log = structlog.get_logger("http")


class Protocol(web.RequestHandler):
    """One connection."""

    __slots__ = ("_headers",)

    def __init__(self, manager: Server, headers: Mapping[str, str], **options: Any) -> None:
        super().__init__(manager, **options)
        self._headers = headers

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # what the parser says; nobody is told
    ) -> web.StreamResponse:
        """The answer to what is no request; the connection is closed after it."""
        begin_call(None)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("a request failed", exc_info=exc)
            error = ServiceError(Reason.INTERNAL, "A fault of the server's own; the request id finds it.")
        else:
            _log.info("answered", status=status, client=request.remote, error=type(exc).__name__)
            error = ServiceError(Reason.INVALID_ARGUMENT, "this is not a request of HTTP")
        response = problem(error, request, status=status)
        response.headers.update({**self._headers, "X-Request-Id": request_id()})
        response.force_close()
        return response


class Server(web.Server):
    """Makes the connections of one process, whose own refusals carry `headers`."""

    def __init__(self, made: web.Server, headers: Mapping[str, str], options: Mapping[str, Any]) -> None:
        super().__init__(made.request_handler, request_factory=made.request_factory, **options)
        self._headers = headers
        self._options = {name: value for name, value in options.items() if name != "handler_cancellation"}

    def __call__(self) -> Protocol:
        """One more connection."""
        return Protocol(self, self._headers, loop=self._loop, **self._options)


class Runner(web.AppRunner):
    """Runs an application whose connections are `Protocol`s; `options` are the protocol's."""

    __slots__ = ("_headers", "_options")

    def __init__(
        self, app: web.Application, *, headers: Mapping[str, str], shutdown_timeout: float, **options: Any
    ) -> None:
        super().__init__(app, shutdown_timeout=shutdown_timeout, **options)
        self._headers = headers
        self._options = options

    async def _make_server(self) -> web.Server:
        return Server(await super()._make_server(), self._headers, self._options)

"""What comes before routes and middlewares: requests that came before to the letter, and what is no HTTP.

The first are answered at once where they may be (see `repeats`). The second aiohttp answers by itself: with what its
parser says of the bytes, its own name, and an error with a traceback in the log. Clients send such things all day; they
are answered as every other refusal is.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web

from edge.problems import problem
from edge.repeats import Repeats
from services.runtime.call_context import begin_call, request_id
from services.runtime.errors import Reason, ServiceError

_log = structlog.get_logger("http")


class Protocol(web.RequestHandler):
    """One connection."""

    __slots__ = ("_first", "_headers", "_peer", "_received", "_repeats")

    def __init__(self, manager: Server, headers: Mapping[str, str], repeats: Repeats, **options: Any) -> None:
        super().__init__(manager, **options)
        self._headers = headers
        self._repeats = repeats
        self._peer = ""
        # What came since the last request that was answered, which ended where a read did: the first part, and how much.
        # Of who sends anything else, as two requests in one, the latter never is 0 again, and he goes the long way.
        self._first = b""
        self._received = 0

    def data_received(self, data: bytes) -> None:
        """Bytes from the client: a request that may be answered at once, or anything for the parser."""
        if not self._received:
            waiter, transport = self._waiter, self.transport
            # Nothing is being answered, and the client takes what it is sent.
            if transport is not None and waiter is not None and not waiter.done() and not self.writing_paused:
                answer = self._repeats.answer(data, self._peer)
                if answer is not None:
                    self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
                    transport.write(answer)
                    return
            self._first = data
        self._received += len(data)
        super().data_received(data)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Sends an answer, and finds out whether the connection is between two requests now."""
        finished = await super().finish_response(request, resp, start_time)
        head, separator, _ = self._first.partition(b"\r\n\r\n")
        if separator and self._received == len(head) + len(separator) + (request.content_length or 0):
            self._peer = request.remote or ""
            if self._received == len(self._first):
                self._repeats.learn(self._first, self._peer, request, resp)
            self._first = b""
            self._received = 0
        return finished

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

    def __init__(
        self, made: web.Server, headers: Mapping[str, str], repeats: Repeats, options: Mapping[str, Any]
    ) -> None:
        super().__init__(made.request_handler, request_factory=made.request_factory, **options)
        self._headers = headers
        self._repeats = repeats
        self._options = {name: value for name, value in options.items() if name != "handler_cancellation"}

    def __call__(self) -> Protocol:
        """One more connection."""
        return Protocol(self, self._headers, self._repeats, loop=self._loop, **self._options)


class Runner(web.AppRunner):
    """Runs an application whose connections are `Protocol`s; `options` are the protocol's."""

    __slots__ = ("_headers", "_options", "_repeats")

    def __init__(
        self,
        app: web.Application,
        *,
        headers: Mapping[str, str],
        repeats: Repeats,
        shutdown_timeout: float,
        **options: Any,
    ) -> None:
        super().__init__(app, shutdown_timeout=shutdown_timeout, **options)
        self._headers = headers
        self._repeats = repeats
        self._options = options

    async def _make_server(self) -> web.Server:
        return Server(await super()._make_server(), self._headers, self._repeats, self._options)

"""The stream over HTTP: who may read it, from where, and the way in and out of the hub.

`GET /api/v1/leaderboard/stream?board=…` by the WHATWG's Server-Sent Events. A refusal comes before the stream begins;
what goes wrong later must never answer anything but the end of the stream, since EventSource gives up for good at any
status but 200.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from datetime import timedelta

from aiohttp import HttpVersion11, web

from edge.auth import Authenticator
from edge.config import EdgeConfig
from edge.peer import client_address
from edge.rates.limiter import Limiter
from edge.stream.feed import Feed
from edge.stream.frames import Position
from edge.stream.hub import Hub
from edge.stream.quota import Quota
from edge.stream.sessions import Sessions
from edge.stream.subscriber import Subscriber, come_back
from services.runtime.claims import Claims
from services.runtime.clock import utc_now
from services.runtime.errors import Reason, ServiceError

SETTLE = timedelta(seconds=1)
# A peer that acknowledges nothing for this long is gone, whatever TCP still hopes for.
PEER_GONE_MILLISECONDS = 30_000
# What the kernel may hold for one reader. Frames are small, and of an old one nobody wants the rest.
SEND_BUFFER_BYTES = 64 * 1024
HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


class StreamHandler:
    """Answers the stream's path."""

    def __init__(
        self, hub: Hub, authenticator: Authenticator, sessions: Sessions, limiter: Limiter, config: EdgeConfig
    ) -> None:
        self._hub = hub
        self._limiter = limiter
        self._authenticator = authenticator
        self._sessions = sessions
        self._config = config
        self._quota = Quota(
            per_user=config.stream_max_per_user,
            per_address=config.stream_max_per_address,
            retry_after=config.stream_retry,
        )
        self._catalog = config.boards.catalog

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Begins a stream; it lasts until the client leaves, the session or the board's period ends, or the process stops.

        Raises UNAUTHENTICATED, BOARD_NOT_FOUND, RATE_LIMITED, UNAVAILABLE before the stream begins. A closed period
        answers 204, at which EventSource stops coming back.
        """
        claims = await self._authenticator.reader(request)
        board = self._board(request)
        address = client_address(request, self._config.trusted_proxies)
        await self._limiter.take("stream", caller=claims.user_id, address=address)
        with ExitStack() as held:
            held.enter_context(self._quota.holding(claims.user_id, address))
            await self._sessions.require(claims.session_id)
            feed = held.enter_context(self._hub.reading(board))
            return await self._open(request, feed, claims, held)

    async def _open(self, request: web.Request, feed: Feed, claims: Claims, held: ExitStack) -> web.StreamResponse:
        """The answer's head, and its first line; `held` is let go when the stream has ended."""
        last = Position.parse(request.headers.get("Last-Event-ID") or request.query.get("lastEventId"))
        await feed.settle(SETTLE)
        if feed.refusal is not None:
            raise feed.refusal
        if feed.closed:
            return web.Response(status=204)
        if last is not None:
            await feed.catch_up(last, self._config.stream_catch_up)
        response = web.StreamResponse(headers=HEADERS)
        chunked = request.version >= HttpVersion11
        if chunked:
            response.enable_chunked_encoding()
        response.force_close()
        try:
            await response.prepare(request)
            # The first write takes the headers along; from here on the hub writes to the transport itself.
            await response.write(come_back(self._config.stream_retry).plain)
        except ConnectionError:
            return response  # the client left meanwhile
        transport = request.transport
        if transport is not None:
            _tune(transport)
            subscriber = Subscriber(transport, claims, chunked=chunked, retry=self._config.stream_retry)
            _take_over(request, transport, subscriber)
            self._hub.join(feed, subscriber, last, held.pop_all().close)
        return response

    def _board(self, request: web.Request) -> str:
        """The board's name as the services know it. Raises BOARD_NOT_FOUND for what can't be one."""
        text = request.query.get("board") or "all"
        try:
            self._catalog.parse(text, utc_now())
        except ValueError:
            raise ServiceError(Reason.BOARD_NOT_FOUND, "No board has this name.") from None
        return text


def _take_over(request: web.Request, transport: asyncio.Transport, subscriber: Subscriber) -> None:
    """Gives the connection to the subscriber.

    To the HTTP server it is as if the client had left: it lets go of its two tasks, its parser and the request, two thirds
    of what a stream would weigh, and never touches the connection again.
    """
    server = request.protocol
    transport.set_protocol(subscriber)
    server.transport = None  # or it would close what it is told to have lost
    server.connection_lost(None)


def _tune(transport: asyncio.Transport) -> None:
    connection = transport.get_extra_info("socket")
    if connection is None:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT") and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PEER_GONE_MILLISECONDS)

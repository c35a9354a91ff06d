"""The stream endpoints: authenticate a client, and hand its connection to the feed of a board or a room.

`GET /api/v1/leaderboard/stream?board=…` and `GET /api/v1/rooms/{pin}/stream` speak the WHATWG's Server-Sent Events; HEAD has
the same response, without a stream. Errors are sent before the stream starts. Afterwards a failure must only end the stream,
because EventSource does not reconnect after any status but 200.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import TypeVar

from aiohttp import HttpVersion11, web

from edge.boards import ExistingBoard, ExistingBoards
from edge.config import EdgeConfig
from edge.http.accept import accepted_by
from edge.http.callers.authentication import Authenticator, require_board
from edge.http.callers.cookies import BOARD_STREAM, ROOM_STREAM
from edge.http.callers.peer import client_address, network_of
from edge.http.callers.sessions import Sessions
from edge.rates.limiter import Limiter
from edge.rooms import BOARD_PREFIX, ExistingRooms, is_room_board, room_board
from edge.stream.connection import take_over
from edge.stream.feed import Feed
from edge.stream.frames import Position
from edge.stream.hub import Hub
from edge.stream.quota import StreamQuota
from edge.stream.room_feed import PREFIX
from edge.stream.subscriber import Subscriber, retry_after
from services.runtime.auth.claims import Claims
from services.runtime.errors import Reason, ServiceError

FIRST_FRAME_TIMEOUT = timedelta(seconds=1)
T = TypeVar("T")
EVENT_STREAM = "text/event-stream"
HEADERS = {
    "Content-Type": EVENT_STREAM,
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


class StreamHandler:
    """Handles requests for a stream."""

    def __init__(
        self,
        hub: Hub,
        boards: ExistingBoards,
        rooms: ExistingRooms,
        authenticator: Authenticator,
        sessions: Sessions,
        limiter: Limiter,
        config: EdgeConfig,
    ) -> None:
        self._hub = hub
        self._boards = boards
        self._rooms = rooms
        self._limiter = limiter
        self._authenticator = authenticator
        self._sessions = sessions
        self._config = config
        self._quota = StreamQuota(
            per_player=config.stream_max_per_user,
            per_network=config.stream_max_per_address,
            boards_per_network=config.stream_max_boards_per_address,
            retry_after=config.stream_retry,
        )

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Start a stream, which lasts until the client leaves, the session or the board's period or room ends, or the process
        stops.

        Raises UNAUTHENTICATED, PERMISSION_DENIED, BOARD_NOT_FOUND, RATE_LIMITED and UNAVAILABLE before it starts, and
        HTTPNotAcceptable. The response for a closed period, and for a room that has ended, is 204, after which EventSource
        does not reconnect.
        """
        claims = await self._claims(request, BOARD_STREAM)
        address = client_address(request, self._config.trusted_proxies)
        # A board token is held by every visitor of a page: they count by their addresses.
        await self._limiter.take("stream", caller=claims.user_id, address=address)
        await self._sessions.require_open(claims.session_id)
        board, claims, group_id = await self._board(request, claims)
        if board.is_closed:
            return web.Response(status=204)
        if request.method == "HEAD":
            return web.Response(headers=HEADERS)
        with ExitStack() as stack:
            stack.enter_context(self._quota.stream(claims.user_id, network_of(address), board.name))
            feed = stack.enter_context(self._hub.feed(board.name))
            return await self._open(request, feed, claims, stack, group_id)

    async def handle_room(self, request: web.Request) -> web.StreamResponse:
        """Start a stream of a room, which lasts until the client leaves, its session or the room ends, or the process stops.

        Raises UNAUTHENTICATED, PERMISSION_DENIED, ROOM_NOT_FOUND, ROOM_CLOSED for a player whom a host has removed,
        RATE_LIMITED and UNAVAILABLE before it starts, and HTTPNotAcceptable. The response for a room that has ended is 204,
        after which EventSource does not reconnect.
        """
        claims = await self._claims(request, ROOM_STREAM)
        address = client_address(request, self._config.trusted_proxies)
        await self._limiter.take("room", caller=claims.user_id, address=address)  # also for who guesses PINs
        await self._sessions.require_open(claims.session_id)
        name = f"{PREFIX}{request.match_info['pin']}"
        require_board(claims, name)
        if not self._hub.shows(name) and await self._rooms.has_ended(request.match_info["pin"]):
            return web.Response(status=204)
        if request.method == "HEAD":
            return web.Response(headers=HEADERS)
        with ExitStack() as stack:
            stack.enter_context(self._quota.stream(claims.user_id, network_of(address), name))
            feed = stack.enter_context(self._hub.feed(name))
            return await self._open(request, feed, claims, stack)

    async def _claims(self, request: web.Request, cookie: str) -> Claims:
        if accepted_by(request, (EVENT_STREAM,), default=EVENT_STREAM) is None:
            raise web.HTTPNotAcceptable
        return await self._authenticator.stream_claims(request, cookie)

    async def _board(self, request: web.Request, claims: Claims) -> tuple[ExistingBoard, Claims, str]:
        """Return the board that a client names, the claims by which it may read it, and the group that makes it so, or none.

        Raises BOARD_NOT_FOUND if no claims do.
        """
        name = request.query.get("board", "")
        if is_room_board(name):
            name = room_board(name.removeprefix(BOARD_PREFIX))
            require_board(claims, name)
            is_final, claims = await self._as_reader(request, claims, partial(self._rooms.board_is_final, name))
            return ExistingBoard(name, is_final), claims, ""
        board = await self._boards.find(name, claims.user_id or claims.session_id)
        require_board(claims, board.name)
        ask = partial(self._boards.require_readable, board.name)
        group_id, claims = await self._as_reader(request, claims, ask)
        return board, claims, group_id

    async def _as_reader(
        self, request: web.Request, claims: Claims, ask: Callable[[Claims], Awaitable[T]]
    ) -> tuple[T, Claims]:
        """Ask about a board by the claims of a client or, if these are not enough, of its session; return which were."""
        try:
            return await ask(claims), claims
        except ServiceError as error:
            access = claims
            if error.reason is Reason.BOARD_NOT_FOUND:
                access = await self._authenticator.board_claims(request, claims)
            if access is claims:
                raise
            return await ask(access), access

    async def _open(
        self, request: web.Request, feed: Feed, claims: Claims, stack: ExitStack, group_id: str = ""
    ) -> web.StreamResponse:
        """Start the response and hand over the connection; `stack` is then closed at the end of the stream."""
        version = self._hub.version(feed.name)  # by which the client was admitted just now
        last_seen = Position.parse(request.headers.get("Last-Event-ID") or request.query.get("lastEventId"))
        await feed.wait_ready(FIRST_FRAME_TIMEOUT)
        if (refusal := feed.refusal_of(claims.user_id)) is not None:
            raise refusal
        if feed.closed:
            return web.Response(status=204)
        response = web.StreamResponse(headers=HEADERS)
        chunked = request.version >= HttpVersion11
        if chunked:
            response.enable_chunked_encoding()
        response.force_close()
        try:
            await response.prepare(request)
            # The first write sends the headers too; later ones bypass aiohttp.
            await response.write(retry_after(self._config.stream_retry).plain)
        except ConnectionError:
            return response  # the client has disconnected
        retry = self._config.stream_retry
        subscriber = Subscriber(claims, chunked=chunked, retry=retry, board_version=version, group_id=group_id)
        if take_over(request, subscriber):
            feed.subscribe(subscriber, stack.pop_all().close, last_seen, self._config.stream_catch_up)
        return response

"""One board of one process: its upstream, its latest frame, and who waits for the next one.

Owns that time never runs backwards and that a lost upstream is opened again. Must never write to a connection: the hub
does, when it is told of an update.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog
from topten.leaderboard.v1.leaderboard_service_pb2 import WatchLeaderboardRequest

from edge.stream.frames import Position, Update, encode_update
from edge.upstreams import Upstreams
from services.runtime.boards import period
from services.runtime.call_context import begin_call
from services.runtime.catalog import Catalog
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc_client import open_stream

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 3.0
# An upstream that is back within this time was hardly away.
STALE_AFTER = 1.0
_REFUSALS = frozenset({Reason.BOARD_NOT_FOUND, Reason.INVALID_ARGUMENT})
_log = structlog.get_logger("stream.feed")


class Feed:
    """The board named `board`, as text.

    `on_update` is awaited with each update and the one before it, one at a time; `on_end` once, if the board closes or
    is refused.
    """

    def __init__(
        self,
        board: str,
        upstreams: Upstreams,
        *,
        on_update: Callable[[Feed, Update | None, Update], Awaitable[None]],
        on_end: Callable[[Feed], Awaitable[None]],
        catalog: Catalog,
        now: Callable[[], datetime],
    ) -> None:
        self.board = board
        self._catalog = catalog
        self.current: Update | None = None
        self.closed = False
        self.refusal: ServiceError | None = None
        self.readers = 0
        self._upstreams = upstreams
        self._on_update = on_update
        self._on_end = on_end
        self._now = now
        self._news = asyncio.Event()
        self._heard_at = 0.0

    async def settle(self, within: timedelta) -> None:
        """Waits until the board's first frame is there, or it is known that the board is none or closed; at most `within`."""
        over = self._is_over()  # its last frame comes too, but then its end
        await self._until(
            lambda: (self.current is not None and not over) or self.closed or self.refusal is not None, within
        )

    async def catch_up(self, position: Position, within: timedelta) -> None:
        """Waits until this process is as far as `position`, where a reader has been already; at most `within`."""
        await self._until(lambda: self.current is not None and self.current.position >= position, within)

    async def run(self) -> None:
        """Keeps the upstream open until the board closes or is refused; cancel it to end it."""
        structlog.contextvars.clear_contextvars()
        pause = FIRST_PAUSE
        while True:
            begin_call(None)
            before = self.current
            try:
                await self._watch()
                if self._is_over():
                    self.closed = True
            except ServiceError as error:
                if error.reason in _REFUSALS:
                    self.refusal = error
                else:
                    _log.warning("the board's upstream is lost", board=self.board, reason=error.reason)
            except Exception:  # noqa: BLE001  # a fault in one board must not end the others
                # A frame that can't be shown must not end the process, and with it every other board.
                _log.exception("a frame could not be handled", board=self.board)
            if self.closed or self.refusal is not None:
                self._wake()
                await self._on_end(self)
                return
            if self.current is not before:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # it spreads load
            pause = min(LONGEST_PAUSE, pause * 2)
            if self.current is not None and time.monotonic() - self._heard_at > STALE_AFTER:
                await self._take(encode_update(self.current.frame, stale=True))

    async def _watch(self) -> None:
        token = await self._upstreams.service_token.get()
        request = WatchLeaderboardRequest(board=self.board)
        async with open_stream(self._upstreams.leaderboard.WatchLeaderboard, request, token=token) as answers:
            try:
                async for answer in answers:
                    await self._take(encode_update(answer.frame))
            finally:
                self._heard_at = time.monotonic()

    async def _take(self, update: Update) -> None:
        before = self.current
        if update.follows(before):
            self.current = update
            self._wake()
            await self._on_update(self, before, update)

    def _is_over(self) -> bool:
        """Whether an upstream that ended did so because its period has closed, and not because a server went away."""
        if self._catalog.follows_calendar(self.board):
            return False
        now = self._now()
        counted = period(self._catalog.parse(self.board, now))
        return counted is not None and counted.ends_at <= now

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _until(self, condition: Callable[[], bool], within: timedelta) -> None:
        try:
            async with asyncio.timeout(within.total_seconds()):
                while not condition():
                    await self._news.wait()
        except TimeoutError:
            return

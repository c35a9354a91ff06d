"""The hub: every open stream of this process, by board.

One upstream a board, one timer for all heartbeats, the same prepared bytes for every connection, written straight to
its transport. Must never wait for a reader: one that falls behind is cut off, and comes back to the latest frame.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog
from prometheus_client import Counter, Gauge
from topten.leaderboard.v1.leaderboard_pb2 import Frame

from edge.config import EdgeConfig
from edge.stream.feed import Feed
from edge.stream.frames import HEARTBEAT, Message, Position, Update, encode_end
from edge.stream.latency import ScreenClock
from edge.stream.own import OwnPlaces
from edge.stream.sessions import Sessions
from edge.stream.subscriber import Subscriber
from edge.upstreams import Upstreams
from services.runtime import tracing
from services.runtime.errors import Reason, ServiceError
from services.runtime.lifecycle import cancel, spawn

CLOSING_SECONDS = 2.0
# How often open streams are held against their sessions.
SESSIONS_SECONDS = 3.0
YIELD_EVERY = 500
connections = Gauge("topten_sse_connections", "Streams that are open")
dropped_total = Counter("topten_sse_dropped_total", "Streams that the server ended before their time", ["reason"])
_log = structlog.get_logger("stream.hub")


@dataclass
class _Watched:
    feed: Feed
    own: OwnPlaces
    task: asyncio.Task[None]
    subscribers: set[Subscriber]


class Hub:
    """The open streams. A server for `run`: `start` begins the heartbeats, `stop` ends every stream."""

    def __init__(
        self,
        upstreams: Upstreams,
        config: EdgeConfig,
        sessions: Sessions,
        clock: ScreenClock,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._upstreams = upstreams
        self._sessions = sessions
        self._config = config
        self._catalog = config.boards.catalog
        self._clock = clock
        self._now = now
        self._boards: dict[str, _Watched] = {}
        self._count = 0
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._empty = asyncio.Event()

    async def start(self) -> None:
        """Begins the heartbeats, and to look for sessions that have ended."""
        self._tasks = [spawn("stream heartbeat", self._beat()), spawn("stream sessions", self._end_sessions())]

    async def stop(self) -> None:
        """Ends every stream and waits until their readers have taken what is left, at most 2 s; then closes the upstreams."""
        self._stopping = True
        for watched in self._boards.values():
            for subscriber in watched.subscribers:
                subscriber.end()
        try:
            async with asyncio.timeout(CLOSING_SECONDS):
                while self._count:
                    self._empty.clear()
                    await self._empty.wait()
        except TimeoutError:
            _log.warning("readers did not take their end in time", count=self._count)
            for watched in self._boards.values():
                for subscriber in watched.subscribers:
                    subscriber.cut()
        tasks = [watched.task for watched in self._boards.values()]
        for watched in self._boards.values():
            await watched.own.close()
        self._boards.clear()
        await cancel(*tasks, *self._tasks)

    @contextmanager
    def reading(self, board: str) -> Iterator[Feed]:
        """The feed of a board while somebody reads it; its upstream outlives the last reader by a few seconds.

        Raises UNAVAILABLE where this process has as many boards or streams as it may.
        """
        if self._stopping or self._count >= self._config.stream_max_connections:
            raise ServiceError(
                Reason.UNAVAILABLE, "no more streams at this moment", retry_after=self._config.stream_retry
            )
        watched = self._boards.get(board) or self._open(board)
        watched.feed.readers += 1
        self._count += 1
        try:
            yield watched.feed
        finally:
            watched.feed.readers -= 1
            self._count -= 1
            if not self._count:
                self._empty.set()
            if not watched.feed.readers:
                linger = self._config.stream_linger.total_seconds()
                asyncio.get_running_loop().call_later(linger, self._close_if_idle, watched)

    def held(self, board: str, limit: int, *, stale: bool = False) -> Frame | None:
        """The board's latest frame if somebody reads it here and it has `limit` places; not to be changed.

        As fresh as what the leaderboard service answers, which serves a watched board from the same frames; unless
        `stale`, with which it may also be the last one before the service went away.
        """
        watched = self._boards.get(board)
        current = None if watched is None else watched.feed.current
        if current is None or (current.stale and not stale) or len(current.frame.entries) < limit:
            return None
        return current.frame

    def join(
        self, feed: Feed, subscriber: Subscriber, last: Position | None, left: Callable[[], None] = lambda: None
    ) -> None:
        """Adds a stream, whose reader is at `last`, and sends it the current frame unless it has that already.

        Nothing below `last` is sent however far this process is behind it, unless the board follows the calendar: its
        counts begin anew with each period, and `last` does not say of which it is. It is a stream until its connection is
        gone; `left` is called then.
        """
        connections.inc()
        subscriber.on_left = partial(self._leave, feed, subscriber, left)
        watched = self._boards.get(feed.board)
        if watched is None or feed.closed or feed.refusal is not None:  # it ended while the stream was on its way in
            subscriber.end()
            return
        watched.subscribers.add(subscriber)
        subscriber.floor = None if self._catalog.follows_calendar(feed.board) else last
        current = feed.current
        if current is not None and (current.position != last or current.stale) and subscriber.may_see(current.position):
            subscriber.write(current.message)
        watched.own.enter(subscriber)

    def _leave(self, feed: Feed, subscriber: Subscriber, left: Callable[[], None]) -> None:
        connections.dec()
        watched = self._boards.get(feed.board)
        if watched is not None:
            watched.subscribers.discard(subscriber)
            watched.own.leave(subscriber)
        left()

    def _open(self, board: str) -> _Watched:
        if len(self._boards) >= self._config.stream_max_boards:
            raise ServiceError(
                Reason.UNAVAILABLE, "no more boards at this moment", retry_after=self._config.stream_retry
            )
        feed = Feed(
            board, self._upstreams, on_update=self._publish, on_end=self._end, catalog=self._catalog, now=self._now
        )
        watched = self._boards[board] = _Watched(
            feed, OwnPlaces(board, self._upstreams), spawn(f"feed {board}", feed.run()), set()
        )
        return watched

    def _close_if_idle(self, watched: _Watched) -> None:
        if not watched.feed.readers and self._boards.get(watched.feed.board) is watched:
            del self._boards[watched.feed.board]
            watched.task.cancel()

    async def _publish(self, feed: Feed, before: Update | None, update: Update) -> None:
        # The first frame of a feed shows what happened before anybody here looked.
        causes = () if before is None else update.frame.traceparents
        attributes: tracing.Attributes = {"topten.board": feed.board, "topten.readers": feed.readers}
        with tracing.joined("show", "consumer", causes, attributes):
            self._clock.shown(before.frame if before is not None else None, update.frame)
            await self._write(feed.board, update.message, update.position)

    async def _end(self, feed: Feed) -> None:
        if feed.closed:
            await self._write(feed.board, encode_end(feed.board))
        watched = self._boards.get(feed.board)
        for subscriber in watched.subscribers if watched is not None else ():
            subscriber.end()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._config.stream_heartbeat.total_seconds())
            now = self._now().timestamp()
            for watched in list(self._boards.values()):
                for subscriber in [each for each in watched.subscribers if each.has_expired(now)]:
                    dropped_total.labels("expired").inc()
                    subscriber.end()
                await self._write(watched.feed.board, HEARTBEAT)

    async def _end_sessions(self) -> None:
        """A logout or a block ends the player's streams within seconds; his client finds out why when it comes back."""
        while True:
            await asyncio.sleep(SESSIONS_SECONDS)
            held: defaultdict[str, list[Subscriber]] = defaultdict(list)
            for watched in self._boards.values():
                for subscriber in watched.subscribers:
                    if subscriber.session_id:
                        held[subscriber.session_id].append(subscriber)
            for session_id in await self._sessions.ended(held):
                for subscriber in held[session_id]:
                    dropped_total.labels("signed_out").inc()
                    subscriber.end()

    async def _write(self, board: str, message: Message, position: Position | None = None) -> None:
        """Writes to every stream of a board; what has a position, to those who may see it.

        Others get their turn in between: ten thousand writes take a while.
        """
        watched = self._boards.get(board)
        if watched is None:
            return
        for number, subscriber in enumerate(list(watched.subscribers), start=1):
            if subscriber.waiting() > self._config.stream_max_buffer:
                dropped_total.labels("slow").inc()
                subscriber.cut()
            elif subscriber.is_open and (position is None or subscriber.may_see(position)):
                subscriber.write(message)
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)

"""The hub: the feeds of this process, one per watched board and room, and what concerns all their streams.

Owns how many streams and feeds there are, the one heartbeat, and the check of sessions that have ended.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TypeVar

import structlog
from topten.leaderboard.v1.leaderboard_pb2 import Frame

from edge.config import EdgeConfig
from edge.http.callers.sessions import Sessions
from edge.rooms import is_room_board
from edge.stream.board_feed import BoardFeed
from edge.stream.feed import Feed
from edge.stream.frames import encode_heartbeat
from edge.stream.latency import ScreenLatency
from edge.stream.room_board_feed import RoomBoardFeed
from edge.stream.room_feed import PREFIX, RoomFeed
from edge.stream.subscriber import Subscriber
from edge.upstreams import Upstreams
from services.boards.board import Board
from services.boards.group_members import GroupMembers
from services.boards.visibility import is_public
from services.runtime.errors import Reason, ServiceError
from services.runtime.process.lifecycle import spawn
from services.runtime.process.periodic import Periodic

CLOSING_SECONDS = 2.0
# A process that stops ends its streams at this pace, or faster to end all of them in this part of its grace: clients come
# back within a second, to processes that serve others meanwhile.
ENDED_AT_ONCE = 500
PACE_SECONDS = 0.25
ENDING_PART = 0.4
SESSION_CHECK_INTERVAL = timedelta(seconds=3)
T = TypeVar("T")
_log = structlog.get_logger("stream.hub")


def paced(streams: Sequence[T], grace: timedelta) -> list[Sequence[T]]:
    """Return streams in the batches in which they end, one every `PACE_SECONDS`."""
    size = max(ENDED_AT_ONCE, math.ceil(len(streams) * PACE_SECONDS / (ENDING_PART * grace.total_seconds())))
    return [streams[at : at + size] for at in range(0, len(streams), size)]


class Hub:
    """The open streams. `start` begins heartbeats and session checks, `stop` ends every stream."""

    def __init__(
        self,
        upstreams: Upstreams,
        config: EdgeConfig,
        sessions: Sessions,
        latency: ScreenLatency,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._upstreams = upstreams
        self._group_members = GroupMembers(upstreams.group, upstreams.service_token)
        self._sessions = sessions
        self._config = config
        self.catalog = config.boards.catalog
        self._latency = latency
        self._now = now
        self._feeds: dict[str, Feed] = {}
        self._streams = 0
        self._stopping = False
        self._empty = asyncio.Event()
        self._periodic = (
            Periodic("stream heartbeat", self._heartbeat, every=config.stream_heartbeat, immediately=False),
            Periodic("stream session check", self._end_signed_out, every=SESSION_CHECK_INTERVAL, immediately=False),
        )

    async def start(self) -> None:
        """Begin heartbeats and session checks."""
        for each in self._periodic:
            await each.start()

    async def stop(self) -> None:
        """End every stream, wait at most 2 s until the clients have read what is buffered, then close the upstreams.

        Thousands of streams are ended one after another, within 40 % of the process's grace.
        """
        self._stopping = True
        for number, batch in enumerate(paced(list(self._subscribers()), self._config.process.shutdown_grace)):
            if number:
                await asyncio.sleep(PACE_SECONDS)
            for subscriber in batch:
                subscriber.end()
        for feed in self._feeds.values():
            feed.end_streams()
        try:
            async with asyncio.timeout(CLOSING_SECONDS):
                while self._streams:
                    self._empty.clear()
                    await self._empty.wait()
        except TimeoutError:
            _log.warning("streams did not close in time", count=self._streams)
            for subscriber in self._subscribers():
                subscriber.abort()
        feeds = list(self._feeds.values())
        self._feeds.clear()
        await asyncio.gather(*(feed.close() for feed in feeds), *(each.stop() for each in self._periodic))

    @contextmanager
    def feed(self, name: str) -> Iterator[Feed]:
        """Count one stream of a board, or of a room by `pin:<pin>`, and yield its feed.

        The feed outlives its last stream by a few seconds. Raises UNAVAILABLE at this process's limit of streams or feeds.
        """
        if self._stopping or self._streams >= self._config.stream_max_connections:
            raise self._full("This server accepts no more streams. Reconnect shortly.")
        feed = self._feeds.get(name) or self._open(name)
        feed.streams += 1
        self._streams += 1
        try:
            yield feed
        finally:
            feed.streams -= 1
            self._streams -= 1
            if not self._streams:
                self._empty.set()
            if not feed.streams:
                linger = self._config.stream_linger.total_seconds()
                asyncio.get_running_loop().call_later(linger, self._close_if_idle, feed)

    def shows(self, name: str) -> bool:
        """Whether there is a feed that has something to show, and not only the last state."""
        feed = self._feeds.get(name)
        return feed is not None and feed.is_showing()

    def held(self, board: str, limit: int, *, stale: bool = False) -> Frame | None:
        """Return a watched public board's latest frame if it has at least `limit` entries; must not be modified.

        It is as fresh as a response of the leaderboard service, which serves watched boards from the same frames. A frame
        from before the service went away is returned only if `stale`.
        """
        feed = self._feeds.get(board)
        if feed is not None and not self.is_public(board):
            return None
        current = feed.current if isinstance(feed, BoardFeed) else None
        if current is None or (current.stale and not stale) or len(current.frame.entries) < limit:
            return None
        return current.frame

    def shows_defined_boards(self) -> bool:
        """Whether there is a feed of a defined board, whose definition may change."""
        return any(name.startswith("custom:") for name in self._feeds)

    def version(self, name: str) -> int:
        """Return the version of the definition of a feed's board; 0 if it is not a defined one, or not known any more."""
        board = self._board(name)
        definition = None if board is None else self.catalog.definition_of(board)
        return 0 if definition is None else definition.version

    def _board(self, name: str) -> Board | None:
        """Return the board of a feed; None for a room and its board, and for a board that is not known any more."""
        try:
            return self.catalog.parse(name, self._now())
        except ValueError:
            return None

    def is_public(self, name: str) -> bool:
        """Whether everybody may read a board, as far as this process knows."""
        if not name.startswith("custom:"):
            return True
        board = self._board(name)
        return board is not None and is_public(self.catalog, board)

    def is_same_for_all(self, name: str) -> bool:
        """Whether a board says the same of a player to everybody, as far as this process knows: not one of teams."""
        board = self._board(name)
        return board is not None and is_public(self.catalog, board) and not self.catalog.ranks_teams(board)

    def _end_hidden(self) -> None:
        """End the streams of boards that are not public and have another definition than before, or none any more.

        A client that still may read the board connects again.
        """
        for name, feed in self._feeds.items():
            if not self.is_public(name):
                version = self.version(name)
                for subscriber in list(feed.subscribers):
                    if not version or subscriber.board_version != version:
                        subscriber.drop("hidden")

    async def _end_former_members(self) -> None:
        """End the streams of who may read a board as a member of its group alone, and is none any more."""
        by_group: defaultdict[str, list[Subscriber]] = defaultdict(list)
        for subscriber in self._subscribers():
            if subscriber.group_id:
                by_group[subscriber.group_id].append(subscriber)
        for group_id, subscribers in by_group.items():
            try:
                members = frozenset(await self._group_members.of(group_id))
            except ServiceError as error:
                if error.reason is not Reason.GROUP_NOT_FOUND:
                    return  # while identity does not tell, a stream goes on until its token expires
                members = frozenset()
            for subscriber in subscribers:
                if subscriber.is_open and subscriber.user_id not in members:
                    subscriber.drop("hidden")

    def _open(self, name: str) -> Feed:
        if len(self._feeds) >= self._config.stream_max_boards:
            raise self._full("This server watches no more boards and rooms. Reconnect shortly.")
        feed = self._feeds[name] = self._new_feed(name)
        feed.start()
        return feed

    def _new_feed(self, name: str) -> Feed:
        max_buffer = self._config.stream_max_buffer
        if name.startswith(PREFIX):
            return RoomFeed(name.removeprefix(PREFIX), self._upstreams, max_buffer=max_buffer)
        if is_room_board(name):
            return RoomBoardFeed(name, self._upstreams, max_buffer=max_buffer)
        return BoardFeed(name, self._upstreams, self.catalog, self._latency, max_buffer=max_buffer, now=self._now)

    def _full(self, message: str) -> ServiceError:
        return ServiceError(Reason.UNAVAILABLE, message, retry_after=self._config.stream_retry)

    def _close_if_idle(self, feed: Feed) -> None:
        if not feed.streams and self._feeds.get(feed.name) is feed:
            del self._feeds[feed.name]
            spawn(f"close feed {feed.name}", feed.close())

    def _subscribers(self) -> Iterator[Subscriber]:
        for feed in self._feeds.values():
            yield from feed.subscribers

    async def _heartbeat(self) -> None:
        now = self._now()
        heartbeat = encode_heartbeat(now, self._config.stream_heartbeat)
        for feed in list(self._feeds.values()):
            for subscriber in feed.subscribers:
                if subscriber.is_open and subscriber.has_expired(now.timestamp()):
                    subscriber.drop("expired")
            await feed.write(heartbeat)

    async def _end_signed_out(self) -> None:
        """End the streams of sessions that a logout or a block has ended, and of boards that are hidden.

        The client gets the reason when it reconnects.
        """
        self._end_hidden()
        by_session: defaultdict[str, list[Subscriber]] = defaultdict(list)
        for subscriber in self._subscribers():
            if subscriber.session_id:
                by_session[subscriber.session_id].append(subscriber)
        for session_id in await self._sessions.ended(by_session):
            for subscriber in by_session[session_id]:
                if subscriber.is_open:
                    subscriber.drop("signed_out")
        await self._end_former_members()

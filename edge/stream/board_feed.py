"""The feed of one board: the frames of the leaderboard service.

Owns that a connected client sees no older frame after a newer one, unless the board's store went back for good.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import ClassVar, Final

import structlog
from topten.leaderboard.v1.leaderboard_service_pb2 import WatchLeaderboardRequest

from edge.stream.feed import Feed
from edge.stream.frames import Message, Position, Update, encode_end, encode_update
from edge.stream.latency import ScreenLatency
from edge.stream.player_ranks import PlayerRankFeed
from edge.stream.subscriber import Subscriber
from edge.upstreams import Upstreams
from services.boards.catalog import Catalog
from services.runtime.errors import Reason
from services.runtime.grpc.client import open_stream
from services.runtime.process.lifecycle import spawn
from services.runtime.telemetry import tracing

# An upstream whose frames are older for this long (two ticks) is believed: its store was restored.
BEHIND_SECONDS: Final = 1.0
_log = structlog.get_logger("stream.feed")


class BoardFeed(Feed):
    """The board named `name`; closed once its period is over and its last frame was sent."""

    refusals: ClassVar[frozenset[str]] = frozenset({Reason.BOARD_NOT_FOUND, Reason.INVALID_ARGUMENT})

    def __init__(
        self,
        name: str,
        upstreams: Upstreams,
        catalog: Catalog,
        latency: ScreenLatency,
        *,
        max_buffer: int,
        now: Callable[[], datetime],
    ) -> None:
        super().__init__(name, max_buffer=max_buffer)
        self.current: Update | None = None
        self._upstreams = upstreams
        self._catalog = catalog
        self._latency = latency
        self._now = now
        self._ranks = PlayerRankFeed(name, upstreams)
        self._older: Update | None = None
        self._go_back: asyncio.TimerHandle | None = None

    @property
    def latest(self) -> Update | None:
        """The current frame."""
        return self.current

    async def close(self) -> None:
        """Close the upstreams."""
        self._forget_older()
        await self._ranks.close()
        await super().close()

    def _greet(self, subscriber: Subscriber, last_seen: Position | None, catch_up: timedelta) -> None:
        """Send the current frame, unless the client has it, or this process is behind it.

        A client that says it is at `last_seen` is first spared that frame and, if this process is behind, older ones. But
        the id may be of another board or period, of a store that is gone, or made up: after `catch_up` the client gets
        the current frame whatever it is.
        """
        current = self.current
        # Each period starts with new versions, and the id does not name its period.
        if last_seen is not None and not self._catalog.follows_calendar(self.name):
            subscriber.last_seen = last_seen
            asyncio.get_running_loop().call_later(catch_up.total_seconds(), self._write_withheld, subscriber)
        if (
            current is not None
            and subscriber.accepts(current.position)
            and (current.position != subscriber.last_seen or current.stale)
        ):
            subscriber.last_seen = None
            subscriber.write(current.message)
        if subscriber.user_id:
            self._ranks.subscribe(subscriber)

    def _unsubscribe(self, subscriber: Subscriber, on_disconnect: Callable[[], None]) -> None:
        self._ranks.unsubscribe(subscriber)
        super()._unsubscribe(subscriber, on_disconnect)

    def _write_withheld(self, subscriber: Subscriber) -> None:
        """Send the current frame to a client that has been sent none yet."""
        if subscriber.is_open and subscriber.last_seen is not None:
            subscriber.last_seen = None
            if self.current is not None:
                subscriber.write(self.current.message)

    async def _watch(self) -> None:
        token = await self._upstreams.service_token.get()
        request = WatchLeaderboardRequest(board=self.name)
        async with open_stream(self._upstreams.leaderboard.WatchLeaderboard, request, token=token) as responses:
            received = False
            try:
                async for response in responses:
                    received = True
                    await self._show(encode_update(response.frame))
            finally:
                if received:
                    self._lost_at = time.monotonic()

    async def _show_stale(self) -> None:
        if self.current is not None:
            await self._show(encode_update(self.current.frame, stale=True))

    async def _show(self, update: Update) -> None:
        """Make an update the current one and write it, if it follows the current one."""
        previous = self.current
        if not update.follows(previous):
            if previous is not None and update.order < previous.order:
                self._note_older(update)
            return
        self._forget_older()
        self.current = update
        self._notify()
        # The first frame shows what happened before this feed existed.
        causes = () if previous is None else update.frame.traceparents
        attributes: tracing.Attributes = {"topten.board": self.name, "topten.readers": self.streams}
        with tracing.joined("show", "consumer", causes, attributes):
            self._latency.frame_written(None if previous is None else previous.frame, update.frame)
            await self.write(update.message, update.position)

    def _note_older(self, update: Update) -> None:
        """Go back to an older update in a while, unless a newer one than the current arrives before that."""
        self._older = update
        if self._go_back is None:
            self._go_back = asyncio.get_running_loop().call_later(BEHIND_SECONDS, self._accept_older)

    def _forget_older(self) -> None:
        if self._go_back is not None:
            self._go_back.cancel()
        self._go_back = self._older = None

    def _accept_older(self) -> None:
        update = self._older
        self._forget_older()
        if update is not None:
            _log.warning("board went back", board=self.name, position=str(update.position))
            self.current = update
            self._notify()
            spawn(f"write feed {self.name}", self.write(update.message, update.position))

    def _is_over(self) -> bool:
        """Return whether the board's period has ended, so that the end of its upstream is final."""
        if self._catalog.follows_calendar(self.name):
            return False
        now = self._now()
        board_period = self._catalog.period_of(self._catalog.parse(self.name, now))
        return board_period is not None and board_period.ends_at <= now

    def _end_message(self) -> Message:
        return encode_end(self.name)

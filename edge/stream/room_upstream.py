"""The common part of the feeds of a room's state and of its board: they follow the room, and end with it.

Owns three guarantees: the streams of a removed player end, and they open no other; a player's own message follows the message
to everybody; and no earlier state is shown after a later one, unless the room itself went back.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncIterable, Callable
from datetime import timedelta
from typing import ClassVar, Final

import structlog
from topten.room.v1.room_pb2 import ROOM_PHASE_ENDED, RoomFrame
from topten.room.v1.room_service_pb2 import WatchRoomRequest, WatchRoomResponse

from edge.stream.feed import Feed
from edge.stream.frames import Message, Position
from edge.stream.room_outcomes import ReadOutcomes, RoomOutcomeFeed
from edge.stream.subscriber import Subscriber
from edge.upstreams import Upstreams
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import open_stream

# An upstream whose states are earlier for this long is believed: its store was restored. Every instance of quiz reads a
# watched room at least every two seconds.
BEHIND_SECONDS: Final = 3.0
_log = structlog.get_logger("stream.room")


class RoomUpstreamFeed(Feed):
    """A feed of the room that a request names; closed once the room has ended. `read` reads players' own messages."""

    refusals: ClassVar[frozenset[str]] = frozenset({Reason.ROOM_NOT_FOUND, Reason.INVALID_ARGUMENT})

    def __init__(
        self, name: str, request: WatchRoomRequest, upstreams: Upstreams, read: ReadOutcomes, *, max_buffer: int
    ) -> None:
        super().__init__(name, max_buffer=max_buffer)
        self._upstreams = upstreams
        self._request = request
        self._outcomes = RoomOutcomeFeed(name, read)
        self._removed: frozenset[str] = frozenset()
        self._order = (0, 0)
        self._has_ended = False

    @abstractmethod
    async def _follow(self, frame: RoomFrame) -> None:
        """Show what there is at a frame of the room, which follows the one before. Raises ServiceError."""

    @abstractmethod
    def _forget(self) -> None:
        """Show nothing any more, because what follows is of an earlier moment."""

    @abstractmethod
    def _shown(self) -> Message | None:
        """Return what a new stream begins with; None before anything was shown."""

    @abstractmethod
    def _remove(self, subscriber: Subscriber) -> None:
        """End the stream of a player who was removed."""

    @abstractmethod
    def _removal(self) -> ServiceError:
        """Return why a player who was removed opens no stream."""

    async def close(self) -> None:
        """Close the upstreams."""
        await self._outcomes.close()
        await super().close()

    def refusal_of(self, user_id: str) -> ServiceError | None:
        """Return why a user is shown nothing of the room."""
        return self._removal() if user_id in self._removed else self.refusal

    def _greet(self, subscriber: Subscriber, last_seen: Position | None, catch_up: timedelta) -> None:  # noqa: ARG002  # boards need them
        """Send what is shown, whatever the client has seen: there is one room, and it is small."""
        if subscriber.user_id in self._removed:  # while the stream was being opened
            self._remove(subscriber)
            return
        if shown := self._shown():
            subscriber.write(shown)
        self._outcomes.subscribe(subscriber)

    def _unsubscribe(self, subscriber: Subscriber, on_disconnect: Callable[[], None]) -> None:
        self._outcomes.unsubscribe(subscriber)
        super()._unsubscribe(subscriber, on_disconnect)

    async def _watch(self) -> None:
        token = await self._upstreams.service_token.get()
        async with open_stream(self._upstreams.room.WatchRoom, self._request, token=token) as responses:
            try:
                await self._show_newer(responses)
            except TimeoutError:
                # Nothing is left of the later states. The upstream is opened again and shows what there is.
                _log.warning("room went back", feed=self.name)
                self._order = (0, 0)
                self._forget()

    async def _show_newer(self, responses: AsyncIterable[WatchRoomResponse]) -> None:
        """Show each state that is not older than the one shown. Raises TimeoutError after BEHIND_SECONDS of older ones."""
        received = False
        try:
            async with asyncio.timeout(None) as patience:
                async for response in responses:
                    received = True
                    if _order(response.frame) >= self._order:
                        patience.reschedule(None)
                        await self._show(response)
                    elif patience.when() is None:
                        patience.reschedule(asyncio.get_running_loop().time() + BEHIND_SECONDS)
        finally:
            if received:
                self._lost_at = time.monotonic()

    async def _show(self, response: WatchRoomResponse) -> None:
        self._order = _order(response.frame)
        self._has_ended |= response.frame.phase == ROOM_PHASE_ENDED
        await self._follow(response.frame)
        self._remove_streams(frozenset(response.removed_user_ids))

    def _remove_streams(self, removed: frozenset[str]) -> None:
        """End the streams of removed players, after the latest state was sent to them."""
        if removed != self._removed:
            self._removed = removed
            for subscriber in [each for each in self.subscribers if each.user_id in removed and each.is_open]:
                self._remove(subscriber)

    def _is_over(self) -> bool:
        return self._has_ended


def _order(frame: RoomFrame) -> tuple[int, int]:
    """Return the order of a state among those of its room."""
    return frame.revision, frame.changes

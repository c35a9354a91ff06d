"""The feed of one room: its state after each change, the same for everybody in it, and then each player's own outcome.

Owns that a connected client sees no earlier state of the room after a later one, and no outcome before its state; and that
the streams of a player whom a host has removed end, and that they open no other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from topten.room.v1.room_pb2 import ROOM_PHASE_ENDED, RoomFrame
from topten.room.v1.room_service_pb2 import WatchRoomRequest

from edge.stream.feed import Feed
from edge.stream.frames import Message, Position
from edge.stream.room_frames import encode_room, encode_room_end
from edge.stream.room_outcomes import RoomOutcomeFeed
from edge.stream.subscriber import Subscriber
from edge.upstreams import Upstreams
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import open_stream

PREFIX = "room:"


@dataclass(frozen=True, slots=True)
class RoomState:
    """A state of a room and its encoded event."""

    frame: RoomFrame
    message: Message

    @property
    def order(self) -> tuple[int, int]:
        """The order of this state among those of the room."""
        return self.frame.revision, self.frame.changes


class RoomFeed(Feed):
    """The room with a PIN, called `room:<pin>`; closed once the room has ended."""

    refusals: ClassVar[frozenset[str]] = frozenset({Reason.ROOM_NOT_FOUND, Reason.INVALID_ARGUMENT})

    def __init__(self, pin: str, upstreams: Upstreams, *, max_buffer: int) -> None:
        super().__init__(f"{PREFIX}{pin}", max_buffer=max_buffer)
        self._pin = pin
        self._upstreams = upstreams
        self._state: RoomState | None = None
        self._removed: frozenset[str] = frozenset()
        self._outcomes = RoomOutcomeFeed(pin, upstreams)

    @property
    def latest(self) -> RoomState | None:
        """The state of the room that was shown last."""
        return self._state

    async def close(self) -> None:
        """Close the upstreams."""
        await self._outcomes.close()
        await super().close()

    def refusal_of(self, user_id: str) -> ServiceError | None:
        """Return why a user is shown nothing of the room: ROOM_CLOSED for one whom a host has removed."""
        if user_id in self._removed:
            return ServiceError(Reason.ROOM_CLOSED, "The host has removed you from this room.")
        return self.refusal

    def _greet(self, subscriber: Subscriber, last_seen: Position | None, catch_up: timedelta) -> None:  # noqa: ARG002  # boards need them
        """Send the state, whatever the client has seen: there is one room, and a state is small."""
        if subscriber.user_id in self._removed:  # while the stream was being opened
            _remove(subscriber)
            return
        if self._state is not None:
            subscriber.write(self._state.message)
        self._outcomes.subscribe(subscriber)

    def _unsubscribe(self, subscriber: Subscriber, on_disconnect: Callable[[], None]) -> None:
        self._outcomes.unsubscribe(subscriber)
        super()._unsubscribe(subscriber, on_disconnect)

    async def _watch(self) -> None:
        token = await self._upstreams.service_token.get()
        request = WatchRoomRequest(pin=self._pin)
        async with open_stream(self._upstreams.room.WatchRoom, request, token=token) as responses:
            received = False
            try:
                async for response in responses:
                    received = True
                    await self._show(response.frame)
                    self._remove_streams(frozenset(response.removed_user_ids))
            finally:
                if received:
                    self._lost_at = time.monotonic()

    async def _show(self, frame: RoomFrame) -> None:
        """Write a state, unless it is an earlier one than the current one: an upstream of another instance may be behind."""
        state = RoomState(frame, encode_room(frame))
        if self._state is None or state.order >= self._state.order:
            self._state = state
            self._notify()
            await self.write(state.message)
            self._outcomes.follow(frame.revision, self.subscribers)

    def _remove_streams(self, removed: frozenset[str]) -> None:
        """End the streams of players who were removed. They were sent the state, of whose version they get no outcome."""
        if removed != self._removed:
            self._removed = removed
            for subscriber in [each for each in self.subscribers if each.user_id in removed]:
                _remove(subscriber)

    async def _show_stale(self) -> None:
        if self._state is not None:
            await self.write(encode_room(self._state.frame, stale=True))

    def _is_over(self) -> bool:
        return self._state is not None and self._state.frame.phase == ROOM_PHASE_ENDED

    def _end_message(self) -> None:
        """The last state says that the room has ended."""


def _remove(subscriber: Subscriber) -> None:
    if subscriber.is_open:
        subscriber.write(encode_room_end(Reason.ROOM_CLOSED))
        subscriber.drop("removed")

"""The feed of one room: its state after each change, the same for everybody in it, and then each player's own outcome.

Owns that a connected client sees no earlier state of the room after a later one, unless the room itself went back, and no
outcome before its state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from topten.room.v1.room_pb2 import RoomFrame
from topten.room.v1.room_service_pb2 import ListRoomOutcomesRequest, WatchRoomRequest

from edge.stream.frames import Message
from edge.stream.room_frames import encode_outcome, encode_room, encode_room_end
from edge.stream.room_outcomes import ReadOutcomes
from edge.stream.room_upstream import RoomUpstreamFeed
from edge.stream.subscriber import Subscriber
from edge.upstreams import Upstreams
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.client import call

PREFIX = "pin:"


@dataclass(frozen=True, slots=True)
class RoomState:
    """A state of a room and its encoded event."""

    frame: RoomFrame
    message: Message


class RoomFeed(RoomUpstreamFeed):
    """The room with a PIN, called `pin:<pin>`. A player who was removed is told so by the event `end`."""

    def __init__(self, pin: str, upstreams: Upstreams, *, max_buffer: int) -> None:
        request = WatchRoomRequest(pin=pin)
        super().__init__(f"{PREFIX}{pin}", request, upstreams, outcomes_of(pin, upstreams), max_buffer=max_buffer)
        self._state: RoomState | None = None

    @property
    def latest(self) -> RoomState | None:
        """The state of the room that was shown last."""
        return self._state

    def _shown(self) -> Message | None:
        return None if self._state is None else self._state.message

    async def _follow(self, frame: RoomFrame) -> None:
        state = self._state = RoomState(frame, encode_room(frame))
        self._notify()
        await self.write(state.message)
        self._outcomes.follow(frame.revision, self.subscribers)

    def _forget(self) -> None:
        self._state = None

    def _remove(self, subscriber: Subscriber) -> None:
        subscriber.write(encode_room_end(Reason.ROOM_CLOSED))
        subscriber.drop("removed")

    def _removal(self) -> ServiceError:
        return ServiceError(Reason.ROOM_CLOSED, "The host has removed you from this room.")

    async def _show_stale(self) -> None:
        if self._state is not None:
            await self.write(encode_room(self._state.frame, stale=True))

    def _end_message(self) -> None:
        """The last state says that the room has ended."""


def outcomes_of(pin: str, upstreams: Upstreams) -> ReadOutcomes:
    """Return what reads the outcomes of the room with a PIN: the `me` events of those who have a seat."""

    async def read(user_ids: set[str]) -> tuple[int, Mapping[str, Message]]:
        request = ListRoomOutcomesRequest(pin=pin, user_ids=user_ids)
        token = await upstreams.service_token.get()
        response = await call(upstreams.room.ListRoomOutcomes, request, token=token)
        return response.revision, {
            each.user_id: encode_outcome(response.revision, each.outcome) for each in response.outcomes
        }

    return read

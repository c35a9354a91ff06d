"""The feed of the board of one room, `room:<room id>`: what the room shows, as the frames and standings of any board.

Owns that nothing is shown before the room shows it: it is read after each transition, from the service that decides.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from topten.leaderboard.v1 import leaderboard_pb2
from topten.leaderboard.v1.leaderboard_service_pb2 import Standing
from topten.room.v1.room_pb2 import RoomFrame, RoomPlace
from topten.room.v1.room_service_pb2 import GetRoomBoardRequest, GetRoomBoardResponse, WatchRoomRequest

from edge.rooms import entry_of, gap_of, no_such_room_board, room_of
from edge.stream.frames import Message, Update, encode_end, encode_me, encode_update
from edge.stream.room_outcomes import ReadOutcomes
from edge.stream.room_upstream import RoomUpstreamFeed
from edge.stream.subscriber import Subscriber
from edge.upstreams import Upstreams
from services.runtime.errors import ServiceError
from services.runtime.grpc.client import call

FRAME_SIZE: Final = 10
# A room is never rebuilt, so its revision alone orders the frames.
GENERATION: Final = 1


class RoomBoardFeed(RoomUpstreamFeed):
    """The board named `name`. Its frames have revisions of the room as versions; one that shows nothing new is left out."""

    def __init__(self, name: str, upstreams: Upstreams, *, max_buffer: int) -> None:
        request = WatchRoomRequest(room_id=room_of(name))
        super().__init__(name, request, upstreams, standings_of(name, upstreams), max_buffer=max_buffer)
        self._current: Update | None = None

    @property
    def latest(self) -> Update | None:
        """The current frame."""
        return self._current

    def _shown(self) -> Message | None:
        return None if self._current is None else self._current.message

    async def _follow(self, frame: RoomFrame) -> None:
        previous = self._current
        if previous is not None and not previous.stale and frame.revision <= previous.frame.version:
            return
        response = await _read(self._upstreams, self.name, limit=FRAME_SIZE)
        update = encode_update(_frame(self.name, response))
        if not update.follows(previous):
            return
        self._current = update
        self._notify()
        if previous is None or previous.stale or update.frame.entries != previous.frame.entries:
            await self.write(update.message)
        self._outcomes.follow(response.revision, self.subscribers)

    def _forget(self) -> None:
        self._current = None

    def _remove(self, subscriber: Subscriber) -> None:
        """End the stream as that of any board that a client may read no more: it gets the reason when it reconnects."""
        subscriber.drop("removed")

    def _removal(self) -> ServiceError:
        return no_such_room_board()

    async def _show_stale(self) -> None:
        if self._current is not None:
            self._current = encode_update(self._current.frame, stale=True)
            await self.write(self._current.message)

    def _end_message(self) -> Message:
        return encode_end(self.name)


def standings_of(board: str, upstreams: Upstreams) -> ReadOutcomes:
    """Return what reads the players' own standings on the board of a room: the `me` events."""

    async def read(user_ids: set[str]) -> tuple[int, Mapping[str, Message]]:
        response = await _read(upstreams, board, user_ids=user_ids)
        places = {place.id: place for place in response.places}
        return response.revision, {each: encode_me(board, _standing(each, places.get(each))) for each in user_ids}

    return read


async def _read(
    upstreams: Upstreams, board: str, *, limit: int = 0, user_ids: Collection[str] = ()
) -> GetRoomBoardResponse:
    request = GetRoomBoardRequest(room_id=room_of(board), limit=limit, ids=user_ids)
    return await call(upstreams.room.GetRoomBoard, request, token=await upstreams.service_token.get())


def _frame(board: str, response: GetRoomBoardResponse) -> leaderboard_pb2.Frame:
    return leaderboard_pb2.Frame(
        board=board,
        generation=GENERATION,
        version=response.revision,
        timestamp=response.changed_at,
        entries=map(entry_of, response.entries),
    )


def _standing(user_id: str, place: RoomPlace | None) -> Standing:
    if place is None:
        return Standing(user_id=user_id)
    return Standing(user_id=user_id, rank=place.entry.rank, score=place.entry.points, gap_to_next=gap_of(place))

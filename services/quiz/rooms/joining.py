"""Joins as players see them: their seat, their own place and the state of the room.

Players who join together share the reads; each has their own outcome. Rooms are made into frames once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from topten.room.v1 import room_pb2

from services.quiz.rooms.seats.seating import Seated, SeatRequest

if TYPE_CHECKING:
    from services.quiz.rooms.play.playing import RoomPlay
    from services.quiz.rooms.play.watching import RoomWatching
    from services.quiz.rooms.seats.seating import RoomSeating
    from services.quiz.rooms.seats.standings import OwnPlace


class JoinedPlayer(NamedTuple):
    """A player's own place, whether they had the seat before, and the index of their room in `Joins.frames`."""

    place: OwnPlace
    rejoined: bool
    frame: int


@dataclass(slots=True)
class Joins:
    """The outcomes of joins, and the states of the rooms, each once."""

    outcomes: list[JoinedPlayer | Exception] = field(default_factory=list)
    frames: list[room_pb2.RoomFrame] = field(default_factory=list)


class RoomJoining:
    """Seats players and shows them their room."""

    def __init__(self, seating: RoomSeating, play: RoomPlay, watching: RoomWatching) -> None:
        self._seating = seating
        self._play = play
        self._watching = watching

    async def join(self, requests: Sequence[SeatRequest]) -> Joins:
        """Carry out requests for seats. A request fails for the reasons of `RoomSeating.join`.

        Raises UNAVAILABLE if a room cannot be read after its players were seated: to join again is safe.
        """
        seated = await self._seating.join_all(requests)
        taken = [each for each in seated if isinstance(each, Seated)]
        places = iter(await self._play.places_of([(each.snapshot.room, each.seat) for each in taken]))
        # Two groups may have seated players of one room one after the other: the later state has both.
        latest = {each.snapshot.room.room_id: each.snapshot for each in taken}
        number = {room_id: index for index, room_id in enumerate(latest)}
        joins = Joins(frames=[await self._watching.frame(snapshot) for snapshot in latest.values()])
        for each in seated:
            if isinstance(each, Exception):
                joins.outcomes.append(each)
            else:
                joins.outcomes.append(JoinedPlayer(next(places), each.existed, number[each.snapshot.room.room_id]))
        return joins

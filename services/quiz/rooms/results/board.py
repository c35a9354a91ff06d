"""The board of a room, `room:<room id>`: the standing that it shows, or has shown last, for those who take part in it.

Must never tell points of a question whose board the host has not shown, nor which user has a seat.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from services.quiz.rooms.room_store import room_not_found
from services.runtime.auth.access import ACCOUNTS, GUEST, STAFF

if TYPE_CHECKING:
    from services.quiz.rooms.reading import RoomReader
    from services.quiz.rooms.room import Room
    from services.quiz.rooms.seats.seat_store import SeatStore
    from services.quiz.rooms.seats.standings import Place
    from services.runtime.auth.claims import Claims

READS_PLACES: Final = frozenset({"action:relay"})


class Line(NamedTuple):
    """A line of a board: its position, from 1, and the points to the line above, None for the first one."""

    position: int
    place: Place
    gap: int | None


class RoomBoard(NamedTuple):
    """A board at the current revision of its room: how many lines it has, a window of it, and lines by requested ID."""

    room: Room
    total: int
    window: Sequence[Line]
    places: Sequence[tuple[str, Line]]


class RoomBoards:
    """Reads the boards of rooms. Every method raises ROOM_NOT_FOUND, also for who may not read the board; UNAVAILABLE."""

    def __init__(self, seats: SeatStore, reader: RoomReader) -> None:
        self._seats = seats
        self._reader = reader

    async def read(
        self, caller: Claims, room_id: str, *, skip: int, limit: int, ids: Sequence[str], viewer_id: str
    ) -> RoomBoard:
        """Return a window of the board, and the lines of seats, or of users whose seats the caller may know.

        A service reads for the player `viewer_id`, or with an empty one by itself.
        """
        is_player = caller.may(ACCOUNTS | GUEST)
        room = (await self._reader.current(room_id)).room
        viewer = caller.user_id if is_player else viewer_id
        if viewer and not (is_player and caller.may(STAFF)):
            await self._require_reader(room, viewer)
        counted = room.at_last_board
        if counted is None:
            return RoomBoard(room, 0, (), ())
        places = (await self._reader.fold(counted)).places
        window = [_line(places, index) for index in range(skip, min(skip + limit, len(places)))]
        known = set(ids) if caller.may(READS_PLACES) else {viewer}
        found = list(_asked_for(places, set(ids), known)) if ids else []
        return RoomBoard(room, len(places), window, [(each, _line(places, index)) for each, index in found])

    async def _require_reader(self, room: Room, user_id: str) -> None:
        if user_id in room.hosts:
            return
        seat = await self._seats.seat(room.room_id, user_id)
        if seat is None or seat.is_removed:
            raise room_not_found()


def _line(places: Sequence[Place], index: int) -> Line:
    gap = places[index - 1].points - places[index].points if index else None
    return Line(index + 1, places[index], gap)


def _asked_for(places: Sequence[Place], ids: set[str], known: set[str]) -> Iterator[tuple[str, int]]:
    """Yield the requested IDs that have a place, each with its index. Of users only those who are `known`."""
    for index, place in enumerate(places):
        if place.seat.seat_id in ids:
            yield place.seat.seat_id, index
        if place.seat.user_id in ids and place.seat.user_id in known:
            yield place.seat.user_id, index

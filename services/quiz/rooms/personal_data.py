"""A player's data in rooms: export and erasure.

An erased player's seat keeps its points and answers, so that the results of the room still add up, but no name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from services.runtime.page_tokens import list_of, page_token, read_page_token

if TYPE_CHECKING:
    from services.quiz.rooms.documents import Seat, SeatAnswer
    from services.quiz.rooms.room import Room
    from services.quiz.rooms.room_store import RoomRecord, RoomStore
    from services.quiz.rooms.seats.seat_store import SeatStore

LISTING: Final = "seats"
ROOMS: Final = "rooms"


class SeatRecord(NamedTuple):
    """A seat, its room (None if that is gone), and its answers."""

    seat: Seat
    room: Room | None
    answers: Sequence[SeatAnswer]


class RoomPersonalData:
    """Seats and answers of one player. Every method is safe to repeat, and raises UNAVAILABLE without the database."""

    def __init__(self, rooms: RoomStore, seats: SeatStore) -> None:
        self._rooms = rooms
        self._seats = seats

    async def records(self, user_id: str, token: str) -> tuple[list[SeatRecord], str]:
        """Return a page of up to 50 seats and the token of the next page, empty after the last.

        Raises INVALID_ARGUMENT, CURSOR_EXPIRED for a wrong token.
        """
        listing = list_of(LISTING, user_id)
        (after,) = read_page_token(token, listing, str) or ("",)
        seats, following = await self._seats.of_player(user_id, after)
        rooms = await self._rooms.rooms([seat.room_id for seat in seats])
        answers = await self._seats.answers.of_seats([seat.seat_id for seat in seats])
        records = [SeatRecord(seat, rooms.get(seat.room_id), answers[seat.seat_id]) for seat in seats]
        return records, page_token(listing, following) if following else ""

    async def rooms(self, user_id: str, token: str) -> tuple[list[RoomRecord], str]:
        """Return a page of up to 50 rooms of an account, and the token of the next page, as `records` does."""
        listing = list_of(ROOMS, user_id)
        (after,) = read_page_token(token, listing, str) or ("",)
        rooms, following = await self._rooms.records(user_id, after)
        return rooms, page_token(listing, following) if following else ""

    async def erase(self, user_id: str, pseudonym: str) -> int:
        """Remove a player's identity from their seats and the rooms that they hosted; return the number of seats."""
        await self._rooms.erase(user_id, pseudonym)
        return await self._seats.erase(user_id, pseudonym)

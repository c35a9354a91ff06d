"""Moving a guest's seat to another device by a code.

A player with an account needs no code: they sign in on the other device and join. So the answers of an account never pass to
another one. Must never store or log a code: the seat has its digest.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from services.quiz.rooms.room import Phase, Room, Snapshot
from services.quiz.rooms.room_store import Transition
from services.quiz.rooms.seats.seat_store import SeatedError
from services.quiz.rooms.seats.seating import not_removed
from services.quiz.rooms.transitions import Command, advanced
from services.quiz.submissions.action import blocked
from services.runtime.errors import Reason, ServiceError

if TYPE_CHECKING:
    from services.quiz.player_lookup import PlayerLookup
    from services.quiz.rooms.changes import RoomChanges
    from services.quiz.rooms.documents import Seat
    from services.quiz.rooms.reading import RoomReader
    from services.quiz.rooms.room_store import RoomStore
    from services.quiz.rooms.seats.seat_store import SeatStore
    from services.runtime.auth.claims import Claims

VALID_FOR: Final = timedelta(minutes=10)
LENGTH: Final = 8
# No characters that are easily confused. LENGTH of them make 850 billion codes, each valid for minutes only.
ALPHABET: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ".replace("L", "")


class RoomMoving:
    """Issues codes for seats, and moves seats by them."""

    def __init__(
        self,
        rooms: RoomStore,
        seats: SeatStore,
        reader: RoomReader,
        changes: RoomChanges,
        players: PlayerLookup,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._rooms = rooms
        self._seats = seats
        self._reader = reader
        self._changes = changes
        self._players = players
        self._now = now

    async def create_code(self, player: Claims, pin: str) -> tuple[str, datetime]:
        """Return a new code for the player's seat and its expiry. It replaces an earlier code of the seat.

        Raises ROOM_NOT_FOUND, ROOM_CLOSED, PLAYER_NOT_FOUND, PERMISSION_DENIED, UNAVAILABLE.
        """
        room = await self._open_room(pin)
        seat = await self._seats.seat(room.room_id, player.user_id)
        if seat is None:
            raise ServiceError(Reason.PLAYER_NOT_FOUND, "You have no seat in this room. Join it first.")
        if not not_removed(seat).is_guest:
            message = "You have this seat with your account. Sign in on the other device and join the room there."
            raise ServiceError(Reason.PERMISSION_DENIED, message)
        code = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
        expires_at = self._now() + VALID_FOR
        if not await self._seats.keep_code(seat, _digest(room.room_id, code), expires_at):
            raise ServiceError(Reason.PLAYER_NOT_FOUND, "You no longer have this seat.")
        return code, expires_at

    async def move(self, player: Claims, pin: str, code: str) -> tuple[Snapshot, Seat]:
        """Give the player the seat to which a code belongs; return the room and the seat. A code works once.

        The room gets another revision, once, by which the player who had the seat learns that it is gone.

        Safe to repeat: the same player gets the same seat. Raises ROOM_NOT_FOUND, ROOM_CLOSED, PLAYER_NOT_FOUND,
        LIMIT_REACHED, PLAYER_BLOCKED, UNAVAILABLE.
        """
        room = await self._open_room(pin)
        known = (await self._players.players([player.user_id]))[player.user_id]
        if known.block is not None:
            raise blocked(known.block, is_caller=True)
        try:
            digest = _digest(room.room_id, code)
            seat = await self._seats.move(room.room_id, digest, player.user_id, self._now())
        except SeatedError:
            raise ServiceError(Reason.LIMIT_REACHED, "You have another seat in this room.") from None
        if seat is None:
            raise ServiceError(Reason.PLAYER_NOT_FOUND, "This code is invalid or has expired. Ask for a new one.")
        return await self._moved(seat, digest), seat

    async def _moved(self, seat: Seat, digest: str) -> Snapshot:
        """Record the move as a transition, unless it is recorded or the room has ended; return the room."""
        while True:
            snapshot = await self._reader.current(seat.room_id)
            room, now = snapshot.room, self._now()
            if room.phase is Phase.ENDED or await self._rooms.has_carried_out(room.room_id, digest):
                return snapshot
            after = advanced(room, Command.MOVE_SEAT, now)
            transition = Transition(Command.MOVE_SEAT, now, seat.user_id, digest, seat.seat_id)
            if await self._rooms.replace(room, after, transition):
                self._changes.announce(room.room_id, transition=True)
                return replace(snapshot, room=after)

    async def _open_room(self, pin: str) -> Room:
        room = (await self._reader.current(await self._rooms.room_id(pin))).room
        if room.phase is Phase.ENDED:
            raise ServiceError(Reason.ROOM_CLOSED, "The room has ended.")
        return room


def _digest(room_id: str, code: str) -> str:
    """Return the digest of a code. Case, spaces and hyphens make no difference."""
    spelled = "".join(character for character in code if character.isalnum()).upper()
    return hashlib.sha256(f"{room_id}\0{spelled}".encode()).hexdigest()

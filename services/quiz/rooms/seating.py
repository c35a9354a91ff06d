"""Taking a seat in a room.

Players who join together share their reads and one insert; each keeps their own outcome. An instance seats one group at a
time, so that it never seats more players than the room takes.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from services.quiz.action import blocked
from services.quiz.rooms.documents import Seat
from services.quiz.rooms.nickname import NicknameError, generated_nickname, normalise_nickname
from services.quiz.rooms.reading import each_of, ok
from services.quiz.rooms.room import Nicknames, Phase, Room, Snapshot
from services.runtime.auth.access import PLAYER
from services.runtime.batcher import Batcher
from services.runtime.errors import Reason, ServiceError, invalid

if TYPE_CHECKING:
    from services.quiz.player_lookup import PlayerLookup
    from services.quiz.rooms.changes import RoomChanges
    from services.quiz.rooms.reading import RoomReader
    from services.quiz.rooms.room_store import RoomStore
    from services.quiz.rooms.seat_store import SeatKey, SeatStore
    from services.runtime.auth.claims import Claims

MAX_GROUP: Final = 500
GENERATED_TRIES: Final = 10
Seated = tuple[Seat, bool]
"""A seat, and whether its player had it before."""


class Wish(NamedTuple):
    """A player's request for a seat."""

    room_id: str
    player: Claims
    nickname: str

    @property
    def key(self) -> SeatKey:
        """The room and the player."""
        return self.room_id, self.player.user_id


class RoomSeating:
    """Gives players their seats."""

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
        self._seat: Batcher[Wish, Seated] = Batcher("room joins", self._seat_group, max_size=MAX_GROUP)

    async def join(self, player: Claims, pin: str, nickname: str) -> tuple[Snapshot, Seat, bool]:
        """Give a player a seat; return the room, the seat, and whether they had it before.

        Raises ROOM_NOT_FOUND, ROOM_CLOSED, NICKNAME_TAKEN, PLAYER_BLOCKED, PERMISSION_DENIED, INVALID_ARGUMENT, UNAVAILABLE.
        """
        room_id = await self._rooms.room_id(pin)
        seat, existed = await self._seat(Wish(room_id, player, nickname))
        return await self._reader.current(room_id), not_removed(seat), existed

    async def _seat_group(self, group: Sequence[Wish]) -> list[Seated | Exception]:
        first = {wish.key: index for index, wish in reversed([*enumerate(group)])}
        outcomes = await self._seat_players({index: group[index] for index in first.values()})
        # Another request of the same player, from a second device or a retry, finds the seat of the first one.
        again = [index for index in range(len(group)) if index not in outcomes]
        if again:
            outcomes |= dict(zip(again, await self._seat_group([group[index] for index in again]), strict=True))
        return [outcomes[index] for index in range(len(group))]

    async def _seat_players(self, wishes: dict[int, Wish]) -> dict[int, Seated | Exception]:
        """Seat players with one request each."""
        room_ids = {wish.room_id for wish in wishes.values()}
        snapshots, seats = await asyncio.gather(
            each_of(self._reader.current, room_ids), self._seats.seats([wish.key for wish in wishes.values()])
        )
        outcomes: dict[int, Seated | Exception] = {
            index: (seats[wish.key], True) for index, wish in wishes.items() if wish.key in seats
        }
        new = {index: wish for index, wish in wishes.items() if index not in outcomes}
        known = await self._players.players(wish.player.user_id for wish in new.values()) if new else {}
        admitted: dict[int, Wish] = {}
        for index, wish in new.items():
            try:
                _require_open(ok(snapshots[wish.room_id]).room)
                if (block := known[wish.player.user_id].block) is not None:
                    raise blocked(block, is_caller=True)
                admitted[index] = wish
            except ServiceError as error:
                outcomes[index] = error
        found = {wish.room_id: ok(snapshots[wish.room_id]) for wish in admitted.values()}
        outcomes |= await self._take(admitted, found)
        for room_id in found:
            self._changes.announce(room_id)
        return outcomes

    async def _take(self, wishes: dict[int, Wish], found: dict[str, Snapshot]) -> dict[int, Seated | Exception]:
        """Seat players while there are free seats. A seat that a player is refused goes to the next one."""
        outcomes: dict[int, Seated | Exception] = {}
        tries: Counter[int] = Counter()
        rooms = {room_id: snapshot.room for room_id, snapshot in found.items()}
        free = {room_id: each.room.options.max_players - each.players for room_id, each in found.items()}
        while wishes:
            wanted: dict[int, Seat] = {}
            for index, wish in wishes.items():
                room = rooms[wish.room_id]
                try:
                    if free[wish.room_id] > 0:
                        wanted[index] = self._wanted(wish, room)
                        free[wish.room_id] -= 1
                    elif not any(seat.room_id == wish.room_id for seat in wanted.values()):
                        outcomes[index] = _full(room)
                except ServiceError as error:
                    outcomes[index] = error
            taken = await self._seats.take([(seat, rooms[seat.room_id].purge_at) for seat in wanted.values()])
            for (index, seat), now in zip(wanted.items(), taken, strict=True):
                tries[index] += 1
                if now is not None:
                    outcomes[index] = now, now is not seat
                elif (
                    rooms[seat.room_id].options.nicknames is not Nicknames.GENERATED or tries[index] == GENERATED_TRIES
                ):
                    outcomes[index] = _taken()
                if now is not seat:
                    free[seat.room_id] += 1
            wishes = {index: wish for index, wish in wishes.items() if index not in outcomes}
        return outcomes

    def _wanted(self, wish: Wish, room: Room) -> Seat:
        return Seat(
            seat_id=str(uuid.uuid4()),
            room_id=room.room_id,
            user_id=wish.player.user_id,
            nickname=_nickname(room.options.nicknames, wish.player, wish.nickname),
            country=wish.player.country,
            is_guest=not wish.player.may(PLAYER),
            joined_at=self._now(),
        )


def not_removed(seat: Seat) -> Seat:
    """Return the seat. Raises ROOM_CLOSED if the host has removed its player."""
    if seat.is_removed:
        raise ServiceError(Reason.ROOM_CLOSED, "The host has removed you from this room.")
    return seat


def _nickname(rule: Nicknames, player: Claims, wanted: str) -> str:
    match rule:
        case Nicknames.GENERATED:
            return generated_nickname()
        case Nicknames.USERNAME:
            if not player.may(PLAYER):
                raise ServiceError(Reason.PERMISSION_DENIED, "Only players with an account join this room.")
            return player.username
    try:
        return normalise_nickname(wanted)
    except NicknameError as error:
        raise invalid("nickname", str(error)) from None


def _require_open(room: Room) -> None:
    if room.phase is Phase.ENDED:
        raise ServiceError(Reason.ROOM_CLOSED, "The room has ended.")
    if room.is_closed_to_new_players:
        raise ServiceError(Reason.ROOM_CLOSED, "The room takes no new players.")


def _full(room: Room) -> ServiceError:
    return ServiceError(Reason.ROOM_CLOSED, f"The room is full: {room.options.max_players} players.")


def _taken() -> ServiceError:
    return ServiceError(Reason.NICKNAME_TAKEN, "This nickname, or one that looks like it, is taken. Choose another.")

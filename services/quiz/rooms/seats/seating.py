"""Taking a seat in a room.

Players who join together share their reads and one insert; each keeps their own outcome. An instance seats one group at a
time, so that it never seats more players than the room takes.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from services.quiz.rooms.documents import Seat
from services.quiz.rooms.reading import each_of, ok, outcome
from services.quiz.rooms.room import Nicknames, Phase, Room, Snapshot
from services.quiz.rooms.seats.nickname import ForbiddenWords, NicknameError, generated_nickname, normalize_nickname
from services.quiz.submissions.action import blocked
from services.runtime.auth.access import PLAYER
from services.runtime.batcher import Batcher
from services.runtime.errors import Reason, ServiceError, invalid, late

if TYPE_CHECKING:
    from services.quiz.attempts.extra_time_store import ExtraTimeStore
    from services.quiz.player_lookup import PlayerLookup
    from services.quiz.rooms.changes import RoomChanges
    from services.quiz.rooms.reading import RoomReader
    from services.quiz.rooms.room_store import RoomStore
    from services.quiz.rooms.seats.challenges import RoomChallenges, SpentSolution
    from services.quiz.rooms.seats.seat_store import SeatKey, SeatStore
    from services.runtime.auth.claims import Claims

MAX_GROUP: Final = 500
GENERATED_TRIES: Final = 10


class SeatRequest(NamedTuple):
    """A player's request for a seat. After `abandoned_at`, in monotonic seconds, nobody waits for it.

    `solution` is that of a challenge, where the room has them.
    """

    pin: str
    player: Claims
    nickname: str
    abandoned_at: float = float("inf")
    solution: str = ""


class Seated(NamedTuple):
    """A player's seat, whether they had it before, and the room with them in it."""

    seat: Seat
    existed: bool
    snapshot: Snapshot


class RoomSeating:
    """Gives players their seats."""

    def __init__(
        self,
        rooms: RoomStore,
        seats: SeatStore,
        reader: RoomReader,
        changes: RoomChanges,
        players: PlayerLookup,
        challenges: RoomChallenges,
        extra_times: ExtraTimeStore,
        *,
        forbidden: ForbiddenWords,
        now: Callable[[], datetime],
    ) -> None:
        self._rooms = rooms
        self._seats = seats
        self._reader = reader
        self._changes = changes
        self._players = players
        self._challenges = challenges
        self._extra_times = extra_times
        self._forbidden = forbidden
        self._now = now
        self._seat: Batcher[SeatRequest, Seated] = Batcher("room joins", self._seat_group, max_size=MAX_GROUP)

    async def join_all(self, requests: Sequence[SeatRequest]) -> list[Seated | Exception]:
        """Give players their seats; return the outcome of each request, in their order.

        A new seat takes the `solution` of a challenge, where the room has them. Refusals are ROOM_NOT_FOUND, ROOM_CLOSED,
        NICKNAME_TAKEN, PLAYER_BLOCKED, PERMISSION_DENIED, INVALID_ARGUMENT and UNAVAILABLE.
        """
        return list(map(outcome, await self._seat.all(requests)))

    async def _seat_group(self, group: Sequence[SeatRequest]) -> list[Seated | Exception]:
        room_ids = await each_of(self._rooms.room_id, {each.pin for each in group})
        outcomes: dict[int, Seated | Exception] = {}
        wanted: dict[int, SeatKey] = {}
        for index, each in enumerate(group):
            try:
                if each.abandoned_at <= time.monotonic():
                    raise late()
                wanted[index] = ok(room_ids[each.pin]), each.player.user_id
            except ServiceError as error:
                outcomes[index] = error
        # Another request of the same player, from a second device or a retry, finds the seat of the first one.
        while wanted:
            first: dict[SeatKey, int] = {}
            for index, key in wanted.items():
                first.setdefault(key, index)
            keys = {index: key for key, index in first.items()}
            outcomes |= await self._seat_players({index: group[index] for index in keys}, keys)
            wanted = {index: key for index, key in wanted.items() if index not in keys}
        return [outcomes[index] for index in range(len(group))]

    async def _seat_players(
        self, requests: dict[int, SeatRequest], keys: dict[int, SeatKey]
    ) -> dict[int, Seated | Exception]:
        """Seat players with one request each, whose rooms and players are `keys`."""
        snapshots, seats = await asyncio.gather(
            each_of(self._reader.current, {room_id for room_id, _ in keys.values()}),
            self._seats.seats(list(keys.values())),
        )
        outcomes: dict[int, tuple[Seat, bool] | Exception] = {}
        new: dict[int, SeatRequest] = {}
        spent: dict[int, SpentSolution] = {}
        for index, each in requests.items():
            try:
                room = ok(snapshots[keys[index][0]]).room
                if (seat := seats.get(keys[index])) is not None:
                    outcomes[index] = not_removed(seat), True
                    continue
                _require_open(room)
                if (solution := self._challenges.verify(room, each.player.user_id, each.solution)) is not None:
                    spent[index] = solution
                new[index] = each
            except ServiceError as error:
                outcomes[index] = error
        refusals = await self._refusals(new, spent)
        outcomes |= refusals
        admitted = {index: each for index, each in new.items() if index not in refusals}
        found = {keys[index][0]: ok(snapshots[keys[index][0]]) for index in admitted}
        outcomes |= await self._take(admitted, {index: found[keys[index][0]] for index in admitted})
        return await self._seated(outcomes, snapshots)

    async def _refusals(
        self, new: Mapping[int, SeatRequest], spent: Mapping[int, SpentSolution]
    ) -> dict[int, ServiceError]:
        """Return the refusals of new players who may not act, and spend the solutions of the others."""
        known = await self._players.players(each.player.user_id for each in new.values()) if new else {}
        blocks = {index: known[each.player.user_id].block for index, each in new.items()}
        refused = {index: blocked(block, is_caller=True) for index, block in blocks.items() if block is not None}
        return refused | await self._challenges.spend({n: each for n, each in spent.items() if n not in refused})

    async def _seated(
        self,
        outcomes: Mapping[int, tuple[Seat, bool] | Exception],
        snapshots: Mapping[str, Snapshot | BaseException],
    ) -> dict[int, Seated | Exception]:
        """Return outcomes with the rooms after them, and announce the rooms that have new players."""
        taken = [each for each in outcomes.values() if isinstance(each, tuple)]
        rooms = {seat.room_id: ok(snapshots[seat.room_id]).room for seat, _ in taken}
        rooms = await self._with_own_extra_times([seat for seat, _ in taken if not seat.is_guest], rooms)
        joined = Counter(seat.room_id for seat, existed in taken if not existed)
        for room_id in joined:
            self._changes.announce(room_id)
        after: dict[str, Snapshot] = {}
        for seat, _ in taken:
            before = ok(snapshots[seat.room_id])
            players = before.players + joined[seat.room_id]
            after[seat.room_id] = replace(before, room=rooms[seat.room_id], players=players)
        return {
            index: each if isinstance(each, Exception) else Seated(*each, after[each[0].room_id])
            for index, each in outcomes.items()
        }

    async def _with_own_extra_times(self, seats: Sequence[Seat], rooms: Mapping[str, Room]) -> dict[str, Room]:
        """Give seats of accounts the extra time that their players have at the quiz; return the rooms after it.

        Also when a player joins again: the process may have ended between the seat and its extra time.
        """
        after = dict(rooms)
        keys = [(seat.user_id, rooms[seat.room_id].quiz_id) for seat in seats]
        extra_times = await self._extra_times.extra_times(keys) if keys else {}
        for seat, key in zip(seats, keys, strict=True):
            extra_time = extra_times.get(key)
            if extra_time and await self._rooms.bring_extra_time(seat.room_id, seat.seat_id, extra_time):
                room = after[seat.room_id]
                after[seat.room_id] = replace(room, extra_times={**room.extra_times, seat.seat_id: extra_time})
        return after

    async def _take(
        self, requests: dict[int, SeatRequest], found: Mapping[int, Snapshot]
    ) -> dict[int, tuple[Seat, bool] | Exception]:
        """Seat players while there are free seats. A seat that a player is refused goes to the next one."""
        outcomes: dict[int, tuple[Seat, bool] | Exception] = {}
        tries: Counter[int] = Counter()
        rooms = {each.room.room_id: each.room for each in found.values()}
        free = {each.room.room_id: each.room.options.max_players - each.players for each in found.values()}
        while requests:
            wanted, refusals = self._reserve(requests, found, free)
            outcomes |= refusals
            taken = await self._seats.take([(seat, rooms[seat.room_id].purge_at) for seat in wanted.values()])
            for (index, seat), now in zip(wanted.items(), taken, strict=True):
                tries[index] += 1
                is_generated = rooms[seat.room_id].options.nicknames is Nicknames.GENERATED
                if now is not None:
                    outcomes[index] = now, now is not seat
                elif not is_generated or tries[index] == GENERATED_TRIES:
                    outcomes[index] = _taken()
                if now is not seat:
                    free[seat.room_id] += 1
            requests = {index: each for index, each in requests.items() if index not in outcomes}
        return outcomes

    def _reserve(
        self, requests: Mapping[int, SeatRequest], found: Mapping[int, Snapshot], free: dict[str, int]
    ) -> tuple[dict[int, Seat], dict[int, ServiceError]]:
        """Take a seat from `free` for each request; return the seats to store, and the refusals.

        A request without a free seat is left out while the room has others to store, which may become free again.
        """
        wanted: dict[int, Seat] = {}
        refusals: dict[int, ServiceError] = {}
        for index, request in requests.items():
            room = found[index].room
            try:
                if free[room.room_id] > 0:
                    wanted[index] = self._wanted(request, room)
                    free[room.room_id] -= 1
                elif not any(seat.room_id == room.room_id for seat in wanted.values()):
                    refusals[index] = _full(room)
            except ServiceError as error:
                refusals[index] = error
        return wanted, refusals

    def _wanted(self, request: SeatRequest, room: Room) -> Seat:
        return Seat(
            seat_id=str(uuid.uuid4()),
            room_id=room.room_id,
            user_id=request.player.user_id,
            nickname=self._nickname(room.options.nicknames, request.player, request.nickname),
            country=request.player.country,
            is_guest=not request.player.may(PLAYER),
            joined_at=self._now(),
        )

    def _nickname(self, rule: Nicknames, player: Claims, wanted: str) -> str:
        match rule:
            case Nicknames.GENERATED:
                return generated_nickname()
            case Nicknames.USERNAME:
                if not player.may(PLAYER):
                    raise ServiceError(Reason.PERMISSION_DENIED, "Only players with an account join this room.")
                return player.username
        try:
            nickname = normalize_nickname(wanted)
            self._forbidden.require_none(nickname)
        except NicknameError as error:
            raise invalid("nickname", str(error)) from None
        return nickname


def not_removed(seat: Seat) -> Seat:
    """Return the seat. Raises ROOM_CLOSED if the host has removed its player."""
    if seat.is_removed:
        raise removed_player()
    return seat


def removed_player() -> ServiceError:
    """Return the refusal of a player whom the host has removed."""
    return ServiceError(Reason.ROOM_CLOSED, "The host has removed you from this room.")


def _require_open(room: Room) -> None:
    if room.phase is Phase.ENDED:
        raise ServiceError(Reason.ROOM_CLOSED, "The room has ended.")
    if room.is_closed_to_new_players:
        raise ServiceError(Reason.ROOM_CLOSED, "The room takes no new players.")


def _full(room: Room) -> ServiceError:
    return ServiceError(Reason.ROOM_CLOSED, f"The room is full: {room.options.max_players:,} players.")


def _taken() -> ServiceError:
    return ServiceError(Reason.NICKNAME_TAKEN, "This nickname, or one that looks like it, is taken. Choose another.")

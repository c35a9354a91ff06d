"""The use cases of players: take a seat, answer, read one's own place.

Answers that arrive together share their reads and one insert; each keeps its own outcome.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from services.quiz.action import blocked
from services.quiz.questions.answers import Answer, AnswerError
from services.quiz.rooms.documents import Seat, SeatAnswer, answer_id
from services.quiz.rooms.judging import judged
from services.quiz.rooms.nickname import NicknameError, generated_nickname, normalise_nickname
from services.quiz.rooms.room import Nicknames, Phase, Room, Snapshot
from services.quiz.rooms.seat_store import NicknameTakenError
from services.quiz.rooms.standings import OwnPlace
from services.runtime.auth.access import PLAYER
from services.runtime.batcher import Batcher
from services.runtime.errors import Reason, ServiceError

if TYPE_CHECKING:
    from services.quiz.player_lookup import PlayerLookup
    from services.quiz.quiz import Quiz
    from services.quiz.rooms.changes import RoomChanges
    from services.quiz.rooms.reading import RoomReader
    from services.quiz.rooms.room_store import RoomStore
    from services.quiz.rooms.seat_store import SeatStore
    from services.runtime.auth.claims import Claims

MAX_GROUP: Final = 200
MAX_GROUPS: Final = 4
GENERATED_TRIES: Final = 10
T = TypeVar("T")


class Given(NamedTuple):
    """An answer as its player gives it, and when the server received it."""

    room_id: str
    user_id: str
    answer: Answer
    received_at: datetime


class RoomPlay:
    """Seats and answers of players."""

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
        self._record: Batcher[Given, tuple[SeatAnswer, bool]] = Batcher(
            "room answers", self._record_group, max_size=MAX_GROUP, max_concurrent=MAX_GROUPS
        )

    async def join(self, player: Claims, pin: str, nickname: str) -> tuple[Snapshot, Seat, bool]:
        """Give a player a seat; return the room, the seat, and whether they had it before.

        Raises ROOM_NOT_FOUND, ROOM_CLOSED, NICKNAME_TAKEN, PLAYER_BLOCKED, PERMISSION_DENIED, INVALID_ARGUMENT, UNAVAILABLE.
        """
        snapshot = await self._reader.current(await self._rooms.room_id(pin))
        room = snapshot.room
        seat = await self._seats.seat(room.room_id, player.user_id)
        if seat is not None:
            return snapshot, _not_removed(seat), True
        _require_open(snapshot)
        known = (await self._players.players({player.user_id}))[player.user_id]
        if known.block is not None:
            raise blocked(known.block, is_caller=True)
        seat, existed = await self._take(room, player, nickname)
        self._changes.announce(room.room_id)
        return await self._reader.current(room.room_id), _not_removed(seat), existed

    async def answer(self, player: Claims, pin: str, answer: Answer) -> tuple[SeatAnswer, bool]:
        """Record a player's answer; return what is recorded, and whether it was before this call. The first one stays.

        Raises ROOM_NOT_FOUND, ROOM_CLOSED, PLAYER_NOT_FOUND, QUESTION_LOCKED, INVALID_ARGUMENT, UNAVAILABLE.
        """
        received_at = self._now()
        room_id = await self._rooms.room_id(pin)
        return await self._record(Given(room_id, player.user_id, answer, received_at))

    async def own_place(self, player: Claims, pin: str) -> OwnPlace:
        """Return what a player may know of themselves. Raises ROOM_NOT_FOUND, ROOM_CLOSED, PLAYER_NOT_FOUND, UNAVAILABLE."""
        room = (await self._reader.current(await self._rooms.room_id(pin))).room
        seat = _not_removed(_found(await self._seats.seat(room.room_id, player.user_id)))
        return await self.place_of(room, seat)

    async def place_of(self, room: Room, seat: Seat) -> OwnPlace:
        """Return what the player of a seat may know of themselves. Raises UNAVAILABLE."""
        answer = await self._seats.answer(seat.seat_id, room.question) if room.question >= 0 else None
        fold = await self._reader.fold(room) if room.counted_questions else None
        return OwnPlace(room, seat, answer, fold)

    async def _take(self, room: Room, player: Claims, nickname: str) -> tuple[Seat, bool]:
        is_generated = room.options.nicknames is Nicknames.GENERATED
        for _ in range(GENERATED_TRIES if is_generated else 1):
            wanted = Seat(
                seat_id=str(uuid.uuid4()),
                room_id=room.room_id,
                user_id=player.user_id,
                nickname=_nickname(room.options.nicknames, player, nickname),
                country=player.country,
                is_guest=not player.may(PLAYER),
                joined_at=self._now(),
            )
            try:
                seat = await self._seats.take(wanted, room.purge_at)
            except NicknameTakenError:
                continue
            return seat, seat.seat_id != wanted.seat_id
        raise ServiceError(Reason.NICKNAME_TAKEN, "This nickname, or one that looks like it, is taken. Choose another.")

    async def _record_group(self, group: Sequence[Given]) -> list[tuple[SeatAnswer, bool] | Exception]:
        room_ids = {each.room_id for each in group}
        snapshots, quizzes, seats = await asyncio.gather(
            _each(self._reader.current, room_ids),
            _each(self._rooms.quiz, room_ids),
            self._seats.seats(list({(each.room_id, each.user_id) for each in group})),
        )
        outcomes: dict[int, tuple[SeatAnswer, bool] | Exception] = {}
        accepted: dict[int, tuple[SeatAnswer, datetime]] = {}
        for index, each in enumerate(group):
            try:
                room = _ok(snapshots[each.room_id]).room
                seat = _not_removed(_found(seats.get((each.room_id, each.user_id))))
                accepted[index] = _judged(each, room, _ok(quizzes[each.room_id]), seat), room.purge_at
            except ServiceError as error:
                outcomes[index] = error
        if accepted:
            outcomes |= dict(zip(accepted, await self._seats.record(list(accepted.values())), strict=True))
            for room_id in {answer.room_id for answer, _ in accepted.values()}:
                self._changes.announce(room_id)
        late = {index: error.answer_id for index, error in outcomes.items() if isinstance(error, _TooLateError)}
        if late:
            recorded = await self._seats.recorded(list(late.values()))
            outcomes |= {index: (recorded[key], True) for index, key in late.items() if key in recorded}
        return [outcomes[index] for index in range(len(group))]


class _TooLateError(ServiceError):
    """An answer to a question that is not open. It may be one that was recorded before, sent again."""

    def __init__(self, key: str) -> None:
        super().__init__(Reason.QUESTION_LOCKED, "The question takes no answers.")
        self.answer_id = key


def _judged(given: Given, room: Room, quiz: Quiz, seat: Seat) -> SeatAnswer:
    question_id = given.answer.question_id
    if question_id not in room.question_ids:
        raise _invalid("answer.question_id", "is not a question of the room's quiz")
    if not room.takes_answer(seat.seat_id, question_id, given.received_at):
        raise _TooLateError(answer_id(seat.seat_id, room.question_ids.index(question_id)))
    try:
        return judged(quiz, room, seat, given.answer, given.received_at)
    except AnswerError as error:
        raise _invalid(f"answer.{error.form}" if error.form else "answer", str(error)) from None


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
        raise _invalid("nickname", str(error)) from None


def _require_open(snapshot: Snapshot) -> None:
    room = snapshot.room
    if room.phase is Phase.ENDED:
        raise ServiceError(Reason.ROOM_CLOSED, "The room has ended.")
    if room.is_closed_to_new_players:
        raise ServiceError(Reason.ROOM_CLOSED, "The room takes no new players.")
    if snapshot.players >= room.options.max_players:
        raise ServiceError(Reason.ROOM_CLOSED, f"The room is full: {room.options.max_players} players.")


def _found(seat: Seat | None) -> Seat:
    if seat is None:
        raise ServiceError(Reason.PLAYER_NOT_FOUND, "You have no seat in this room. Join it first.")
    return seat


def _not_removed(seat: Seat) -> Seat:
    if seat.is_removed:
        raise ServiceError(Reason.ROOM_CLOSED, "The host has removed you from this room.")
    return seat


def _invalid(field: str, problem: str) -> ServiceError:
    return ServiceError(Reason.INVALID_ARGUMENT, f"{field}: {problem}.", violations=[(field, problem)])


async def _each(read: Callable[[str], Awaitable[T]], keys: Collection[str]) -> Mapping[str, T | BaseException]:
    return dict(zip(keys, await asyncio.gather(*map(read, keys), return_exceptions=True), strict=True))


def _ok(found: T | BaseException) -> T:
    if isinstance(found, BaseException):
        raise found
    return found

"""The use cases of seated players: answer a question, read their own place.

Answers that arrive together share their reads and one insert, and reads of places share their reads. Each call has its own
outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from services.quiz.questions.answers import Answer, AnswerError
from services.quiz.rooms.documents import Seat, SeatAnswer, answer_id
from services.quiz.rooms.judging import judged
from services.quiz.rooms.reading import each_of, ok
from services.quiz.rooms.room import Room, Snapshot
from services.quiz.rooms.room_store import room_not_found
from services.quiz.rooms.seating import not_removed
from services.quiz.rooms.standings import Fold, OwnPlace
from services.runtime.batcher import Batcher
from services.runtime.errors import Reason, ServiceError, invalid

if TYPE_CHECKING:
    from services.quiz.quiz import Quiz
    from services.quiz.rooms.changes import RoomChanges
    from services.quiz.rooms.reading import RoomReader
    from services.quiz.rooms.room_store import RoomStore
    from services.quiz.rooms.seat_store import SeatKey, SeatStore
    from services.runtime.auth.claims import Claims

MAX_GROUP: Final = 200
MAX_GROUPS: Final = 4


class Given(NamedTuple):
    """An answer as the player sent it, and when the server received it."""

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
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._rooms = rooms
        self._seats = seats
        self._reader = reader
        self._changes = changes
        self._now = now
        self._record: Batcher[Given, tuple[SeatAnswer, bool]] = Batcher(
            "room answers", self._record_group, max_size=MAX_GROUP, max_concurrent=MAX_GROUPS
        )
        self._place: Batcher[SeatKey, OwnPlace] = Batcher(
            "room places", self._place_group, max_size=MAX_GROUP, max_concurrent=MAX_GROUPS
        )

    async def answer(self, player: Claims, pin: str, answer: Answer) -> tuple[SeatAnswer, bool]:
        """Record a player's first answer; return the recorded one, and whether an earlier call recorded it.

        Raises ROOM_NOT_FOUND, ROOM_CLOSED, PLAYER_NOT_FOUND, QUESTION_LOCKED, INVALID_ARGUMENT, UNAVAILABLE.
        """
        received_at = self._now()
        room_id = await self._rooms.room_id(pin)
        return await self._record(Given(room_id, player.user_id, answer, received_at))

    async def own_place(self, player: Claims, pin: str) -> OwnPlace:
        """Return a player's own answer and place. Raises ROOM_NOT_FOUND, ROOM_CLOSED, PLAYER_NOT_FOUND, UNAVAILABLE."""
        return await self._place((await self._rooms.room_id(pin), player.user_id))

    async def place_of(self, room: Room, seat: Seat) -> OwnPlace:
        """Return the answer and place of the player in a seat. Raises UNAVAILABLE."""
        answer = await self._seats.answer(seat.seat_id, room.question) if room.question >= 0 else None
        return OwnPlace(room, seat, answer, await self._fold(room))

    async def _fold(self, room: Room) -> Fold | None:
        return await self._reader.fold(room) if room.counted_questions else None

    async def _place_group(self, keys: Sequence[SeatKey]) -> list[OwnPlace | Exception]:
        room_ids = {room_id for room_id, _ in keys}
        snapshots, seats = await asyncio.gather(
            each_of(self._reader.current, room_ids), self._seats.seats(list(dict.fromkeys(keys)))
        )
        rooms = {room_id: found.room for room_id, found in snapshots.items() if isinstance(found, Snapshot)}
        folds = {room_id: await self._fold(room) for room_id, room in rooms.items()}
        asked = [
            answer_id(seat.seat_id, rooms[seat.room_id].question) for seat in seats.values() if seat.room_id in rooms
        ]
        answers = await self._seats.recorded(asked)
        outcomes: list[OwnPlace | Exception] = []
        for key in keys:
            try:
                room = ok(snapshots[key[0]]).room
                seat = not_removed(_found(seats.get(key)))
                answer = answers.get(answer_id(seat.seat_id, room.question))
                outcomes.append(OwnPlace(room, seat, answer, folds[room.room_id]))
            except ServiceError as error:
                outcomes.append(error)
        return outcomes

    async def _record_group(self, group: Sequence[Given]) -> list[tuple[SeatAnswer, bool] | Exception]:
        room_ids = {each.room_id for each in group}
        rooms, quizzes, seats = await asyncio.gather(
            self._rooms.rooms(list(room_ids)),
            each_of(self._rooms.quiz, room_ids),
            self._seats.seats(list({(each.room_id, each.user_id) for each in group})),
        )
        outcomes: dict[int, tuple[SeatAnswer, bool] | Exception] = {}
        accepted: dict[int, tuple[SeatAnswer, datetime]] = {}
        for index, each in enumerate(group):
            try:
                room = _known(rooms.get(each.room_id))
                seat = not_removed(_found(seats.get((each.room_id, each.user_id))))
                accepted[index] = _judged(each, room, ok(quizzes[each.room_id]), seat), room.purge_at
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
    """The question is not open. The answer may be the repetition of one that was recorded in time."""

    def __init__(self, key: str) -> None:
        super().__init__(Reason.QUESTION_LOCKED, "The question takes no answers.")
        self.answer_id = key


def _judged(given: Given, room: Room, quiz: Quiz, seat: Seat) -> SeatAnswer:
    question_id = given.answer.question_id
    if question_id not in room.question_ids:
        raise invalid("answer.question_id", "is not a question of the room's quiz")
    if not room.takes_answer(seat.seat_id, question_id, given.received_at):
        raise _TooLateError(answer_id(seat.seat_id, room.question_ids.index(question_id)))
    try:
        return judged(quiz, room, seat, given.answer, given.received_at)
    except AnswerError as error:
        raise invalid(f"answer.{error.form}" if error.form else "answer", str(error)) from None


def _known(room: Room | None) -> Room:
    if room is None:
        raise room_not_found()
    return room


def _found(seat: Seat | None) -> Seat:
    if seat is None:
        raise ServiceError(Reason.PLAYER_NOT_FOUND, "You have no seat in this room. Join it first.")
    return seat

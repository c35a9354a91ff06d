"""The use cases of seated players: answer a question, read their own place.

Answers that arrive together share their reads and one insert, and reads of places share their reads. Each call has its own
outcome.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from services.quiz.questions.answers import Answer, AnswerError
from services.quiz.rooms.documents import Seat, SeatAnswer, answer_id
from services.quiz.rooms.play.judging import judged
from services.quiz.rooms.reading import each_of, ok, outcome
from services.quiz.rooms.room import Room, Snapshot
from services.quiz.rooms.room_store import room_not_found
from services.quiz.rooms.seats.seating import not_removed, removed_player
from services.quiz.rooms.seats.standings import Fold, OwnPlace
from services.runtime.batcher import Batcher
from services.runtime.errors import Reason, ServiceError, invalid, late

if TYPE_CHECKING:
    from services.quiz.quizzes.quiz import Quiz
    from services.quiz.rooms.changes import RoomChanges
    from services.quiz.rooms.reading import RoomReader
    from services.quiz.rooms.room_store import RoomStore
    from services.quiz.rooms.seats.seat_store import SeatKey, SeatStore
    from services.runtime.auth.claims import Claims

MAX_GROUP: Final = 200
# Groups at a time: quick ones follow one another, and one that waits for the database holds up no other for long.
MAX_GROUPS: Final = 4
PATIENCE_SECONDS: Final = 0.1
MAX_HELD: Final = timedelta(seconds=10)
RecordedAnswer = tuple[SeatAnswer, bool]
"""A recorded answer, and whether an earlier call recorded it."""


class ReceivedAnswer(NamedTuple):
    """An answer as the player sent it, and when the server received it.

    After `abandoned_at`, in monotonic seconds, nobody waits for it.
    """

    pin: str
    user_id: str
    answer: Answer
    received_at: datetime
    abandoned_at: float = float("inf")


class AnswerRequest(NamedTuple):
    """An answer that an edge has held for some time before it sent it here."""

    pin: str
    player: Claims
    answer: Answer
    held: timedelta
    abandoned_at: float


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
        self._record: Batcher[ReceivedAnswer, RecordedAnswer] = Batcher(
            "room answers",
            self._record_group,
            max_size=MAX_GROUP,
            max_concurrent=MAX_GROUPS,
            patience=PATIENCE_SECONDS,
        )
        self._place: Batcher[SeatKey, OwnPlace] = Batcher(
            "room places", self._place_group, max_size=MAX_GROUP, max_concurrent=MAX_GROUPS
        )

    async def answer(self, player: Claims, pin: str, answer: Answer) -> RecordedAnswer:
        """Record a player's first answer; return the recorded one, and whether an earlier call recorded it.

        Raises ROOM_NOT_FOUND, ROOM_CLOSED, PLAYER_NOT_FOUND, QUESTION_LOCKED, INVALID_ARGUMENT, UNAVAILABLE.
        """
        return await self._record(ReceivedAnswer(pin, player.user_id, answer, self._now()))

    async def answer_all(self, answers: Sequence[AnswerRequest]) -> list[RecordedAnswer | Exception]:
        """Record answers; return each outcome, which is that of `answer` at the moment at which its edge received it."""
        now = self._now()
        received = [
            ReceivedAnswer(
                each.pin,
                each.player.user_id,
                each.answer,
                now - min(max(each.held, timedelta()), MAX_HELD),
                each.abandoned_at,
            )
            for each in answers
        ]
        return list(map(outcome, await self._record.all(received)))

    async def own_place(self, player: Claims, pin: str) -> OwnPlace:
        """Return a player's own answer and place. Raises ROOM_NOT_FOUND, ROOM_CLOSED, PLAYER_NOT_FOUND, UNAVAILABLE."""
        return await self._place((await self._rooms.room_id(pin), player.user_id))

    async def places(self, pin: str, user_ids: Iterable[str]) -> tuple[Room, dict[str, OwnPlace]]:
        """Return a room, and the places of those users who have a seat in it, by as many reads as for one of them.

        Raises ROOM_NOT_FOUND, UNAVAILABLE.
        """
        room_id = await self._rooms.room_id(pin)
        keys = [(room_id, user_id) for user_id in dict.fromkeys(user_ids)]
        snapshot, seats = await asyncio.gather(self._reader.current(room_id), self._seats.seats(keys))
        seated = [(snapshot.room, seat) for seat in seats.values() if not seat.is_removed]
        return snapshot.room, {place.seat.user_id: place for place in await self.places_of(seated)}

    async def place_of(self, room: Room, seat: Seat) -> OwnPlace:
        """Return the answer and place of the player in a seat. Raises UNAVAILABLE."""
        (place,) = await self.places_of([(room, seat)])
        return place

    async def places_of(self, seats: Sequence[tuple[Room, Seat]]) -> list[OwnPlace]:
        """Return the answer and place of the player in each seat of a room. Raises UNAVAILABLE."""
        rooms = {room.room_id: room for room, _ in seats}
        asked = [answer_id(seat.seat_id, room.question) for room, seat in seats if room.question >= 0]
        answers = await self._seats.answers.recorded(asked) if asked else {}
        folds = {room_id: await self._fold(room) for room_id, room in rooms.items()}
        return [
            OwnPlace(room, seat, answers.get(answer_id(seat.seat_id, room.question)), folds[room.room_id])
            for room, seat in seats
        ]

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
        answers = await self._seats.answers.recorded(asked)
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

    async def _record_group(self, group: Sequence[ReceivedAnswer]) -> list[RecordedAnswer | Exception]:
        found = await each_of(self._rooms.room_id, {each.pin for each in group})
        room_ids = {room_id for room_id in found.values() if isinstance(room_id, str)}
        keys = {(room_id, each.user_id) for each in group if isinstance(room_id := found[each.pin], str)}
        rooms, quizzes, seats = await asyncio.gather(
            self._rooms.rooms(list(room_ids)), each_of(self._rooms.quiz, room_ids), self._seats.seats(list(keys))
        )
        outcomes: dict[int, RecordedAnswer | Exception] = {}
        accepted: dict[int, tuple[SeatAnswer, datetime]] = {}
        for index, each in enumerate(group):
            try:
                if each.abandoned_at <= time.monotonic():
                    raise late()
                room = _known(rooms.get(ok(found[each.pin])))
                seat = not_removed(_found(seats.get((room.room_id, each.user_id))))
                accepted[index] = _judged(each, room, ok(quizzes[room.room_id]), seat), room.purge_at
            except ServiceError as error:
                outcomes[index] = error
        if accepted:
            outcomes |= dict(zip(accepted, await self._seats.answers.record(list(accepted.values())), strict=True))
            # A host may have removed a player while the answer was under way.
            seat_ids = {index: answer.seat_id for index, (answer, _) in accepted.items()}
            removed = await self._seats.removed(list(seat_ids.values()))
            outcomes |= {index: removed_player() for index, seat_id in seat_ids.items() if seat_id in removed}
            for room_id in {answer.room_id for answer, _ in accepted.values()}:
                self._changes.announce(room_id)
        closed = {index: error.answer_id for index, error in outcomes.items() if isinstance(error, _TooLateError)}
        if closed:
            recorded = await self._seats.answers.recorded(list(closed.values()))
            outcomes |= {index: (recorded[key], True) for index, key in closed.items() if key in recorded}
        return [outcomes[index] for index in range(len(group))]


class _TooLateError(ServiceError):
    """The question is not open. The answer may be the repetition of one that was recorded in time."""

    def __init__(self, key: str) -> None:
        super().__init__(Reason.QUESTION_LOCKED, "The question takes no answers.")
        self.answer_id = key


def _judged(given: ReceivedAnswer, room: Room, quiz: Quiz, seat: Seat) -> SeatAnswer:
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

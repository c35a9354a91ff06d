"""Comparing the records of rooms with one another: seats, answers, and the attempts that count on global boards.

Must never change anything, nor report what is still under way: an answer is written after its seat, and removed after it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from services.quiz.questions.answers import AnswerError
from services.quiz.rooms.play.judging import fault_of, points_of_attempt
from services.quiz.rooms.results.counting import COUNTED, action_id_of
from services.quiz.rooms.room import Phase, Room

if TYPE_CHECKING:
    from services.quiz.quizzes.quiz import Quiz
    from services.quiz.rooms.documents import Seat, SeatAnswer
    from services.quiz.rooms.room_store import RoomStore
    from services.quiz.rooms.seats.seat_store import SeatStore
    from services.quiz.submissions.service import SubmissionService

ROOMS: Final = 50
SEATS: Final = 200


class Finding(NamedTuple):
    """What differs about a seat."""

    room_id: str
    seat_id: str
    detail: str


@dataclass(slots=True)
class Audited:
    """How many rooms and answers were compared, and what differs in the last rooms."""

    rooms: int = 0
    answers: int = 0
    findings: list[Finding] = field(default_factory=list)


class RoomAudit:
    """Compares all rooms but those that are being deleted."""

    def __init__(
        self, rooms: RoomStore, seats: SeatStore, submissions: SubmissionService, *, now: Callable[[], datetime]
    ) -> None:
        self._rooms = rooms
        self._seats = seats
        self._submissions = submissions
        self._now = now

    async def run(self) -> AsyncIterator[Audited]:
        """Yield how far it is, after each page of rooms and at the end. Raises UNAVAILABLE."""
        audited, after = Audited(), ""
        while page := await self._rooms.page(after, ROOMS):
            for room in page:
                if room.purge_at > self._now():
                    await self._compare(room, audited)
            yield audited
            audited, after = Audited(audited.rooms, audited.answers), page[-1].room_id
        yield audited

    async def _compare(self, room: Room, audited: Audited) -> None:
        audited.rooms += 1
        quiz = await self._rooms.quiz(room.room_id)
        answered = await self._seats.answers.seats_of(room.room_id)  # before the seats, which are there first
        seats = await self._seats.all_of_room(room.room_id)
        taken = [seat for seat in seats if not seat.is_removed]
        gone = {seat.seat_id for seat in seats if seat.is_removed}
        for seat_id in sorted(answered - {seat.seat_id for seat in taken}):
            if seat_id not in gone:
                audited.findings.append(Finding(room.room_id, seat_id, "has answers and does not exist"))
            elif room.phase is Phase.ENDED:  # until then the host may be about to remove them
                audited.findings.append(Finding(room.room_id, seat_id, "has answers and was removed"))
        for start in range(0, len(taken), SEATS):
            group = taken[start : start + SEATS]
            answers = await self._seats.answers.of_seats([seat.seat_id for seat in group])
            for seat in group:
                audited.answers += len(answers[seat.seat_id])
                faults = (fault_of(quiz, room, given) for given in answers[seat.seat_id])
                audited.findings += [Finding(room.room_id, seat.seat_id, fault) for fault in faults if fault]
            audited.findings += await self._uncounted(room, quiz, group, answers)

    async def _uncounted(
        self, room: Room, quiz: Quiz, group: Sequence[Seat], answers: Mapping[str, Sequence[SeatAnswer]]
    ) -> list[Finding]:
        """Compare the attempts that seats say are counted with the record of actions. Those of erased players have no name."""
        keys = {
            seat.seat_id: (seat.user_id, action_id_of(room, seat))
            for seat in group
            if seat.attempt == COUNTED and not seat.is_guest
        }
        records = await self._submissions.recorded([*keys.values()])
        findings = []
        for seat_id, key in keys.items():
            record = records.get(key)
            if record is None:
                findings.append(Finding(room.room_id, seat_id, "counts on boards, and no such attempt is recorded"))
                continue
            try:
                points = points_of_attempt(quiz, [given.answer for given in answers[seat_id]])
            except AnswerError:
                continue  # found above
            if record.marks.points != points:
                detail = f"counts on boards with {record.marks.points} points, and its answers earn {points}"
                findings.append(Finding(room.room_id, seat_id, detail))
        return findings

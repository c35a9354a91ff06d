"""Counting the answers of ended rooms on global boards, where the room was opened to do so.

Each account's answers are submitted as an attempt at the quiz, under an action id that follows from the room and the player.
So each attempt counts once, even if several instances count the same room or one of them dies on the way.

An attempt is judged by the quiz as the room had it, and counts although the quiz was closed or changed while the room played.
It is refused only because of its player: all attempts are used, or the account is blocked or deleted. Each seat records the
outcome of its attempt. A room is marked as counted after all its attempts were accepted or refused.
"""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client import Gauge
from topten.quiz.v1 import quiz_pb2

from services.quiz.rooms.room import Phase, Room
from services.quiz.submissions.action import Action
from services.runtime.errors import Reason, ServiceError
from services.runtime.process.periodic import Periodic

if TYPE_CHECKING:
    from services.quiz.quizzes.quiz import Quiz
    from services.quiz.rooms.documents import Seat, SeatAnswer
    from services.quiz.rooms.reading import RoomReader
    from services.quiz.rooms.room_store import RoomStore
    from services.quiz.rooms.seats.seat_store import SeatStore
    from services.quiz.submissions.service import SubmissionService

EVERY: Final = timedelta(seconds=1)
MAX_ROOMS: Final = 20
MAX_GROUP: Final = 200
COUNTED: Final = "COUNTED"
uncounted_seconds = Gauge(
    "topten_room_uncounted_seconds",
    "Time since the end of the oldest room whose answers are not counted yet; 0 if none",
)
_log = structlog.get_logger("room.counting")


class RoomCounting:
    """Counts ended rooms."""

    def __init__(
        self,
        rooms: RoomStore,
        seats: SeatStore,
        reader: RoomReader,
        submissions: SubmissionService,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._rooms = rooms
        self._seats = seats
        self._reader = reader
        self._submissions = submissions
        self._now = now

    def server(self) -> Periodic:
        """Return the loop that counts ended rooms, including those that no host ended."""
        return Periodic("room counting", self.count_ended, every=EVERY, at_rest=15, retry_on=(ServiceError,))

    async def count_ended(self) -> None:
        """Count the rooms that have ended and are not counted yet. Raises UNAVAILABLE."""
        now, oldest = self._now(), timedelta()
        for found in await self._rooms.uncounted(now, MAX_ROOMS):
            room = (await self._reader.current(found.room_id)).room
            if room.phase is not Phase.ENDED:
                continue
            if not room.options.counts_on_boards or await self._count(room):
                await self._rooms.counted(room.room_id, room.revision)
            elif room.ended_at is not None:
                oldest = max(oldest, now - room.ended_at)
        uncounted_seconds.set(oldest.total_seconds())

    async def _count(self, room: Room) -> bool:
        """Submit the attempts of a room; False if some have to be submitted again."""
        # A recorded outcome is final: an attempt that was refused is not submitted again.
        taken = (await self._seats.of_rooms([room.room_id]))[room.room_id]
        seats = [seat for seat in taken if not seat.is_guest and not seat.attempt]
        quiz = await self._rooms.quiz(room.room_id)
        outcomes: Counter[str] = Counter()
        for group in _groups(seats):
            final, failed = await self._submit(room, quiz, group)
            await self._seats.note_attempts(final)
            outcomes.update({reason: len(seat_ids) for reason, seat_ids in final.items()})
            if failed is not None:
                _log.warning("room not counted yet", room_id=room.room_id, error=type(failed).__name__)
                return False
        _log.info("room counted", room_id=room.room_id, attempts=dict(outcomes))
        return True

    async def _submit(
        self, room: Room, quiz: Quiz, group: Sequence[Seat]
    ) -> tuple[Mapping[str, Sequence[str]], Exception | None]:
        """Submit the attempts of seats; return the seats by their final outcome, and a failure if one has none yet."""
        answers = await self._seats.answers.of_seats([seat.seat_id for seat in group])
        attempted = [seat for seat in group if answers[seat.seat_id]]
        actions = [self._action(room, quiz, seat, answers[seat.seat_id]) for seat in attempted]
        final: defaultdict[str, list[str]] = defaultdict(list)
        failed: Exception | None = None
        for seat, outcome in zip(attempted, await self._submissions.submit_actions(actions), strict=True):
            if isinstance(outcome, ServiceError) and outcome.reason is not Reason.UNAVAILABLE:
                final[outcome.reason].append(seat.seat_id)
            elif isinstance(outcome, Exception):
                failed = outcome
            else:
                final[COUNTED].append(seat.seat_id)
        return final, failed

    def _action(self, room: Room, quiz: Quiz, seat: Seat, answers: Sequence[SeatAnswer]) -> Action:
        return Action(
            user_id=seat.user_id,
            country=seat.country,
            action_id=action_id_of(room, seat),
            quiz_id=room.quiz_id,
            answers=tuple(given.answer for given in answers),
            client_time=self._now(),
            client=quiz_pb2.Client(),
            quiz_version=room.quiz_version,
            room_quiz=quiz,
        )


def action_id_of(room: Room, seat: Seat) -> str:
    """Return the action ID under which a seat's answers count as an attempt."""
    return str(uuid.uuid5(uuid.UUID(room.room_id), seat.user_id))


def _groups(seats: Sequence[Seat]) -> Iterator[Sequence[Seat]]:
    for start in range(0, len(seats), MAX_GROUP):
        yield seats[start : start + MAX_GROUP]

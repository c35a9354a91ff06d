"""The results of a room for its hosts: page by page, and as a file."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from services.quiz.rooms.play.judging import question_of
from services.quiz.rooms.results.result_files import Format, ResultFile, file_of
from services.quiz.rooms.seats.standings import Choice, Mark, Place, discrimination
from services.quiz.rooms.service import require_host
from services.runtime.errors import Reason, ServiceError
from services.runtime.page_tokens import list_of, page_token, read_page_token

if TYPE_CHECKING:
    from services.quiz.rooms.reading import RoomReader
    from services.quiz.rooms.room import Room
    from services.quiz.rooms.room_store import RoomStore
    from services.quiz.rooms.seats.seat_store import SeatStore
    from services.runtime.auth.claims import Claims

DEFAULT_PAGE: Final = 100
LISTING: Final = "room results"
MAX_FILE_BYTES: Final = 4_000_000


class QuestionResult(NamedTuple):
    """Figures of a question, an index. `difficulty` is None without answers, `discrimination` with too few."""

    question: int
    question_id: str
    text: str
    answered: int
    right: int
    choices: Sequence[Choice]
    difficulty: float | None
    discrimination: float | None


class Results(NamedTuple):
    """The results of a room.

    `questions` are the revealed ones. `marks` has the marks of seats by question, an index; `attempts` has the recorded
    outcomes of attempts by seat.
    """

    room: Room
    questions: Sequence[QuestionResult]
    places: Sequence[Place]
    marks: Mapping[int, Mapping[str, Mark]]
    attempts: Mapping[str, str]


class RoomResults:
    """Results for the hosts of a room, moderators and admins. Before the podium, only of revealed questions.

    Every method raises ROOM_NOT_FOUND, PERMISSION_DENIED, UNAVAILABLE.
    """

    def __init__(self, rooms: RoomStore, seats: SeatStore, reader: RoomReader) -> None:
        self._rooms = rooms
        self._seats = seats
        self._reader = reader

    async def page(self, host: Claims, room_id: str, limit: int, token: str) -> tuple[Results, Sequence[Place], str]:
        """Return the results, a page of places (`limit` is 1 to 200, 0 is 100), and the token of the next page.

        Raises INVALID_ARGUMENT, CURSOR_EXPIRED.
        """
        listing = list_of(LISTING, room_id)
        (start,) = read_page_token(token, listing, int) or (0,)
        results = await self._read(host, room_id)
        end = start + (limit or DEFAULT_PAGE)
        following = page_token(listing, end) if end < len(results.places) else ""
        return results, results.places[start:end], following

    async def file(self, host: Claims, room_id: str, written: Format) -> ResultFile:
        """Return the results as a file. Raises LIMIT_REACHED for one that is too large for a response."""
        results = await self._read(host, room_id)
        made = await asyncio.to_thread(file_of, results, written)
        if len(made.content) > MAX_FILE_BYTES:
            raise ServiceError(Reason.LIMIT_REACHED, "The file is too large. Read the results page by page.")
        return made

    async def _read(self, host: Claims, room_id: str) -> Results:
        room = (await self._reader.current(room_id)).room
        require_host(host, room)
        quiz = await self._rooms.quiz(room_id)
        fold = await self._reader.latest_fold(room)
        marks = await self._seats.answers.marks(room_id, room.revealed_questions)
        questions = []
        for question, question_id in enumerate(room.question_ids[: room.revealed_questions]):
            answers = {seat_id: mark.is_right for seat_id, mark in marks.get(question, {}).items()}
            right = sum(answers.values())
            questions.append(
                QuestionResult(
                    question,
                    question_id,
                    question_of(quiz, question_id).text,
                    len(answers),
                    right,
                    [choice for choice in fold.choices if choice.question == question],
                    right / len(answers) if answers else None,
                    discrimination(fold.places, answers),
                )
            )
        return Results(room, questions, fold.places, marks, await self._seats.attempts(room_id))

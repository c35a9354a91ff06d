"""Judging the answers of a room. Pure.

The only module of rooms that knows how answers are scored. Must never decide when a key is shown: that is `room.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from topten.quiz.v1 import quiz_pb2

from services.quiz.questions.answers import Answer, AnswerError
from services.quiz.quizzes.quiz import Quiz
from services.quiz.quizzes.scoring import judge, mark
from services.quiz.rooms.documents import Seat, SeatAnswer
from services.quiz.rooms.room import Room

FULL_POINTS: Final = timedelta(seconds=1)
"""An answer this soon after the question earns all speed points: longer than a frame and an answer take on the network."""
HALF_AFTER: Final = timedelta(seconds=20)
"""The least time in which speed points fall to half after that, so that a second of delay costs at most 2.5 % of them."""
MILLISECOND: Final = timedelta(milliseconds=1)
CHOICES: Final = frozenset(
    {quiz_pb2.QUESTION_KIND_SINGLE_CHOICE, quiz_pb2.QUESTION_KIND_TRUE_FALSE, quiz_pb2.QUESTION_KIND_MULTIPLE_CHOICE}
)


def judged(quiz: Quiz, room: Room, seat: Seat, answer: Answer, received_at: datetime) -> SeatAnswer:
    """Judge an answer to a question of a room by the room's quiz.

    Penalties apply as in the quiz; bonuses for time and streaks do not. Speed points depend on the player's own time limit;
    a player without one earns all of them, and so does one to whom a host gave full points. Raises AnswerError if the answer
    does not match the quiz.
    """
    outcome = next(each for each in judge(quiz, [answer]) if each.question_id == answer.question_id)
    points = outcome.points
    falls = room.options.speed_points and seat.seat_id not in room.full_points
    if falls and points > 0 and room.asked_at is not None:
        time = timedelta(seconds=room.options.seconds)
        limit = room.extra_time_of(seat.seat_id).applied_to(time)
        points = points if limit is None else _at_speed(points, received_at - room.asked_at, time, limit)
    is_choice = question_of(quiz, answer.question_id).kind in CHOICES
    return SeatAnswer(
        seat_id=seat.seat_id,
        room_id=room.room_id,
        question=room.question_ids.index(answer.question_id),
        answer=answer,
        options=answer.values if is_choice else (),
        received_at=received_at,
        verdict=outcome.verdict,
        points=points,
    )


def fault_of(quiz: Quiz, room: Room, given: SeatAnswer) -> str:
    """Return why a recorded answer is not as the room's quiz judges it; empty if it is.

    When questions were asked is not kept, so of speed points only the bounds are known: all points, and half of them. A seat
    with full points has all of them for each question that was asked after a host decided so.
    """
    question_id = given.answer.question_id
    if not 0 <= given.question < len(room.question_ids) or room.question_ids[given.question] != question_id:
        return f"answers {question_id!r}, which is not question {given.question + 1} of the room"
    try:
        outcome = next(each for each in judge(quiz, [given.answer]) if each.question_id == question_id)
    except AnswerError as error:
        return f"has an answer to {question_id!r} that does not match the quiz: it {error}"
    most = outcome.points
    falls = room.options.speed_points and given.question <= room.full_points.get(given.seat_id, given.question)
    least = most - most // 2 if falls and most > 0 else most
    if given.verdict != outcome.verdict or not least <= given.points <= most:
        allowed = f"{most}" if least == most else f"{least} to {most}"
        return f"has {given.points} points for {question_id!r}, and the quiz gives {allowed}"
    return ""


def points_of_attempt(quiz: Quiz, answers: Sequence[Answer]) -> int:
    """Return the points of a seat's answers as an attempt at the quiz. Raises AnswerError as `judge`."""
    return mark(quiz, answers).points


def question_of(quiz: Quiz, question_id: str) -> quiz_pb2.Question:
    """Return a question as players see it."""
    return next(question for question in quiz.view.questions if question.id == question_id)


def _at_speed(points: int, elapsed: timedelta, time: timedelta, limit: timedelta) -> int:
    """Return the points left after `elapsed`, rounded up. `limit` is the player's own time, `time` that of the others.

    All points are left up to FULL_POINTS. Then they fall linearly, to half at the end of `time`, but no faster than to half
    within HALF_AFTER, so a short question keeps more than half. With extra time they fall proportionally more slowly.
    """
    used = min(max(elapsed, timedelta()), limit) * (time // MILLISECOND) // (limit // MILLISECOND)
    late = max(used - FULL_POINTS, timedelta())
    return points - points * (late // MILLISECOND) // (2 * (max(time - FULL_POINTS, HALF_AFTER) // MILLISECOND))

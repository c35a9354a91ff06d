"""From answers to points, and from attempts to what counts. Pure: the same input gives the same points for ever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from topten.quiz.v1 import quiz_pb2

from services.quiz.quiz import Quiz

MAX_TOTAL: Final = 2**31 - 1

Answer = tuple[str, str]
"""Question id and selected option id."""


class AnswerError(ValueError):
    """An answer that the quiz has no place for; `index` is its position."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


@dataclass(frozen=True, slots=True)
class Marks:
    """What one attempt earned."""

    points: int
    correct: int
    questions: int


@dataclass(frozen=True, slots=True)
class Tally:
    """What a player's attempts at one quiz come to; `counted` is what the score has of them.

    `place` numbers the attempts and the changes to them together, from 1. `used` are attempts, `valid` those of them that
    were not voided, `points_sum` what these earned together.
    """

    place: int
    used: int
    valid: int
    points_sum: int
    counted: int


NOTHING: Final = Tally(place=0, used=0, valid=0, points_sum=0, counted=0)


def mark(quiz: Quiz, answers: Sequence[Answer]) -> Marks:
    """Mark an attempt: a right answer earns its question's points, a wrong or absent one 0.

    Raises AnswerError for a question that is not the quiz's or comes twice, and for an option that is not the question's.
    """
    points = correct = 0
    seen: set[str] = set()
    for index, (question_id, selected) in enumerate(answers):
        question = quiz.questions.get(question_id)
        if question is None:
            raise AnswerError(index, "the quiz has no such question")
        if question_id in seen:
            raise AnswerError(index, "the question is answered twice")
        if selected not in question.options:
            raise AnswerError(index, "the question has no such option")
        seen.add(question_id)
        if selected == question.correct:
            points += question.points
            correct += 1
    return Marks(points, correct, len(quiz.questions))


def tally(counting: quiz_pb2.Counting.ValueType, before: Tally, points: int) -> Tally:
    """The tally after one more attempt that earned `points` (0 or more).

    `before` is the tally after what came before it, or NOTHING. The counted total stays within 32 bits.
    """
    valid = before.valid + 1
    points_sum = min(before.points_sum + points, MAX_TOTAL)
    match counting:
        case quiz_pb2.COUNTING_FIRST:
            counted = points if valid == 1 else before.counted
        case quiz_pb2.COUNTING_LAST:
            counted = points
        case quiz_pb2.COUNTING_AVERAGE:
            counted = points_sum // valid
        case quiz_pb2.COUNTING_SUM:
            counted = points_sum
        case _:
            counted = max(points, before.counted)
    return Tally(before.place + 1, before.used + 1, valid, points_sum, counted)


def tally_of(counting: quiz_pb2.Counting.ValueType, before: Tally, points: Sequence[int]) -> Tally:
    """The tally after a change that leaves attempts with these points, in their order, valid; none of it is an attempt."""
    after = NOTHING
    for earned in points:
        after = tally(counting, after, earned)
    return replace(after, place=before.place + 1, used=before.used)

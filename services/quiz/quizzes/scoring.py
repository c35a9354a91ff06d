"""From answers to points, and from attempts to the counted total. Pure: the same input always gives the same points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from topten.quiz.v1 import quiz_pb2

from services.quiz.questions.answers import Answer, AnswerError
from services.quiz.questions.kinds import ALL, NONE
from services.quiz.quizzes.quiz import Quiz


class Outcome(NamedTuple):
    """How the answer to one question was judged: the points that it earned, negative for a penalty, without bonuses."""

    question_id: str
    verdict: quiz_pb2.Verdict.ValueType
    points: int


@dataclass(frozen=True, slots=True)
class Marks:
    """The result of one attempt."""

    points: int
    correct: int
    questions: int


class Use(NamedTuple):
    """Actions that were received at a time, in milliseconds since 1970, and their points."""

    at: int
    actions: int
    points: int


@dataclass(frozen=True, slots=True)
class Tally:
    """The sum of a player's actions at one quiz or of one type; `counted` is its contribution to the score.

    `sequence` numbers actions and amendments together, from 1. `used` is the number of actions, `valid` the number of
    those that were not voided, and `points_sum` what the valid ones earned together. `recent` has those that a limit within
    a time asks for.
    """

    sequence: int
    used: int
    valid: int
    points_sum: int
    counted: int
    recent: tuple[Use, ...] = ()


NOTHING: Final = Tally(sequence=0, used=0, valid=0, points_sum=0, counted=0)


def mark(quiz: Quiz, answers: Sequence[Answer], elapsed_ms: int | None = None) -> Marks:
    """Mark an attempt by the quiz's rules; its points are 0 or more. `elapsed_ms` is its time, None if that is unknown.

    Raises AnswerError as `judge`.
    """
    outcomes = judge(quiz, answers)
    earned = sum(outcome.points for outcome in outcomes) + _streak_bonus(quiz, outcomes)
    correct = sum(outcome.verdict == quiz_pb2.VERDICT_RIGHT for outcome in outcomes)
    return Marks(max(0, earned + quiz.rules.time_bonus(earned, elapsed_ms)), correct, len(outcomes))


def judge(quiz: Quiz, answers: Sequence[Answer]) -> list[Outcome]:
    """Judge every question of a quiz, in its order. Points of a share are rounded down.

    Raises AnswerError for an unknown question, a question answered twice, and an answer that the question does not allow.
    """
    judged: dict[str, Outcome] = {}
    for index, answer in enumerate(answers):
        question = quiz.questions.get(answer.question_id)
        if question is None:
            raise AnswerError(index, "names a question that the quiz does not have")
        if answer.question_id in judged:
            raise AnswerError(index, "answers a question that is answered already")
        if answer.form != question.kind.form:
            raise AnswerError(index, "has the form of another kind of question", answer.form)
        try:
            share = question.kind.share(answer.values)
        except ValueError as error:
            raise AnswerError(index, str(error), answer.form) from None
        if share == NONE:
            judged[answer.question_id] = Outcome(
                answer.question_id, quiz_pb2.VERDICT_WRONG, -quiz.rules.penalty(question.points)
            )
        else:
            verdict = quiz_pb2.VERDICT_RIGHT if share == ALL else quiz_pb2.VERDICT_PARTLY_RIGHT
            judged[answer.question_id] = Outcome(answer.question_id, verdict, int(question.points * share))
    return [
        judged.get(question_id) or Outcome(question_id, quiz_pb2.VERDICT_UNANSWERED, 0)
        for question_id in quiz.questions
    ]


def _streak_bonus(quiz: Quiz, outcomes: Iterable[Outcome]) -> int:
    bonus = right_before = 0
    for outcome in outcomes:
        if outcome.verdict == quiz_pb2.VERDICT_RIGHT:
            bonus += quiz.rules.streak_bonus(outcome.points, right_before)
            right_before += 1
        else:
            right_before = 0
    return bonus


def tally(counting: quiz_pb2.Counting.ValueType, before: Tally, points: int) -> Tally:
    """Return the tally after one more attempt that earned `points` (0 or more).

    `before` is the tally after the player's previous attempt or amendment, or NOTHING. Sums have 64 bits.
    """
    valid = before.valid + 1
    points_sum = before.points_sum + points
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
    return Tally(before.sequence + 1, before.used + 1, valid, points_sum, counted)


def tally_of(counting: quiz_pb2.Counting.ValueType, before: Tally, points: Sequence[int]) -> Tally:
    """Return the tally after an amendment that leaves attempts with these points, in order, valid.

    An amendment takes a number in the sequence and uses no attempt.
    """
    after = NOTHING
    for earned in points:
        after = tally(counting, after, earned)
    return replace(after, sequence=before.sequence + 1, used=before.used, recent=before.recent)

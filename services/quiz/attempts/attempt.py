"""An attempt that was started: its deadline, its time, and the extra time of its player. Pure; all times are the server's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from topten.attempt.v1 import attempt_pb2

from services.quiz.attempts.extra_time import ExtraTime
from services.quiz.questions.answers import Answer, answer_message
from services.quiz.quizzes.quiz import Quiz

# How long an attempt without a time limit stays open.
MAX_OPEN: Final = timedelta(days=30)
_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Attempt:
    """An open attempt. `deadline` is None without a time limit; `accepts_until` is None at a quiz that is not timed.

    `country` is the player's when they started. `answers` has the saved answers by question.
    """

    attempt_id: str
    user_id: str
    quiz_id: str
    version: int
    number: int
    country: str
    started_at: datetime
    deadline: datetime | None
    accepts_until: datetime | None
    extra_time: ExtraTime
    answers: Mapping[str, Answer]

    @property
    def is_timed(self) -> bool:
        """Whether the attempt counts from its start, and the server hands it in when its time is up."""
        return self.accepts_until is not None

    def accepts(self, at: datetime) -> bool:
        """Whether answers are accepted at this time."""
        return self.accepts_until is None or at <= self.accepts_until

    def elapsed_ms(self, at: datetime) -> int:
        """Return the milliseconds from the start to `at`, at most to the deadline, for the time bonus.

        They are divided by the factor of the player's extra time; unlimited time has the factor of double time.
        """
        end = at if self.deadline is None else min(at, self.deadline)
        scaled = ExtraTime.DOUBLE if self.extra_time is ExtraTime.UNLIMITED else self.extra_time
        unit = scaled.applied_to(_MILLISECOND)
        return (end - self.started_at) // unit if unit else 0

    def in_order_of(self, quiz: Quiz) -> tuple[Answer, ...]:
        """Return the saved answers in the order of the quiz."""
        return tuple(self.answers[question_id] for question_id in quiz.questions if question_id in self.answers)


def started(
    quiz: Quiz, attempt_id: str, user_id: str, country: str, number: int, extra_time: ExtraTime, at: datetime
) -> Attempt:
    """Return a new attempt at a quiz. One at a timed quiz ends no later than the quiz closes."""
    deadline = accepts_until = None
    if quiz.timing is not None:
        limit = time_limit(quiz, extra_time)
        ends = [None if limit is None else at + limit, quiz.closes_at]
        deadline = min((end for end in ends if end is not None), default=None)
        accepts_until = (deadline or at + MAX_OPEN) + quiz.timing.grace
    return Attempt(
        attempt_id=attempt_id,
        user_id=user_id,
        quiz_id=quiz.quiz_id,
        version=quiz.version,
        number=number,
        country=country,
        started_at=at,
        deadline=deadline,
        accepts_until=accepts_until,
        extra_time=extra_time,
        answers={},
    )


def time_limit(quiz: Quiz, extra_time: ExtraTime) -> timedelta | None:
    """Return how much time a player has for an attempt; None for no limit."""
    return None if quiz.timing is None else extra_time.applied_to(quiz.timing.limit)


def message_of(attempt: Attempt, answers: Sequence[Answer]) -> attempt_pb2.Attempt:
    """Return the message of an attempt, with these answers."""
    message = attempt_pb2.Attempt(
        attempt_id=attempt.attempt_id,
        quiz_id=attempt.quiz_id,
        quiz_version=attempt.version,
        number=attempt.number,
        answers=map(answer_message, answers),
    )
    message.started_at.FromDatetime(attempt.started_at)
    if attempt.deadline is not None:
        message.deadline.FromDatetime(attempt.deadline)
    if attempt.accepts_until is not None:
        message.accepts_until.FromDatetime(attempt.accepts_until)
    return message

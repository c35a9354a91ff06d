"""The points in an event: 32 bits as published, and all 64 where those do not suffice. Pure."""

from __future__ import annotations

from topten.action.v1.action_events_pb2 import ActionCompletedPayload
from topten.quiz.v1.quiz_events_pb2 import (
    ActionRejudgedPayload,
    ActionVoidedPayload,
    QuizCompletedPayload,
    ScoreAdjustedPayload,
)

from services.runtime.int32 import int32

AtQuiz = QuizCompletedPayload | ActionVoidedPayload | ActionRejudgedPayload
"""What happened at a quiz, or to an action at one."""


def set_points(payload: AtQuiz, delta: int, quiz_total: int) -> None:
    """Set the change of the score, and what all attempts at the quiz count for."""
    payload.score_delta, payload.quiz_total = int32(delta), int32(quiz_total)
    if payload.score_delta != delta:
        payload.exact_score_delta = delta
    if payload.quiz_total != quiz_total:
        payload.exact_quiz_total = quiz_total


def delta_of(payload: AtQuiz | ActionCompletedPayload | ScoreAdjustedPayload) -> int:
    """Return the change of the score."""
    if isinstance(payload, ScoreAdjustedPayload | ActionCompletedPayload) or not payload.HasField("exact_score_delta"):
        return payload.score_delta
    return payload.exact_score_delta


def quiz_total_of(payload: AtQuiz) -> int:
    """Return what all attempts at the quiz count for."""
    return payload.exact_quiz_total if payload.HasField("exact_quiz_total") else payload.quiz_total

"""Attempts in the schema: open ones, and where a player stands."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

import strawberry
from topten.attempt.v1 import attempt_pb2
from topten.attempt.v1.attempt_service_pb2 import GetAttemptsResponse

from edge.graphql.fields import field
from edge.graphql.resolvers.players.extra_time import ExtraTime
from edge.graphql.resolvers.quizzes.answers import Answer
from edge.times import time_of


@strawberry.type(description="An attempt that was started and is not handed in. All times are the server's.")
class Attempt:
    id: strawberry.ID = strawberry.field(description="For `saveAnswers`, and for `submitQuizAction` as `attemptId`.")
    quiz_id: strawberry.ID
    quiz_version: int = strawberry.field(
        description="The version of the quiz that it shows, and by which it is judged."
    )
    number: int = strawberry.field(description="Among the player's attempts at the quiz, from 1.")
    started_at: datetime
    deadline: datetime | None = strawberry.field(
        description="When the time is up, extra time included, and no later than the quiz closes; null without a limit."
    )
    accepts_until: datetime | None = strawberry.field(
        description="The deadline plus the grace; then the server hands in the saved answers. Null at a quiz without timing."
    )
    answers: list[Answer] = field(size=10, description="The saved answers, in the order of the quiz.")

    @classmethod
    def from_proto(cls, attempt: attempt_pb2.Attempt) -> Self:
        return cls(**values_of(attempt))


def values_of(attempt: attempt_pb2.Attempt) -> dict[str, Any]:
    """Return the fields of an attempt."""
    return {
        "id": strawberry.ID(attempt.attempt_id),
        "quiz_id": strawberry.ID(attempt.quiz_id),
        "quiz_version": attempt.quiz_version,
        "number": attempt.number,
        "started_at": time_of(attempt.started_at),
        "deadline": time_of(attempt.deadline) if attempt.HasField("deadline") else None,
        "accepts_until": time_of(attempt.accepts_until) if attempt.HasField("accepts_until") else None,
        "answers": [Answer.from_proto(answer) for answer in attempt.answers],
    }


@strawberry.type(description="Where a player stands at a quiz.")
class Attempts:
    used: int = strawberry.field(
        description="Attempts that count against the limit: those handed in, and an open one at a timed quiz."
    )
    left: int | None = strawberry.field(description="Attempts that can still be started; null without a limit.")
    open: Attempt | None = strawberry.field(description="The open attempt, which `startAttempt` resumes.")
    next_allowed_at: datetime | None = strawberry.field(
        description="When the cooldown lets the player begin another attempt; null if they may now."
    )
    time_limit_seconds: int | None = strawberry.field(
        description="The time limit of the next attempt, with the player's extra time; null without one."
    )

    @classmethod
    def from_proto(cls, response: GetAttemptsResponse) -> Self:
        return cls(
            used=response.used,
            left=response.left if response.HasField("left") else None,
            open=Attempt.from_proto(response.open) if response.HasField("open") else None,
            next_allowed_at=time_of(response.next_allowed_at) if response.HasField("next_allowed_at") else None,
            time_limit_seconds=response.time_limit_seconds if response.HasField("time_limit_seconds") else None,
        )


@strawberry.type(description="A decision about the extra time of a player.")
class ExtraTimeDecision:
    quiz_id: strawberry.ID | None = strawberry.field(description="The quiz that it is for; null for all quizzes.")
    extra_time: ExtraTime
    decided_by: str = strawberry.field(description="A user id, or `service:<name>`.")
    decided_at: datetime
    reason: str

    @classmethod
    def from_proto(cls, decision: attempt_pb2.ExtraTimeDecision) -> Self:
        return cls(
            quiz_id=strawberry.ID(decision.quiz_id) if decision.quiz_id else None,
            extra_time=ExtraTime(decision.extra_time),
            decided_by=decision.decided_by,
            decided_at=time_of(decision.decided_at),
            reason=decision.reason,
        )

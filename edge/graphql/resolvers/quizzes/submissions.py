"""Submitting what a player did: answers to a quiz, and actions of types that operators define."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Self

import strawberry
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import Counter
from topten.action.v1 import action_pb2
from topten.action.v1.action_service_pb2 import SubmitActionsRequest
from topten.quiz.v1 import quiz_pb2
from topten.quiz.v1.quiz_service_pb2 import SubmitActionRequest

from edge.graphql.execution.context import Context, Info
from edge.graphql.fields import field, rpc
from edge.graphql.resolvers.boards.boards import BoardInput, board_text
from edge.graphql.resolvers.quizzes.answers import AnswerInput
from edge.graphql.resolvers.quizzes.quizzes import QuizSubmissionResult
from edge.graphql.resolvers.types import BoardStanding, Wait, standings_of, total_of
from services.runtime.auth.access import PLAYER
from services.runtime.errors import Reason, ServiceError, invalid
from services.runtime.texts import canonical_id

submissions = Counter("topten_submissions_total", "Submissions by outcome: accepted, refused or failed", ["outcome"])
_FAILURES = frozenset({Reason.UNAVAILABLE, Reason.INTERNAL})


@strawberry.input(description="A player's answers to a quiz. The server computes the points.")
class QuizActionInput:
    quiz_id: strawberry.ID
    action_id: strawberry.ID = strawberry.field(
        description="A UUID made by the client. An action counts once under its ID, however often it is sent."
    )
    answers: list[AnswerInput] = strawberry.field(description="Questions without an answer score 0.")
    timestamp: datetime = strawberry.field(
        description="The time on the client's clock. It must be close to the server's time and has no other use."
    )
    attempt_id: strawberry.ID | None = strawberry.field(
        default=None,
        description="The attempt to hand in, which a timed quiz needs. Use its ID as `actionId` too, as the server "
        "does when the time is up.",
    )
    quiz_version: int | None = strawberry.field(
        default=None,
        description="The `version` of the quiz that the player saw, by which the answers are judged; the current one by "
        "default. One that was replaced too long ago is refused with QUIZ_CHANGED, and no attempt is used.",
    )
    wait: Wait | None = strawberry.field(default=None, description="RECORDED by default.")
    boards: list[BoardInput] = strawberry.field(
        default_factory=list, description="With COUNTED: the boards whose standings are returned, at most 10."
    )


@strawberry.input(description="What the calling player did. The server computes the points.")
class ActionInput:
    action_type_id: strawberry.ID = strawberry.field(description="A type of `actionTypes` that players may submit.")
    action_id: strawberry.ID = strawberry.field(
        description="A UUID made by the client. An action counts once under its ID, however often it is sent."
    )
    quantity: int | None = strawberry.field(
        default=None, description="For a rule `perUnit`, and no other: the number of units, 1 to `maxUnits`."
    )
    outcome: str | None = strawberry.field(
        default=None, description="For a rule `table`, and no other: an outcome that the table has."
    )
    occurred_at: datetime | None = strawberry.field(
        default=None,
        description="When it happened, within the type's time window; now by default. It affects neither points nor "
        "periods.",
    )
    wait: Wait | None = strawberry.field(default=None, description="RECORDED by default.")
    boards: list[BoardInput] = strawberry.field(
        default_factory=list, description="With COUNTED: the boards whose standings are returned, at most 10."
    )


@strawberry.type(description="The recorded outcome of an action. A refusal is an error, so `success` is always true.")
class ActionResult:
    success: bool
    message: str
    action_id: strawberry.ID
    duplicate: bool = strawberry.field(
        description="True if the action was recorded before; the other fields are those of the first response."
    )
    points_awarded: int = strawberry.field(description="The points that the action earned.")
    total: int | None = strawberry.field(
        description="With COUNTED: the all-time score after this action; null while the action is on its way."
    )
    standings: list[BoardStanding] | None = field(
        size=10,
        description="With COUNTED: the places on the boards of the input; null while the action is on its way, and if "
        "a board cannot be read.",
    )

    @classmethod
    def from_proto(cls, result: action_pb2.ActionResult, action_id: strawberry.ID, boards: int) -> Self:
        points = result.points_awarded
        return cls(
            success=True,
            message=f"{points:,} {'point' if points == 1 else 'points'}.",
            action_id=strawberry.ID(canonical_id(action_id)),
            duplicate=result.status == action_pb2.ActionResult.DUPLICATE,
            points_awarded=points,
            total=total_of(result),
            standings=standings_of(result, boards),
        )


@strawberry.type
class SubmissionMutation:
    @field(
        access=rpc("quiz.SubmitAction"),
        cost=200,
        rate="submit",
        description="Submits a player's answers to a quiz. An accepted action counts exactly once.",
    )
    async def submit_quiz_action(self, info: Info, input: QuizActionInput) -> QuizSubmissionResult | None:
        context = info.context
        timestamp = Timestamp()
        timestamp.FromDatetime(input.timestamp)
        request = SubmitActionRequest(
            quiz_id=input.quiz_id,
            action_id=input.action_id,
            answers=[answer.to_proto() for answer in input.answers],
            quiz_version=input.quiz_version or 0,
            attempt_id=input.attempt_id or "",
            timestamp=timestamp,
            client=_client(context),
            wait=(input.wait or Wait.RECORDED).value,
            boards=_boards(input.boards),
        )
        with _counted():
            response = await context.upstreams.quiz_answers.submit(request, context.caller.token())
        if not response.duplicate:
            context.on_accepted(context.caller.require().user_id, response.score_delta)
        return QuizSubmissionResult.from_proto(response, input.quiz_id, len(input.boards))

    @field(
        access=PLAYER,
        cost=200,
        rate="submit",
        description="Submits an action of the calling player. An accepted action counts exactly once.",
    )
    async def submit_action(self, info: Info, input: ActionInput) -> ActionResult | None:
        context = info.context
        if input.quantity is not None and input.outcome is not None:
            raise invalid("outcome", "must be absent beside quantity")
        action = action_pb2.PlayerAction(action_type_id=input.action_type_id, action_id=input.action_id)
        if input.quantity is not None:
            action.quantity = input.quantity
        if input.outcome is not None:
            action.outcome = input.outcome
        if input.occurred_at is not None:
            action.occurred_at.FromDatetime(input.occurred_at)
        request = SubmitActionsRequest(
            actions=[action],
            client=_client(context),
            wait=(input.wait or Wait.RECORDED).value,
            boards=_boards(input.boards),
        )
        with _counted():
            result = await context.upstreams.player_actions.submit(request, context.caller.token())
        submitted = ActionResult.from_proto(result, input.action_id, len(input.boards))
        if not submitted.duplicate:
            context.on_accepted(context.caller.require().user_id, submitted.points_awarded)
        return submitted


@contextmanager
def _counted() -> Iterator[None]:
    """Count a submission by its outcome: whether it raises, and why."""
    try:
        yield
    except ServiceError as error:
        submissions.labels("failed" if error.reason in _FAILURES else "refused").inc()
        raise
    submissions.labels("accepted").inc()


def _boards(boards: list[BoardInput]) -> list[str]:
    return [board_text(board, f"input.boards[{number}]") for number, board in enumerate(boards)]


def _client(context: Context) -> quiz_pb2.Client:
    return quiz_pb2.Client(ip=context.client_address, user_agent=context.user_agent)

"""Import quizzes and define action types for a test, as an operator does."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from topten.action.v1 import action_pb2, action_service_pb2
from topten.quiz.v1 import quiz_pb2, quiz_service_pb2
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub

from services.cli.system.client import Endpoints
from services.cli.system.operator_client import action_service
from services.runtime.grpc.client import call

if TYPE_CHECKING:
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub


async def import_quiz(endpoints: Endpoints, definition: quiz_pb2.QuizDefinition) -> int:
    """Import a quiz and return its version."""
    async with endpoints.operator() as token, endpoints.channel("quiz") as channel:
        stub = cast("QuizServiceAsyncStub", QuizServiceStub(channel))
        answer = await call(stub.ImportQuiz, quiz_service_pb2.ImportQuizRequest(definition=definition), token=token)
    return answer.version


async def put_action_type(
    endpoints: Endpoints, action_type_id: str, *, submitters: action_pb2.ActionType.Submitters.ValueType
) -> None:
    """Define an action type without limits, of which each unit earns 2 points, up to 100 units."""
    definition = action_pb2.ActionType(
        action_type_id=action_type_id,
        title="Of a test",
        submitters=submitters,
        rule=action_pb2.Rule(per_unit=action_pb2.PerUnitRule(points_per_unit=2, max_units=100)),
    )
    async with action_service(endpoints) as (stub, token):
        request = action_service_pb2.PutActionTypeRequest(action_type=definition)
        await call(stub.PutActionType, request, token=token)

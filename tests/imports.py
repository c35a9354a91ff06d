"""Quizzes of a test's own, imported as an operator would."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from topten.quiz.v1 import quiz_pb2, quiz_service_pb2
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub

from services.local.client import Endpoints
from services.runtime.grpc_client import call

if TYPE_CHECKING:
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub


async def import_quiz(endpoints: Endpoints, definition: quiz_pb2.QuizDefinition) -> int:
    """Store a quiz; its version."""
    async with endpoints.operator() as token, endpoints.channel("quiz") as channel:
        stub = cast("QuizServiceAsyncStub", QuizServiceStub(channel))
        answer = await call(stub.ImportQuiz, quiz_service_pb2.ImportQuizRequest(definition=definition), token=token)
    return answer.version

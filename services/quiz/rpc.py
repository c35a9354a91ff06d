"""gRPC: request → service → response, and who may call what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC
from typing import Any

import grpc
from topten.quiz.v1 import quiz_service_pb2 as messages
from topten.quiz.v1 import quiz_service_pb2_grpc

from services.quiz.service import Action, QuizService
from services.runtime.call_context import caller

Context = grpc.aio.ServicerContext[Any, Any]

_ANYBODY = frozenset({"player", "author", "moderator", "admin", "service"})
ACCESS: Mapping[str, frozenset[str]] = {
    "/topten.quiz.v1.QuizService/ListQuizzes": _ANYBODY,
    "/topten.quiz.v1.QuizService/GetQuiz": _ANYBODY,
    "/topten.quiz.v1.QuizService/SubmitAction": frozenset({"player"}),
    "/topten.quiz.v1.QuizService/ListSubmittedEvents": frozenset({"moderator", "admin", "service"}),
    "/topten.quiz.v1.QuizService/ImportQuiz": frozenset({"author", "admin", "service"}),
}


class QuizServicer(quiz_service_pb2_grpc.QuizServiceServicer):
    """The service on the wire."""

    def __init__(self, service: QuizService) -> None:
        self._service = service

    async def ListQuizzes(self, request: messages.ListQuizzesRequest, context: Context) -> messages.ListQuizzesResponse:
        """See quiz_service.proto."""
        page = await self._service.quizzes(request.page_size, request.page_token, request.tag)
        return messages.ListQuizzesResponse(
            quizzes=page.quizzes, next_page_token=page.next_token, total_size=page.total
        )

    async def GetQuiz(self, request: messages.GetQuizRequest, context: Context) -> messages.GetQuizResponse:
        """See quiz_service.proto."""
        return messages.GetQuizResponse(quiz=await self._service.quiz(request.quiz_id))

    async def SubmitAction(
        self, request: messages.SubmitActionRequest, context: Context
    ) -> messages.SubmitActionResponse:
        """See quiz_service.proto."""
        player = caller()
        action = Action(
            user_id=player.user_id,
            country=player.country,
            action_id=request.action_id.lower(),
            quiz_id=request.quiz_id,
            answers=tuple((answer.question_id, answer.selected_option) for answer in request.answers),
            client_time=request.timestamp.ToDatetime(UTC),
            client=request.client,
        )
        # A caller who hangs up does not stop a write that has begun: the driver would drop its connection.
        submission, duplicate = await asyncio.shield(self._service.submit_action(action))
        return messages.SubmitActionResponse(
            action_id=request.action_id,
            duplicate=duplicate,
            points_awarded=submission.marks.points,
            score_delta=submission.delta,
            correct_answers=submission.marks.correct,
            total_questions=submission.marks.questions,
            attempt=submission.tally.attempt,
        )

    async def ListSubmittedEvents(
        self, request: messages.ListSubmittedEventsRequest, context: Context
    ) -> AsyncIterator[messages.ListSubmittedEventsResponse]:
        """See quiz_service.proto."""
        async for events, total in self._service.submitted_events():
            yield messages.ListSubmittedEventsResponse(
                events=[
                    messages.SubmittedEvent(
                        event_id=event.event_id,
                        user_id=event.user_id,
                        score_delta=event.delta,
                        published=event.published,
                    )
                    for event in events
                ],
                total=total,
            )

    async def ImportQuiz(self, request: messages.ImportQuizRequest, context: Context) -> messages.ImportQuizResponse:
        """See quiz_service.proto."""
        version, changed = await self._service.import_quiz(request.definition)
        return messages.ImportQuizResponse(version=version, changed=changed)

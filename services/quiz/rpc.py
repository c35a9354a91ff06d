"""gRPC: request → service → response, and who may call what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import grpc
from topten.quiz.v1 import quiz_pb2, quiz_service_pb2_grpc
from topten.quiz.v1 import quiz_service_pb2 as messages

from services.quiz.moderation import Moderation
from services.quiz.personal import PersonalRecords, Record
from services.quiz.service import Action, QuizService
from services.runtime.access import ACCOUNTS, ADMIN, AUTHOR, PLAYER, STAFF
from services.runtime.call_context import caller

Context = grpc.aio.ServicerContext[Any, Any]

ACCESS: Mapping[str, frozenset[str]] = {
    "/topten.quiz.v1.QuizService/ListQuizzes": ACCOUNTS | {"quiz:read"},
    "/topten.quiz.v1.QuizService/GetQuiz": ACCOUNTS | {"quiz:read"},
    "/topten.quiz.v1.QuizService/SubmitAction": PLAYER,
    "/topten.quiz.v1.QuizService/ListSubmittedEvents": STAFF | {"event:read"},
    "/topten.quiz.v1.QuizService/RepublishEvents": ADMIN | {"event:replay"},
    "/topten.quiz.v1.QuizService/GetOutbox": frozenset({"outbox:read"}),
    "/topten.quiz.v1.QuizService/VoidAction": STAFF | {"score:adjust"},
    "/topten.quiz.v1.QuizService/AdjustScore": STAFF | {"score:adjust"},
    "/topten.quiz.v1.QuizService/ImportQuiz": AUTHOR | ADMIN | {"quiz:write"},
    "/topten.quiz.v1.QuizService/ExportPlayer": PLAYER,
    "/topten.quiz.v1.QuizService/ErasePlayer": frozenset({"player:erase"}),
}


class QuizServicer(quiz_service_pb2_grpc.QuizServiceServicer):
    """The service on the wire."""

    def __init__(
        self, service: QuizService, moderation: Moderation, records: PersonalRecords, now: Callable[[], datetime]
    ) -> None:
        self._records = records
        self._now = now
        self._service = service
        self._moderation = moderation

    async def ListQuizzes(self, request: messages.ListQuizzesRequest, context: Context) -> messages.ListQuizzesResponse:
        """See quiz_service.proto."""
        page = await self._service.quizzes(request.page_size, request.page_token, request.tag, _reader())
        return messages.ListQuizzesResponse(
            quizzes=page.quizzes, next_page_token=page.next_token, total_size=page.total
        )

    async def GetQuiz(self, request: messages.GetQuizRequest, context: Context) -> messages.GetQuizResponse:
        """See quiz_service.proto."""
        return messages.GetQuizResponse(quiz=await self._service.quiz(request.quiz_id, _reader()))

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
            attempt=submission.tally.used,
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

    async def RepublishEvents(
        self, request: messages.RepublishEventsRequest, context: Context
    ) -> messages.RepublishEventsResponse:
        """See quiz_service.proto."""
        found = await self._moderation.republish(request.event_ids, only_check=request.only_check)
        return messages.RepublishEventsResponse(event_ids=found)

    async def GetOutbox(self, request: messages.GetOutboxRequest, context: Context) -> messages.GetOutboxResponse:
        """See quiz_service.proto."""
        answer = messages.GetOutboxResponse()
        oldest = await self._service.oldest_waiting()
        if oldest is not None:
            answer.oldest_waiting_at.FromDatetime(oldest)
        return answer

    async def VoidAction(self, request: messages.VoidActionRequest, context: Context) -> messages.VoidActionResponse:
        """See quiz_service.proto."""
        voiding = self._moderation.void_action(
            request.user_id, request.action_id.lower(), request.reason, actor=caller().user_id
        )
        amendment, duplicate = await asyncio.shield(voiding)
        return messages.VoidActionResponse(
            event_id=amendment.event_id, score_delta=amendment.delta, duplicate=duplicate
        )

    async def AdjustScore(self, request: messages.AdjustScoreRequest, context: Context) -> messages.AdjustScoreResponse:
        """See quiz_service.proto."""
        adjusting = self._moderation.adjust_score(
            request.user_id, request.delta, request.reason, request.action_id.lower(), actor=caller().user_id
        )
        amendment, duplicate = await asyncio.shield(adjusting)
        return messages.AdjustScoreResponse(event_id=amendment.event_id, duplicate=duplicate)

    async def ExportPlayer(
        self, request: messages.ExportPlayerRequest, context: Context
    ) -> messages.ExportPlayerResponse:
        """See quiz_service.proto."""
        user_id = caller().user_id
        records, token = await self._records.page(user_id, request.page_token)
        answer = messages.ExportPlayerResponse(records=map(_record, records), next_page_token=token)
        if not request.page_token:
            for quiz_id, at in (await self._records.deliveries(user_id)).items():
                answer.deliveries.add(quiz_id=quiz_id).delivered_at.FromDatetime(at)
        return answer

    async def ErasePlayer(self, request: messages.ErasePlayerRequest, context: Context) -> messages.ErasePlayerResponse:
        """See quiz_service.proto."""
        erasing = self._records.erase(request.user_id, request.pseudonym, self._now())
        return messages.ErasePlayerResponse(records=await asyncio.shield(erasing))

    async def ImportQuiz(self, request: messages.ImportQuizRequest, context: Context) -> messages.ImportQuizResponse:
        """See quiz_service.proto."""
        version, changed = await self._service.import_quiz(request.definition)
        return messages.ImportQuizResponse(version=version, changed=changed)


def _record(record: Record) -> messages.PlayerRecord:
    found = messages.PlayerRecord(
        event_id=record.event_id,
        kind=record.kind,
        action_id=record.action_id,
        quiz_id=record.quiz_id,
        answers=[quiz_pb2.Answer(question_id=question, selected_option=option) for question, option in record.answers],
        points=record.points,
        correct_answers=record.correct,
        score_delta=record.delta,
        country=record.country,
        reason=record.reason,
    )
    if record.client_time is not None:
        found.client_time.FromDatetime(record.client_time)
    found.received_at.FromDatetime(record.received_at)
    return found


def _reader() -> str:
    """The player who asks; empty if it is somebody else."""
    claims = caller()
    return claims.user_id if "player" in claims.roles else ""

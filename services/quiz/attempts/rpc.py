"""gRPC: request → service → response."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc
from topten.attempt.v1 import attempt_pb2, attempt_service_pb2_grpc
from topten.attempt.v1 import attempt_service_pb2 as messages

from services.quiz.attempts.attempt import message_of
from services.quiz.attempts.deadlines import AttemptDeadlines
from services.quiz.attempts.extra_time import ExtraTime
from services.quiz.attempts.extra_time_store import Decision
from services.quiz.attempts.service import AttemptService
from services.quiz.questions.answers import AnswerError, answers_of
from services.quiz.submissions.action import mismatch
from services.runtime.grpc.call_context import caller

_EXTRA_TIMES: Final = {each: attempt_pb2.ExtraTime.Value(f"EXTRA_TIME_{each.name}") for each in ExtraTime}
Context = grpc.aio.ServicerContext[Any, Any]


class AttemptServicer(attempt_service_pb2_grpc.AttemptServiceServicer):
    """The methods of `topten.attempt.v1.AttemptService`, which documents them. Writes are shielded from cancellation."""

    def __init__(self, attempts: AttemptService, deadlines: AttemptDeadlines) -> None:
        self._attempts = attempts
        self._deadlines = deadlines

    async def StartAttempt(
        self, request: messages.StartAttemptRequest, context: Context
    ) -> messages.StartAttemptResponse:
        """See attempt_service.proto."""
        attempt, quiz, resumed = await asyncio.shield(self._attempts.start(caller(), request.quiz_id))
        return messages.StartAttemptResponse(
            attempt=message_of(attempt, attempt.in_order_of(quiz)), quiz=quiz.view, resumed=resumed
        )

    async def SaveAnswers(self, request: messages.SaveAnswersRequest, context: Context) -> messages.SaveAnswersResponse:
        """See attempt_service.proto."""
        try:
            answers = answers_of(request.answers)
        except AnswerError as error:
            raise mismatch(error) from None
        saving = self._attempts.save(caller(), request.attempt_id, answers, request.cleared_question_ids)
        attempt, quiz = await asyncio.shield(saving)
        return messages.SaveAnswersResponse(attempt=message_of(attempt, attempt.in_order_of(quiz)))

    async def GetAttempts(self, request: messages.GetAttemptsRequest, context: Context) -> messages.GetAttemptsResponse:
        """See attempt_service.proto."""
        standing = await self._attempts.standing(caller(), request.quiz_id)
        limit = standing.time_limit
        response = messages.GetAttemptsResponse(
            used=standing.used,
            left=standing.left,
            time_limit_seconds=None if limit is None else int(limit.total_seconds()),
        )
        if standing.open is not None:
            shown = await self._attempts.shown(standing.open)
            response.open.CopyFrom(message_of(standing.open, standing.open.in_order_of(shown)))
        if standing.next_allowed_at is not None:
            response.next_allowed_at.FromDatetime(standing.next_allowed_at)
        return response

    async def SetExtraTime(
        self, request: messages.SetExtraTimeRequest, context: Context
    ) -> messages.SetExtraTimeResponse:
        """See attempt_service.proto."""
        extra_time = ExtraTime[attempt_pb2.ExtraTime.Name(request.extra_time).removeprefix("EXTRA_TIME_")]
        deciding = self._attempts.set_extra_time(caller(), request.user_id, request.quiz_id, extra_time, request.reason)
        return messages.SetExtraTimeResponse(previous=_EXTRA_TIMES[await asyncio.shield(deciding)])

    async def ListExtraTimes(
        self, request: messages.ListExtraTimesRequest, context: Context
    ) -> messages.ListExtraTimesResponse:
        """See attempt_service.proto."""
        decisions = await self._attempts.extra_times(request.user_id)
        return messages.ListExtraTimesResponse(decisions=map(_decision, decisions))

    async def AuditAttempts(
        self, request: messages.AuditAttemptsRequest, context: Context
    ) -> messages.AuditAttemptsResponse:
        """See attempt_service.proto."""
        overdue, oldest = await self._deadlines.overdue()
        return messages.AuditAttemptsResponse(
            overdue=overdue, oldest_seconds=oldest.total_seconds(), unjudgeable=await self._attempts.unjudgeable()
        )

    async def ExportAttempts(
        self, request: messages.ExportAttemptsRequest, context: Context
    ) -> messages.ExportAttemptsResponse:
        """See attempt_service.proto."""
        user_id = caller().user_id
        attempts = await self._attempts.of_player(user_id)
        decisions = await self._attempts.extra_times(user_id)
        return messages.ExportAttemptsResponse(
            attempts=[message_of(attempt, list(attempt.answers.values())) for attempt in attempts],
            extra_times=[_decision(decision._replace(decided_by="")) for decision in decisions],
        )


def _decision(decision: Decision) -> attempt_pb2.ExtraTimeDecision:
    message = attempt_pb2.ExtraTimeDecision(
        quiz_id=decision.quiz_id,
        extra_time=_EXTRA_TIMES[decision.extra_time],
        decided_by=decision.decided_by,
        reason=decision.reason,
    )
    message.decided_at.FromDatetime(decision.decided_at)
    return message

"""The outbox of the quiz service: which recorded events may not be on the stream yet."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from topten.quiz.v1.quiz_service_pb2 import GetOutboxRequest

from services.runtime.auth.service_token import ServiceToken
from services.runtime.grpc.client import call

if TYPE_CHECKING:
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub

TIMEOUT_SECONDS = 5.0


class QuizOutbox:
    """A client of the quiz service."""

    def __init__(self, quiz: QuizServiceAsyncStub, token: ServiceToken) -> None:
        self._quiz = quiz
        self._token = token

    async def oldest_unpublished(self) -> datetime | None:
        """Return when the oldest event was recorded that may not be on the stream; None if all are. Raises UNAVAILABLE."""
        response = await call(
            self._quiz.GetOutbox, GetOutboxRequest(), token=await self._token.get(), timeout=TIMEOUT_SECONDS
        )
        return response.oldest_waiting_at.ToDatetime(UTC) if response.HasField("oldest_waiting_at") else None

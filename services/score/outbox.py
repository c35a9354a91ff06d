"""What the quiz service has recorded and not handed over yet, as it says itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from topten.quiz.v1.quiz_service_pb2 import GetOutboxRequest

from services.runtime.grpc_client import call
from services.runtime.service_token import ServiceToken

if TYPE_CHECKING:
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub

CALL_SECONDS = 5.0


class Outbox:
    """Asks quiz."""

    def __init__(self, quiz: QuizServiceAsyncStub, token: ServiceToken) -> None:
        self._quiz = quiz
        self._token = token

    async def oldest_waiting(self) -> datetime | None:
        """When the oldest event was recorded that is not known to be on the stream; None if all are. Raises UNAVAILABLE."""
        answer = await call(
            self._quiz.GetOutbox, GetOutboxRequest(), token=await self._token.get(), timeout=CALL_SECONDS
        )
        return answer.oldest_waiting_at.ToDatetime(UTC) if answer.HasField("oldest_waiting_at") else None

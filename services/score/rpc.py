"""gRPC: request → service → response, and who may call what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
from topten.score.v1 import score_pb2, score_service_pb2_grpc
from topten.score.v1 import score_service_pb2 as messages

from services.runtime.call_context import caller
from services.score.reports import At, Found
from services.score.service import ScoreService

Context = grpc.aio.ServicerContext[Any, Any]

_STAFF = frozenset({"moderator", "admin", "service"})
ACCESS: Mapping[str, frozenset[str]] = {
    "/topten.score.v1.ScoreService/GetScore": _STAFF | {"player"},
    "/topten.score.v1.ScoreService/VerifyScores": _STAFF,
    "/topten.score.v1.ScoreService/RebuildBoards": frozenset({"admin", "service"}),
}


class ScoreServicer(score_service_pb2_grpc.ScoreServiceServicer):
    """The service on the wire."""

    def __init__(self, service: ScoreService) -> None:
        self._service = service

    async def GetScore(self, request: messages.GetScoreRequest, context: Context) -> messages.GetScoreResponse:
        """See score_service.proto."""
        claims = caller()
        found = await self._service.get_score(request.user_id, asker=claims.user_id, roles=claims.roles)
        score = score_pb2.Score(user_id=found.user_id, total=found.total, revision=found.revision)
        return messages.GetScoreResponse(score=score)

    async def VerifyScores(
        self, request: messages.VerifyScoresRequest, context: Context
    ) -> AsyncIterator[messages.VerifyScoresResponse]:
        """See score_service.proto."""
        async for step in self._service.verify_scores():
            if isinstance(step, At):
                yield messages.VerifyScoresResponse(progress=_progress(step))
            elif isinstance(step, Found):
                yield messages.VerifyScoresResponse(
                    finding=score_pb2.Finding(kind=step.kind, subject=step.subject, detail=step.detail)
                )
            else:
                yield messages.VerifyScoresResponse(
                    summary=messages.VerifySummary(
                        rows=step.rows,
                        players=step.players,
                        boards=step.boards,
                        members=step.members,
                        findings=step.findings,
                    )
                )

    async def RebuildBoards(
        self, request: messages.RebuildBoardsRequest, context: Context
    ) -> AsyncIterator[messages.RebuildBoardsResponse]:
        """See score_service.proto."""
        async for step in self._service.rebuild_boards():
            if isinstance(step, At):
                yield messages.RebuildBoardsResponse(progress=_progress(step))
            else:
                yield messages.RebuildBoardsResponse(
                    summary=messages.RebuildSummary(
                        generation=step.generation, boards=step.boards, members=step.members
                    )
                )


def _progress(step: At) -> score_pb2.Progress:
    return score_pb2.Progress(stage=step.stage, done=step.done, total=step.total)

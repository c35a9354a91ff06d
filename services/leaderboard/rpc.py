"""gRPC: request → service → response, and who may call what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import grpc
from topten.leaderboard.v1 import leaderboard_pb2, leaderboard_service_pb2_grpc
from topten.leaderboard.v1 import leaderboard_service_pb2 as messages

from services.leaderboard.service import LeaderboardService
from services.runtime.boards import Board, period

Context = grpc.aio.ServicerContext[Any, Any]

_ANYBODY = frozenset({"player", "author", "moderator", "admin", "service"})
ACCESS: Mapping[str, frozenset[str]] = {
    "/topten.leaderboard.v1.LeaderboardService/GetLeaderboard": _ANYBODY,
    "/topten.leaderboard.v1.LeaderboardService/WatchLeaderboard": _ANYBODY,
    "/topten.leaderboard.v1.LeaderboardService/GetRanks": _ANYBODY,
}


class LeaderboardServicer(leaderboard_service_pb2_grpc.LeaderboardServiceServicer):
    """The service on the wire."""

    def __init__(self, service: LeaderboardService) -> None:
        self._service = service

    async def GetLeaderboard(
        self, request: messages.GetLeaderboardRequest, context: Context
    ) -> messages.GetLeaderboardResponse:
        """See leaderboard_service.proto."""
        frame, board = await self._service.leaderboard(request.board, request.limit)
        return messages.GetLeaderboardResponse(frame=frame, period=_period(board))

    async def WatchLeaderboard(
        self, request: messages.WatchLeaderboardRequest, context: Context
    ) -> AsyncIterator[messages.WatchLeaderboardResponse]:
        """See leaderboard_service.proto."""
        async with aclosing(self._service.watch(request.board)) as frames:
            async for frame in frames:
                yield messages.WatchLeaderboardResponse(frame=frame)

    async def GetRanks(self, request: messages.GetRanksRequest, context: Context) -> messages.GetRanksResponse:
        """See leaderboard_service.proto."""
        entries, not_found = await self._service.ranks(request.board, request.user_ids)
        return messages.GetRanksResponse(entries=entries, not_found=not_found)


def _period(board: Board) -> leaderboard_pb2.Period | None:
    counted = period(board)
    if counted is None:
        return None
    found = leaderboard_pb2.Period(time_zone=counted.time_zone)
    found.starts_at.FromDatetime(counted.starts_at)
    found.ends_at.FromDatetime(counted.ends_at)
    return found

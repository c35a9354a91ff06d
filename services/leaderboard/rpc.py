"""gRPC: request → service → response, and who may call what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any

import grpc
from topten.leaderboard.v1 import leaderboard_pb2, leaderboard_service_pb2_grpc
from topten.leaderboard.v1 import leaderboard_service_pb2 as messages

from services.leaderboard.boards import Place
from services.leaderboard.ranks import RankWatches
from services.leaderboard.service import LeaderboardService, share
from services.runtime.access import BOARD_READERS, PLAYER
from services.runtime.boards import Board, period, points_of
from services.runtime.call_context import caller

Context = grpc.aio.ServicerContext[Any, Any]

ACCESS: Mapping[str, frozenset[str]] = {
    "/topten.leaderboard.v1.LeaderboardService/GetLeaderboard": BOARD_READERS,
    "/topten.leaderboard.v1.LeaderboardService/WatchLeaderboard": BOARD_READERS,
    "/topten.leaderboard.v1.LeaderboardService/GetRanks": BOARD_READERS,
    "/topten.leaderboard.v1.LeaderboardService/WatchRanks": BOARD_READERS,
    "/topten.leaderboard.v1.LeaderboardService/ListEntries": BOARD_READERS,
    "/topten.leaderboard.v1.LeaderboardService/GetAround": BOARD_READERS,
    "/topten.leaderboard.v1.LeaderboardService/GetPercentile": BOARD_READERS,
    "/topten.leaderboard.v1.LeaderboardService/GetScoreForPercentile": BOARD_READERS,
    "/topten.leaderboard.v1.LeaderboardService/GetRankIfScore": BOARD_READERS,
    "/topten.leaderboard.v1.LeaderboardService/ListBoards": BOARD_READERS,
    "/topten.leaderboard.v1.LeaderboardService/ListClosedPeriods": BOARD_READERS,
    "/topten.leaderboard.v1.LeaderboardService/ExportPlayer": PLAYER,
}


_KINDS: Mapping[str, leaderboard_pb2.BoardKind.ValueType] = {
    "all": leaderboard_pb2.BOARD_KIND_ALL,
    "weekly": leaderboard_pb2.BOARD_KIND_WEEKLY,
    "monthly": leaderboard_pb2.BOARD_KIND_MONTHLY,
    "country": leaderboard_pb2.BOARD_KIND_COUNTRY,
    "quiz": leaderboard_pb2.BOARD_KIND_QUIZ,
    "custom": leaderboard_pb2.BOARD_KIND_CUSTOM,
}


class LeaderboardServicer(leaderboard_service_pb2_grpc.LeaderboardServiceServicer):
    """The service on the wire."""

    def __init__(self, service: LeaderboardService, ranks: RankWatches, *, now: Callable[[], datetime]) -> None:
        self._service = service
        self._ranks = ranks
        self._now = now

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

    async def WatchRanks(
        self, request: messages.WatchRanksRequest, context: Context
    ) -> AsyncIterator[messages.WatchRanksResponse]:
        """See leaderboard_service.proto."""
        async with aclosing(self._ranks.changes(request.board or "all", request.user_ids)) as changes:
            async for board, places in changes:
                standings = [_standing(user_id, place) for user_id, place in places.items()]
                yield messages.WatchRanksResponse(board=board.text, standings=standings)

    async def ListEntries(self, request: messages.ListEntriesRequest, context: Context) -> messages.ListEntriesResponse:
        """See leaderboard_service.proto."""
        page = await self._service.page(request.board, request.page_size, request.page_token, request.user_id)
        return messages.ListEntriesResponse(
            board=self._described(page.board, page.total),
            stale=page.stale,
            entries=[messages.ListedEntry(entry=entry, cursor=cursor) for entry, cursor in page.entries],
            next_page_token=page.next_token,
            own=page.own,
        )

    async def GetAround(self, request: messages.GetAroundRequest, context: Context) -> messages.GetAroundResponse:
        """See leaderboard_service.proto."""
        board, total, entries = await self._service.around(request.board, request.user_id, request.radius)
        return messages.GetAroundResponse(board=self._described(board, total), entries=entries)

    async def GetPercentile(
        self, request: messages.GetPercentileRequest, context: Context
    ) -> messages.GetPercentileResponse:
        """See leaderboard_service.proto."""
        rank, total = await self._service.percentile(request.board, request.user_id)
        percentile = None if rank is None else share(rank, total)
        return messages.GetPercentileResponse(percentile=percentile, rank=rank, total_count=total)

    async def GetScoreForPercentile(
        self, request: messages.GetScoreForPercentileRequest, context: Context
    ) -> messages.GetScoreForPercentileResponse:
        """See leaderboard_service.proto."""
        score, total = await self._service.score_for_percentile(request.board, request.percentile)
        return messages.GetScoreForPercentileResponse(score=score, total_count=total)

    async def GetRankIfScore(
        self, request: messages.GetRankIfScoreRequest, context: Context
    ) -> messages.GetRankIfScoreResponse:
        """See leaderboard_service.proto."""
        rank, total = await self._service.rank_if_score(request.board, request.points, request.user_id)
        return messages.GetRankIfScoreResponse(rank=rank, total_count=total)

    async def ListBoards(self, request: messages.ListBoardsRequest, context: Context) -> messages.ListBoardsResponse:
        """See leaderboard_service.proto."""
        boards = await self._service.boards()
        return messages.ListBoardsResponse(boards=[self._described(board, total) for board, total in boards])

    async def ListClosedPeriods(
        self, request: messages.ListClosedPeriodsRequest, context: Context
    ) -> messages.ListClosedPeriodsResponse:
        """See leaderboard_service.proto."""
        periods, next_token = await self._service.closed(request.board, request.page_size, request.page_token)
        answer = messages.ListClosedPeriodsResponse(next_page_token=next_token)
        for closed in periods:
            shown = answer.periods.add(board=self._described(closed.board, closed.total), cursor=closed.cursor)
            shown.closed_at.FromDatetime(closed.closed_at)
        return answer

    async def ExportPlayer(
        self, request: messages.ExportPlayerRequest, context: Context
    ) -> messages.ExportPlayerResponse:
        """See leaderboard_service.proto."""
        places, closed, token = await self._service.export(caller().user_id, request.boards, request.page_token)
        return messages.ExportPlayerResponse(
            places=[_place(board, place) for board, place in places],
            closed=[_place(board, place) for board, place in closed],
            next_page_token=token,
        )

    def _described(self, board: Board, total: int) -> leaderboard_pb2.Board:
        found = leaderboard_pb2.Board(
            name=board.text, kind=_KINDS[board.kind], period=_period(board), total_count=total
        )
        counted = period(board)
        if counted is not None and self._now() < counted.ends_at:
            found.next_reset_at.FromDatetime(counted.ends_at)
        return found


def _place(board: str, place: Place) -> messages.BoardPlace:
    return messages.BoardPlace(board=board, rank=place.rank, score=points_of(place.value))


def _standing(user_id: str, place: Place | None) -> messages.Standing:
    if place is None:
        return messages.Standing(user_id=user_id)
    return messages.Standing(
        user_id=user_id, rank=place.rank, score=points_of(place.value), previous_rank=place.previous
    )


def _period(board: Board) -> leaderboard_pb2.Period | None:
    counted = period(board)
    if counted is None:
        return None
    found = leaderboard_pb2.Period(time_zone=counted.time_zone)
    found.starts_at.FromDatetime(counted.starts_at)
    found.ends_at.FromDatetime(counted.ends_at)
    return found

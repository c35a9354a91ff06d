"""gRPC: request → service → response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any, Final

import grpc
import protovalidate
from google.protobuf.timestamp_pb2 import Timestamp
from topten.leaderboard.v1 import leaderboard_pb2, leaderboard_service_pb2_grpc
from topten.leaderboard.v1 import leaderboard_service_pb2 as messages

from services.boards.board import Board
from services.leaderboard.ranking import gap, percentile_of
from services.leaderboard.reading.results import Standing
from services.leaderboard.service import LeaderboardService
from services.leaderboard.watching.player_ranks import PlayerRanks
from services.leaderboard.watching.watches import Watches
from services.runtime.auth.access import ACCOUNTS, ADMIN, GUEST
from services.runtime.errors import to_rpc_status
from services.runtime.grpc import requests
from services.runtime.grpc.call_context import caller, request_id
from services.runtime.grpc.chain import refusal_of

Context = grpc.aio.ServicerContext[Any, Any]
# The methods of reads by the field of their request in BoardRead, which is that of their response too.
_READS: Final[Mapping[str, str]] = {"leaderboard": "GetLeaderboard", "around": "GetAround", "ranks": "GetRanks"}


class LeaderboardServicer(leaderboard_service_pb2_grpc.LeaderboardServiceServicer):
    """The methods of leaderboard_service.proto, which documents them."""

    def __init__(
        self, service: LeaderboardService, watches: Watches, ranks: PlayerRanks, *, now: Callable[[], datetime]
    ) -> None:
        self._service = service
        self._watches = watches
        self._ranks = ranks
        self._now = now
        self._validator = protovalidate.Validator()

    async def GetLeaderboard(
        self, request: messages.GetLeaderboardRequest, context: Context
    ) -> messages.GetLeaderboardResponse:
        """Return the head of a board."""
        frame, board = await self._service.leaderboard(request.board, request.limit)
        return messages.GetLeaderboardResponse(frame=frame, period=self._period(board))

    async def WatchLeaderboard(
        self, request: messages.WatchLeaderboardRequest, context: Context
    ) -> AsyncIterator[messages.WatchLeaderboardResponse]:
        """Stream the frames of a board."""
        await self._service.require_readable(request.board)
        async with aclosing(self._watches.frames(request.board, _player())) as frames:
            async for frame in frames:
                await self._service.require_readable(request.board)
                yield messages.WatchLeaderboardResponse(frame=frame)

    async def GetRanks(self, request: messages.GetRanksRequest, context: Context) -> messages.GetRanksResponse:
        """Return the entries of certain players."""
        entries, not_found, stale = await self._service.ranks(
            request.board, request.user_ids, public_only=request.public_only
        )
        return messages.GetRanksResponse(
            entries=entries, not_found=not_found, frozen_since=self._frozen_since(request.board), stale=stale
        )

    async def WatchRanks(
        self, request: messages.WatchRanksRequest, context: Context
    ) -> AsyncIterator[messages.WatchRanksResponse]:
        """Stream the changing standings of certain players."""
        await self._service.require_readable(request.board)
        async with aclosing(self._ranks.changes(request.board, request.user_ids, _player())) as changes:
            async for board, standings, stale in changes:
                await self._service.require_readable(request.board)
                yield messages.WatchRanksResponse(
                    board=board.name,
                    standings=[self._standing(board, user_id, each) for user_id, each in standings.items()],
                    frozen_since=self._frozen_since(board),
                    stale=stale,
                )

    async def ListEntries(self, request: messages.ListEntriesRequest, context: Context) -> messages.ListEntriesResponse:
        """Return a page of a board."""
        page = await self._service.page(request.board, request.page_size, request.page_token, request.user_id)
        return messages.ListEntriesResponse(
            board=self._board(page.board, page.total, stale=page.stale),
            stale=page.stale,
            entries=[messages.ListedEntry(entry=entry, cursor=cursor) for entry, cursor in page.entries],
            next_page_token=page.next_token,
            own=page.own,
        )

    async def GetGroupLeaderboard(
        self, request: messages.GetGroupLeaderboardRequest, context: Context
    ) -> messages.GetGroupLeaderboardResponse:
        """Return a page of the board of a group; a player reads it as a member."""
        viewer_id = "" if caller().may(ADMIN) else _player() or request.user_id
        page, members = await self._service.group(
            request.group_id,
            request.board,
            request.page_size,
            request.page_token,
            request.user_id,
            viewer_id=viewer_id,
        )
        return messages.GetGroupLeaderboardResponse(
            board=self._board(page.board, page.total, stale=page.stale),
            member_count=members,
            entries=[messages.ListedEntry(entry=entry, cursor=cursor) for entry, cursor in page.entries],
            own=page.own,
            next_page_token=page.next_token,
        )

    async def GetAround(self, request: messages.GetAroundRequest, context: Context) -> messages.GetAroundResponse:
        """Return a player among their neighbors."""
        page = await self._service.around(request.board, request.user_id, request.radius)
        return messages.GetAroundResponse(
            board=self._board(page.board, page.total, stale=page.stale), entries=[entry for entry, _ in page.entries]
        )

    async def ReadBoards(self, request: messages.ReadBoardsRequest, context: Context) -> messages.ReadBoardsResponse:
        """Return the result of each read."""
        results = await asyncio.gather(*(self._result(read, context) for read in request.reads))
        return messages.ReadBoardsResponse(results=results)

    async def _result(self, read: messages.BoardRead, context: Context) -> messages.BoardReadResult:
        """Return the result of a read. Raises nothing: an error is a result."""
        kind: Any = read.WhichOneof("request")
        method = _READS[kind]
        try:
            requests.check(getattr(read, kind), self._validator)
            response = await getattr(self, method)(getattr(read, kind), context)
        except Exception as error:  # noqa: BLE001  # the result of this read
            refusal = refusal_of(error, f"/topten.leaderboard.v1.LeaderboardService/{method}", request_id())
            return messages.BoardReadResult(error=to_rpc_status(refusal).SerializeToString())
        return messages.BoardReadResult(**{kind: response})

    async def GetPercentile(
        self, request: messages.GetPercentileRequest, context: Context
    ) -> messages.GetPercentileResponse:
        """Return a player's percentile and rank."""
        standing, total, stale = await self._service.standing(request.board, request.user_id)
        response = messages.GetPercentileResponse(
            total_count=total, frozen_since=self._frozen_since(request.board), stale=stale
        )
        if standing is not None:
            response.percentile = percentile_of(standing.rank, total)
            response.rank = standing.shown_rank
        return response

    async def GetScoreForPercentile(
        self, request: messages.GetScoreForPercentileRequest, context: Context
    ) -> messages.GetScoreForPercentileResponse:
        """Return the score that a percentile takes."""
        score, total, stale = await self._service.score_for_percentile(request.board, request.percentile)
        return messages.GetScoreForPercentileResponse(
            score=score, total_count=total, frozen_since=self._frozen_since(request.board), stale=stale
        )

    async def GetRankIfScore(
        self, request: messages.GetRankIfScoreRequest, context: Context
    ) -> messages.GetRankIfScoreResponse:
        """Return the rank that a score would have."""
        rank, total, stale = await self._service.rank_if_score(request.board, request.points, request.user_id)
        return messages.GetRankIfScoreResponse(
            rank=rank, total_count=total, frozen_since=self._frozen_since(request.board), stale=stale
        )

    async def ListBoards(self, request: messages.ListBoardsRequest, context: Context) -> messages.ListBoardsResponse:
        """Return the current boards."""
        boards = await self._service.boards()
        return messages.ListBoardsResponse(
            boards=[self._board(board, total, stale=stale) for board, total, stale in boards]
        )

    async def ListClosedPeriods(
        self, request: messages.ListClosedPeriodsRequest, context: Context
    ) -> messages.ListClosedPeriodsResponse:
        """Return a page of a board's closed periods."""
        periods, next_token = await self._service.closed_periods(request.board, request.page_size, request.page_token)
        response = messages.ListClosedPeriodsResponse(next_page_token=next_token)
        for period in periods:
            closed = response.periods.add(board=self._board(period.board, period.total), cursor=period.cursor)
            closed.closed_at.FromDatetime(period.closed_at)
        return response

    async def GetProof(self, request: messages.GetProofRequest, context: Context) -> messages.GetProofResponse:
        """Return the proof of a player's place on a closed board."""
        board, proof = await self._service.proof(request.board, request.user_id)
        message = leaderboard_pb2.Proof(board=board.name, user_id=request.user_id, **proof._asdict())
        return messages.GetProofResponse(proof=message)

    async def ExportPlayer(
        self, request: messages.ExportPlayerRequest, context: Context
    ) -> messages.ExportPlayerResponse:
        """Return the caller's standings for a data export."""
        standings, closed, token = await self._service.export(caller().user_id, request.boards, request.page_token)
        return messages.ExportPlayerResponse(
            places=[self._place(board, standing, stale=stale) for board, standing, stale in standings],
            closed=[self._place(board, standing) for board, standing in closed],
            next_page_token=token,
        )

    def _board(self, board: Board, total: int, *, stale: bool = False) -> leaderboard_pb2.Board:
        kind = leaderboard_pb2.BoardKind.Value(f"BOARD_KIND_{board.kind.upper()}")
        message = leaderboard_pb2.Board(
            name=board.name, kind=kind, period=self._period(board), total_count=total, stale=stale
        )
        period = self._service.period(board)
        if period is not None and self._now() < period.ends_at:
            message.next_reset_at.FromDatetime(period.ends_at)
        if frozen := self._frozen_since(board):
            message.frozen_since.CopyFrom(frozen)
        message.ranks_teams = self._service.ranks_teams(board)
        message.title = self._service.title_of(board)
        return message

    def _frozen_since(self, board: Board | str) -> Timestamp | None:
        since = self._service.frozen_since(board)
        if since is None:
            return None
        message = Timestamp()
        message.FromDatetime(since)
        return message

    def _place(self, board: Board, standing: Standing, *, stale: bool = False) -> messages.BoardPlace:
        score = self._service.points(board, standing.value)
        return messages.BoardPlace(board=board.name, rank=standing.shown_rank, score=score, stale=stale)

    def _standing(self, board: Board, user_id: str, standing: Standing | None) -> messages.Standing:
        if standing is None:
            return messages.Standing(user_id=user_id)
        return messages.Standing(
            user_id=user_id,
            rank=standing.shown_rank,
            score=self._service.points(board, standing.value),
            previous_rank=standing.previous_rank,
            gap_to_next=gap(standing.value, standing.above),
        )

    def _period(self, board: Board) -> leaderboard_pb2.Period | None:
        period = self._service.period(board)
        if period is None:
            return None
        message = leaderboard_pb2.Period(time_zone=period.time_zone)
        message.starts_at.FromDatetime(period.starts_at)
        message.ends_at.FromDatetime(period.ends_at)
        return message


def _player() -> str:
    """Return the id of the calling player or guest; empty for a service."""
    claims = caller()
    return claims.user_id if claims.may(ACCOUNTS | GUEST) else ""

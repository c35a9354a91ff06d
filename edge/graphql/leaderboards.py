"""Questions about rank: a board page by page, around a player, by ids, and by numbers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

import strawberry
from topten.leaderboard.v1 import leaderboard_pb2
from topten.leaderboard.v1 import leaderboard_service_pb2 as messages

from edge.graphql.boards import BoardInput, BoardKind, board_text
from edge.graphql.context import Info
from edge.graphql.paging import MAX_ENTRIES, PageInfo, check_size, page_info
from edge.graphql.types import LeaderboardEntry
from edge.times import time_of
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc_client import call

MAX_RADIUS = 50
MAX_PERIODS = 50
MAX_PERCENT = 100
WhichBoard = Annotated[BoardInput | None, strawberry.argument(description="By default the one of all time.")]
WhichUser = Annotated[strawberry.ID | None, strawberry.argument(description="By default who asks.")]


@strawberry.type(description="A board, as it is at this moment.")
class Board:
    key: str = strawberry.field(description="The name with its period: `weekly:2026-47`.")
    kind: BoardKind
    period: str | None = strawberry.field(description="The ISO week (`2026-47`) or the month (`2026-11`).")
    starts_at: datetime | None = strawberry.field(description="When its period starts; null where it counts all time.")
    ends_at: datetime | None
    time_zone: str | None = strawberry.field(description="The zone of the period's bounds, `UTC`.")
    next_reset_at: datetime | None = strawberry.field(
        description="When the name without its period means the next board; null if the period is over or there is none."
    )
    total_count: int = strawberry.field(description="How many players are ranked.")

    @classmethod
    def from_proto(cls, board: leaderboard_pb2.Board) -> Self:
        kind = BoardKind(board.name.partition(":")[0])
        has_period = board.HasField("period")
        return cls(
            key=board.name,
            kind=kind,
            period=board.name.rpartition(":")[2].replace("W", "") if has_period else None,
            starts_at=time_of(board.period.starts_at) if has_period else None,
            ends_at=time_of(board.period.ends_at) if has_period else None,
            time_zone=board.period.time_zone if has_period else None,
            next_reset_at=time_of(board.next_reset_at) if board.HasField("next_reset_at") else None,
            total_count=board.total_count,
        )


@strawberry.type(description="One entry of a page.")
class LeaderboardEdge:
    cursor: str = strawberry.field(
        description="Pass it as `after` for what follows; it is of this board and period alone (else CURSOR_EXPIRED)."
    )
    node: LeaderboardEntry


@strawberry.type(description="A page of a board, with what a screen shows beside it.")
class LeaderboardConnection:
    board: Board
    total_count: int = strawberry.field(description="How many players are ranked.")
    stale: bool = strawberry.field(description="True if the board can't be read now and this is its last known head.")
    me: LeaderboardEntry | None = strawberry.field(
        description="Who asks; null if not ranked, and while the board is stale also if not on this page."
    )
    edges: list[LeaderboardEdge]
    page_info: PageInfo


@strawberry.type(description="Who of those asked for is ranked, by rank, and who is not.")
class RankedEntries:
    entries: list[LeaderboardEntry]
    not_found: list[strawberry.ID]


@strawberry.type(description="A board whose period is over for good.")
class ClosedPeriod:
    board: Board
    closed_at: datetime = strawberry.field(description="Since when it does not change any more.")


@strawberry.type(description="One entry of a page.")
class ClosedPeriodEdge:
    cursor: str
    node: ClosedPeriod


@strawberry.type(description="A page of closed periods, the latest first.")
class ClosedPeriodConnection:
    edges: list[ClosedPeriodEdge]
    page_info: PageInfo


@strawberry.type
class LeaderboardQuery:
    @strawberry.field(description="A whole board, a page at a time.")
    async def leaderboard(
        self,
        info: Info,
        board: WhichBoard = None,
        first: Annotated[int, strawberry.argument(description="How many at the most, 1 to 100.")] = 10,
        after: Annotated[str | None, strawberry.argument(description="The cursor to go on from.")] = None,
    ) -> LeaderboardConnection | None:
        context = info.context
        claims, token = context.caller.require(), context.caller.token()
        check_size("first", first, MAX_ENTRIES)
        name = board_text(board)
        request = messages.ListEntriesRequest(
            board=name, page_size=first, page_token=after or "", user_id=claims.user_id
        )
        asked = call(context.upstreams.leaderboard.ListEntries, request, token=token)
        # What follows a cursor is asked for too seldom to be worth keeping.
        answer, is_old = (await asked, False) if after else await context.last.ask(("page", name, first), asked)
        stale = is_old or answer.stale
        context.stale = context.stale or stale
        edges = [
            LeaderboardEdge(cursor=listed.cursor, node=LeaderboardEntry.from_proto(listed.entry))
            for listed in answer.entries
        ]
        return LeaderboardConnection(
            board=Board.from_proto(answer.board),
            total_count=answer.board.total_count,
            stale=stale,
            me=_own(answer, claims.user_id, is_old=is_old),
            edges=edges,
            page_info=page_info(edges, more=bool(answer.next_page_token), after=after),
        )

    @strawberry.field(
        description="A player among his neighbours: `2 · radius + 1` places, shifted near an end of the board. "
        "A player who is not ranked has none and is in `notFound`."
    )
    async def around_player(
        self,
        info: Info,
        board: WhichBoard = None,
        user_id: WhichUser = None,
        radius: Annotated[int, strawberry.argument(description="How many to each side, 1 to 50.")] = 5,
    ) -> RankedEntries | None:
        context = info.context
        claims, token = context.caller.require(), context.caller.token()
        check_size("radius", radius, MAX_RADIUS)
        wanted = user_id or claims.user_id
        request = messages.GetAroundRequest(board=board_text(board), user_id=wanted, radius=radius)
        answer = await call(context.upstreams.leaderboard.GetAround, request, token=token)
        entries = [LeaderboardEntry.from_proto(entry) for entry in answer.entries]
        return RankedEntries(entries=entries, not_found=[] if entries else [strawberry.ID(wanted)])

    @strawberry.field(description="Where up to 100 players stand.")
    async def ranks(
        self,
        info: Info,
        user_ids: Annotated[list[strawberry.ID], strawberry.argument(description="1 to 100 players, each once.")],
        board: WhichBoard = None,
    ) -> RankedEntries | None:
        context = info.context
        token = context.caller.token()
        check_size("the number of userIds", len(user_ids), MAX_ENTRIES)
        request = messages.GetRanksRequest(board=board_text(board), user_ids=user_ids)
        answer = await call(context.upstreams.leaderboard.GetRanks, request, token=token)
        entries = [LeaderboardEntry.from_proto(entry) for entry in answer.entries]
        return RankedEntries(entries=entries, not_found=[strawberry.ID(user_id) for user_id in answer.not_found])

    @strawberry.field(
        description="The share of ranked players, in percent, who are at or below a player, himself included; "
        "null if he is not ranked."
    )
    async def percentile(self, info: Info, board: WhichBoard = None, user_id: WhichUser = None) -> float | None:
        context = info.context
        claims, token = context.caller.require(), context.caller.token()
        request = messages.GetPercentileRequest(board=board_text(board), user_id=user_id or claims.user_id)
        answer = await call(context.upstreams.leaderboard.GetPercentile, request, token=token)
        return answer.percentile if answer.HasField("percentile") else None

    @strawberry.field(
        description="The least score on the board whose owner has at least this percentile; null on an empty board."
    )
    async def score_for_percentile(
        self,
        info: Info,
        percentile: Annotated[float, strawberry.argument(description="Above 0 to 100.")],
        board: WhichBoard = None,
    ) -> int | None:
        context = info.context
        token = context.caller.token()
        if not 0 < percentile <= MAX_PERCENT:
            raise ServiceError(Reason.INVALID_ARGUMENT, "percentile must be above 0 to 100")
        request = messages.GetScoreForPercentileRequest(board=board_text(board), percentile=percentile)
        answer = await call(context.upstreams.leaderboard.GetScoreForPercentile, request, token=token)
        return answer.score if answer.HasField("score") else None

    @strawberry.field(description="The place that who asks would have with so many points, reached now.")
    async def rank_if_score(
        self,
        info: Info,
        points: Annotated[int, strawberry.argument(description="1 to 2 147 483 647.")],
        board: WhichBoard = None,
    ) -> int | None:
        context = info.context
        claims, token = context.caller.require(), context.caller.token()
        request = messages.GetRankIfScoreRequest(board=board_text(board), points=points, user_id=claims.user_id)
        return (await call(context.upstreams.leaderboard.GetRankIfScore, request, token=token)).rank

    @strawberry.field(
        description="The boards that there is one of at a time: all, this week's and month's, and the operator's own."
    )
    async def boards(self, info: Info) -> list[Board] | None:
        context = info.context
        token = context.caller.token()
        asked = call(context.upstreams.leaderboard.ListBoards, messages.ListBoardsRequest(), token=token)
        answer, is_old = await context.last.ask(("boards",), asked)
        context.stale = context.stale or is_old
        return [Board.from_proto(board) for board in answer.boards]

    @strawberry.field(
        description="The closed periods of a board that follows the calendar, the latest first. Each can be asked for by "
        "its period for ever."
    )
    async def closed_periods(
        self,
        info: Info,
        board: Annotated[BoardInput, strawberry.argument(description="Without its period.")],
        first: Annotated[int, strawberry.argument(description="How many at the most, 1 to 50.")] = 20,
        after: Annotated[str | None, strawberry.argument(description="The cursor to go on from.")] = None,
    ) -> ClosedPeriodConnection | None:
        context = info.context
        token = context.caller.token()
        check_size("first", first, MAX_PERIODS)
        name = board_text(board)
        request = messages.ListClosedPeriodsRequest(board=name, page_size=first, page_token=after or "")
        asked = call(context.upstreams.leaderboard.ListClosedPeriods, request, token=token)
        answer, is_old = (await asked, False) if after else await context.last.ask(("closed", name, first), asked)
        context.stale = context.stale or is_old
        edges = [
            ClosedPeriodEdge(
                cursor=period.cursor,
                node=ClosedPeriod(board=Board.from_proto(period.board), closed_at=time_of(period.closed_at)),
            )
            for period in answer.periods
        ]
        info_of_page = page_info(edges, more=bool(answer.next_page_token), after=after)
        return ClosedPeriodConnection(edges=edges, page_info=info_of_page)


def _own(answer: messages.ListEntriesResponse, user_id: str, *, is_old: bool) -> LeaderboardEntry | None:
    """The entry of who asks; an old answer was somebody else's, so it is looked for among all."""
    if not is_old:
        return LeaderboardEntry.from_proto(answer.own) if answer.HasField("own") else None
    found = (listed.entry for listed in answer.entries if listed.entry.user_id == user_id)
    return next(map(LeaderboardEntry.from_proto, found), None)

"""Queries about ranks: a board page by page, around a player, by IDs, and by numbers."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated, Self

import strawberry
from topten.leaderboard.v1 import leaderboard_pb2
from topten.leaderboard.v1 import leaderboard_service_pb2 as messages

from edge.graphql.execution.context import Context, Info
from edge.graphql.fields import Page, field, rpc
from edge.graphql.resolvers.boards import room_boards
from edge.graphql.resolvers.boards.boards import BoardInput, BoardKind, board_text
from edge.graphql.resolvers.paging import ENTRIES, MAX_ENTRIES, After, PageInfo, UpTo50, UpTo100, page_info
from edge.graphql.resolvers.types import LeaderboardEntry
from edge.rooms import is_room_board
from edge.times import time_of
from services.boards.board import parse_custom_name
from services.runtime.errors import Reason, ServiceError

MAX_RADIUS = 50
MAX_PERIODS = 50
MAX_PERCENT = 100
WhichBoard = Annotated[BoardInput | None, strawberry.argument(description="The all-time board by default.")]
WhichUser = Annotated[strawberry.ID | None, strawberry.argument(description="The caller by default.")]


@strawberry.type(description="A board at this moment.")
class Board:
    key: str = strawberry.field(description="The name with its period: `weekly:2026-47`; of a room, `room:<id>`.")
    kind: BoardKind
    name: str | None = strawberry.field(description="The name by which a CUSTOM board is defined; null for any other.")
    title: str | None = strawberry.field(
        description="What people read in place of its name, of a CUSTOM board that has a title; null for any other."
    )
    period: str | None = strawberry.field(
        description="The ISO week (`2026-47`), the month (`2026-11`), or what the calendar of a CUSTOM board has: a day or a "
        "year. Null for a board with one period."
    )
    starts_at: datetime | None = strawberry.field(description="When the period starts; null for an all-time board.")
    ends_at: datetime | None
    time_zone: str | None = strawberry.field(
        description="The time zone of the period's bounds: `UTC`, or that of a CUSTOM board."
    )
    next_reset_at: datetime | None = strawberry.field(
        description="When the name without a period starts to mean the next board; null for an all-time board and for a "
        "period that is over."
    )
    total_count: int = strawberry.field(description="The number of ranked players.")
    frozen_since: datetime | None = strawberry.field(
        description="Since when the board is frozen: until its period is over, everything read from it is of that moment. "
        "Null if it is not."
    )
    stale: bool = strawberry.field(
        description="True if what was read of the board may be behind, or players may be missing while it is being filled."
    )
    ranks_teams: bool = strawberry.field(
        description="Whether its entries are teams: `userId` is the ID of a group and `username` its title."
    )

    @classmethod
    def from_proto(cls, board: leaderboard_pb2.Board) -> Self:
        kind, _, qualifier = board.name.partition(":")
        has_period = board.HasField("period")
        return cls(
            key=board.name,
            kind=BoardKind(kind),
            name=qualifier.partition(":")[0] if kind == BoardKind.CUSTOM.value else None,
            title=board.title or None,
            period=_period_in(board.name),
            starts_at=time_of(board.period.starts_at) if has_period else None,
            ends_at=time_of(board.period.ends_at) if has_period else None,
            time_zone=board.period.time_zone if has_period else None,
            next_reset_at=time_of(board.next_reset_at) if board.HasField("next_reset_at") else None,
            total_count=board.total_count,
            frozen_since=time_of(board.frozen_since) if board.HasField("frozen_since") else None,
            stale=board.stale,
            ranks_teams=board.ranks_teams,
        )


@strawberry.type(description="An entry of a page.")
class LeaderboardEdge:
    cursor: str = strawberry.field(
        description="Pass it as `after` to continue behind this entry. It is valid for this board and period only; "
        "otherwise the error is CURSOR_EXPIRED."
    )
    node: LeaderboardEntry


@strawberry.type(description="A page of a board, with what a screen shows beside it.")
class LeaderboardConnection:
    board: Board
    total_count: int = strawberry.field(description="The number of ranked players.")
    stale: bool = strawberry.field(
        description="True if the board cannot be read at the moment and this is its last known state, or while it is being "
        "filled, so that players may be missing."
    )
    me: LeaderboardEntry | None = strawberry.field(
        description="The caller's entry, or that of their best-placed team; null if the caller is not ranked or holds a board "
        "token, and on a stale board if not on this page."
    )
    edges: list[LeaderboardEdge] = field(size=1)  # as many as the page has
    page_info: PageInfo


@strawberry.type(description="The ranked players of a request, in rank order, and those who are not ranked.")
class RankedEntries:
    entries: list[LeaderboardEntry] = field(size=2)  # a radius has two sides
    not_found: list[strawberry.ID]


@strawberry.type(description="A board whose period is over.")
class ClosedPeriod:
    board: Board
    closed_at: datetime = strawberry.field(description="When it became final.")


@strawberry.type(description="An entry of a page.")
class ClosedPeriodEdge:
    cursor: str
    node: ClosedPeriod


@strawberry.type(description="A page of closed periods, latest first.")
class ClosedPeriodConnection:
    edges: list[ClosedPeriodEdge] = field(size=1)
    page_info: PageInfo


@strawberry.type(
    description="A proof of a player's place on a closed board. `topten verify-proof` checks its JSON, without the service."
)
class Proof:
    board: str = strawberry.field(description="The name with its period: `weekly:2026-47`.")
    user_id: strawberry.ID
    rank: int = strawberry.field(description="The rank, from 1. The leaf's place in the tree is one less.")
    score: int
    salt: str | None = strawberry.field(
        description="The player's random salt, 32 hexadecimal digits; null once the player is erased."
    )
    digest: str = strawberry.field(
        description="What stands for the player in the leaf, in hexadecimal digits: SHA-256 of `salt` followed by `userId`."
    )
    path: list[str] = strawberry.field(
        description="The siblings from the leaf to the root, in base64: at most 20 on a board with a million players."
    )
    head: str = strawberry.field(
        description="The signed head, a JWS: board, period, number of players and root, with the public key in its header."
    )

    @classmethod
    def from_proto(cls, proof: leaderboard_pb2.Proof) -> Self:
        return cls(
            board=proof.board,
            user_id=strawberry.ID(proof.user_id),
            rank=proof.rank,
            score=proof.score,
            salt=proof.salt.hex() or None,
            digest=proof.digest.hex(),
            path=[base64.b64encode(sibling).decode() for sibling in proof.path],
            head=proof.head,
        )


@strawberry.type
class LeaderboardQuery:
    @field(
        access=rpc("leaderboard.ListEntries"),
        cost=30,
        size=ENTRIES,
        board_tokens=True,
        description="All entries of a board, one page at a time.",
    )
    async def leaderboard(
        self, info: Info, board: WhichBoard = None, first: UpTo100 = 10, after: After = None
    ) -> LeaderboardConnection | None:
        context = info.context
        name = await context.board(board_text(board, rooms=True))
        user_id = "" if context.caller.board else context.caller.require().user_id
        request = messages.ListEntriesRequest(board=name, page_size=first, page_token=after or "", user_id=user_id)
        page, is_old = await _page(context, request)
        context.note_board(page.board)
        return LeaderboardConnection(
            board=Board.from_proto(page.board),
            total_count=page.board.total_count,
            stale=is_old or page.stale,
            me=_own_entry(page, user_id, is_old=is_old),
            edges=[
                LeaderboardEdge(cursor=listed.cursor, node=LeaderboardEntry.from_proto(listed.entry))
                for listed in page.entries
            ],
            page_info=page_info([listed.cursor for listed in page.entries], page.next_page_token, after),
        )

    @field(
        access=rpc("leaderboard.GetAround"),
        cost=30,
        size=Page("radius", MAX_RADIUS),
        description="A player among their neighbors: `2 · radius + 1` entries, shifted near either end of the board. "
        "A player who is not ranked has no entries and is in `notFound`.",
    )
    async def around_player(
        self,
        info: Info,
        board: WhichBoard = None,
        user_id: WhichUser = None,
        radius: Annotated[int, strawberry.argument(description="Number of entries on each side, 1 to 50.")] = 5,
    ) -> RankedEntries | None:
        context = info.context
        wanted = user_id or context.caller.require().user_id
        name = board_text(board, rooms=True)
        request = messages.GetAroundRequest(board=name, user_id=wanted, radius=radius)
        if is_room_board(name):
            response = await room_boards.around(context, request)
        elif context.hub.is_same_for_all(name):
            response = await context.upstreams.shared_reads.around(request)
        else:
            response = await context.call(context.upstreams.leaderboard.GetAround, request)
        context.note_board(response.board)
        entries = [LeaderboardEntry.from_proto(entry) for entry in response.entries]
        return RankedEntries(entries=entries, not_found=[] if entries else [strawberry.ID(wanted)])

    @field(access=rpc("leaderboard.GetRanks"), cost=60, size=50, description="The entries of up to 100 players.")
    async def ranks(
        self,
        info: Info,
        user_ids: Annotated[list[strawberry.ID], strawberry.argument(description="1 to 100 players, each once.")],
        board: WhichBoard = None,
    ) -> RankedEntries | None:
        context = info.context
        if not 1 <= len(user_ids) <= MAX_ENTRIES:
            message = f"userIds has {len(user_ids)} entries. It must have between 1 and {MAX_ENTRIES}."
            raise ServiceError(Reason.INVALID_ARGUMENT, message)
        name = board_text(board, rooms=True)
        request = messages.GetRanksRequest(board=name, user_ids=user_ids)
        if is_room_board(name):
            response = await room_boards.ranks(context, request)
        elif context.hub.is_same_for_all(name):
            response = await context.upstreams.shared_reads.ranks(request)
        else:
            response = await context.call(context.upstreams.leaderboard.GetRanks, request)
        context.note_board(response)
        return RankedEntries(
            entries=[LeaderboardEntry.from_proto(entry) for entry in response.entries],
            not_found=[strawberry.ID(user_id) for user_id in response.not_found],
        )

    @field(
        access=rpc("leaderboard.GetPercentile"),
        cost=30,
        description="The percentage of ranked players whose score is at most this player's, including the player; null "
        "if the player is not ranked.",
    )
    async def percentile(self, info: Info, board: WhichBoard = None, user_id: WhichUser = None) -> float | None:
        context = info.context
        wanted = user_id or context.caller.require().user_id
        request = messages.GetPercentileRequest(board=board_text(board), user_id=wanted)
        response = await context.call(context.upstreams.leaderboard.GetPercentile, request)
        context.note_board(response)
        return response.percentile if response.HasField("percentile") else None

    @field(
        access=rpc("leaderboard.GetScoreForPercentile"),
        cost=30,
        description="The lowest score on the board with at least this percentile; null on an empty board.",
    )
    async def score_for_percentile(
        self,
        info: Info,
        percentile: Annotated[float, strawberry.argument(description="Greater than 0, up to 100.")],
        board: WhichBoard = None,
    ) -> int | None:
        context = info.context
        if not 0 < percentile <= MAX_PERCENT:
            message = f"percentile is {percentile:g}. It must be greater than 0 and at most {MAX_PERCENT}."
            raise ServiceError(Reason.INVALID_ARGUMENT, message)
        request = messages.GetScoreForPercentileRequest(board=board_text(board), percentile=percentile)
        response = await context.call(context.upstreams.leaderboard.GetScoreForPercentile, request)
        context.note_board(response)
        return response.score if response.HasField("score") else None

    @field(
        access=rpc("leaderboard.GetRankIfScore"),
        cost=30,
        description="The rank that the caller would have with this many points, reached now.",
    )
    async def rank_if_score(
        self,
        info: Info,
        points: Annotated[int, strawberry.argument(description="1 to 2 147 483 647.")],
        board: WhichBoard = None,
    ) -> int | None:
        context = info.context
        user_id = context.caller.require().user_id
        request = messages.GetRankIfScoreRequest(board=board_text(board), points=points, user_id=user_id)
        response = await context.call(context.upstreams.leaderboard.GetRankIfScore, request)
        context.note_board(response)
        return response.rank

    @field(
        access=rpc("leaderboard.ListBoards"),
        cost=60,
        size=10,
        description="The boards of which there is one at a time: all-time, this week's, this month's, and the operator's "
        "custom boards.",
    )
    async def boards(self, info: Info) -> list[Board] | None:
        context = info.context
        call = context.call(context.upstreams.leaderboard.ListBoards, messages.ListBoardsRequest())
        claims = context.caller.require()
        # What decides which boards are the caller's to read.
        audience = ("boards", claims.country, *sorted(claims.permissions))
        response, _ = await context.call_or_last(audience, call)
        return [Board.from_proto(board) for board in response.boards]

    @field(
        access=rpc("leaderboard.ListClosedPeriods"),
        cost=30,
        size=Page("first", MAX_PERIODS),
        description="The closed periods of a weekly, monthly or custom board, latest first. Each can be read by its "
        "period permanently.",
    )
    async def closed_periods(
        self,
        info: Info,
        board: Annotated[BoardInput, strawberry.argument(description="A board without its period.")],
        first: UpTo50 = 20,
        after: After = None,
    ) -> ClosedPeriodConnection | None:
        context = info.context
        name = await context.board(board_text(board))
        request = messages.ListClosedPeriodsRequest(board=name, page_size=first, page_token=after or "")
        call = context.call(context.upstreams.leaderboard.ListClosedPeriods, request)
        page, _ = (await call, False) if after else await context.call_or_last(("closed", name, first), call)
        return ClosedPeriodConnection(
            edges=[
                ClosedPeriodEdge(
                    cursor=period.cursor,
                    node=ClosedPeriod(board=Board.from_proto(period.board), closed_at=time_of(period.closed_at)),
                )
                for period in page.periods
            ],
            page_info=page_info([period.cursor for period in page.periods], page.next_page_token, after),
        )

    @field(
        access=rpc("leaderboard.GetProof"),
        cost=60,
        description="The proof of a player's place on a closed board. UNAVAILABLE until the board is sealed, soon after it "
        "is closed or resealed.",
    )
    async def proof(
        self,
        info: Info,
        board: Annotated[BoardInput, strawberry.argument(description="A board with its closed period.")],
        user_id: WhichUser = None,
    ) -> Proof | None:
        context = info.context
        wanted = user_id or context.caller.require().user_id
        request = messages.GetProofRequest(board=board_text(board), user_id=wanted)
        return Proof.from_proto((await context.call(context.upstreams.leaderboard.GetProof, request)).proof)


async def _page(context: Context, request: messages.ListEntriesRequest) -> tuple[messages.ListEntriesResponse, bool]:
    """Return a page of a board, and whether it is the last known one because the service is away."""
    if is_room_board(request.board):
        return await room_boards.page(context, request), False
    call = context.call_leaderboard(context.upstreams.leaderboard.ListEntries, request)
    # Pages other than the first are requested too seldom to be worth keeping.
    if request.page_token:
        return await call, False
    return await context.call_or_last(("page", request.board, request.page_size), call)


def _period_in(name: str) -> str | None:
    """Return the period in the full name of a board; None if it has none, such as a board of one range of time."""
    kind, _, qualifier = name.partition(":")
    custom = parse_custom_name(qualifier) if kind == "custom" else None
    if custom is not None:
        return custom.period.replace("W", "") or None
    return qualifier if kind in ("weekly", "monthly") else None


def _own_entry(page: messages.ListEntriesResponse, user_id: str, *, is_old: bool) -> LeaderboardEntry | None:
    """The caller's entry. An old page was another caller's, so that only its entries can be searched for it."""
    if not is_old:
        return LeaderboardEntry.from_proto(page.own) if page.HasField("own") else None
    found = (listed.entry for listed in page.entries if listed.entry.user_id == user_id)
    return next(map(LeaderboardEntry.from_proto, found), None)

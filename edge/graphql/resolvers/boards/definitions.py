"""Boards as data: what a board counts, and the acts that define it."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Self

import strawberry
from topten.board.v1 import board_service_pb2 as messages
from topten.board.v1.board_pb2 import BoardDefinition as BoardDefinitionMessage
from topten.board.v1.board_pb2 import DefinedBoard as DefinedBoardMessage

from edge.graphql.execution.context import Info
from edge.graphql.fields import field, rpc
from edge.times import time_of
from services.runtime.int32 import int32

TYPICAL_SOURCES = 3
TYPICAL_BOARDS = 50


@strawberry.enum(
    description="How a player's actions become one score: the SUM of points, the COUNT, or, for action types alone, the BEST "
    "or the LATEST action."
)
class BoardAggregate(Enum):
    SUM = BoardDefinitionMessage.SUM
    BEST = BoardDefinitionMessage.BEST
    LATEST = BoardDefinitionMessage.LATEST
    COUNT = BoardDefinitionMessage.COUNT


@strawberry.enum(
    description="Which scores are better: DESC the higher ones, ASC the lower ones, such as times or strokes."
)
class BoardOrder(Enum):
    DESC = BoardDefinitionMessage.DESC
    ASC = BoardDefinitionMessage.ASC


@strawberry.enum(
    description="BUILDING boards are being filled from what players did before, and are stale. An ARCHIVED board keeps its "
    "last state."
)
class BoardState(Enum):
    BUILDING = DefinedBoardMessage.BUILDING
    READY = DefinedBoardMessage.READY
    ARCHIVED = DefinedBoardMessage.ARCHIVED


@strawberry.enum(
    description="Who reads a board: everybody (PUBLIC), accounts of players whom its segment includes (MEMBERS; of a "
    "group, those who are in it), or MODERATORS. Moderators, admins and services read all. For everybody else it does not "
    "exist."
)
class BoardVisibility(Enum):
    PUBLIC = BoardDefinitionMessage.PUBLIC
    MEMBERS = BoardDefinitionMessage.MEMBERS
    MODERATORS = BoardDefinitionMessage.MODERATORS


@strawberry.enum(
    description="Which ranks equal points have: their own (UNIQUE, 1 2 3), or the same, with a gap (COMPETITION, 1 1 3) or "
    "without (DENSE, 1 1 2). The order is always that of UNIQUE."
)
class BoardRanks(Enum):
    UNIQUE = BoardDefinitionMessage.UNIQUE
    COMPETITION = BoardDefinitionMessage.COMPETITION
    DENSE = BoardDefinitionMessage.DENSE


@strawberry.type(description="A board that a team or the operator defined, read as CUSTOM with its name.")
class DefinedBoard:
    name: str
    title: str
    sources: list[str] = field(
        size=TYPICAL_SOURCES, description="What is counted: `all`, `quiz:<id>`, `action:<type>`, `tag:<tag>`."
    )
    aggregate: BoardAggregate
    order: BoardOrder
    period: str = strawberry.field(description="`all`, `daily`, `weekly`, `monthly`, `yearly`, `every:…` or `range:…`.")
    time_zone: str = strawberry.field(description="The IANA time zone in which days begin.")
    segment: str = strawberry.field(
        description="Who stands on it: `all`, `country:VN,TH`, `each-country`, `group:<id>`, or teams: `teams:sum`, "
        "`teams:mean`, `teams:best:5`."
    )
    visibility: BoardVisibility
    size: int | None = strawberry.field(description="How many places the board has; null for no limit.")
    ranks: BoardRanks
    freezes_before: int | None = strawberry.field(
        description="How many seconds before the end of its period the board freezes; null for never."
    )
    state: BoardState
    progress_percent: int = strawberry.field(description="The share of players who are on it while it is BUILDING.")
    version: int = strawberry.field(description="Counts the changes of the definition, from 1.")
    declared: bool = strawberry.field(description="Whether the operator's settings declare it, and alone change it.")
    archived_at: datetime | None

    @classmethod
    def from_proto(cls, board: DefinedBoardMessage) -> Self:
        definition = board.definition
        return cls(
            name=definition.name,
            title=definition.title,
            sources=list(definition.sources),
            aggregate=BoardAggregate(definition.aggregate),
            order=BoardOrder(definition.order),
            period=definition.period,
            time_zone=definition.time_zone,
            segment=definition.segment,
            visibility=BoardVisibility(definition.visibility),
            size=definition.size or None,
            ranks=BoardRanks(definition.ranks),
            freezes_before=int32(definition.freezes_before.seconds) or None,
            state=BoardState(board.state),
            progress_percent=board.progress_percent,
            version=board.version,
            declared=board.declared,
            archived_at=time_of(board.archived_at) if board.HasField("archived_at") else None,
        )


@strawberry.type(description="The effect of a change of a board.")
class BoardChange:
    board: DefinedBoard
    changed: bool = strawberry.field(description="False if it was the same before.")


@strawberry.input(description="The definition of a board.")
class BoardDefinitionInput:
    name: str = strawberry.field(
        description="A lower-case letter, then up to 31 lower-case letters, digits and hyphens."
    )
    title: str = strawberry.field(default="", description="For people, up to 100 characters.")
    sources: list[str] = strawberry.field(
        default_factory=lambda: ["all"],
        description="What is counted: 1 to 20 of `quiz:<id>`, `action:<type>` and `tag:<tag>`, or `all` alone.",
    )
    aggregate: BoardAggregate | None = strawberry.field(default=None, description="SUM by default.")
    order: BoardOrder | None = strawberry.field(default=None, description="DESC by default.")
    period: str = strawberry.field(
        default="all",
        description="When the count starts again: `all` (never), `daily`, `weekly` (ISO weeks), `monthly`, `yearly`, "
        "`every:<days>:<first day>`; or once, `range:<start>/<end>`, each a date or a time with its offset.",
    )
    time_zone: str = strawberry.field(default="UTC", description="The IANA time zone in which days begin.")
    segment: str = strawberry.field(
        default="all",
        description="Who stands on it: `all`, `country:VN,TH`, `each-country` for one board a country, or `group:<id>` for "
        "the members of an existing group, which cannot be changed later. Or teams, the groups that their owners enter, with "
        "the points of their members: the sum of all (`teams:sum`, not for the order ASC), the mean of all who have points, "
        "rounded down (`teams:mean`), or the sum of the best ones, 1 to 500 (`teams:best:5`). A team with fewer has the sum "
        "of those; if the order is ASC, it is not ranked.",
    )
    visibility: BoardVisibility | None = strawberry.field(default=None, description="PUBLIC by default.")
    size: int | None = strawberry.field(
        default=None,
        description="How many places the board has, up to 1 000 000: players behind them are not ranked. No limit by "
        "default.",
    )
    ranks: BoardRanks | None = strawberry.field(
        default=None, description="UNIQUE by default. DENSE needs a size of up to 1000."
    )
    freezes_before: int | None = strawberry.field(
        default=None,
        description="How many seconds before the end of its period the board freezes: until the period is over, everything "
        "that is read shows what was counted of the time before. Never by default.",
    )

    def to_proto(self) -> BoardDefinitionMessage:
        """Return the definition."""
        message = BoardDefinitionMessage(
            name=self.name,
            title=self.title,
            sources=self.sources,
            aggregate=(self.aggregate or BoardAggregate.SUM).value,
            order=(self.order or BoardOrder.DESC).value,
            period=self.period,
            time_zone=self.time_zone,
            segment=self.segment,
            visibility=(self.visibility or BoardVisibility.PUBLIC).value,
            size=self.size or 0,
            ranks=(self.ranks or BoardRanks.UNIQUE).value,
        )
        if self.freezes_before:
            message.freezes_before.seconds = self.freezes_before
        return message


@strawberry.type
class BoardDefinitionQuery:
    @field(
        access=rpc("board.ListBoards"),
        cost=30,
        size=TYPICAL_BOARDS,
        description="All boards that teams or the operator defined and the caller may read, by name, archived ones included; "
        "at most 1032.",
    )
    async def defined_boards(self, info: Info) -> list[DefinedBoard] | None:
        context = info.context
        response = await context.call(context.upstreams.board.ListBoards, messages.ListBoardsRequest())
        return [DefinedBoard.from_proto(board) for board in response.boards]


@strawberry.type
class BoardDefinitionMutation:
    @field(
        access=rpc("board.PutBoard"),
        cost=200,
        rate="write",
        description="Defines a board, or changes title, sources, aggregate, countries, visibility, size, ranks, freeze or "
        "how teams score of one with the same name. What players did before is on it once it is READY. For admins.",
    )
    async def put_board(self, info: Info, input: BoardDefinitionInput) -> BoardChange | None:
        context = info.context
        request = messages.PutBoardRequest(definition=input.to_proto())
        response = await context.call(context.upstreams.board.PutBoard, request)
        return BoardChange(board=DefinedBoard.from_proto(response.board), changed=response.changed)

    @field(
        access=rpc("board.ArchiveBoard"),
        cost=200,
        rate="write",
        description="Ends the count of a board. Its last state stays readable. For admins.",
    )
    async def archive_board(self, info: Info, name: str) -> BoardChange | None:
        context = info.context
        response = await context.call(context.upstreams.board.ArchiveBoard, messages.ArchiveBoardRequest(name=name))
        return BoardChange(board=DefinedBoard.from_proto(response.board), changed=response.changed)

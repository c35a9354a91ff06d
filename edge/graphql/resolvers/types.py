"""The types of the schema. `from_proto` is the only place that knows a type and its message."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, Self

import strawberry
from strawberry.scalars import JSON
from topten.action.v1 import action_pb2
from topten.identity.v1 import identity_pb2
from topten.leaderboard.v1 import leaderboard_pb2, leaderboard_service_pb2
from topten.quiz.v1 import quiz_service_pb2
from topten.score.v1 import confirmation_pb2
from topten.score.v1.score_service_pb2 import GetScoreRequest

from edge.graphql.execution.context import Info
from edge.graphql.fields import field
from edge.graphql.resolvers.boards import room_boards
from edge.graphql.resolvers.boards.boards import BoardInput, board_text
from edge.rooms import is_room_board
from edge.times import time_of
from services.runtime.auth.access import HOSTS, PLAYER


@strawberry.type(description="A block of a player: the reason, and until when.")
class Block:
    reason: str
    blocked_at: datetime
    expires_at: datetime | None = strawberry.field(description="When it ends by itself; null if it does not end.")

    @classmethod
    def from_proto(cls, block: identity_pb2.Block) -> Self:
        return cls(
            reason=block.reason,
            blocked_at=time_of(block.blocked_at),
            expires_at=time_of(block.expires_at) if block.HasField("expires_at") else None,
        )


@strawberry.type(description="One of the sanctions that block a player. Each is lifted by its own ID.")
class Sanction:
    sanction_id: strawberry.ID
    reason: str
    actor: str = strawberry.field(description="Who imposed it: a user ID or `service:<name>`; empty if unknown.")
    automatic: bool = strawberry.field(description="True if a fair-play rule imposed it.")
    admin_only: bool = strawberry.field(description="True if only admins lift it.")
    blocked_at: datetime
    expires_at: datetime | None = strawberry.field(description="When it ends by itself; null if it does not end.")

    @field(cost=10, description="The account of `actor`; null if it is a service, or no longer exists.")
    async def actor_user(self, info: Info) -> User | None:
        return await account(info, self.actor)

    @classmethod
    def from_proto(cls, sanction: identity_pb2.Sanction) -> Self:
        return cls(
            sanction_id=strawberry.ID(sanction.sanction_id),
            reason=sanction.reason,
            actor=sanction.actor,
            automatic=sanction.automatic,
            admin_only=sanction.admin_only,
            blocked_at=time_of(sanction.blocked_at),
            expires_at=time_of(sanction.expires_at) if sanction.HasField("expires_at") else None,
        )


@strawberry.type(description="An account, as far as the caller may see it.")
class User:
    user_id: strawberry.ID = strawberry.field(description="The player's ID, which never changes.")
    username: str = strawberry.field(description="The display name.")
    country: str | None = strawberry.field(description="ISO 3166-1 alpha-2; null if the account has none.")
    avatar_url: str | None = strawberry.field(
        description="The https address of the player's picture at their own system; null if there is none. Its host sees who "
        "loads it."
    )
    guest_until: datetime | None = strawberry.field(
        description="When a guest ends, who has no password and a name that others may have; null for every other account."
    )
    roles: list[str] = strawberry.field(description="The account's roles; empty if the caller may not see them.")
    block: Block | None = strawberry.field(
        description="The strongest sanction, while the account is blocked and if the caller may see it."
    )
    sanctions: list[Sanction] = field(
        size=1, description="The sanctions in force, strongest first; empty if the caller is no moderator."
    )

    @classmethod
    def from_proto(cls, user: identity_pb2.User) -> Self:
        return cls(
            user_id=strawberry.ID(user.user_id),
            username=user.username,
            country=user.country or None,
            avatar_url=user.avatar_url or None,
            guest_until=time_of(user.guest_until) if user.HasField("guest_until") else None,
            roles=list(user.roles),
            block=Block.from_proto(user.block) if user.HasField("block") else None,
            sanctions=[Sanction.from_proto(sanction) for sanction in user.sanctions],
        )


async def account(info: Info, user_id: str | None) -> User | None:
    """Return an account; None without one, and for an actor that is a service. One call reads all of a response."""
    if not user_id or user_id.startswith("service:"):
        return None
    user = await info.context.users.load(user_id)
    return None if user is None else User.from_proto(user)


@strawberry.type(
    description="A signed-in session. In cookie mode the tokens are empty, since the browser has them in cookies."
)
class Session:
    access_token: str = strawberry.field(description="For `Authorization: Bearer`.")
    refresh_token: str = strawberry.field(description="Exchange it once for the next tokens of the session.")
    expires_in: int = strawberry.field(description="Lifetime of the access token, in seconds.")
    user: User

    @classmethod
    def from_proto(cls, session: identity_pb2.Session, *, with_tokens: bool) -> Self:
        return cls(
            access_token=session.access_token if with_tokens else "",
            refresh_token=session.refresh_token if with_tokens else "",
            expires_in=session.expires_in,
            user=User.from_proto(session.user),
        )


@strawberry.type(
    description="A token that opens the leaderboard stream and nothing else, for an EventSource of another origin."
)
class StreamToken:
    token: str = strawberry.field(description="The value of `token` in the URL of the stream.")
    expires_in: int = strawberry.field(
        description="Seconds until the session ends, and the token with it; for a player of another issuer, until "
        "their access token expires."
    )


@strawberry.enum(
    description="Until when the response to a submission waits. RECORDED: the action will count. COUNTED: it is counted and "
    "every board shows it; if that takes too long, `total` and `standings` are null and the action is still on its way."
)
class Wait(Enum):
    RECORDED = confirmation_pb2.RECORDED
    COUNTED = confirmation_pb2.COUNTED


@strawberry.type(description="The player's place on a board after the action was counted.")
class BoardStanding:
    board: str = strawberry.field(description="The board as text, as the input names it.")
    rank: int | None = strawberry.field(description="The rank, from 1; null if the player is not ranked.")
    score: int = strawberry.field(description="The player's score on this board.")

    @classmethod
    def from_proto(cls, standing: confirmation_pb2.BoardStanding) -> Self:
        rank = standing.rank if standing.HasField("rank") else None
        return cls(board=standing.board, rank=rank, score=standing.score)


def total_of(result: quiz_service_pb2.SubmitActionResponse | action_pb2.ActionResult) -> int | None:
    """Return the total after an action; None unless it is known to be counted."""
    return result.total if result.HasField("total") else None


def standings_of(
    result: quiz_service_pb2.SubmitActionResponse | action_pb2.ActionResult, boards: int
) -> list[BoardStanding] | None:
    """Return the standings after an action on as many boards as were named; None unless all are known."""
    if not result.HasField("total") or len(result.standings) != boards:
        return None
    return [BoardStanding.from_proto(standing) for standing in result.standings]


@strawberry.type(description="A player's entry on a board.")
class LeaderboardEntry:
    user_id: strawberry.ID = strawberry.field(
        description="The ID of the player; on a board of teams, of the team's group, and on that of a room, of the seat."
    )
    username: str = strawberry.field(
        description="The name of the player, on the board of a room that of the seat, or the title of the team's group."
    )
    score: int = strawberry.field(description="The score on this board.")
    rank: int = strawberry.field(
        description="The rank, from 1. No two players share a rank, but on boards that are defined otherwise, and in rooms."
    )
    country: str | None
    previous_rank: int | None = strawberry.field(description="The rank before the player's last counted action.")
    gap_to_next: int | None = strawberry.field(
        description="The points to the place above: 0 on a tie, null for the leader."
    )
    metadata: JSON | None = strawberry.field(
        description="The metadata of the action with which the score was reached, names with texts, if its type shows it on "
        "boards; null for any other."
    )

    # One call for all of a page, but each waits for it by itself.
    @field(cost=10, description="The account; null if it no longer exists, for a team, and for a seat.")
    async def user(self, info: Info) -> User | None:
        return await account(info, self.user_id)

    @classmethod
    def from_proto(cls, entry: leaderboard_pb2.Entry) -> Self:
        return cls(
            user_id=strawberry.ID(entry.user_id),
            username=entry.username,
            score=entry.score,
            rank=entry.rank,
            country=entry.country or None,
            previous_rank=entry.previous_rank if entry.HasField("previous_rank") else None,
            gap_to_next=entry.gap_to_next if entry.HasField("gap_to_next") else None,
            metadata=JSON(dict(entry.metadata)) if entry.metadata else None,
        )


@strawberry.type(description="The calling player.")
class Me:
    user_id: strawberry.ID
    username: str
    country: str | None
    roles: list[str]

    @field(description="Whether `openRoom` is open to the caller.")
    def may_host_rooms(self, info: Info) -> bool:
        context = info.context
        return context.caller.require().may(HOSTS | PLAYER if context.players_host_rooms else HOSTS)

    @field(cost=30, description="The all-time score.")
    async def score(self, info: Info) -> int | None:
        context = info.context
        response = await context.call(context.upstreams.score.GetScore, GetScoreRequest(user_id=self.user_id))
        return response.score.total

    @field(cost=30, description="The rank on a board; null if the player is not ranked on it.")
    async def rank(
        self,
        info: Info,
        board: Annotated[BoardInput | None, strawberry.argument(description="The all-time board by default.")] = None,
    ) -> int | None:
        context = info.context
        name = board_text(board, rooms=True)
        request = leaderboard_service_pb2.GetRanksRequest(board=name, user_ids=[self.user_id])
        if is_room_board(name):
            response = await room_boards.ranks(context, request)
        else:
            response = await context.call(context.upstreams.leaderboard.GetRanks, request)
        context.note_board(response)
        return response.entries[0].rank if response.entries else None

"""Board tokens: read-only access to one board for anybody who has the link."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Self
from urllib.parse import quote

import strawberry
from topten.identity.v1 import identity_service_pb2 as identity

from edge.graphql.execution.context import Info
from edge.graphql.fields import field, rpc
from edge.graphql.resolvers.boards.boards import board_text
from edge.graphql.resolvers.boards.leaderboards import WhichBoard
from edge.times import time_of

TYPICAL_TOKENS: Final = 20


@strawberry.type(description="A token that reads one board and nothing else, without the token itself.")
class BoardToken:
    id: strawberry.ID
    board: str = strawberry.field(description="The board as text: `weekly`, `country:VN`.")
    issued_by: str = strawberry.field(description="The user ID of the moderator or admin who issued it.")
    issued_at: datetime
    expires_at: datetime

    @classmethod
    def from_proto(cls, token: identity.BoardToken) -> Self:
        return cls(
            id=strawberry.ID(token.token_id),
            board=token.board,
            issued_by=token.issued_by,
            issued_at=time_of(token.issued_at),
            expires_at=time_of(token.expires_at),
        )


@strawberry.type(description="A new board token. It cannot be read again.")
class IssuedBoardToken:
    id: strawberry.ID = strawberry.field(description="For `revokeBoardToken`.")
    token: str = strawberry.field(
        description="The value of `token` in the URL of the stream, of `getLeaderboard` and of `leaderboard`."
    )
    url: str = strawberry.field(
        description="The board on a big screen, without a sign-in. With `view=overlay` it is for a video, with "
        "`view=embed` for another page."
    )
    expires_at: datetime


@strawberry.type
class BoardTokenQuery:
    @field(
        access=rpc("identity.ListBoardTokens"),
        cost=30,
        size=TYPICAL_TOKENS,
        description="The board tokens that have neither expired nor been revoked, of all issuers, latest first; at "
        "most 1000. For moderators.",
    )
    async def board_tokens(self, info: Info) -> list[BoardToken] | None:
        context = info.context
        response = await context.call(context.upstreams.identity.ListBoardTokens, identity.ListBoardTokensRequest())
        return [BoardToken.from_proto(token) for token in response.board_tokens]


@strawberry.type
class BoardTokenMutation:
    @field(
        access=rpc("identity.IssueBoardToken"),
        cost=200,
        rate="write",
        description="Issues a token that lets anybody read one board, and nothing else, without an account: for a screen "
        "in a hall, a video or another page. It does not end with the session. The board must be public. For moderators.",
    )
    async def board_token(
        self,
        info: Info,
        board: WhichBoard = None,
        expires_at: Annotated[
            datetime | None,
            strawberry.argument(description="In the future, at most 366 days ahead; in 30 days by default."),
        ] = None,
    ) -> IssuedBoardToken | None:
        context = info.context
        name = (await context.boards.find(board_text(board), context.caller.require().user_id)).name
        await context.boards.require_public(name)
        request = identity.IssueBoardTokenRequest(board=name)
        if expires_at is not None:
            request.expires_at.FromDatetime(expires_at)
        response = await context.call(context.upstreams.identity.IssueBoardToken, request)
        issued = response.board_token
        return IssuedBoardToken(
            id=strawberry.ID(issued.token_id),
            token=response.token,
            # Behind `#`, which browsers send to no server: no proxy logs it.
            url=f"{context.origin}/b/{quote(name, safe='')}?view=kiosk#token={response.token}",
            expires_at=time_of(issued.expires_at),
        )

    @field(
        access=rpc("identity.RevokeBoardToken"),
        cost=200,
        rate="write",
        description="Ends a board token of any issuer; its open streams end within seconds. True if it had neither "
        "expired nor been revoked before. For moderators.",
    )
    async def revoke_board_token(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The ID of the token.")]
    ) -> bool | None:
        context = info.context
        request = identity.RevokeBoardTokenRequest(token_id=id)
        return (await context.call(context.upstreams.identity.RevokeBoardToken, request)).revoked

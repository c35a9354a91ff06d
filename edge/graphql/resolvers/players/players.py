"""Players as moderators see them: found by name, their sessions, and who changed their accounts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Self

import strawberry
from topten.identity.v1 import identity_service_pb2 as identity
from topten.identity.v1.identity_service_pb2 import GetUsersRequest

from edge.graphql.execution.context import Info
from edge.graphql.fields import field, rpc
from edge.graphql.resolvers.paging import ENTRIES, After, PageInfo, UpTo100, page_info
from edge.graphql.resolvers.types import User, account
from edge.times import time_of

TYPICAL_SESSIONS: Final = 3
TYPICAL_CHANGES: Final = 10
UserIdArgument = Annotated[strawberry.ID, strawberry.argument(description="The player's ID.")]


@strawberry.type(description="An account of a page.")
class UserEdge:
    cursor: str = strawberry.field(description="Pass it as `after` to continue behind this account.")
    node: User


@strawberry.type(description="A page of accounts, by name.")
class UserConnection:
    edges: list[UserEdge] = field(size=1)  # as many as the page has
    page_info: PageInfo


@strawberry.type(description="An open session of a player, without its tokens.")
class PlayerSession:
    session_id: strawberry.ID = strawberry.field(description="For `endSessions`. It is no credential.")
    opened_at: datetime = strawberry.field(description="When the player signed in.")
    renewed_at: datetime = strawberry.field(description="When its tokens were last renewed.")
    expires_at: datetime = strawberry.field(description="When it ends if it is not renewed.")

    @classmethod
    def from_proto(cls, session: identity.OpenSession) -> Self:
        return cls(
            session_id=strawberry.ID(session.session_id),
            opened_at=time_of(session.opened_at),
            renewed_at=time_of(session.renewed_at),
            expires_at=time_of(session.expires_at),
        )


@strawberry.type(description="One change of an account, with who made it.")
class AccountChange:
    change_id: strawberry.ID = strawberry.field(description="Also the ID of the sanction that a block added.")
    kind: str = strawberry.field(
        description="`PLAYER_ADDED`, `PROFILE_CHANGED`, `COUNTRY_CHANGED`, `PLAYER_BLOCKED` or `PLAYER_UNBLOCKED`; "
        "`SANCTION_ADDED` or `SANCTION_LIFTED` if a stronger sanction was in force; or `SESSIONS_ENDED`."
    )
    timestamp: datetime
    actor: str | None = strawberry.field(
        description="Who made it: a user ID or `service:<name>`; null for a block that expired."
    )
    reason: str | None = strawberry.field(description="The moderator's reason; null for the player's own changes.")
    former_username: str | None = strawberry.field(description="The name before a change of it; null otherwise.")

    @field(cost=10, description="The account of `actor`; null if it is a service, or no longer exists.")
    async def actor_user(self, info: Info) -> User | None:
        return await account(info, self.actor)

    @classmethod
    def from_proto(cls, change: identity.AccountChange) -> Self:
        return cls(
            change_id=strawberry.ID(change.change_id),
            kind=change.kind,
            timestamp=time_of(change.changed_at),
            actor=change.actor or None,
            reason=change.reason or None,
            former_username=change.former_username or None,
        )


@strawberry.input(description="Another name for a player.")
class RenameUserInput:
    user_id: strawberry.ID
    username: str = strawberry.field(description="By the rules of `register`. Reserved names are refused.")
    reason: str = strawberry.field(description="For the audit log, 1 to 500 characters.")


@strawberry.input(description="Sessions of a player to end.")
class EndSessionsInput:
    user_id: strawberry.ID
    session_id: strawberry.ID | None = strawberry.field(default=None, description="The session to end; all by default.")
    reason: str = strawberry.field(description="For the audit log, 1 to 500 characters.")


@strawberry.type(description="A player before and after a change of their name.")
class RenameResult:
    former_username: str
    user: User


@strawberry.type
class PlayerQuery:
    @field(
        access=rpc("identity.GetUsers"),
        cost=30,
        description="An account, by its ID or else by its name; null if there is none, or no longer.",
    )
    async def user(
        self,
        info: Info,
        user_id: Annotated[strawberry.ID | None, strawberry.argument(description="The player's ID.")] = None,
        username: Annotated[
            str | None, strawberry.argument(description="The whole name, regardless of case; 1 to 64 characters.")
        ] = None,
    ) -> User | None:
        if user_id is not None or username is None:
            return await account(info, user_id)
        context = info.context
        request = GetUsersRequest(usernames=[username])
        users = (await context.call(context.upstreams.identity.GetUsers, request)).users
        return User.from_proto(users[0]) if users else None

    @field(
        access=rpc("identity.ListUsers"),
        cost=30,
        size=ENTRIES,
        description="Accounts by name: those whose name starts with a prefix, those that are blocked, or both. For "
        "moderators.",
    )
    async def users(
        self,
        info: Info,
        prefix: Annotated[
            str, strawberry.argument(description="What the names start with, regardless of case; up to 32 characters.")
        ] = "",
        blocked: Annotated[
            bool, strawberry.argument(description="Only accounts that are blocked at this moment.")
        ] = False,
        first: UpTo100 = 20,
        after: After = None,
    ) -> UserConnection | None:
        context = info.context
        request = identity.ListUsersRequest(prefix=prefix, blocked=blocked, page_size=first, page_token=after or "")
        page = await context.call(context.upstreams.identity.ListUsers, request)
        return UserConnection(
            edges=[
                UserEdge(cursor=cursor, node=User.from_proto(user))
                for cursor, user in zip(page.cursors, page.users, strict=True)
            ],
            page_info=page_info(page.cursors, page.next_page_token, after),
        )

    @field(
        access=rpc("identity.ListSessions"),
        cost=30,
        size=TYPICAL_SESSIONS,
        description="The open sessions of a player, latest renewal first, at most 1000. Players of an outside issuer have "
        "their sessions there. For moderators.",
    )
    async def sessions(self, info: Info, user_id: UserIdArgument) -> list[PlayerSession] | None:
        context = info.context
        request = identity.ListSessionsRequest(user_id=user_id)
        response = await context.call(context.upstreams.identity.ListSessions, request)
        return [PlayerSession.from_proto(session) for session in response.sessions]

    @field(
        access=rpc("identity.ListAccountChanges"),
        cost=30,
        size=TYPICAL_CHANGES,
        description="Who changed an account, when and why, latest first, at most 1000. For moderators.",
    )
    async def account_changes(self, info: Info, user_id: UserIdArgument) -> list[AccountChange] | None:
        context = info.context
        request = identity.ListAccountChangesRequest(user_id=user_id)
        response = await context.call(context.upstreams.identity.ListAccountChanges, request)
        return [AccountChange.from_proto(change) for change in response.changes]


@strawberry.type
class PlayerMutation:
    @field(
        access=rpc("identity.RenameUser"),
        cost=200,
        rate="write",
        description="Gives a player another name, which every board shows from then on. The former one becomes free. For "
        "moderators.",
    )
    async def rename_user(self, info: Info, input: RenameUserInput) -> RenameResult | None:
        context = info.context
        request = identity.RenameUserRequest(user_id=input.user_id, username=input.username, reason=input.reason)
        response = await context.call(context.upstreams.identity.RenameUser, request)
        return RenameResult(former_username=response.former_username, user=User.from_proto(response.user))

    @field(
        access=rpc("identity.EndSessions"),
        cost=200,
        rate="write",
        description="Ends one session of a player, or all, and their streams within seconds. Returns how many had not "
        "ended. For moderators.",
    )
    async def end_sessions(self, info: Info, input: EndSessionsInput) -> int | None:
        context = info.context
        request = identity.EndSessionsRequest(
            user_id=input.user_id, session_id=input.session_id or "", reason=input.reason
        )
        return (await context.call(context.upstreams.identity.EndSessions, request)).ended

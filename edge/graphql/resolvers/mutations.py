"""Mutations of accounts and players. Signing in and out is open to all callers; the edge vouches with its own token."""

from __future__ import annotations

from typing import Annotated

import strawberry
from topten.identity.v1 import identity_pb2
from topten.identity.v1 import identity_service_pb2 as identity

from edge.graphql.execution.context import Context, Info
from edge.graphql.fields import field, rpc
from edge.graphql.resolvers.boards.definitions import BoardDefinitionMutation
from edge.graphql.resolvers.boards.tokens import BoardTokenMutation
from edge.graphql.resolvers.operations import OperationsMutation
from edge.graphql.resolvers.players.groups import GroupMutation
from edge.graphql.resolvers.players.moderation import ModerationMutation
from edge.graphql.resolvers.players.notices import NoticeMutation
from edge.graphql.resolvers.players.players import PlayerMutation
from edge.graphql.resolvers.players.sessions import opened_session
from edge.graphql.resolvers.quizzes.action_types import ActionTypeMutation
from edge.graphql.resolvers.quizzes.attempt_fields import AttemptMutation
from edge.graphql.resolvers.quizzes.authoring import AuthoringMutation
from edge.graphql.resolvers.quizzes.rejudging import RejudgingMutation
from edge.graphql.resolvers.quizzes.submissions import SubmissionMutation
from edge.graphql.resolvers.rooms.hosting import HostMutation
from edge.graphql.resolvers.rooms.rooms import RoomMutation
from edge.graphql.resolvers.types import Session, User
from edge.graphql.resolvers.webhooks import WebhookMutation
from edge.rates.attempts import PasswordAttempts
from services.runtime.auth.access import EVERYBODY
from services.runtime.errors import Reason, ServiceError

RefreshTokenArgument = Annotated[
    str | None,
    strawberry.argument(description="The refresh token. In cookie mode, the token in the cookie by default."),
]


@strawberry.input(description="A new account.")
class RegisterInput:
    username: str = strawberry.field(
        description="2 to 32 characters: letters and digits of one script, `_`, `-` and `.`."
    )
    password: str = strawberry.field(description="8 to 128 characters.")
    country: str | None = strawberry.field(default=None, description="ISO 3166-1 alpha-2, in upper case.")
    guest_refresh_token: str | None = strawberry.field(
        default=None,
        description="The refresh token of a guest, who becomes this player and keeps their ID; any other has no effect. In "
        "cookie mode, the token in the cookie by default.",
    )


@strawberry.input(description="The credentials of an account.")
class LoginInput:
    username: str
    password: str


@strawberry.input(description="A new password for the calling account.")
class ChangePasswordInput:
    current_password: str
    new_password: str = strawberry.field(description="8 to 128 characters.")


@strawberry.type(description="A token for the data of an account, and nothing else.")
class DataToken:
    token: str = strawberry.field(description="For `Authorization: Bearer`.")
    expires_in: int = strawberry.field(description="Lifetime of the token, in seconds.")
    user: User = strawberry.field(description="The account, with its block.")


@strawberry.input(description="Changes to the calling account.")
class UpdateProfileInput:
    country: str | None = strawberry.field(
        default=strawberry.UNSET, description="Required. ISO 3166-1 alpha-2, in upper case; null for no country."
    )


@strawberry.type
class Mutation(
    SubmissionMutation,
    ActionTypeMutation,
    BoardDefinitionMutation,
    GroupMutation,
    ModerationMutation,
    PlayerMutation,
    NoticeMutation,
    OperationsMutation,
    BoardTokenMutation,
    RoomMutation,
    HostMutation,
    AuthoringMutation,
    RejudgingMutation,
    AttemptMutation,
    WebhookMutation,
):
    @field(access=EVERYBODY, cost=500, rate="register", description="Creates an account and signs it in.")
    async def register(self, info: Info, input: RegisterInput) -> Session | None:
        context = info.context
        request = identity.RegisterRequest(
            credentials=identity_pb2.Credentials(username=input.username, password=input.password),
            country=input.country or "",
            guest_refresh_token=input.guest_refresh_token or _cookie_token(context),
        )
        response = await context.call_as_edge(context.upstreams.identity.Register, request)
        await PasswordAttempts(context.limiter).succeeded(input.username, context.client_address)
        return opened_session(context, response.session)

    @field(
        access=EVERYBODY,
        cost=200,
        rate="guest",
        description="Signs in as a guest: with a nickname and without a password, to watch boards. The session ends after "
        "some hours and the guest is erased later, unless they `register` before.",
    )
    async def continue_as_guest(
        self,
        info: Info,
        nickname: Annotated[
            str,
            strawberry.argument(
                description="2 to 32 characters: letters and digits of one script, `_`, `-` and `.`. Others may have it."
            ),
        ],
    ) -> Session | None:
        context = info.context
        request = identity.CreateGuestRequest(nickname=nickname)
        response = await context.call_as_edge(context.upstreams.identity.CreateGuest, request)
        return opened_session(context, response.session)

    @field(
        access=EVERYBODY,
        cost=500,
        rate="login",
        description="Signs in. An unknown username and a wrong password have the same error.",
    )
    async def login(self, info: Info, input: LoginInput) -> Session | None:
        context = info.context
        attempts = PasswordAttempts(context.limiter)
        await attempts.take(input.username, context.client_address)
        request = identity.LoginRequest(username=input.username, password=input.password)
        response = await context.call_as_edge(context.upstreams.identity.Login, request)
        await attempts.succeeded(input.username, context.client_address)
        return opened_session(context, response.session)

    @field(
        access=EVERYBODY,
        cost=500,
        rate="login",
        description="Issues a token for `exportMyData` and `deleteMyAccount` and nothing else, also to a blocked player, who "
        "cannot sign in. It opens no session.",
    )
    async def data_token(self, info: Info, input: LoginInput) -> DataToken | None:
        context = info.context
        attempts = PasswordAttempts(context.limiter)
        await attempts.take(input.username, context.client_address)
        request = identity.IssueDataTokenRequest(username=input.username, password=input.password)
        response = await context.call_as_edge(context.upstreams.identity.IssueDataToken, request)
        await attempts.succeeded(input.username, context.client_address)
        return DataToken(token=response.data_token, expires_in=response.expires_in, user=User.from_proto(response.user))

    @field(
        access=EVERYBODY,
        cost=200,
        rate="refresh",
        description="Exchanges a refresh token for the next tokens of the session.",
    )
    async def refresh_token(self, info: Info, refresh_token: RefreshTokenArgument = None) -> Session | None:
        context = info.context
        request = identity.RefreshSessionRequest(refresh_token=_refresh_token(context, refresh_token))
        # A refusal leaves the cookies alone: it may arrive after those of a newer sign-in, which it would remove.
        if not request.refresh_token:
            raise ServiceError(Reason.UNAUTHENTICATED, "Not signed in. Sign in and try again.")
        response = await context.call_as_edge(context.upstreams.identity.RefreshSession, request)
        return opened_session(context, response.session)

    @field(
        access=EVERYBODY, cost=200, rate="refresh", description="Ends a session. True if there was a session to end."
    )
    async def logout(self, info: Info, refresh_token: RefreshTokenArgument = None) -> bool | None:
        context = info.context
        request = identity.LogoutRequest(refresh_token=_refresh_token(context, refresh_token))
        ended = False
        if request.refresh_token:
            ended = (await context.call_as_edge(context.upstreams.identity.Logout, request)).ended
        if context.cookies is not None:
            context.cookies.close()
        return ended

    @field(
        access=rpc("identity.ChangePassword"),
        cost=500,
        rate="password",
        description="Changes the calling account's password, and ends all its other sessions and their streams.",
    )
    async def change_password(self, info: Info, input: ChangePasswordInput) -> bool | None:
        context = info.context
        request = identity.ChangePasswordRequest(
            current_password=input.current_password, new_password=input.new_password
        )
        await context.call(context.upstreams.identity.ChangePassword, request)
        return True

    @field(
        access=rpc("identity.DeleteAccount"),
        cost=500,
        rate="password",
        description="Erases the calling account immediately and permanently. True, also if it was erased before. A data token "
        "is enough.",
    )
    async def delete_my_account(
        self,
        info: Info,
        password: Annotated[str, strawberry.argument(description="The password of the account.")],
    ) -> bool | None:
        context = info.context
        request = identity.DeleteAccountRequest(password=password)
        await context.call(context.upstreams.identity.DeleteAccount, request)
        if context.cookies is not None:
            context.cookies.close()
        return True

    @field(
        access=rpc("identity.UpdateProfile"),
        cost=200,
        rate="write",
        description="Changes the calling account. A new country moves the player's score to that country's board.",
    )
    async def update_profile(self, info: Info, input: UpdateProfileInput) -> User | None:
        context = info.context
        if input.country is strawberry.UNSET:
            raise ServiceError(
                Reason.INVALID_ARGUMENT, "input.country: is required. Set a country, or null to clear it."
            )
        request = identity.UpdateProfileRequest(country=input.country or "")
        response = await context.call(context.upstreams.identity.UpdateProfile, request)
        return User.from_proto(response.user)


def _refresh_token(context: Context, given: str | None) -> str:
    """The token to use: the argument, else the cookie in cookie mode. Raises INVALID_ARGUMENT if there can be neither."""
    if given:
        return given
    if context.cookies is None:
        raise ServiceError(Reason.INVALID_ARGUMENT, "refreshToken is required.")
    return context.cookies.refresh_token


def _cookie_token(context: Context) -> str:
    """The refresh token in the cookie; empty without one."""
    return "" if context.cookies is None else context.cookies.refresh_token

"""What can be done. Signing in and out is open to everybody; the edge vouches for it with its own token."""

from __future__ import annotations

import hashlib
import unicodedata
from datetime import datetime
from typing import Annotated

import strawberry
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import Counter
from topten.identity.v1 import identity_pb2
from topten.identity.v1 import identity_service_pb2 as identity
from topten.quiz.v1 import quiz_pb2
from topten.quiz.v1.quiz_service_pb2 import SubmitActionRequest

from edge.graphql.context import Context, Info
from edge.graphql.moderation import ModerationMutation
from edge.graphql.types import QuizSubmissionResult, Session, User
from services.runtime.clock import utc_now
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc_client import call

submissions = Counter(
    "topten_submissions_total", "Submissions by what came of them: accepted, refused for a reason, failed", ["outcome"]
)
_MAX_NAME = 128
_FAULTS = frozenset({Reason.UNAVAILABLE, Reason.INTERNAL})
RefreshTokenArgument = Annotated[
    str | None, strawberry.argument(description="The refresh token; in cookie mode the cookie's if it is left out.")
]


@strawberry.input(description="A new account.")
class RegisterInput:
    username: str = strawberry.field(description="2 to 32 letters and digits of one script, `_`, `-` and `.`.")
    password: str = strawberry.field(description="8 to 128 characters.")
    country: str | None = strawberry.field(default=None, description="ISO 3166-1 alpha-2, in capitals.")


@strawberry.input(description="The names an account was made with.")
class LoginInput:
    username: str
    password: str


@strawberry.input(description="Another password for the account of who asks.")
class ChangePasswordInput:
    current_password: str
    new_password: str = strawberry.field(description="8 to 128 characters.")


@strawberry.input(description="One answer: what was chosen.")
class AnswerInput:
    question_id: strawberry.ID
    selected_option: strawberry.ID


@strawberry.input(description="What the player did. The server finds out what it is worth.")
class QuizActionInput:
    quiz_id: strawberry.ID
    action_id: strawberry.ID = strawberry.field(
        description="A UUID made by the client. The action counts once under it, however often it is sent."
    )
    answers: list[AnswerInput] = strawberry.field(description="Questions that are left out score 0.")
    timestamp: datetime = strawberry.field(description="The client's clock. It is checked against a window, no more.")


@strawberry.input(description="What the account shall be.")
class UpdateProfileInput:
    country: str | None = strawberry.field(
        default=strawberry.UNSET, description="ISO 3166-1 alpha-2, in capitals; null for none. It must be given."
    )


@strawberry.type
class Mutation(ModerationMutation):
    @strawberry.mutation(description="Makes an account and signs it in.")
    async def register(self, info: Info, input: RegisterInput) -> Session | None:
        context = info.context
        request = identity.RegisterRequest(
            credentials=identity_pb2.Credentials(username=input.username, password=input.password),
            country=input.country or "",
        )
        token = await context.upstreams.service_token.get()
        answer = await call(context.upstreams.identity.Register, request, token=token)
        return _opened(context, answer.session)

    @strawberry.mutation(description="Signs in. An unknown name and a wrong password give the same answer.")
    async def login(self, info: Info, input: LoginInput) -> Session | None:
        context = info.context
        await _take_attempt(context, input.username)
        request = identity.LoginRequest(username=input.username, password=input.password)
        token = await context.upstreams.service_token.get()
        answer = await call(context.upstreams.identity.Login, request, token=token)
        return _opened(context, answer.session)

    @strawberry.mutation(description="Trades a refresh token for the session's next tokens.")
    async def refresh_token(self, info: Info, refresh_token: RefreshTokenArgument = None) -> Session | None:
        context = info.context
        request = identity.RefreshSessionRequest(refresh_token=_refresh_token(context, refresh_token))
        token = await context.upstreams.service_token.get()
        try:
            if not request.refresh_token:
                raise ServiceError(Reason.UNAUTHENTICATED, "Sign in first.")
            answer = await call(context.upstreams.identity.RefreshSession, request, token=token)
        except ServiceError as error:
            if error.reason is Reason.UNAUTHENTICATED and context.cookies is not None:
                context.cookies.close()
            raise
        return _opened(context, answer.session)

    @strawberry.mutation(description="Ends a session; true if there was one to end.")
    async def logout(self, info: Info, refresh_token: RefreshTokenArgument = None) -> bool | None:
        context = info.context
        request = identity.LogoutRequest(refresh_token=_refresh_token(context, refresh_token))
        ended = False
        if request.refresh_token:
            token = await context.upstreams.service_token.get()
            ended = (await call(context.upstreams.identity.Logout, request, token=token)).ended
        if context.cookies is not None:
            context.cookies.close()
        return ended

    @strawberry.mutation(
        description="Changes the password of who asks, and ends all his sessions but this one, with their streams."
    )
    async def change_password(self, info: Info, input: ChangePasswordInput) -> bool | None:
        context = info.context
        claims, token = context.caller.require(), context.caller.token()
        await _take_attempt(context, claims.username)
        request = identity.ChangePasswordRequest(
            current_password=input.current_password, new_password=input.new_password
        )
        await call(context.upstreams.identity.ChangePassword, request, token=token)
        return True

    @strawberry.mutation(
        description="Erases the account of who asks, at once and for good; takes his password. True, also when it is done."
    )
    async def delete_my_account(
        self,
        info: Info,
        password: Annotated[str, strawberry.argument(description="The password of the account.")],
    ) -> bool | None:
        context = info.context
        claims, token = context.caller.require(), context.caller.token()
        await _take_attempt(context, claims.username)
        request = identity.DeleteAccountRequest(password=password)
        await call(context.upstreams.identity.DeleteAccount, request, token=token)
        if context.cookies is not None:
            context.cookies.close()
        return True

    @strawberry.mutation(description="Hands in a player's answers to a quiz. What was accepted counts exactly once.")
    async def submit_quiz_action(self, info: Info, input: QuizActionInput) -> QuizSubmissionResult | None:
        context = info.context
        claims = context.caller.require()
        timestamp = Timestamp()
        timestamp.FromDatetime(input.timestamp)
        request = SubmitActionRequest(
            quiz_id=input.quiz_id,
            action_id=input.action_id,
            answers=[
                quiz_pb2.Answer(question_id=answer.question_id, selected_option=answer.selected_option)
                for answer in input.answers
            ],
            timestamp=timestamp,
            client=quiz_pb2.Client(ip=context.client_address, user_agent=context.user_agent),
        )
        try:
            answer = await call(context.upstreams.quiz.SubmitAction, request, token=context.caller.token())
        except ServiceError as error:
            submissions.labels("failed" if error.reason in _FAULTS else "refused").inc()
            raise
        submissions.labels("accepted").inc()
        if context.on_accepted is not None and not answer.duplicate:
            context.on_accepted(claims.user_id, answer.score_delta)
        return QuizSubmissionResult.from_proto(answer)

    @strawberry.mutation(description="Changes the account of who asks. A country moves his score to its board.")
    async def update_profile(self, info: Info, input: UpdateProfileInput) -> User | None:
        context = info.context
        if input.country is strawberry.UNSET:
            raise ServiceError(Reason.INVALID_ARGUMENT, "There is nothing to change; name a country, or null.")
        request = identity.UpdateProfileRequest(country=input.country or "")
        answer = await call(context.upstreams.identity.UpdateProfile, request, token=context.caller.token())
        return User.from_proto(answer.user)


async def _take_attempt(context: Context, username: str) -> None:
    """Counts one try at an account's password, from wherever it comes, so that many addresses do not help."""
    await context.limiter.take("login", caller=_digest_of_name(username))


def _digest_of_name(username: str) -> str:
    """The same for all spellings that are one account's (as identity compares them), and no name.

    No account's name is as long as what is looked at; marks by the thousand would take a second to put in order.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username[:_MAX_NAME]).casefold())
    return hashlib.sha256(folded.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _opened(context: Context, session: identity_pb2.Session) -> Session:
    if context.cookies is not None:
        context.cookies.open(session, utc_now())
    return Session.from_proto(session, with_tokens=context.cookies is None)


def _refresh_token(context: Context, given: str | None) -> str:
    """The token to use: the argument's, else in cookie mode the cookie's. Raises INVALID_ARGUMENT if neither can be."""
    if given:
        return given
    if context.cookies is None:
        raise ServiceError(Reason.INVALID_ARGUMENT, "refreshToken must be given")
    return context.cookies.refresh_token

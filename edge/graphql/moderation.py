"""What moderators do and see. Who may is decided by the services, by the caller's token."""

from __future__ import annotations

import base64
import uuid
from datetime import datetime
from enum import Enum
from typing import Annotated, Self

import strawberry
from google.protobuf.timestamp_pb2 import Timestamp
from topten.identity.v1 import identity_service_pb2 as identity
from topten.quiz.v1 import quiz_service_pb2 as quiz
from topten.score.v1 import score_pb2
from topten.score.v1 import score_service_pb2 as score

from edge.graphql.context import Info
from edge.graphql.paging import PageInfo, check_size, page_info
from edge.graphql.types import User
from edge.times import time_of
from services.runtime.grpc_client import call


@strawberry.input(description="An action to take back.")
class VoidActionInput:
    user_id: strawberry.ID
    action_id: strawberry.ID
    reason: str = strawberry.field(description="For the audit log, 1 to 500 characters.")


@strawberry.input(description="Points to add to a score, or to take from it.")
class AdjustScoreInput:
    user_id: strawberry.ID
    delta: int = strawberry.field(description="Up to 1 000 000 000 either way, not 0.")
    reason: str = strawberry.field(description="For the audit log, 1 to 500 characters.")
    action_id: strawberry.ID | None = strawberry.field(
        default=None, description="A UUID under which the adjustment counts once; without one each request is its own."
    )


@strawberry.input(description="A player to block.")
class BlockUserInput:
    user_id: strawberry.ID
    reason: str = strawberry.field(description="For the player and the audit log, 1 to 500 characters.")
    expires_at: datetime | None = strawberry.field(default=None, description="When it ends by itself; must lie ahead.")


@strawberry.input(description="A player whose block is taken back.")
class UnblockUserInput:
    user_id: strawberry.ID
    reason: str = strawberry.field(description="For the audit log, 1 to 500 characters.")


@strawberry.input(description="A flag that somebody has decided about.")
class CloseFlagInput:
    flag_id: strawberry.ID
    note: str = strawberry.field(description="What was decided and why, 1 to 500 characters.")


@strawberry.type(description="What a moderator did. What is refused is an error, so `success` is true.")
class ModerationResult:
    success: bool
    message: str
    event_id: strawberry.ID | None = strawberry.field(
        description="The event that changes the player's standing, as in his history; null if nothing changed."
    )
    score_delta: int = strawberry.field(description="By how much it changes the score.")
    duplicate: bool = strawberry.field(description="True if it was done before; the rest is its first answer.")


@strawberry.enum(description="Whether a flag still wants a look.")
class FlagState(Enum):
    OPEN = score_pb2.FLAG_STATE_OPEN
    BLOCKED = score_pb2.FLAG_STATE_BLOCKED
    CLOSED = score_pb2.FLAG_STATE_CLOSED


@strawberry.type(description="One number that a rule has seen.")
class Evidence:
    name: str
    value: float = strawberry.field(description="A whole number that may be larger than an Int.")


@strawberry.type(description="A rule of fair play that a player seems to have broken.")
class Flag:
    flag_id: strawberry.ID
    user_id: strawberry.ID
    rule: str = strawberry.field(description="`score_jump`, `too_many_actions` or `impossible_time`.")
    reason: str = strawberry.field(description="What the rule says and what was seen.")
    evidence: list[Evidence]
    event_id: strawberry.ID
    timestamp: datetime
    state: FlagState
    closed_by: strawberry.ID | None
    note: str = strawberry.field(description="What was decided.")

    @strawberry.field(description="The account; null if it is gone.")
    async def user(self, info: Info) -> User | None:
        user = await info.context.users.load(self.user_id)
        return None if user is None else User.from_proto(user)

    @classmethod
    def from_proto(cls, flag: score_pb2.Flag) -> Self:
        return cls(
            flag_id=strawberry.ID(flag.flag_id),
            user_id=strawberry.ID(flag.user_id),
            rule=flag.rule,
            reason=flag.reason,
            evidence=[Evidence(name=name, value=value) for name, value in sorted(flag.evidence.items())],
            event_id=strawberry.ID(flag.event_id),
            timestamp=time_of(flag.timestamp),
            state=FlagState(flag.state),
            closed_by=strawberry.ID(flag.closed_by) if flag.closed_by else None,
            note=flag.note,
        )


@strawberry.type(description="One flag of a page.")
class FlagEdge:
    cursor: str = strawberry.field(description="Pass it as `after` for what follows.")
    node: Flag


@strawberry.type(description="A page of flags, the newest first.")
class FlagConnection:
    edges: list[FlagEdge]
    page_info: PageInfo


@strawberry.type
class ModerationQuery:
    @strawberry.field(description="What the rules of fair play have seen, the newest first. For moderators.")
    async def flags(
        self,
        info: Info,
        first: Annotated[int, strawberry.argument(description="How many at the most, 1 to 100.")] = 20,
        after: Annotated[str | None, strawberry.argument(description="The cursor to go on from.")] = None,
        state: Annotated[FlagState | None, strawberry.argument(description="Only those in this state.")] = None,
    ) -> FlagConnection | None:
        context = info.context
        token = context.caller.token()
        check_size("first", first)
        request = score.ListFlagsRequest(
            page_size=first,
            page_token=after or "",
            state=score_pb2.FLAG_STATE_UNSPECIFIED if state is None else state.value,
        )
        answer = await call(context.upstreams.score.ListFlags, request, token=token)
        edges = [FlagEdge(cursor=_cursor(flag), node=Flag.from_proto(flag)) for flag in answer.flags]
        return FlagConnection(edges=edges, page_info=page_info(edges, more=bool(answer.next_page_token), after=after))


@strawberry.type
class ModerationMutation:
    @strawberry.mutation(description="Takes a recorded action back, in the period in which it was. For moderators.")
    async def void_action(self, info: Info, input: VoidActionInput) -> ModerationResult | None:
        context = info.context
        request = quiz.VoidActionRequest(user_id=input.user_id, action_id=input.action_id, reason=input.reason)
        answer = await call(context.upstreams.quiz.VoidAction, request, token=context.caller.token())
        return _done("The action is void.", answer.event_id, answer.score_delta, duplicate=answer.duplicate)

    @strawberry.mutation(description="Changes a player's score by a number of points. For moderators.")
    async def adjust_score(self, info: Info, input: AdjustScoreInput) -> ModerationResult | None:
        context = info.context
        request = quiz.AdjustScoreRequest(
            user_id=input.user_id,
            delta=input.delta,
            reason=input.reason,
            action_id=input.action_id or str(uuid.uuid4()),
        )
        answer = await call(context.upstreams.quiz.AdjustScore, request, token=context.caller.token())
        return _done("The score is adjusted.", answer.event_id, input.delta, duplicate=answer.duplicate)

    @strawberry.mutation(
        description="Ends a player's sessions and keeps him from playing and from every board. For moderators."
    )
    async def block_user(self, info: Info, input: BlockUserInput) -> ModerationResult | None:
        context = info.context
        request = identity.BlockUserRequest(
            user_id=input.user_id,
            reason=input.reason,
            expires_at=_timestamp(input.expires_at),
            change_id=str(uuid.uuid4()),
        )
        answer = await call(context.upstreams.identity.BlockUser, request, token=context.caller.token())
        return _done("The player is blocked.", answer.event_id)

    @strawberry.mutation(description="Takes a block back: the player is on all boards as he was. For moderators.")
    async def unblock_user(self, info: Info, input: UnblockUserInput) -> ModerationResult | None:
        context = info.context
        request = identity.UnblockUserRequest(user_id=input.user_id, reason=input.reason)
        answer = await call(context.upstreams.identity.UnblockUser, request, token=context.caller.token())
        message = "The player is not blocked any more." if answer.event_id else "The player was not blocked."
        return _done(message, answer.event_id, duplicate=not answer.event_id)

    @strawberry.mutation(description="Records what was decided about a flag. For moderators.")
    async def close_flag(self, info: Info, input: CloseFlagInput) -> Flag | None:
        context = info.context
        request = score.CloseFlagRequest(flag_id=input.flag_id, note=input.note)
        answer = await call(context.upstreams.score.CloseFlag, request, token=context.caller.token())
        return Flag.from_proto(answer.flag)


def _done(message: str, event_id: str, score_delta: int = 0, *, duplicate: bool = False) -> ModerationResult:
    return ModerationResult(
        success=True,
        message=message,
        event_id=strawberry.ID(event_id) if event_id else None,
        score_delta=score_delta,
        duplicate=duplicate,
    )


def _cursor(flag: score_pb2.Flag) -> str:
    # What the contract takes as a page token: the list goes on behind this flag.
    return base64.urlsafe_b64encode(f"{flag.timestamp.ToMilliseconds()}/{flag.flag_id}".encode()).decode()


def _timestamp(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(at)
    return timestamp

"""Moderation: flags, voided actions, adjusted scores, blocked players."""

from __future__ import annotations

import uuid
from contextlib import suppress
from datetime import datetime
from enum import Enum
from typing import Annotated, Self

import strawberry
from google.protobuf.timestamp_pb2 import Timestamp
from topten.identity.v1 import identity_service_pb2 as identity
from topten.quiz.v1 import quiz_service_pb2 as quiz
from topten.score.v1 import score_pb2
from topten.score.v1 import score_service_pb2 as score

from edge.graphql.execution.context import Context, Info
from edge.graphql.fields import field, rpc
from edge.graphql.resolvers.boards.boards import BoardInput, board_text
from edge.graphql.resolvers.paging import ENTRIES, After, PageInfo, UpTo100, page_info
from edge.graphql.resolvers.types import User, account
from edge.times import time_of
from services.runtime.errors import ServiceError


@strawberry.input(description="A recorded action to void.")
class VoidActionInput:
    user_id: strawberry.ID
    action_id: strawberry.ID
    reason: str = strawberry.field(description="For the audit log, 1 to 500 characters.")


@strawberry.input(description="Points to add to a score, or to subtract from it.")
class AdjustScoreInput:
    user_id: strawberry.ID
    delta: int = strawberry.field(description="-1 000 000 000 to 1 000 000 000, not 0.")
    reason: str = strawberry.field(description="For the audit log, 1 to 500 characters.")
    action_id: strawberry.ID | None = strawberry.field(
        default=None,
        description="A UUID under which the adjustment counts once. Without it, each request is another adjustment.",
    )


@strawberry.input(description="A player to block.")
class BlockUserInput:
    user_id: strawberry.ID
    reason: str = strawberry.field(description="For the player and the audit log, 1 to 500 characters.")
    expires_at: datetime | None = strawberry.field(
        default=None, description="When the block ends by itself, in the future; never by default."
    )


@strawberry.input(description="A player to unblock.")
class UnblockUserInput:
    user_id: strawberry.ID
    reason: str = strawberry.field(description="For the audit log, 1 to 500 characters.")
    sanction_id: strawberry.ID | None = strawberry.field(
        default=None, description="The sanction to lift; by default all that the caller may lift."
    )


@strawberry.input(description="A decision about a flag.")
class CloseFlagInput:
    flag_id: strawberry.ID
    note: str = strawberry.field(description="The decision and its reason, 1 to 500 characters.")


@strawberry.input(description="A closed period, or an archived board, to reseal.")
class ResealPeriodInput:
    board: BoardInput = strawberry.field(
        description="A WEEKLY, MONTHLY or CUSTOM board with its period, or an archived board of all time. With a WEEKLY or "
        "MONTHLY one, all defined boards of the same period follow."
    )
    user_id: strawberry.ID | None = strawberry.field(
        default=None, description="Only this player's standings, and the ranks of those behind; all players by default."
    )
    reason: str = strawberry.field(description="For the audit log, 1 to 500 characters.")


@strawberry.type(description="A player's rank and score before and after a reseal.")
class RankChange:
    user_id: strawberry.ID
    rank_before: int | None = strawberry.field(description="Null if they were not on the board.")
    rank_after: int | None = strawberry.field(description="Null if they are no longer on the board.")
    score_before: int
    score_after: int


@strawberry.type(description="A board of a closed period that was replaced by a new version.")
class ResealedBoard:
    board: str = strawberry.field(description="The board as text: `weekly:2026-47`.")
    players: int
    changed: int = strawberry.field(description="The number of players whose rank or score changed.")
    changes: list[RankChange] = field(size=50, description="The first 50 of those players, in their new order.")

    @classmethod
    def from_proto(cls, board: score.ResealedBoard) -> Self:
        return cls(
            board=board.board,
            players=board.players,
            changed=board.changed,
            changes=[
                RankChange(
                    user_id=strawberry.ID(change.user_id),
                    rank_before=change.rank_before or None,
                    rank_after=change.rank_after or None,
                    score_before=change.points_before,
                    score_after=change.points_after,
                )
                for change in board.changes
            ],
        )


@strawberry.type(description="The effect of a moderator's action. A refusal is an error, so `success` is always true.")
class ModerationResult:
    success: bool
    message: str
    event_id: strawberry.ID | None = strawberry.field(
        description="The event that changes the player's standing, as in their history; null if nothing changed."
    )
    score_delta: int = strawberry.field(description="The change of the score.")
    duplicate: bool = strawberry.field(
        description="True if it was done before; the other fields are those of the first response."
    )
    new_score: int | None = strawberry.field(
        default=None, description="The score after the event; null if it is not counted yet."
    )
    boards_changed: list[str] | None = field(
        size=10,
        description="The boards on which the player's standing changed, as `weekly:2026-47`; null if not counted yet.",
    )
    closed_periods_unchanged: list[str] | None = field(
        size=10,
        description="The boards of closed periods, and archived boards, that stay as they are until `resealPeriod`; null if "
        "not counted yet.",
    )
    sanction_id: strawberry.ID | None = strawberry.field(
        default=None, description="The sanction that a block imposed, by which it can be lifted."
    )
    user: User | None = strawberry.field(
        default=None, description="After a block or its end, the account with the sanctions in force."
    )


@strawberry.enum(description="The state of a flag.")
class FlagState(Enum):
    OPEN = score_pb2.FLAG_STATE_OPEN
    BLOCKED = score_pb2.FLAG_STATE_BLOCKED
    CLOSED = score_pb2.FLAG_STATE_CLOSED


@strawberry.type(description="A number that a rule found.")
class Evidence:
    name: str
    value: float = strawberry.field(description="An integer that may exceed an Int.")


@strawberry.type(description="A fair-play rule that a player seems to have broken.")
class Flag:
    flag_id: strawberry.ID
    user_id: strawberry.ID
    rule: str = strawberry.field(description="`score_jump`, `too_many_actions` or `impossible_time`.")
    reason: str = strawberry.field(description="The rule, and what it found.")
    evidence: list[Evidence] = field(size=3)
    event_id: strawberry.ID
    timestamp: datetime
    state: FlagState
    closed_by: strawberry.ID | None
    note: str = strawberry.field(description="The decision.")

    @field(cost=10, description="The account; null if it no longer exists.")
    async def user(self, info: Info) -> User | None:
        return await account(info, self.user_id)

    @field(cost=10, description="The account of `closedBy`; null if nobody has decided, or it no longer exists.")
    async def closed_by_user(self, info: Info) -> User | None:
        return await account(info, self.closed_by)

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


@strawberry.type(description="A flag of a page.")
class FlagEdge:
    cursor: str = strawberry.field(description="Pass it as `after` to continue behind this flag.")
    node: Flag


@strawberry.type(description="A page of flags, newest first.")
class FlagConnection:
    edges: list[FlagEdge] = field(size=1)  # as many as the page has
    page_info: PageInfo


@strawberry.type
class ModerationQuery:
    @field(
        access=rpc("score.ListFlags"),
        cost=30,
        size=ENTRIES,
        description="What the fair-play rules found, newest first. For moderators.",
    )
    async def flags(
        self,
        info: Info,
        first: UpTo100 = 20,
        after: After = None,
        state: Annotated[FlagState | None, strawberry.argument(description="Only flags in this state.")] = None,
        user_id: Annotated[strawberry.ID | None, strawberry.argument(description="Only flags of this player.")] = None,
    ) -> FlagConnection | None:
        context = info.context
        request = score.ListFlagsRequest(
            page_size=first,
            page_token=after or "",
            state=score_pb2.FLAG_STATE_UNSPECIFIED if state is None else state.value,
            user_id=user_id or "",
        )
        page = await context.call(context.upstreams.score.ListFlags, request)
        return FlagConnection(
            edges=[
                FlagEdge(cursor=cursor, node=Flag.from_proto(flag))
                for cursor, flag in zip(page.cursors, page.flags, strict=True)
            ],
            page_info=page_info(page.cursors, page.next_page_token, after),
        )


@strawberry.type
class ModerationMutation:
    @field(
        access=rpc("quiz.VoidAction"),
        cost=200,
        rate="write",
        description="Voids a recorded action, in the period in which it was recorded. For moderators.",
    )
    async def void_action(self, info: Info, input: VoidActionInput) -> ModerationResult | None:
        context = info.context
        request = quiz.VoidActionRequest(user_id=input.user_id, action_id=input.action_id, reason=input.reason)
        response = await context.call(context.upstreams.quiz.VoidAction, request)
        return await _done(
            context, "The action is void.", response.event_id, response.score_delta, duplicate=response.duplicate
        )

    @field(
        access=rpc("quiz.AdjustScore"),
        cost=200,
        rate="write",
        description="Changes a player's score by a number of points. For moderators.",
    )
    async def adjust_score(self, info: Info, input: AdjustScoreInput) -> ModerationResult | None:
        context = info.context
        request = quiz.AdjustScoreRequest(
            user_id=input.user_id,
            delta=input.delta,
            reason=input.reason,
            action_id=input.action_id or str(uuid.uuid4()),
        )
        response = await context.call(context.upstreams.quiz.AdjustScore, request)
        return await _done(
            context, "The score is adjusted.", response.event_id, response.score_delta, duplicate=response.duplicate
        )

    @field(
        access=rpc("identity.BlockUser"),
        cost=200,
        rate="write",
        description="Ends a player's sessions, and keeps them from playing and off every board, by a sanction beside those in "
        "force: the strongest holds. For moderators.",
    )
    async def block_user(self, info: Info, input: BlockUserInput) -> ModerationResult | None:
        context = info.context
        request = identity.BlockUserRequest(
            user_id=input.user_id,
            reason=input.reason,
            expires_at=_timestamp(input.expires_at),
            change_id=str(uuid.uuid4()),
        )
        response = await context.call(context.upstreams.identity.BlockUser, request)
        result = await _done(context, "The player is blocked.", response.event_id)
        result.sanction_id = strawberry.ID(response.sanction_id)
        result.user = User.from_proto(response.user)
        return result

    @field(
        access=rpc("identity.UnblockUser"),
        cost=200,
        rate="write",
        description="Lifts a sanction, or all that the caller may lift. A moderator lifts what moderators and rules imposed, "
        "an admin all. Once none is left, the player is on all boards again, as before. For moderators.",
    )
    async def unblock_user(self, info: Info, input: UnblockUserInput) -> ModerationResult | None:
        context = info.context
        request = identity.UnblockUserRequest(
            user_id=input.user_id, reason=input.reason, sanction_id=input.sanction_id or ""
        )
        response = await context.call(context.upstreams.identity.UnblockUser, request)
        result = await _done(context, _unblocked(response), response.event_id, duplicate=not response.sanction_ids)
        result.user = User.from_proto(response.user)
        return result

    @field(
        access=rpc("score.ResealPeriod"),
        cost=200,
        rate="write",
        size=10,
        description="Computes the boards of a closed period again from the ledger as it is now, and replaces those that "
        "differ. Returns them. For moderators.",
    )
    async def reseal_period(self, info: Info, input: ResealPeriodInput) -> list[ResealedBoard] | None:
        context = info.context
        request = score.ResealPeriodRequest(
            board=board_text(input.board), user_id=input.user_id or "", reason=input.reason
        )
        response = await context.call(context.upstreams.score.ResealPeriod, request)
        return [ResealedBoard.from_proto(board) for board in response.boards]

    @field(
        access=rpc("score.CloseFlag"),
        cost=200,
        rate="write",
        description="Records the decision about a flag. For moderators.",
    )
    async def close_flag(self, info: Info, input: CloseFlagInput) -> Flag | None:
        context = info.context
        request = score.CloseFlagRequest(flag_id=input.flag_id, note=input.note)
        return Flag.from_proto((await context.call(context.upstreams.score.CloseFlag, request)).flag)


async def _done(
    context: Context, message: str, event_id: str, score_delta: int = 0, *, duplicate: bool = False
) -> ModerationResult:
    """Return the result, with what the ledger says about the event as far as it is counted and can be read."""
    result = ModerationResult(
        success=True,
        message=message,
        event_id=strawberry.ID(event_id) if event_id else None,
        score_delta=score_delta,
        duplicate=duplicate,
        boards_changed=None,
        closed_periods_unchanged=None,
    )
    if not event_id:
        return result
    with suppress(ServiceError):  # what was done is done, even if nobody can tell its effect
        request = score.GetEventEffectRequest(event_id=event_id)
        effect = await context.call(context.upstreams.score.GetEventEffect, request)
        if effect.counted:
            result.score_delta, result.new_score = effect.score_delta, effect.new_score
            result.boards_changed = list(effect.boards_changed)
            result.closed_periods_unchanged = list(effect.closed_boards_unchanged)
    return result


def _unblocked(response: identity.UnblockUserResponse) -> str:
    """Say what became of the player."""
    if response.user.HasField("block"):
        return "The player is still blocked: another sanction is in force."
    return "The player is no longer blocked." if response.sanction_ids else "The player was not blocked."


def _timestamp(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(at)
    return timestamp

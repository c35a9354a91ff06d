"""Judging recorded answers again, after an author changed a key, points or scoring."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import strawberry
from topten.quiz.v1 import quiz_service_pb2 as messages
from topten.score.v1 import score_service_pb2 as score

from edge.graphql.execution.context import Context, Info
from edge.graphql.fields import field, rpc
from edge.graphql.resolvers.types import User, account
from services.runtime.errors import ServiceError
from services.runtime.grpc.call_context import time_left
from services.runtime.grpc.client import open_stream

MAX_SHOWN = 20


@strawberry.type(description="What judging again does to a player.")
class RejudgedPlayer:
    user_id: strawberry.ID
    before: int = strawberry.field(description="What their attempts at the quiz counted for.")
    after: int = strawberry.field(description="What they count for now.")
    place_before: int | None = strawberry.field(
        description="In a dry run: the place among all players of the quiz by what counts; equal points share a place. Null "
        "otherwise: boards show the places then."
    )
    place_after: int | None = strawberry.field(description="In a dry run: the place that they would have.")

    @field(cost=10, description="The account; null if it no longer exists.")
    async def user(self, info: Info) -> User | None:
        return await account(info, self.user_id)


@strawberry.type(description="What judging again changed, or would change.")
class QuizRejudging:
    version: int = strawberry.field(description="The version of the quiz that judges.")
    actions: int = strawberry.field(description="The actions that were looked at.")
    changed: int = strawberry.field(description="The actions whose points change.")
    player_count: int = strawberry.field(description="The players whose counted points change.")
    points: int = strawberry.field(description="By how much the points of all players change together.")
    players: list[RejudgedPlayer] = field(
        size=MAX_SHOWN, description="The players whose points change most, at most 20."
    )
    closed_periods_unchanged: list[str] | None = field(
        size=10,
        description="The boards of closed periods, and archived boards, that count actions whose points change, as "
        "`weekly:2026-47`: they stay as they are until `resealPeriod`. At most the latest 100; null if nobody can tell now.",
    )


@strawberry.type
class RejudgingMutation:
    @field(
        access=rpc("quiz.RejudgeQuiz"),
        cost=1000,
        rate="write",
        description="Judges the recorded answers of a quiz again by its current version. Safe to repeat: after UNAVAILABLE, "
        "because it takes longer than a request may, use `topten quiz rejudge`.",
    )
    async def rejudge_quiz(
        self,
        info: Info,
        quiz_id: strawberry.ID,
        dry_run: Annotated[bool, strawberry.argument(description="True to learn only what would change.")],
        reason: Annotated[
            str, strawberry.argument(description="Why, up to 500 characters; players whose points change see it.")
        ] = "",
    ) -> QuizRejudging | None:
        context = info.context
        request = messages.RejudgeQuizRequest(quiz_id=quiz_id, dry_run=dry_run, reason=reason)
        progress, largest = messages.RejudgeQuizResponse(), list[messages.RejudgedPlayer]()
        players = points = 0
        method, token = context.upstreams.quiz.RejudgeQuiz, context.caller.token()
        async with open_stream(method, request, token=token, timeout=time_left()) as steps:
            async for progress in steps:
                players += len(progress.players)
                points += sum(player.after - player.before for player in progress.players)
                largest += progress.players
                largest = sorted(largest, key=lambda player: -abs(player.after - player.before))[:MAX_SHOWN]
        closed: list[str] | None = None
        with suppress(ServiceError):  # what was done is done, even if nobody can tell which boards it does not reach
            closed = await _closed_boards(context, quiz_id, progress)
        return QuizRejudging(
            version=progress.version,
            actions=progress.actions,
            changed=progress.changed,
            player_count=players,
            points=points,
            players=[
                RejudgedPlayer(
                    user_id=strawberry.ID(player.user_id),
                    before=player.before,
                    after=player.after,
                    place_before=player.place_before or None,
                    place_after=player.place_after or None,
                )
                for player in largest
            ],
            closed_periods_unchanged=closed,
        )


async def _closed_boards(context: Context, quiz_id: str, judged: messages.RejudgeQuizResponse) -> list[str]:
    if not judged.changed:
        return []
    request = score.ListClosedBoardsRequest(
        quiz_id=quiz_id, times=judged.changed_at, tags=judged.tags, countries=judged.countries
    )
    return list((await context.call(context.upstreams.score.ListClosedBoards, request)).boards)

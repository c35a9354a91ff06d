"""Queries about the caller, quizzes and scores, and the head of a board. A root field that fails is null beside its error."""

from __future__ import annotations

from typing import Annotated

import strawberry
from topten.identity.v1.identity_service_pb2 import IssueStreamTokenRequest
from topten.leaderboard.v1.leaderboard_pb2 import Frame
from topten.leaderboard.v1.leaderboard_service_pb2 import GetLeaderboardRequest
from topten.quiz.v1.quiz_service_pb2 import GetQuizRequest, ListQuizzesRequest, ReviewActionRequest
from topten.score.v1.score_service_pb2 import ListScoreHistoryRequest

from edge.graphql.execution.context import Context, Info
from edge.graphql.execution.response_cache import BoardRead
from edge.graphql.fields import Page, field, rpc
from edge.graphql.resolvers.boards import room_boards
from edge.graphql.resolvers.boards.boards import board_text
from edge.graphql.resolvers.boards.definitions import BoardDefinitionQuery
from edge.graphql.resolvers.boards.history import ScoreChange, ScoreChangeEdge, ScoreHistory
from edge.graphql.resolvers.boards.leaderboards import LeaderboardQuery, WhichBoard
from edge.graphql.resolvers.boards.tokens import BoardTokenQuery
from edge.graphql.resolvers.operations import OperationsQuery
from edge.graphql.resolvers.paging import ENTRIES, MAX_ENTRIES, After, UpTo50, UpTo100, page_info
from edge.graphql.resolvers.players.export import DataExport, export
from edge.graphql.resolvers.players.groups import GroupQuery
from edge.graphql.resolvers.players.moderation import ModerationQuery
from edge.graphql.resolvers.players.notices import NoticeQuery
from edge.graphql.resolvers.players.players import PlayerQuery
from edge.graphql.resolvers.quizzes.action_types import ActionTypeQuery
from edge.graphql.resolvers.quizzes.attempt_fields import AttemptQuery
from edge.graphql.resolvers.quizzes.authoring import AuthoringQuery
from edge.graphql.resolvers.quizzes.quizzes import Quiz, QuizConnection, QuizEdge, QuizSubmissionResult
from edge.graphql.resolvers.rooms.results import RoomResultsQuery
from edge.graphql.resolvers.rooms.rooms import RoomQuery
from edge.graphql.resolvers.types import LeaderboardEntry, Me, StreamToken
from edge.graphql.resolvers.webhooks import WebhookQuery
from edge.rooms import is_room_board
from services.runtime.auth.access import ACCOUNTS, GUEST
from services.runtime.errors import Reason, ServiceError

MAX_QUIZZES = 50


@strawberry.type
class Query(
    ActionTypeQuery,
    BoardDefinitionQuery,
    GroupQuery,
    LeaderboardQuery,
    ModerationQuery,
    PlayerQuery,
    NoticeQuery,
    OperationsQuery,
    BoardTokenQuery,
    RoomQuery,
    RoomResultsQuery,
    AuthoringQuery,
    AttemptQuery,
    WebhookQuery,
):
    @field(
        access=rpc("leaderboard.GetLeaderboard"),
        cost=30,
        size=Page("limit", MAX_ENTRIES),
        same_for_all=True,
        board_tokens=True,
        description="The top entries of a board, in rank order.",
    )
    async def get_leaderboard(
        self, info: Info, board: WhichBoard = None, limit: UpTo100 = 10
    ) -> list[LeaderboardEntry] | None:
        context = info.context
        name = await context.board(board_text(board, rooms=True))
        if is_room_board(name):
            return [
                LeaderboardEntry.from_proto(each) for each in (await room_boards.head(context, name, limit)).entries
            ]
        frame = context.hub.held(name, limit)
        if frame is None:
            frame = await _head(context, name, limit)
        else:
            context.board_reads.append(BoardRead(name, limit, frame))
            context.last_responses.put(("head", name, limit), frame)
        context.note_board(frame)
        return [LeaderboardEntry.from_proto(entry) for entry in frame.entries[:limit]]

    @field(access=ACCOUNTS | GUEST, description="The calling player or guest.")
    async def me(self, info: Info) -> Me | None:
        claims = info.context.caller.require()
        return Me(
            user_id=strawberry.ID(claims.user_id),
            username=claims.username,
            country=claims.country or None,
            roles=sorted(claims.roles),
        )

    @field(
        access=rpc("quiz.ExportPlayer"),
        cost=500,
        rate="export",
        description="All data that is stored about the calling player, one page at a time. A data token is enough.",
    )
    async def export_my_data(
        self,
        info: Info,
        after: Annotated[str | None, strawberry.argument(description="`next` of the previous page.")] = None,
    ) -> DataExport | None:
        return await export(info.context, after)

    @field(
        access=rpc("identity.IssueStreamToken"),
        cost=30,
        description="A token that opens the leaderboard stream for clients that can send neither a header nor a cookie.",
    )
    async def stream_token(self, info: Info) -> StreamToken | None:
        context = info.context
        response = await context.call(context.upstreams.identity.IssueStreamToken, IssueStreamTokenRequest())
        return StreamToken(token=response.stream_token, expires_in=response.expires_in)

    @field(access=rpc("quiz.GetQuiz"), cost=30, description="A quiz, without its correct answers.")
    async def quiz(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The ID of the quiz.")]
    ) -> Quiz | None:
        context = info.context
        response = await context.call(context.upstreams.quiz.GetQuiz, GetQuizRequest(quiz_id=id))
        return Quiz.from_proto(response.quiz)

    @field(
        access=rpc("quiz.ListQuizzes"),
        cost=30,
        size=Page("first", MAX_QUIZZES),
        description="All quizzes, ordered by ID, one page at a time.",
    )
    async def quizzes(
        self,
        info: Info,
        first: UpTo50 = 20,
        after: After = None,
        tag: Annotated[str | None, strawberry.argument(description="Only quizzes with this tag.")] = None,
    ) -> QuizConnection | None:
        context = info.context
        request = ListQuizzesRequest(page_size=first, page_token=after or "", tag=tag or "")
        response = await context.call(context.upstreams.quiz.ListQuizzes, request)
        return QuizConnection(
            edges=[
                QuizEdge(cursor=cursor, node=Quiz.from_proto(quiz))
                for cursor, quiz in zip(response.cursors, response.quizzes, strict=True)
            ],
            page_info=page_info(response.cursors, response.next_page_token, after),
            total_count=response.total_size,
        )

    @field(
        access=rpc("quiz.ReviewAction"),
        cost=30,
        description="How a recorded action of the caller at a quiz was judged, as far as players may know it by now: what the "
        "submission was told, without standings.",
    )
    async def review_action(
        self, info: Info, action_id: Annotated[strawberry.ID, strawberry.argument(description="The ID of the action.")]
    ) -> QuizSubmissionResult | None:
        context = info.context
        request = ReviewActionRequest(action_id=action_id)
        response = await context.call(context.upstreams.quiz.ReviewAction, request)
        return QuizSubmissionResult.from_proto(response.action, response.quiz_id)

    @field(
        access=rpc("score.ListScoreHistory"),
        cost=30,
        size=ENTRIES,
        description="What changed a player's score, newest first: the caller's own history, or for moderators anybody's.",
    )
    async def score_history(
        self,
        info: Info,
        user_id: Annotated[strawberry.ID | None, strawberry.argument(description="The caller by default.")] = None,
        first: UpTo100 = 20,
        after: After = None,
    ) -> ScoreHistory | None:
        context = info.context
        request = ListScoreHistoryRequest(
            user_id=user_id or context.caller.require().user_id, page_size=first, page_token=after or ""
        )
        response = await context.call(context.upstreams.score.ListScoreHistory, request)
        return ScoreHistory(
            edges=[
                ScoreChangeEdge(cursor=cursor, node=ScoreChange.from_proto(change))
                for cursor, change in zip(response.cursors, response.changes, strict=True)
            ],
            page_info=page_info(response.cursors, response.next_page_token, after),
        )


async def _head(context: Context, name: str, limit: int) -> Frame:
    """Read the head of a board from the leaderboard service, or as it was last known. Raises ServiceError."""

    async def read() -> Frame:
        if context.hub.is_public(name):
            return await context.upstreams.shared_reads.head(name, limit)
        request = GetLeaderboardRequest(board=name, limit=limit)
        return (await context.call_leaderboard(context.upstreams.leaderboard.GetLeaderboard, request)).frame

    try:
        frame, _ = await context.call_or_last(("head", name, limit), read())
    except ServiceError as error:
        last = context.hub.held(name, limit, stale=True) if error.reason is Reason.UNAVAILABLE else None
        if last is None:
            raise
        frame, context.stale = last, True
    return frame

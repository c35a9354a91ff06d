"""What can be asked. Every field needs a signed-in caller; a root field that fails is null beside its error."""

from __future__ import annotations

import base64
from typing import Annotated

import strawberry
from topten.identity.v1.identity_service_pb2 import IssueStreamTokenRequest
from topten.leaderboard.v1.leaderboard_pb2 import Frame
from topten.leaderboard.v1.leaderboard_service_pb2 import GetLeaderboardRequest
from topten.quiz.v1.quiz_service_pb2 import GetQuizRequest, ListQuizzesRequest
from topten.score.v1.score_service_pb2 import ListScoreHistoryRequest

from edge.graphql.answers import Read
from edge.graphql.boards import BoardInput, board_text
from edge.graphql.context import Context, Info
from edge.graphql.export import DataExport, export
from edge.graphql.history import ScoreChange, ScoreChangeEdge, ScoreHistory
from edge.graphql.leaderboards import LeaderboardQuery
from edge.graphql.moderation import ModerationQuery
from edge.graphql.paging import MAX_ENTRIES, check_size, page_info
from edge.graphql.types import LeaderboardEntry, Me, Quiz, QuizConnection, QuizEdge, StreamToken
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc_client import call

MAX_QUIZZES = 50


@strawberry.type
class Query(LeaderboardQuery, ModerationQuery):
    @strawberry.field(description="The head of a board, the first player first.")
    async def get_leaderboard(
        self,
        info: Info,
        board: Annotated[BoardInput | None, strawberry.argument(description="By default the one of all time.")] = None,
        limit: Annotated[int, strawberry.argument(description="How many entries at the most, 1 to 100.")] = 10,
    ) -> list[LeaderboardEntry] | None:
        context = info.context
        token = context.caller.token()
        check_size("limit", limit, MAX_ENTRIES)
        name = board_text(board)
        frame = context.held(name, limit)
        if frame is not None:
            context.reads.append(Read(name, limit, frame))
            context.last.keep(("head", name, limit), frame)
        else:
            frame = await _head(context, name, limit, token)
        return [LeaderboardEntry.from_proto(entry) for entry in frame.entries[:limit]]

    @strawberry.field(description="The player who asks.")
    async def me(self, info: Info) -> Me | None:
        claims = info.context.caller.require()
        return Me(
            user_id=strawberry.ID(claims.user_id),
            username=claims.username,
            country=claims.country or None,
            roles=sorted(claims.roles),
        )

    @strawberry.field(description="Everything that is held on who asks, a page at a time.")
    async def export_my_data(
        self,
        info: Info,
        after: Annotated[str | None, strawberry.argument(description="`next` of the page before.")] = None,
    ) -> DataExport | None:
        return await export(info.context.upstreams, info.context.caller.token(), after)

    @strawberry.field(description="A token that opens the stream where neither a header nor a cookie can be sent.")
    async def stream_token(self, info: Info) -> StreamToken | None:
        context = info.context
        answer = await call(
            context.upstreams.identity.IssueStreamToken, IssueStreamTokenRequest(), token=context.caller.token()
        )
        return StreamToken(token=answer.stream_token, expires_in=answer.expires_in)

    @strawberry.field(description="One quiz. Its key is never told.")
    async def quiz(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The quiz's id.")]
    ) -> Quiz | None:
        context = info.context
        request = GetQuizRequest(quiz_id=id)
        answer = await call(context.upstreams.quiz.GetQuiz, request, token=context.caller.token())
        return Quiz.from_proto(answer.quiz)

    @strawberry.field(description="All quizzes, ordered by id, a page at a time.")
    async def quizzes(
        self,
        info: Info,
        first: Annotated[int, strawberry.argument(description="How many at the most, 1 to 50.")] = 20,
        after: Annotated[str | None, strawberry.argument(description="The cursor to go on from.")] = None,
        tag: Annotated[str | None, strawberry.argument(description="Only quizzes with this tag.")] = None,
    ) -> QuizConnection | None:
        context = info.context
        token = context.caller.token()
        check_size("first", first, MAX_QUIZZES)
        request = ListQuizzesRequest(page_size=first, page_token=after or "", tag=tag or "")
        answer = await call(context.upstreams.quiz.ListQuizzes, request, token=token)
        edges = [QuizEdge(cursor=_cursor(quiz.quiz_id), node=Quiz.from_proto(quiz)) for quiz in answer.quizzes]
        info_of_page = page_info(edges, more=bool(answer.next_page_token), after=after)
        return QuizConnection(edges=edges, page_info=info_of_page, total_count=answer.total_size)

    @strawberry.field(description="What changed a player's score, the newest first: one's own, or a moderator's view.")
    async def score_history(
        self,
        info: Info,
        user_id: Annotated[strawberry.ID | None, strawberry.argument(description="By default who asks.")] = None,
        first: Annotated[int, strawberry.argument(description="How many at the most, 1 to 100.")] = 20,
        after: Annotated[str | None, strawberry.argument(description="The cursor to go on from.")] = None,
    ) -> ScoreHistory | None:
        context = info.context
        claims, token = context.caller.require(), context.caller.token()
        check_size("first", first, MAX_ENTRIES)
        request = ListScoreHistoryRequest(user_id=user_id or claims.user_id, page_size=first, page_token=after or "")
        answer = await call(context.upstreams.score.ListScoreHistory, request, token=token)
        edges = [
            ScoreChangeEdge(cursor=str(change.revision), node=ScoreChange.from_proto(change))
            for change in answer.changes
        ]
        return ScoreHistory(edges=edges, page_info=page_info(edges, more=bool(answer.next_page_token), after=after))


def _cursor(quiz_id: str) -> str:
    # What the contract takes as a page token: the list goes on after this quiz.
    return base64.urlsafe_b64encode(quiz_id.encode()).decode()


async def _head(context: Context, name: str, limit: int, token: str) -> Frame:
    """The head of a board as the leaderboard service has it, or as it was known last. Raises ServiceError."""

    async def asked() -> Frame:
        request = GetLeaderboardRequest(board=name, limit=limit)
        return (await call(context.upstreams.leaderboard.GetLeaderboard, request, token=token)).frame

    try:
        frame, is_old = await context.last.ask(("head", name, limit), asked())
    except ServiceError as error:
        last = context.held(name, limit, stale=True) if error.reason is Reason.UNAVAILABLE else None
        if last is None:
            raise
        frame, is_old = last, True
    context.stale = context.stale or is_old or frame.stale
    return frame

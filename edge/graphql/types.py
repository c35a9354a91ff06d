"""The types of the schema; each that comes from a service has `from_proto`, the only place that knows both shapes."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, Self

import strawberry
from topten.identity.v1 import identity_pb2
from topten.leaderboard.v1 import leaderboard_pb2, leaderboard_service_pb2
from topten.quiz.v1 import quiz_pb2, quiz_service_pb2
from topten.score.v1.score_service_pb2 import GetScoreRequest

from edge.graphql.boards import BoardInput, board_text
from edge.graphql.context import Info
from edge.graphql.paging import PageInfo
from edge.times import time_of
from services.runtime.grpc_client import call


@strawberry.type(description="Why and until when a player may not play.")
class Block:
    reason: str
    blocked_at: datetime
    expires_at: datetime | None = strawberry.field(description="When it ends by itself; null if it does not.")

    @classmethod
    def from_proto(cls, block: identity_pb2.Block) -> Self:
        return cls(
            reason=block.reason,
            blocked_at=time_of(block.blocked_at),
            expires_at=time_of(block.expires_at) if block.HasField("expires_at") else None,
        )


@strawberry.type(description="An account, as others may see it.")
class User:
    user_id: strawberry.ID = strawberry.field(description="The player's id, the same for ever.")
    username: str = strawberry.field(description="The display name.")
    country: str | None = strawberry.field(description="ISO 3166-1 alpha-2; null if none was given.")
    roles: list[str] = strawberry.field(description="What the account may do; empty where the caller may not see it.")
    block: Block | None = strawberry.field(description="Set while it is blocked, where the caller may see it.")

    @classmethod
    def from_proto(cls, user: identity_pb2.User) -> Self:
        return cls(
            user_id=strawberry.ID(user.user_id),
            username=user.username,
            country=user.country or None,
            roles=list(user.roles),
            block=Block.from_proto(user.block) if user.HasField("block") else None,
        )


@strawberry.type(description="What signing in yields. In cookie mode the tokens are empty: the browser holds them.")
class Session:
    access_token: str = strawberry.field(description="For `Authorization: Bearer`.")
    refresh_token: str = strawberry.field(description="Buys the next session once; then the next one counts.")
    expires_in: int = strawberry.field(description="Life of the access token in seconds.")
    user: User

    @classmethod
    def from_proto(cls, session: identity_pb2.Session, *, with_tokens: bool) -> Self:
        return cls(
            access_token=session.access_token if with_tokens else "",
            refresh_token=session.refresh_token if with_tokens else "",
            expires_in=session.expires_in,
            user=User.from_proto(session.user),
        )


@strawberry.type(description="Opens the leaderboard's stream and nothing else: for an EventSource of another origin.")
class StreamToken:
    token: str = strawberry.field(description="For `token=` in the stream's address.")
    expires_in: int = strawberry.field(description="Seconds until the session ends, and the token with it.")


@strawberry.enum(description="How a question is asked.")
class QuestionKind(Enum):
    SINGLE_CHOICE = quiz_pb2.QUESTION_KIND_SINGLE_CHOICE
    TRUE_FALSE = quiz_pb2.QUESTION_KIND_TRUE_FALSE


@strawberry.type(description="One answer that can be chosen.")
class Option:
    id: strawberry.ID
    text: str


@strawberry.type(description="One question, without its key.")
class Question:
    id: strawberry.ID
    text: str
    kind: QuestionKind
    points: int = strawberry.field(description="What a right answer earns.")
    options: list[Option]

    @classmethod
    def from_proto(cls, question: quiz_pb2.Question) -> Self:
        return cls(
            id=strawberry.ID(question.id),
            text=question.text,
            kind=QuestionKind(question.kind),
            points=question.points,
            options=[Option(id=strawberry.ID(option.id), text=option.text) for option in question.options],
        )


@strawberry.type(description="One quiz as a player sees it.")
class Quiz:
    id: strawberry.ID
    title: str
    description: str
    tags: list[str]
    questions: list[Question]
    max_attempts: int | None = strawberry.field(description="How often it may be taken; null is no limit.")
    opens_at: datetime | None = strawberry.field(description="Before this time no answer is taken.")
    closes_at: datetime | None = strawberry.field(description="From this time on no answer is taken.")

    @classmethod
    def from_proto(cls, quiz: quiz_pb2.Quiz) -> Self:
        return cls(
            id=strawberry.ID(quiz.quiz_id),
            title=quiz.title,
            description=quiz.description,
            tags=list(quiz.tags),
            questions=[Question.from_proto(question) for question in quiz.questions],
            max_attempts=quiz.attempts.max_attempts or None,
            opens_at=time_of(quiz.opens_at) if quiz.HasField("opens_at") else None,
            closes_at=time_of(quiz.closes_at) if quiz.HasField("closes_at") else None,
        )


@strawberry.type(description="One quiz of a page.")
class QuizEdge:
    cursor: str = strawberry.field(description="Pass it as `after` for what follows.")
    node: Quiz


@strawberry.type(description="A page of quizzes.")
class QuizConnection:
    edges: list[QuizEdge]
    page_info: PageInfo
    total_count: int = strawberry.field(description="How many quizzes the filter finds in all.")


@strawberry.type(description="The recorded outcome of an action. What is refused is an error, so `success` is true.")
class QuizSubmissionResult:
    success: bool
    message: str
    action_id: strawberry.ID
    duplicate: bool = strawberry.field(
        description="True if the action was recorded before; the rest is its first answer."
    )
    points_awarded: int = strawberry.field(description="What the attempt's answers earned by the quiz's rules.")
    correct_answers: int
    total_questions: int

    @classmethod
    def from_proto(cls, answer: quiz_service_pb2.SubmitActionResponse) -> Self:
        right, total, points = answer.correct_answers, answer.total_questions, answer.points_awarded
        return cls(
            success=True,
            message=f"{right} of {total} right, {points} {'point' if points == 1 else 'points'}.",
            action_id=strawberry.ID(answer.action_id),
            duplicate=answer.duplicate,
            points_awarded=points,
            correct_answers=right,
            total_questions=total,
        )


@strawberry.type(description="One player's place on one board.")
class LeaderboardEntry:
    user_id: strawberry.ID
    username: str
    score: int = strawberry.field(description="Points on this board.")
    rank: int = strawberry.field(description="The place, from 1; no two share one.")
    country: str | None
    previous_rank: int | None = strawberry.field(description="The place before the player's last counted action.")

    @strawberry.field(description="The account; null if it is gone.")
    async def user(self, info: Info) -> User | None:
        user = await info.context.users.load(self.user_id)
        return None if user is None else User.from_proto(user)

    @classmethod
    def from_proto(cls, entry: leaderboard_pb2.Entry) -> Self:
        return cls(
            user_id=strawberry.ID(entry.user_id),
            username=entry.username,
            score=entry.score,
            rank=entry.rank,
            country=entry.country or None,
            previous_rank=entry.previous_rank if entry.HasField("previous_rank") else None,
        )


@strawberry.type(description="The player who asks.")
class Me:
    user_id: strawberry.ID
    username: str
    country: str | None
    roles: list[str]

    @strawberry.field(description="The all-time total.")
    async def score(self, info: Info) -> int | None:
        context = info.context
        request = GetScoreRequest(user_id=self.user_id)
        answer = await call(context.upstreams.score.GetScore, request, token=context.caller.token())
        return answer.score.total

    @strawberry.field(description="The place on a board (by default of all time); null without points there.")
    async def rank(
        self, info: Info, board: Annotated[BoardInput | None, strawberry.argument(description="Which board.")] = None
    ) -> int | None:
        context = info.context
        request = leaderboard_service_pb2.GetRanksRequest(board=board_text(board), user_ids=[self.user_id])
        answer = await call(context.upstreams.leaderboard.GetRanks, request, token=context.caller.token())
        return answer.entries[0].rank if answer.entries else None

"""Starting attempts, saving their answers, and deciding extra time."""

from __future__ import annotations

from typing import Annotated, Self

import strawberry
from topten.attempt.v1 import attempt_service_pb2 as messages

from edge.graphql.execution.context import Info
from edge.graphql.fields import field, rpc
from edge.graphql.resolvers.players.extra_time import ExtraTime
from edge.graphql.resolvers.quizzes.answers import AnswerInput
from edge.graphql.resolvers.quizzes.attempts import Attempt, ExtraTimeDecision, values_of
from edge.graphql.resolvers.quizzes.quizzes import Quiz

ClearedIds = Annotated[
    list[strawberry.ID] | None, strawberry.argument(description="Questions whose saved answers are removed.")
]
WhichQuiz = Annotated[
    strawberry.ID | None, strawberry.argument(description="The quiz; by default all quizzes that no decision names.")
]


@strawberry.type(description="An open attempt with the quiz as it shows it.")
class StartedAttempt(Attempt):
    quiz: Quiz
    resumed: bool = strawberry.field(description="True if the attempt was started before.")

    @classmethod
    def of(cls, response: messages.StartAttemptResponse) -> Self:
        return cls(**values_of(response.attempt), quiz=Quiz.from_proto(response.quiz), resumed=response.resumed)


@strawberry.type
class AttemptMutation:
    @field(
        access=rpc("attempt.StartAttempt"),
        cost=200,
        rate="submit",
        description="Starts the caller's next attempt at a quiz, or returns the open one with its saved answers. An attempt "
        "at a timed quiz counts from its start. When its time is up, the server hands it in with its saved answers.",
    )
    async def start_attempt(self, info: Info, quiz_id: strawberry.ID) -> StartedAttempt | None:
        context = info.context
        request = messages.StartAttemptRequest(quiz_id=quiz_id)
        return StartedAttempt.of(await context.call(context.upstreams.attempt.StartAttempt, request))

    @field(
        access=rpc("attempt.SaveAnswers"),
        cost=200,
        rate="save",
        description="Saves answers of an open attempt. Each replaces the one that is saved for its question, in the order in "
        "which the server receives them, so send one request after the other.",
    )
    async def save_answers(
        self, info: Info, attempt_id: strawberry.ID, answers: list[AnswerInput], cleared_question_ids: ClearedIds = None
    ) -> Attempt | None:
        request = messages.SaveAnswersRequest(
            attempt_id=attempt_id,
            answers=[answer.to_proto() for answer in answers],
            cleared_question_ids=cleared_question_ids or (),
        )
        return await _saved(info, request)

    @field(
        access=rpc("attempt.SaveAnswers"),
        cost=200,
        rate="save",
        description="Saves one answer of an open attempt, as `saveAnswers` does.",
    )
    async def save_answer(self, info: Info, attempt_id: strawberry.ID, answer: AnswerInput) -> Attempt | None:
        return await _saved(info, messages.SaveAnswersRequest(attempt_id=attempt_id, answers=[answer.to_proto()]))

    @field(
        access=rpc("attempt.SetExtraTime"),
        cost=200,
        rate="write",
        description="Sets how much extra time a player has for attempts that they start from now on, and returns the former "
        "setting. Authors name a quiz of theirs. Each decision is recorded.",
    )
    async def set_player_extra_time(
        self, info: Info, user_id: strawberry.ID, extra_time: ExtraTime, reason: str, quiz_id: WhichQuiz = None
    ) -> ExtraTime | None:
        context = info.context
        request = messages.SetExtraTimeRequest(
            user_id=user_id, quiz_id=quiz_id or "", extra_time=extra_time.value, reason=reason
        )
        return ExtraTime((await context.call(context.upstreams.attempt.SetExtraTime, request)).previous)


@strawberry.type
class AttemptQuery:
    @field(
        access=rpc("attempt.ListExtraTimes"),
        cost=30,
        size=4,
        description="The decisions about the extra time of a player, newest first.",
    )
    async def player_extra_times(self, info: Info, user_id: strawberry.ID) -> list[ExtraTimeDecision] | None:
        context = info.context
        request = messages.ListExtraTimesRequest(user_id=user_id)
        response = await context.call(context.upstreams.attempt.ListExtraTimes, request)
        return [ExtraTimeDecision.from_proto(decision) for decision in response.decisions]


async def _saved(info: Info, request: messages.SaveAnswersRequest) -> Attempt:
    context = info.context
    return Attempt.from_proto((await context.call(context.upstreams.attempt.SaveAnswers, request)).attempt)

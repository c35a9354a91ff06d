"""Quizzes in the schema: the players' view of them, and the outcomes of their answers."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Self

import strawberry
from topten.attempt.v1.attempt_service_pb2 import GetAttemptsRequest
from topten.quiz.v1 import quiz_pb2, quiz_service_pb2

from edge.graphql.execution.context import Info
from edge.graphql.fields import field
from edge.graphql.resolvers.paging import PageInfo
from edge.graphql.resolvers.quizzes.answers import Answer
from edge.graphql.resolvers.quizzes.attempts import Attempts
from edge.graphql.resolvers.types import BoardStanding, standings_of, total_of
from edge.times import time_of
from services.runtime.auth.access import PLAYER


@strawberry.enum(
    description="The kind of a question, which says in what form it is answered: SINGLE_CHOICE and TRUE_FALSE by "
    "`selectedOption`; MULTIPLE_CHOICE by `selectedOptions`; ORDERING by `selectedOptions` with all options from first to "
    "last; NUMERIC and SHORT_TEXT by `text`; MATCHING by `matches`."
)
class QuestionKind(Enum):
    SINGLE_CHOICE = quiz_pb2.QUESTION_KIND_SINGLE_CHOICE
    TRUE_FALSE = quiz_pb2.QUESTION_KIND_TRUE_FALSE
    MULTIPLE_CHOICE = quiz_pb2.QUESTION_KIND_MULTIPLE_CHOICE
    NUMERIC = quiz_pb2.QUESTION_KIND_NUMERIC
    SHORT_TEXT = quiz_pb2.QUESTION_KIND_SHORT_TEXT
    ORDERING = quiz_pb2.QUESTION_KIND_ORDERING
    MATCHING = quiz_pb2.QUESTION_KIND_MATCHING


@strawberry.enum(
    description="What players learn of single questions after an attempt. NONE: nothing. OUTCOMES: which were right. ANSWERS: "
    "also the right answers and explanations. The others are as OUTCOMES, and as ANSWERS once no attempt is left or the quiz "
    "is closed."
)
class Feedback(Enum):
    NONE = quiz_pb2.FEEDBACK_NONE
    OUTCOMES = quiz_pb2.FEEDBACK_OUTCOMES
    ANSWERS = quiz_pb2.FEEDBACK_ANSWERS
    ANSWERS_AFTER_LAST_ATTEMPT = quiz_pb2.FEEDBACK_ANSWERS_AFTER_LAST_ATTEMPT
    ANSWERS_AFTER_CLOSE = quiz_pb2.FEEDBACK_ANSWERS_AFTER_CLOSE


@strawberry.enum(description="How an answer was judged. PARTLY_RIGHT earned a share of the points, WRONG none.")
class Verdict(Enum):
    RIGHT = quiz_pb2.VERDICT_RIGHT
    PARTLY_RIGHT = quiz_pb2.VERDICT_PARTLY_RIGHT
    WRONG = quiz_pb2.VERDICT_WRONG
    UNANSWERED = quiz_pb2.VERDICT_UNANSWERED


@strawberry.type(description="An option of a question, or a target to which options are matched.")
class Option:
    id: strawberry.ID
    text: str

    @classmethod
    def from_proto(cls, option: quiz_pb2.Option) -> Self:
        return cls(id=strawberry.ID(option.id), text=option.text)


@strawberry.type(description="A picture.")
class Media:
    url: str = strawberry.field(description="An https address on a host that the operator allows.")
    alt: str = strawberry.field(description="What the picture shows.")


@strawberry.type(description="A question, without its correct answer.")
class Question:
    id: strawberry.ID
    text: str
    kind: QuestionKind
    points: int = strawberry.field(description="Points for a correct answer.")
    options: list[Option] = field(size=4, description="In display order; empty for NUMERIC and SHORT_TEXT.")
    targets: list[Option] = field(
        size=4, description="For MATCHING, what the options are matched to; some may match no option. Otherwise empty."
    )
    media: Media | None = strawberry.field(description="The picture of the question; null if it has none.")

    @classmethod
    def from_proto(cls, question: quiz_pb2.Question) -> Self:
        media = question.media
        return cls(
            id=strawberry.ID(question.id),
            text=question.text,
            kind=QuestionKind(question.kind),
            points=question.points,
            options=[Option.from_proto(option) for option in question.options],
            targets=[Option.from_proto(target) for target in question.targets],
            media=Media(url=media.url, alt=media.alt) if question.HasField("media") else None,
        )


@strawberry.type(
    description="How the points of an attempt come from its answers. Percentages are of a question's points; all 0 is the "
    "default, where a right answer earns its points and any other none."
)
class Scoring:
    preset: str | None = strawberry.field(description="The name of the preset that sets the values; null for none.")
    penalty_percent: int = strawberry.field(description="What a wrong answer takes away. No answer takes nothing away.")
    streak_percent: int = strawberry.field(
        description="What a right answer adds for each right one before it in an unbroken row, at most 100 together."
    )
    time_bonus_percent: int = strawberry.field(
        description="What an instant answer would add to the points earned, falling linearly to 0 at the time limit."
    )
    time_limit_seconds: int = strawberry.field(description="When the time bonus has fallen to 0; 0 without a bonus.")

    @classmethod
    def from_proto(cls, scoring: quiz_pb2.Scoring) -> Self:
        return cls(
            preset=scoring.preset or None,
            penalty_percent=scoring.penalty_percent,
            streak_percent=scoring.streak_percent,
            time_bonus_percent=scoring.time_bonus_percent,
            time_limit_seconds=scoring.time_limit_seconds,
        )


@strawberry.type(description="The time limit of a quiz. Attempts at it must be started, by `startAttempt`.")
class Timing:
    limit_seconds: int = strawberry.field(
        description="From the start of an attempt to its deadline, before extra time."
    )
    grace_seconds: int = strawberry.field(description="How long after the deadline answers are still accepted.")


@strawberry.type(description="A quiz, as a player sees it.")
class Quiz:
    id: strawberry.ID
    title: str
    description: str
    tags: list[str]
    questions: list[Question] = field(size=10, description="Of a timed quiz, only with an attempt; otherwise empty.")
    question_count: int
    total_points: int = strawberry.field(description="The points of all questions.")
    version: int = strawberry.field(
        description="Incremented by each import that changes the quiz. Submit answers with it, as `quizVersion`."
    )
    scoring: Scoring
    feedback: Feedback
    rooms_count_on_boards: bool = strawberry.field(
        description="Whether hosts may open rooms whose answers count as attempts, too: `countsOnBoards` of `openRoom`."
    )
    max_attempts: int | None = strawberry.field(description="Maximum number of attempts; null for no limit.")
    cooldown_seconds: int = strawberry.field(description="The least time between two attempts; 0 for none.")
    timing: Timing | None = strawberry.field(description="The time limit of an attempt; null for none.")
    opens_at: datetime | None = strawberry.field(description="No submission is accepted before this time.")
    closes_at: datetime | None = strawberry.field(description="No submission is accepted from this time on.")

    @field(cost=30, description="The number of attempts that the caller has used; null if the caller is not a player.")
    async def attempts_used(self, info: Info) -> int | None:
        context = info.context
        if PLAYER.isdisjoint(context.caller.require().roles):
            return None
        request = quiz_service_pb2.GetAttemptsRequest(quiz_id=self.id)
        return (await context.call(context.upstreams.quiz.GetAttempts, request)).used

    @field(cost=30, description="Where the caller stands at the quiz; null if the caller is not a player.")
    async def attempts(self, info: Info) -> Attempts | None:
        context = info.context
        if PLAYER.isdisjoint(context.caller.require().roles):
            return None
        request = GetAttemptsRequest(quiz_id=self.id)
        return Attempts.from_proto(await context.call(context.upstreams.attempt.GetAttempts, request))

    @classmethod
    def from_proto(cls, quiz: quiz_pb2.Quiz) -> Self:
        timing = quiz.timing
        return cls(
            id=strawberry.ID(quiz.quiz_id),
            title=quiz.title,
            description=quiz.description,
            tags=list(quiz.tags),
            questions=[Question.from_proto(question) for question in quiz.questions],
            question_count=quiz.question_count,
            total_points=quiz.total_points,
            version=quiz.version,
            scoring=Scoring.from_proto(quiz.scoring),
            feedback=Feedback(quiz.feedback or quiz_pb2.FEEDBACK_NONE),
            rooms_count_on_boards=quiz.rooms_count_on_boards,
            max_attempts=quiz.attempts.max_attempts or None,
            cooldown_seconds=quiz.attempts.cooldown_seconds,
            timing=Timing(limit_seconds=timing.limit_seconds, grace_seconds=timing.grace_seconds)
            if quiz.HasField("timing")
            else None,
            opens_at=time_of(quiz.opens_at) if quiz.HasField("opens_at") else None,
            closes_at=time_of(quiz.closes_at) if quiz.HasField("closes_at") else None,
        )


@strawberry.type(description="A quiz of a page.")
class QuizEdge:
    cursor: str = strawberry.field(description="Pass it as `after` to continue behind this quiz.")
    node: Quiz


@strawberry.type(description="A page of quizzes.")
class QuizConnection:
    edges: list[QuizEdge] = field(size=1)  # as many as the page has
    page_info: PageInfo
    total_count: int = strawberry.field(description="The number of quizzes that match the filter.")


@strawberry.type(description="How one question of an attempt was judged.")
class QuestionOutcome:
    question_id: strawberry.ID
    verdict: Verdict
    points: int = strawberry.field(description="What the answer earned, negative for a penalty, without bonuses.")
    correct: Answer | None = strawberry.field(
        description="The right answer, of a short text one of those accepted; null until the quiz lets players know it."
    )
    explanation: str | None = strawberry.field(
        description="Why it is right; null if the author gives no reason, and until the right answer is told."
    )
    selected: Answer | None = strawberry.field(description="The player's answer; null if there is none.")

    @classmethod
    def from_proto(cls, outcome: quiz_pb2.QuestionOutcome) -> Self:
        return cls(
            question_id=strawberry.ID(outcome.question_id),
            verdict=Verdict(outcome.verdict),
            points=outcome.points,
            correct=Answer.from_proto(outcome.correct) if outcome.HasField("correct") else None,
            explanation=outcome.explanation or None,
            selected=Answer.from_proto(outcome.selected) if outcome.HasField("selected") else None,
        )


@strawberry.type(
    description="A question and its answers as text: the ID of an option, several IDs with commas between them, or "
    "`option=target` for each match."
)
class AnsweredQuestion:
    question_id: strawberry.ID
    correct: str | None = strawberry.field(description="The right answer; null until the quiz lets players know it.")
    selected: str | None = strawberry.field(description="The player's answer; null if there is none.")
    explanation: str | None = strawberry.field(description="As in `QuestionOutcome`.")

    @classmethod
    def of(cls, outcome: QuestionOutcome) -> Self:
        return cls(
            question_id=outcome.question_id,
            correct=None if outcome.correct is None else outcome.correct.as_text(),
            selected=None if outcome.selected is None else outcome.selected.as_text(),
            explanation=outcome.explanation,
        )


@strawberry.type(description="The recorded outcome of an action. A refusal is an error, so `success` is always true.")
class QuizSubmissionResult:
    success: bool
    message: str
    action_id: strawberry.ID
    quiz_id: strawberry.ID
    quiz_version: int | None = strawberry.field(
        description="The version of the quiz by which the answers were judged; null if it is no longer known."
    )
    duplicate: bool = strawberry.field(
        description="True if the action was recorded before; the other fields are those of the first response, but for "
        "outcomes that players may know by now."
    )
    points_awarded: int = strawberry.field(description="The points that the attempt earned.")
    correct_answers: int
    total_questions: int
    outcomes: list[QuestionOutcome] = field(
        size=10,
        description="How each question was judged, in the order of the quiz; empty unless the quiz's feedback tells it.",
    )
    questions: list[AnsweredQuestion] = field(size=10, description="The same questions with their answers as text.")
    total: int | None = strawberry.field(
        description="With COUNTED: the all-time score after this action; null while the action is on its way."
    )
    standings: list[BoardStanding] | None = field(
        size=10,
        description="With COUNTED: the places on the boards of the input; null while the action is on its way, and if "
        "a board cannot be read.",
    )

    @classmethod
    def from_proto(cls, response: quiz_service_pb2.SubmitActionResponse, quiz_id: str, boards: int = 0) -> Self:
        right, total, points = response.correct_answers, response.total_questions, response.points_awarded
        outcomes = [QuestionOutcome.from_proto(outcome) for outcome in response.outcomes]
        return cls(
            success=True,
            message=f"{right} of {total} correct, {points:,} {'point' if points == 1 else 'points'}.",
            action_id=strawberry.ID(response.action_id),
            quiz_id=strawberry.ID(quiz_id),
            quiz_version=response.quiz_version or None,
            duplicate=response.duplicate,
            points_awarded=points,
            correct_answers=right,
            total_questions=total,
            outcomes=outcomes,
            questions=[AnsweredQuestion.of(outcome) for outcome in outcomes],
            total=total_of(response),
            standings=standings_of(response, boards),
        )

"""Answers in the schema: as players give them, and as they are told."""

from __future__ import annotations

from typing import Self

import strawberry
from topten.quiz.v1 import quiz_pb2

from edge.graphql.fields import field


@strawberry.input(description="An option and the target that it is matched to.")
class MatchInput:
    option: strawberry.ID
    target: strawberry.ID


@strawberry.input(description="An answer in the one form that the question's kind has.")
class GivenAnswerInput:
    selected_option: strawberry.ID | None = strawberry.field(
        default=None, description="For SINGLE_CHOICE and TRUE_FALSE: the selected option."
    )
    selected_options: list[strawberry.ID] | None = strawberry.field(
        default=None,
        description="For MULTIPLE_CHOICE: the selected options; for ORDERING: all options from first to last.",
    )
    text: str | None = strawberry.field(
        default=None,
        description="For SHORT_TEXT: up to 200 characters; for NUMERIC: a decimal number, with a point or a comma.",
    )
    matches: list[MatchInput] | None = strawberry.field(
        default=None, description="For MATCHING: the targets of options, each option at most once."
    )

    def to_question(self, question_id: str) -> quiz_pb2.Answer:
        return quiz_pb2.Answer(
            question_id=question_id,
            selected_option=self.selected_option or "",
            selected_options=self.selected_options or (),
            text=self.text or "",
            matches=[quiz_pb2.Match(option=each.option, target=each.target) for each in self.matches or ()],
        )


@strawberry.input(description="The answer to one question, in the one form that the question's kind has.")
class AnswerInput(GivenAnswerInput):
    question_id: strawberry.ID

    def to_proto(self) -> quiz_pb2.Answer:
        return self.to_question(self.question_id)


@strawberry.type(description="An option and its target.")
class Match:
    option: strawberry.ID
    target: strawberry.ID


@strawberry.type(
    description="An answer to a question, in the one form that the question's kind has; the others are null."
)
class Answer:
    question_id: strawberry.ID
    selected_option: strawberry.ID | None
    selected_options: list[strawberry.ID] | None
    text: str | None
    matches: list[Match] | None = field(size=4)

    @classmethod
    def from_proto(cls, answer: quiz_pb2.Answer) -> Self:
        matches = [
            Match(option=strawberry.ID(each.option), target=strawberry.ID(each.target)) for each in answer.matches
        ]
        return cls(
            question_id=strawberry.ID(answer.question_id),
            selected_option=strawberry.ID(answer.selected_option) if answer.selected_option else None,
            selected_options=[strawberry.ID(option) for option in answer.selected_options] or None,
            text=answer.text or None,
            matches=matches or None,
        )

    def as_text(self) -> str:
        """Return the answer in whatever form it has, as text."""
        matches = [f"{each.option}={each.target}" for each in self.matches or ()]
        return self.selected_option or self.text or ",".join([*(self.selected_options or ()), *matches])

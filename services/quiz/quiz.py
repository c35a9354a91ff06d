"""What a quiz is: its rules, what a player may see of it, and what makes a definition sound. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from topten.quiz.v1 import quiz_pb2


@dataclass(frozen=True, slots=True)
class Question:
    """What it takes to mark an answer: the key among the options, and what it is worth."""

    points: int
    correct: str
    options: frozenset[str]


@dataclass(frozen=True, slots=True)
class Quiz:
    """The rules of a quiz. `max_attempts` 0 is no limit; an absent time does not bound it."""

    quiz_id: str
    version: int
    questions: Mapping[str, Question]
    max_attempts: int
    counting: quiz_pb2.Counting.ValueType
    opens_at: datetime | None
    closes_at: datetime | None
    view: quiz_pb2.Quiz
    """What players may see."""

    def is_open(self, at: datetime) -> bool:
        """True if an answer received at `at` may count: from `opens_at` on, before `closes_at`."""
        return (self.opens_at is None or at >= self.opens_at) and (self.closes_at is None or at < self.closes_at)


def from_definition(definition: quiz_pb2.QuizDefinition, version: int) -> Quiz:
    """The rules in a sound definition."""
    return Quiz(
        quiz_id=definition.quiz_id,
        version=version,
        questions={
            entry.question.id: Question(
                points=entry.question.points,
                correct=entry.correct_option,
                options=frozenset(option.id for option in entry.question.options),
            )
            for entry in definition.questions
        },
        max_attempts=definition.attempts.max_attempts,
        counting=definition.attempts.counting,
        opens_at=definition.opens_at.ToDatetime(UTC) if definition.HasField("opens_at") else None,
        closes_at=definition.closes_at.ToDatetime(UTC) if definition.HasField("closes_at") else None,
        view=_view(definition, version),
    )


def problems(definition: quiz_pb2.QuizDefinition) -> list[tuple[str, str]]:
    """What the contract's bounds can't say: field and fault, empty if the definition is sound."""
    found: list[tuple[str, str]] = []
    seen: set[str] = set()
    for index, entry in enumerate(definition.questions):
        path = f"definition.questions[{index}]"
        question = entry.question
        if question.id in seen:
            found.append((f"{path}.question.id", "stands twice"))
        seen.add(question.id)
        options = [option.id for option in question.options]
        if len(set(options)) != len(options):
            found.append((f"{path}.question.options", "an id stands twice"))
        if entry.correct_option not in options:
            found.append((f"{path}.correct_option", "is not the id of an option"))
        if question.kind == quiz_pb2.QUESTION_KIND_TRUE_FALSE and sorted(options) != ["false", "true"]:
            found.append((f"{path}.question.options", "must be true and false"))
    both = definition.HasField("opens_at") and definition.HasField("closes_at")
    if both and definition.opens_at.ToDatetime() >= definition.closes_at.ToDatetime():
        found.append(("definition.closes_at", "is not after opens_at"))
    return found


def _view(definition: quiz_pb2.QuizDefinition, version: int) -> quiz_pb2.Quiz:
    """Named field by field, so that a key added to the definition one day can't slip into it."""
    view = quiz_pb2.Quiz(
        quiz_id=definition.quiz_id,
        title=definition.title,
        description=definition.description,
        tags=definition.tags,
        questions=[entry.question for entry in definition.questions],
        attempts=definition.attempts,
        version=version,
    )
    if definition.HasField("opens_at"):
        view.opens_at.CopyFrom(definition.opens_at)
    if definition.HasField("closes_at"):
        view.closes_at.CopyFrom(definition.closes_at)
    return view

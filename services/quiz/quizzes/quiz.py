"""What a quiz is: its rules, the view of it that players see, and the checks of a definition. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlsplit

from topten.quiz.v1 import quiz_pb2

from services.quiz.questions.answers import Answer, answer_message
from services.quiz.questions.faults import question_faults, scoring_faults
from services.quiz.questions.kinds import Kind, kind_of
from services.quiz.questions.rules import STANDARD, Rules, rules_of, shown_scoring


@dataclass(frozen=True, slots=True)
class Question:
    """What judging an answer needs: the points of the question, and its kind with the key."""

    points: int
    kind: Kind
    explanation: str = ""

    def right_answer(self, question_id: str) -> quiz_pb2.Answer:
        """Return a right answer to this question."""
        return answer_message(Answer(question_id, self.kind.form, self.kind.right))


class Timing(NamedTuple):
    """The time limit of an attempt before extra time, and how long after the deadline answers are still accepted."""

    limit: timedelta
    grace: timedelta


@dataclass(frozen=True, slots=True)
class Quiz:
    """The rules of a quiz. `max_attempts` 0 is no limit; `opens_at` and `closes_at` None is no bound."""

    quiz_id: str
    version: int
    questions: Mapping[str, Question]
    """By id, in the order of the quiz."""
    max_attempts: int
    counting: quiz_pb2.Counting.ValueType
    opens_at: datetime | None
    closes_at: datetime | None
    view: quiz_pb2.Quiz
    """What players may see during an attempt."""
    rules: Rules = STANDARD
    feedback: quiz_pb2.Feedback.ValueType = quiz_pb2.FEEDBACK_NONE
    timing: Timing | None = None
    """None for a quiz that is not timed."""
    cooldown: timedelta = timedelta()
    """The least time between two attempts."""

    def is_open(self, at: datetime) -> bool:
        """True from `opens_at` until just before `closes_at`."""
        return (self.opens_at is None or at >= self.opens_at) and (self.closes_at is None or at < self.closes_at)

    def is_over(self, at: datetime) -> bool:
        """True from when no answer is accepted any more, however long its way took."""
        grace = timedelta() if self.timing is None else self.timing.grace
        return self.closes_at is not None and at >= self.closes_at + grace

    @property
    def preview(self) -> quiz_pb2.Quiz:
        """What players may see before an attempt: of a timed quiz no questions."""
        if self.timing is None:
            return self.view
        preview = quiz_pb2.Quiz()
        preview.CopyFrom(self.view)
        del preview.questions[:]
        return preview


def from_definition(definition: quiz_pb2.QuizDefinition, version: int) -> Quiz:
    """Return the rules of a valid definition."""
    return Quiz(
        quiz_id=definition.quiz_id,
        version=version,
        questions={
            entry.question.id: Question(entry.question.points, kind_of(entry), entry.explanation)
            for entry in definition.questions
        },
        max_attempts=definition.attempts.max_attempts,
        counting=definition.attempts.counting,
        opens_at=definition.opens_at.ToDatetime(UTC) if definition.HasField("opens_at") else None,
        closes_at=definition.closes_at.ToDatetime(UTC) if definition.HasField("closes_at") else None,
        view=_view(definition, version),
        rules=rules_of(definition.scoring),
        feedback=definition.feedback or quiz_pb2.FEEDBACK_NONE,
        timing=_timing(definition),
        cooldown=timedelta(seconds=definition.attempts.cooldown_seconds),
    )


def _timing(definition: quiz_pb2.QuizDefinition) -> Timing | None:
    if not definition.HasField("timing"):
        return None
    timing = definition.timing
    return Timing(timedelta(seconds=timing.limit_seconds), timedelta(seconds=timing.grace_seconds))


def judged_again_by(current: Quiz, seen: Quiz) -> Quiz:
    """Return the quiz that a player saw with the keys, points and rules of the current version.

    A question of which the kind, the options or the targets differ, or which is gone, keeps its key: an answer to it says
    nothing about the new one.
    """
    forms = {question.id: _form(question) for question in current.view.questions}
    questions = {
        question.id: current.questions[question.id]
        if forms.get(question.id) == _form(question)
        else seen.questions[question.id]
        for question in seen.view.questions
    }
    return replace(seen, version=current.version, questions=questions, rules=current.rules)


def _form(question: quiz_pb2.Question) -> tuple[object, ...]:
    """Return what an answer to a question refers to."""
    options = frozenset((option.id, option.text) for option in question.options)
    return question.kind, options, frozenset((target.id, target.text) for target in question.targets)


def problems(definition: quiz_pb2.QuizDefinition) -> list[tuple[str, str]]:
    """Return the faults that the contract's bounds cannot express, as field and description; empty if it is valid."""
    faults: list[tuple[str, str]] = []
    question_ids: set[str] = set()
    for index, entry in enumerate(definition.questions):
        path = f"definition.questions[{index}]"
        if entry.question.id in question_ids:
            faults.append((f"{path}.question.id", "duplicates the ID of another question"))
        question_ids.add(entry.question.id)
        faults += [(f"{path}.{field}", text) for field, text in question_faults(entry)]
    faults += [(f"definition.scoring.{field}", text) for field, text in scoring_faults(definition.scoring)]
    if definition.feedback == quiz_pb2.FEEDBACK_ANSWERS_AFTER_CLOSE and not definition.HasField("closes_at"):
        faults.append(("definition.feedback", "needs a quiz that closes"))
    if definition.feedback == quiz_pb2.FEEDBACK_ANSWERS_AFTER_LAST_ATTEMPT and not definition.attempts.max_attempts:
        faults.append(("definition.feedback", "needs a limit of attempts"))
    is_bounded = definition.HasField("opens_at") and definition.HasField("closes_at")
    if is_bounded and definition.opens_at.ToDatetime() >= definition.closes_at.ToDatetime():
        faults.append(("definition.closes_at", "must be later than opens_at"))
    return faults


def media_faults(definition: quiz_pb2.QuizDefinition, hosts: Collection[str]) -> list[tuple[str, str]]:
    """Return the pictures whose host is none of these, in lower case, as field and description."""
    return [
        (f"definition.questions[{index}].question.media.url", "is not on a host that the operator allows for pictures")
        for index, entry in enumerate(definition.questions)
        if entry.question.HasField("media") and urlsplit(entry.question.media.url).hostname not in hosts
    ]


def _view(definition: quiz_pb2.QuizDefinition, version: int) -> quiz_pb2.Quiz:
    """Copy field by field, so that an answer key added to the definition later cannot slip in."""
    view = quiz_pb2.Quiz(
        quiz_id=definition.quiz_id,
        title=definition.title,
        description=definition.description,
        tags=definition.tags,
        questions=[entry.question for entry in definition.questions],
        attempts=definition.attempts,
        version=version,
        feedback=definition.feedback or quiz_pb2.FEEDBACK_NONE,
        question_count=len(definition.questions),
        total_points=sum(entry.question.points for entry in definition.questions),
        rooms_count_on_boards=definition.rooms_count_on_boards,
    )
    if definition.HasField("timing"):
        view.timing.CopyFrom(definition.timing)
    if definition.HasField("scoring"):
        view.scoring.CopyFrom(shown_scoring(definition.scoring))
    if definition.HasField("opens_at"):
        view.opens_at.CopyFrom(definition.opens_at)
    if definition.HasField("closes_at"):
        view.closes_at.CopyFrom(definition.closes_at)
    return view

"""Topten's own JSON (docs/reference/quiz-format.md): one quiz, taken as a whole or not at all."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from topten.quiz.v1 import quiz_pb2

from services.quiz.formats.contract import ROOMS_KEY, faults_of
from services.quiz.formats.draft import DEFAULT_GRACE_SECONDS
from services.quiz.formats.report import CHANGED, TAKEN, ItemReport, QuizReport
from services.quiz.formats.source import Source
from services.quiz.formats.topten.json_questions import read_question, write_question
from services.quiz.formats.topten.json_values import Values
from services.quiz.questions.rules import PRESETS

TITLE: Final = "Topten JSON"
SUFFIX: Final = ".json"
COUNTING: Final = {
    "best": quiz_pb2.COUNTING_BEST,
    "first": quiz_pb2.COUNTING_FIRST,
    "last": quiz_pb2.COUNTING_LAST,
    "average": quiz_pb2.COUNTING_AVERAGE,
    "sum": quiz_pb2.COUNTING_SUM,
}
FEEDBACK: Final = {
    "none": quiz_pb2.FEEDBACK_NONE,
    "outcomes": quiz_pb2.FEEDBACK_OUTCOMES,
    "answers": quiz_pb2.FEEDBACK_ANSWERS,
    "answers_after_last_attempt": quiz_pb2.FEEDBACK_ANSWERS_AFTER_LAST_ATTEMPT,
    "answers_after_close": quiz_pb2.FEEDBACK_ANSWERS_AFTER_CLOSE,
}
_COUNTING_NAMES: Final = {counting: name for name, counting in COUNTING.items()}
_FEEDBACK_NAMES: Final = {feedback: name for name, feedback in FEEDBACK.items()}
_SCORING: Final = {
    "penaltyPercent": "penalty_percent",
    "streakPercent": "streak_percent",
    "timeBonusPercent": "time_bonus_percent",
    "timeLimitSeconds": "time_limit_seconds",
}
_KEYS: Final = frozenset(
    f"id title description tags attempts timing opensAt closesAt scoring feedback {ROOMS_KEY} questions".split()
)
_BEGINS: Final = re.compile(r"\s*(\{\s*[\"}]|\[\s*[\[{\"\]]|[{\[]\s*$)")


def recognizes(source: Source) -> bool:
    """Whether the text begins like JSON. What is JSON of another format is recognized before."""
    return source.is_text and bool(_BEGINS.match(source.text))


def read(source: Source) -> list[QuizReport]:
    """Read the quiz, and report every fault of its form and of its contract at once."""
    values = Values()
    definition = _quiz(values, source.document)
    problems = values.problems + [
        (place, text) for place, text in faults_of(definition) if not values.has_reported(place)
    ]
    if problems:
        return [QuizReport(definition, [], faults=[f"{place}: {text}" for place, text in problems])]
    items = []
    for index in range(len(definition.questions)):
        place = f"questions[{index}]"
        changes = [f"{where.removeprefix(place)[1:]}: {text}" for where, text in values.changes if _is_in(where, place)]
        items.append(ItemReport(place, CHANGED if changes else TAKEN, changes))
    changes = [f"{where}: {text}" for where, text in values.changes if not where.startswith("questions")]
    return [QuizReport(definition, items, changes)]


def write(definition: quiz_pb2.QuizDefinition) -> bytes:
    """Write a quiz; reading it again gives the same definition."""
    document: dict[str, Any] = {"id": definition.quiz_id, "title": definition.title}
    if definition.description:
        document["description"] = definition.description
    if definition.tags:
        document["tags"] = [*definition.tags]
    attempts = definition.attempts
    document["attempts"] = {"max": attempts.max_attempts, "counts": _COUNTING_NAMES[attempts.counting]}
    if attempts.cooldown_seconds:
        document["attempts"]["cooldownSeconds"] = attempts.cooldown_seconds
    if definition.HasField("timing"):
        timing = definition.timing
        document["timing"] = {"limitSeconds": timing.limit_seconds, "graceSeconds": timing.grace_seconds}
    if definition.HasField("opens_at"):
        document["opensAt"] = definition.opens_at.ToJsonString()
    if definition.HasField("closes_at"):
        document["closesAt"] = definition.closes_at.ToJsonString()
    if definition.HasField("scoring"):
        document["scoring"] = _written_scoring(definition.scoring)
    if definition.feedback:
        document["feedback"] = _FEEDBACK_NAMES[definition.feedback]
    if definition.rooms_count_on_boards:
        document[ROOMS_KEY] = True
    document["questions"] = [write_question(entry) for entry in definition.questions]
    return json.dumps(document, ensure_ascii=False, indent=2).encode() + b"\n"


def _quiz(values: Values, document: Any) -> quiz_pb2.QuizDefinition:
    quiz = values.object(document, "$", _KEYS)
    definition = quiz_pb2.QuizDefinition(
        quiz_id=values.text(quiz, "id", ""),
        title=values.text(quiz, "title", ""),
        description=values.text(quiz, "description", "", required=False, lines=True),
        tags=[
            values.checked(tag, f"tags[{index}]") for index, tag in enumerate(values.entries(quiz, "tags", "", most=10))
        ],
        attempts=_attempts(values, quiz.get("attempts", {})),
        rooms_count_on_boards=values.flag(quiz, ROOMS_KEY, ""),
    )
    if definition.quiz_id != definition.quiz_id.lower():
        values.problem("id", "must be in lower case")
    for key, field in (("opensAt", definition.opens_at), ("closesAt", definition.closes_at)):
        if key in quiz and (at := values.time(quiz[key], key)):
            field.FromDatetime(at)
    if "timing" in quiz:
        definition.timing.CopyFrom(_timing(values, quiz["timing"]))
    if "scoring" in quiz:
        definition.scoring.CopyFrom(_scoring(values, quiz["scoring"]))
    if "feedback" in quiz:
        definition.feedback = values.choice(quiz["feedback"], FEEDBACK, "feedback", quiz_pb2.FEEDBACK_NONE)
    seen: set[str] = set()
    for index, value in enumerate(values.entries(quiz, "questions", "", most=100, required=True)):
        entry = read_question(values, value, f"questions[{index}]")
        if entry.question.id in seen:
            values.problem(f"questions[{index}].id", f"{entry.question.id!r} is used twice")
        seen.add(entry.question.id)
        definition.questions.append(entry)
    return definition


def _attempts(values: Values, value: Any) -> quiz_pb2.AttemptPolicy:
    attempts = values.object(value, "attempts", {"max", "counts", "cooldownSeconds"})
    return quiz_pb2.AttemptPolicy(
        max_attempts=values.integer(attempts.get("max", 0), "attempts.max"),
        counting=values.choice(attempts.get("counts", "best"), COUNTING, "attempts.counts", quiz_pb2.COUNTING_BEST),
        cooldown_seconds=values.integer(attempts.get("cooldownSeconds", 0), "attempts.cooldownSeconds"),
    )


def _timing(values: Values, value: Any) -> quiz_pb2.Timing:
    timing = values.object(value, "timing", {"limitSeconds", "graceSeconds"})
    return quiz_pb2.Timing(
        limit_seconds=values.integer(timing.get("limitSeconds", 0), "timing.limitSeconds"),
        grace_seconds=values.integer(timing.get("graceSeconds", DEFAULT_GRACE_SECONDS), "timing.graceSeconds"),
    )


def _scoring(values: Values, value: Any) -> quiz_pb2.Scoring:
    """Read the name of a preset, or an object of rules."""
    if isinstance(value, str):
        names = {name: name for name in PRESETS}
        return quiz_pb2.Scoring(preset=values.choice(value, names, "scoring", ""))
    rules = values.object(value, "scoring", _SCORING.keys())
    given: dict[str, Any] = {
        field: values.integer(rules[key], f"scoring.{key}") for key, field in _SCORING.items() if key in rules
    }
    return quiz_pb2.Scoring(**given)


def _written_scoring(scoring: quiz_pb2.Scoring) -> str | dict[str, int]:
    rules = {key: getattr(scoring, field) for key, field in _SCORING.items()}
    return scoring.preset or {key: value for key, value in rules.items() if value}


def _is_in(place: str, outer: str) -> bool:
    return place.startswith((f"{outer}.", f"{outer}["))

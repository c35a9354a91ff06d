"""A quiz file (docs/quiz-format.md) as the contract's definition, or everything that is wrong with it.

Pure. Bounds that the contract states are left to the service; here stands what only the file's form can break.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from topten.quiz.v1 import quiz_pb2

MAX_BYTES: Final = 1024 * 1024
DEFAULT_POINTS: Final = 10
KINDS: Final = {
    "single_choice": quiz_pb2.QUESTION_KIND_SINGLE_CHOICE,
    "true_false": quiz_pb2.QUESTION_KIND_TRUE_FALSE,
}
COUNTING: Final = {
    "best": quiz_pb2.COUNTING_BEST,
    "first": quiz_pb2.COUNTING_FIRST,
    "last": quiz_pb2.COUNTING_LAST,
    "average": quiz_pb2.COUNTING_AVERAGE,
    "sum": quiz_pb2.COUNTING_SUM,
}
_QUIZ_KEYS: Final = {"id", "title", "description", "tags", "attempts", "opensAt", "closesAt", "questions"}
_QUESTION_KEYS: Final = {"id", "text", "kind", "points", "options", "correct"}


class QuizFileError(ValueError):
    """Everything wrong with a file: one line each, beginning with the place (`questions[3].correct`)."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def parse_quiz(content: bytes) -> quiz_pb2.QuizDefinition:
    """The definition in a file's content. Raises QuizFileError, which names every problem at once."""
    if len(content) > MAX_BYTES:
        raise QuizFileError([f"$: longer than {MAX_BYTES} bytes"])
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise QuizFileError([f"$: not JSON ({str(error)[:100]})"]) from None
    reader = _Reader()
    definition = reader.quiz(document)
    if reader.problems:
        raise QuizFileError(reader.problems)
    return definition


class _Reader:
    """Reads values of the expected type; a wrong one becomes a problem and the type's empty value."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def quiz(self, document: Any) -> quiz_pb2.QuizDefinition:
        quiz = self._object(document, "$", _QUIZ_KEYS)
        definition = quiz_pb2.QuizDefinition(
            quiz_id=self._text(quiz, "id", ""),
            title=self._text(quiz, "title", ""),
            description=self._text(quiz, "description", "", required=False),
            tags=[self._is(tag, str, f"tags[{index}]", "") for index, tag in enumerate(self._list(quiz, "tags", ""))],
            attempts=self._attempts(quiz.get("attempts", {})),
        )
        for key, field in (("opensAt", definition.opens_at), ("closesAt", definition.closes_at)):
            if key in quiz and (at := self._time(quiz[key], key)):
                field.FromDatetime(at)
        seen: set[str] = set()
        for index, entry in enumerate(self._list(quiz, "questions", "", required=True)):
            question = self._question(entry, f"questions[{index}]")
            if question.question.id in seen:
                self._problem(f"questions[{index}].id", f"{question.question.id!r} stands twice")
            seen.add(question.question.id)
            definition.questions.append(question)
        return definition

    def _attempts(self, value: Any) -> quiz_pb2.AttemptPolicy:
        attempts = self._object(value, "attempts", {"max", "counts"})
        counts: str = self._is(attempts.get("counts", "best"), str, "attempts.counts", "best")
        if counts not in COUNTING:
            self._problem("attempts.counts", f"must be one of {', '.join(COUNTING)}")
        maximum = self._is(attempts.get("max", 0), int, "attempts.max", 0)
        return quiz_pb2.AttemptPolicy(
            max_attempts=self._int32(maximum, "attempts.max"),
            counting=COUNTING.get(counts, quiz_pb2.COUNTING_BEST),
        )

    def _question(self, value: Any, path: str) -> quiz_pb2.QuestionDefinition:
        entry = self._object(value, path, _QUESTION_KEYS)
        kind: str = self._is(entry.get("kind", "single_choice"), str, f"{path}.kind", "single_choice")
        if kind not in KINDS:
            self._problem(f"{path}.kind", f"must be one of {', '.join(KINDS)}")
        question = quiz_pb2.Question(
            id=self._text(entry, "id", path),
            text=self._text(entry, "text", path),
            kind=KINDS.get(kind, quiz_pb2.QUESTION_KIND_UNSPECIFIED),
            points=self._int32(
                self._is(entry.get("points", DEFAULT_POINTS), int, f"{path}.points", 0), f"{path}.points"
            ),
        )
        if kind == "true_false":
            return self._true_false(entry, question, path)
        for index, option in enumerate(self._list(entry, "options", path, required=True)):
            place = f"{path}.options[{index}]"
            fields = self._object(option, place, {"id", "text"})
            text = quiz_pb2.Option(id=self._text(fields, "id", place), text=self._text(fields, "text", place))
            if any(other.id == text.id for other in question.options):
                self._problem(f"{place}.id", f"{text.id!r} stands twice")
            question.options.append(text)
        correct = self._text(entry, "correct", path)
        if correct and all(option.id != correct for option in question.options):
            self._problem(f"{path}.correct", f"no option has the id {correct!r}")
        return quiz_pb2.QuestionDefinition(question=question, correct_option=correct)

    def _true_false(self, entry: dict[str, Any], question: quiz_pb2.Question, path: str) -> quiz_pb2.QuestionDefinition:
        if "options" in entry:
            self._problem(f"{path}.options", "a true_false question has none of its own")
        correct = self._is(entry.get("correct"), bool, f"{path}.correct", default=False)
        question.options.extend([quiz_pb2.Option(id="true", text="True"), quiz_pb2.Option(id="false", text="False")])
        return quiz_pb2.QuestionDefinition(question=question, correct_option="true" if correct else "false")

    def _object(self, value: Any, path: str, keys: set[str]) -> dict[str, Any]:
        fields: dict[str, Any] = self._is(value, dict, path, {})
        for key in sorted(fields.keys() - keys):
            self._problem(path, f"no such key: {key[:64]!r}")
        return fields

    def _list(self, fields: dict[str, Any], key: str, path: str, *, required: bool = False) -> Iterator[Any]:
        place = f"{path}.{key}".lstrip(".")
        if required and key not in fields:
            self._problem(place, "is missing")
        return iter(self._is(fields.get(key, []), list, place, []))

    def _text(self, fields: dict[str, Any], key: str, path: str, *, required: bool = True) -> str:
        place = f"{path}.{key}".lstrip(".")
        if key not in fields:
            if required:
                self._problem(place, "is missing")
            return ""
        text: str = self._is(fields[key], str, place, "")
        return text

    def _time(self, value: Any, path: str) -> datetime | None:
        try:
            at = datetime.fromisoformat(self._is(value, str, path, ""))
        except ValueError:
            self._problem(path, "must be a time such as 2026-11-23T18:00:00Z")
            return None
        if at.tzinfo is None:
            self._problem(path, "needs a zone, such as the Z of 2026-11-23T18:00:00Z")
            return None
        return at

    def _int32(self, value: int, path: str) -> int:
        if not -(2**31) <= value < 2**31:
            self._problem(path, "is out of bounds")
            return 0
        return value

    def _is(self, value: Any, expected: type, path: str, default: Any) -> Any:
        # JSON's true is an int to Python.
        if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
            names = {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "an object"}
            self._problem(path, f"must be {names[expected]}")
            return default
        return value

    def _problem(self, path: str, text: str) -> None:
        self.problems.append(f"{path}: {text}")

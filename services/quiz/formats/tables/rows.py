"""Quizzes as rows of a table, in the columns that `columns` reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from topten.quiz.v1 import quiz_pb2

from services.quiz.formats.contract import KIND_NAMES
from services.quiz.formats.tables.columns import SEPARATOR

_MAX_OPTIONS: Final = 10


def written_rows(definition: quiz_pb2.QuizDefinition) -> Iterator[list[str]]:
    """Yield the header and a row for each question. Columns that only some kinds have are there if one has them."""
    rows = [_row(entry) for entry in definition.questions]
    used = {name for row in rows for name, cell in row.items() if cell}
    header = [name for name in _COLUMNS if name in used or name in _ALWAYS]
    yield header
    for row in rows:
        yield [row.get(name, "") for name in header]


def _row(entry: quiz_pb2.QuestionDefinition) -> dict[str, str]:
    question = entry.question
    row = {
        "id": question.id,
        "question": question.text,
        "kind": KIND_NAMES[question.kind],
        "points": str(question.points),
        "correct": _correct(entry),
        "explanation": entry.explanation,
        "partial": "true" if entry.partial else "",
        "case sensitive": "true" if entry.text.case_sensitive else "",
        "tolerance": entry.numeric.tolerance,
    }
    if entry.weights:
        weights = {weight.option: str(weight.percent) for weight in entry.weights}
        row["weights"] = ",".join(weights.get(option.id, "0") for option in question.options)
    if question.kind != quiz_pb2.QUESTION_KIND_TRUE_FALSE:
        row |= {f"option {number}": option.text for number, option in enumerate(question.options, 1)}
    return row | {f"target {number}": target.text for number, target in enumerate(question.targets, 1)}


def _correct(entry: quiz_pb2.QuestionDefinition) -> str:
    options = entry.question.options
    match entry.question.kind:
        case quiz_pb2.QUESTION_KIND_TRUE_FALSE:
            return entry.correct_option
        case quiz_pb2.QUESTION_KIND_NUMERIC:
            return entry.numeric.value
        case quiz_pb2.QUESTION_KIND_SHORT_TEXT:
            return f" {SEPARATOR} ".join(entry.text.accepted)
        case quiz_pb2.QUESTION_KIND_MATCHING:
            targets = {match.option: match.target for match in entry.correct_matches}
            return _numbers((targets[option.id] for option in options), entry.question.targets)
        case _:
            return _numbers(entry.correct_options or [entry.correct_option], options)


def _numbers(ids: Iterable[str], listed: Iterable[quiz_pb2.Option]) -> str:
    """Return the positions of ids in a list, from 1."""
    numbers = {option.id: str(number) for number, option in enumerate(listed, 1)}
    return ",".join(numbers[each] for each in ids)


_OPTIONS: Final = [f"option {number}" for number in range(1, _MAX_OPTIONS + 1)]
_TARGETS: Final = [f"target {number}" for number in range(1, _MAX_OPTIONS + 1)]
_ALWAYS: Final = frozenset(("id", "question", "kind", "points", "correct", *_OPTIONS))
_COLUMNS: Final = (
    *("id", "question", "kind", "points", "correct", *_OPTIONS),
    *("weights", "tolerance", "case sensitive", "partial", *_TARGETS, "explanation"),
)

"""What the quiz service will find in a definition, found before it is sent: bounds, text forms, and the rules of a quiz."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Final

import protovalidate
from topten.quiz.v1 import quiz_pb2

from services.quiz.quizzes.quiz import problems
from services.runtime.grpc.requests import violations

KINDS: Final[Mapping[str, quiz_pb2.QuestionKind.ValueType]] = {
    "single_choice": quiz_pb2.QUESTION_KIND_SINGLE_CHOICE,
    "true_false": quiz_pb2.QUESTION_KIND_TRUE_FALSE,
    "multiple_choice": quiz_pb2.QUESTION_KIND_MULTIPLE_CHOICE,
    "numeric": quiz_pb2.QUESTION_KIND_NUMERIC,
    "short_text": quiz_pb2.QUESTION_KIND_SHORT_TEXT,
    "ordering": quiz_pb2.QUESTION_KIND_ORDERING,
    "matching": quiz_pb2.QUESTION_KIND_MATCHING,
}
"""The kinds of questions by their names in files."""
KIND_NAMES: Final = {kind: name for name, kind in KINDS.items()}
ROOMS_KEY: Final = "roomsCountOnBoards"
# Fields of the contract that the file names differently.
_FILE_KEYS: Final = {
    "quiz_id": "id",
    "max_attempts": "max",
    "counting": "counts",
    "cooldown_seconds": "cooldownSeconds",
    "limit_seconds": "limitSeconds",
    "grace_seconds": "graceSeconds",
    "opens_at": "opensAt",
    "closes_at": "closesAt",
    "rooms_count_on_boards": ROOMS_KEY,
    "penalty_percent": "penaltyPercent",
    "streak_percent": "streakPercent",
    "time_bonus_percent": "timeBonusPercent",
    "time_limit_seconds": "timeLimitSeconds",
}
# Fields of an answer key, the longer ones first.
_ANSWER_KEYS: Final = {
    "correct_options": "correct",
    "correct_option": "correct",
    "correct_matches": "correct",
    "numeric.tolerance": "tolerance",
    "numeric.value": "correct",
    "numeric": "correct",
    "text.accepted": "correct",
    "text": "correct",
}
# What a file has as an object of options, whose members have no numbers.
_MEMBERS: Final = re.compile(r"(weights|correct_matches)\[.*")
_QUESTION: Final = re.compile(r"(questions\[[0-9]+\])\.?(.*)")
Fault = tuple[str, str]


def faults_of(definition: quiz_pb2.QuizDefinition) -> list[Fault]:
    """Return every fault of a definition, as its place in a quiz file and a description."""
    found = [*violations(definition, _validator()), *problems(definition)]
    return list(dict.fromkeys((file_path(field), text) for field, text in found))


def question_faults(entry: quiz_pb2.QuestionDefinition) -> list[Fault]:
    """Return every fault of one question, with places inside it."""
    found = [*violations(entry, _validator()), *problems(quiz_pb2.QuizDefinition(questions=[entry]))]
    inside = ((_QUESTION.sub(r"\2", field.removeprefix("definition.")), text) for field, text in found)
    return list(dict.fromkeys((_question_path(field), text) for field, text in inside))


def file_path(field: str) -> str:
    """Translate a field path of the contract into the path inside a quiz file."""
    path = field.removeprefix("definition").lstrip(".")
    if inside := _QUESTION.fullmatch(path):
        return f"{inside[1]}.{_question_path(inside[2])}".rstrip(".")
    return ".".join(_FILE_KEYS.get(step, step) for step in path.split(".")).removesuffix(".preset") or "$"


def _question_path(field: str) -> str:
    """Translate a field path of a question's definition."""
    if field.partition(".")[0] == "question":
        return field.removeprefix("question").lstrip(".")
    field = _MEMBERS.sub(r"\1", field)
    known = next((name for name in _ANSWER_KEYS if field.startswith(name)), "")
    return f"{_ANSWER_KEYS[known]}{field.removeprefix(known)}" if known else field


@cache
def _validator() -> protovalidate.Validator:
    return protovalidate.Validator()

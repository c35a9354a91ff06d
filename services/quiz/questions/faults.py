"""The faults of questions and scoring that the contract's bounds cannot express. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from topten.quiz.v1 import quiz_pb2

from services.quiz.questions.kinds import text_kind
from services.quiz.questions.rules import PRESETS
from services.runtime.texts import same_text_key

Fault = tuple[str, str]
"""The path of a field and what is wrong with it."""
_MIN_OPTIONS: Final = 2
# The fields of a key, and the kinds that have them.
_KEYS: Final[Mapping[str, frozenset[int]]] = {
    "correct_option": frozenset({quiz_pb2.QUESTION_KIND_SINGLE_CHOICE, quiz_pb2.QUESTION_KIND_TRUE_FALSE}),
    "correct_options": frozenset({quiz_pb2.QUESTION_KIND_MULTIPLE_CHOICE, quiz_pb2.QUESTION_KIND_ORDERING}),
    "weights": frozenset({quiz_pb2.QUESTION_KIND_MULTIPLE_CHOICE}),
    "partial": frozenset({quiz_pb2.QUESTION_KIND_ORDERING, quiz_pb2.QUESTION_KIND_MATCHING}),
    "numeric": frozenset({quiz_pb2.QUESTION_KIND_NUMERIC}),
    "text": frozenset({quiz_pb2.QUESTION_KIND_SHORT_TEXT}),
    "correct_matches": frozenset({quiz_pb2.QUESTION_KIND_MATCHING}),
}
_WITHOUT_OPTIONS: Final = _KEYS["numeric"] | _KEYS["text"]


def question_faults(entry: quiz_pb2.QuestionDefinition) -> Iterator[Fault]:
    """Yield every fault of a question, with its field."""
    question = entry.question
    yield from _list_faults("question.options", question.options, needed=question.kind not in _WITHOUT_OPTIONS)
    yield from _list_faults("question.targets", question.targets, needed=question.kind in _KEYS["correct_matches"])
    for field, _ in entry.ListFields():
        if question.kind not in _KEYS.get(field.name, {question.kind}):
            yield field.name, "belongs to questions of another kind"
    if kind_faults := _KINDS.get(question.kind):  # the contract knows no other kind
        yield from kind_faults(entry)


def scoring_faults(scoring: quiz_pb2.Scoring) -> Iterator[Fault]:
    """Yield every fault of a quiz's scoring, with its field."""
    if scoring.preset:
        if scoring.preset not in PRESETS:
            yield "preset", f"is none of {', '.join(PRESETS)}"
        elif scoring != quiz_pb2.Scoring(preset=scoring.preset):
            yield "preset", "sets everything; leave it out to set single values"
    if bool(scoring.time_bonus_percent) != bool(scoring.time_limit_seconds):
        yield "time_limit_seconds", "must be given with a time bonus, and only then"


def _list_faults(field: str, options: Iterable[quiz_pb2.Option], *, needed: bool) -> Iterator[Fault]:
    listed = list(options)
    if not needed:
        if listed:
            yield field, "must be left out for questions of this kind"
        return
    if len(listed) < _MIN_OPTIONS:
        yield field, f"must have at least {_MIN_OPTIONS}"
    if len({option.id for option in listed}) != len(listed):
        yield field, "contains the same ID twice"
    if len({same_text_key(option.text) for option in listed}) != len(listed):
        yield field, "contains the same text twice"


def _choice(entry: quiz_pb2.QuestionDefinition) -> Iterator[Fault]:
    options = [option.id for option in entry.question.options]
    if entry.correct_option not in options:
        yield "correct_option", "is not the ID of an option"
    if entry.question.kind == quiz_pb2.QUESTION_KIND_TRUE_FALSE and sorted(options) != ["false", "true"]:
        yield "question.options", "must be true and false"


def _multiple_choice(entry: quiz_pb2.QuestionDefinition) -> Iterator[Fault]:
    options, right = {option.id for option in entry.question.options}, set(entry.correct_options)
    if not right:
        yield "correct_options", "must name at least one option"
    if not right <= options:
        yield "correct_options", "names what is not the ID of an option"
    weights = {weight.option: weight.percent for weight in entry.weights}
    if not weights:
        return
    if len(weights) != len(entry.weights) or not weights.keys() <= options:
        yield "weights", "must name options, each once"
    elif sum(weights.get(option, 0) for option in right) != 100:  # percent
        yield "weights", "must sum up to 100 for the right options"
    elif any(percent > 0 for option, percent in weights.items() if option not in right):
        yield "weights", "must be 0 or less for the other options"
    elif any(weights.get(option, 0) <= 0 for option in right):
        yield "weights", "must be above 0 for each right option"


def _numeric(entry: quiz_pb2.QuestionDefinition) -> Iterator[Fault]:
    if not entry.HasField("numeric"):
        yield "numeric", "is missing"


def _text(entry: quiz_pb2.QuestionDefinition) -> Iterator[Fault]:
    if not entry.HasField("text"):
        yield "text", "is missing"
        return
    kind = text_kind(entry.text)
    forms = [kind.normalized(text) for text in entry.text.accepted]
    if not all(forms):
        yield "text.accepted", "must not be blank"
    elif len(set(forms)) != len(forms):
        yield "text.accepted", "contains the same text twice"


def _ordering(entry: quiz_pb2.QuestionDefinition) -> Iterator[Fault]:
    if sorted(entry.correct_options) != sorted(option.id for option in entry.question.options):
        yield "correct_options", "must put all options in order, each once"


def _matching(entry: quiz_pb2.QuestionDefinition) -> Iterator[Fault]:
    if sorted(match.option for match in entry.correct_matches) != sorted(
        option.id for option in entry.question.options
    ):
        yield "correct_matches", "must match all options, each once"
    if not {match.target for match in entry.correct_matches} <= {target.id for target in entry.question.targets}:
        yield "correct_matches", "names what is not the ID of a target"


_KINDS: Final[Mapping[int, Callable[[quiz_pb2.QuestionDefinition], Iterator[Fault]]]] = {
    quiz_pb2.QUESTION_KIND_SINGLE_CHOICE: _choice,
    quiz_pb2.QUESTION_KIND_TRUE_FALSE: _choice,
    quiz_pb2.QUESTION_KIND_MULTIPLE_CHOICE: _multiple_choice,
    quiz_pb2.QUESTION_KIND_NUMERIC: _numeric,
    quiz_pb2.QUESTION_KIND_SHORT_TEXT: _text,
    quiz_pb2.QUESTION_KIND_ORDERING: _ordering,
    quiz_pb2.QUESTION_KIND_MATCHING: _matching,
}

"""The kinds of questions: each judges an answer by its key. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import ClassVar, Final, Protocol

from topten.quiz.v1 import quiz_pb2

from services.quiz.questions.answers import Form, pairs

NONE: Final = Fraction(0)
ALL: Final = Fraction(1)
_NUMBER: Final = re.compile(r"[+-]?\d{1,18}(?:\.\d{1,12})?")
# Accents of Latin, Greek and Cyrillic. Marks of other scripts are letters of their own.
_ACCENTS: Final = re.compile("[\u0300-\u036f]")


class Kind(Protocol):
    """Judges the answers to one question. Every method is pure."""

    form: ClassVar[Form]
    """The form that answers must have."""

    def share(self, values: Sequence[str]) -> Fraction:
        """Return the share of the question's points that an answer earns, 0 to 1.

        Raises ValueError, with what is wrong as the end of a sentence about the answer, for one that the question does not
        allow.
        """
        ...

    @property
    def right(self) -> tuple[str, ...]:
        """A right answer."""
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """Exactly one of the options is right."""

    options: frozenset[str]
    correct: str
    form: ClassVar[Form] = "selected_option"

    def share(self, values: Sequence[str]) -> Fraction:
        """See Kind."""
        _check_options(values, self.options)
        return ALL if values[0] == self.correct else NONE

    @property
    def right(self) -> tuple[str, ...]:
        """See Kind."""
        return (self.correct,)


@dataclass(frozen=True, slots=True)
class MultipleChoice:
    """Some options are right. With weights, in percent by option, an answer earns their sum between 0 and 100."""

    options: frozenset[str]
    correct: tuple[str, ...]
    weights: Mapping[str, int]
    form: ClassVar[Form] = "selected_options"

    def share(self, values: Sequence[str]) -> Fraction:
        """See Kind."""
        _check_options(values, self.options)
        _check_once(values, "selects an option twice")
        if not self.weights:
            return ALL if set(values) == set(self.correct) else NONE
        percent = sum(self.weights.get(option, 0) for option in values)
        return Fraction(min(max(percent, 0), 100), 100)

    @property
    def right(self) -> tuple[str, ...]:
        """See Kind."""
        return self.correct


@dataclass(frozen=True, slots=True)
class Numeric:
    """A number that is at most the tolerance away."""

    value: Decimal
    tolerance: Decimal
    form: ClassVar[Form] = "text"

    def share(self, values: Sequence[str]) -> Fraction:
        """See Kind."""
        number = parse_number(values[0])
        return ALL if abs(number - self.value) <= self.tolerance else NONE

    @property
    def right(self) -> tuple[str, ...]:
        """See Kind."""
        return (f"{self.value:f}",)


@dataclass(frozen=True)
class ShortText:
    """One of some texts, compared without case, accents and runs of white space unless these matter."""

    accepted: tuple[str, ...]
    case_sensitive: bool
    accent_sensitive: bool
    space_sensitive: bool
    form: ClassVar[Form] = "text"

    def share(self, values: Sequence[str]) -> Fraction:
        """See Kind."""
        return ALL if self.normalized(values[0]) in self._forms else NONE

    @property
    def right(self) -> tuple[str, ...]:
        """See Kind."""
        return self.accepted[:1]

    @cached_property
    def _forms(self) -> frozenset[str]:
        return frozenset(map(self.normalized, self.accepted))

    def normalized(self, text: str) -> str:
        """Return the form in which a text is compared."""
        text = text.strip() if self.space_sensitive else " ".join(text.split())
        text = unicodedata.normalize("NFKD", text)
        if not self.accent_sensitive:
            text = _ACCENTS.sub("", text)
        if not self.case_sensitive:
            text = unicodedata.normalize("NFKD", text.casefold())
        return unicodedata.normalize("NFC", text)


@dataclass(frozen=True, slots=True)
class Ordering:
    """All options in the right order. With partial credit, each option in its place earns an equal share."""

    correct: tuple[str, ...]
    partial: bool
    form: ClassVar[Form] = "selected_options"

    def share(self, values: Sequence[str]) -> Fraction:
        """See Kind."""
        _check_options(values, frozenset(self.correct))
        _check_once(values, "has an option twice")
        if len(values) != len(self.correct):
            raise ValueError("does not put all options in order")
        return _credit([given == right for given, right in zip(values, self.correct, strict=True)], self.partial)

    @property
    def right(self) -> tuple[str, ...]:
        """See Kind."""
        return self.correct


@dataclass(frozen=True, slots=True)
class Matching:
    """Each option has its target. With partial credit, each right match earns an equal share."""

    correct: Mapping[str, str]
    targets: frozenset[str]
    partial: bool
    form: ClassVar[Form] = "matches"

    def share(self, values: Sequence[str]) -> Fraction:
        """See Kind."""
        matches = pairs(values)
        _check_options([option for option, _ in matches], self.correct.keys())
        _check_once([option for option, _ in matches], "matches an option twice")
        if not {target for _, target in matches} <= self.targets:
            raise ValueError("has a target that the question does not have")
        given = dict(matches)
        return _credit([given.get(option) == target for option, target in self.correct.items()], self.partial)

    @property
    def right(self) -> tuple[str, ...]:
        """See Kind."""
        return tuple(text for match in self.correct.items() for text in match)


def kind_of(entry: quiz_pb2.QuestionDefinition) -> Kind:
    """Return the judge of a valid definition."""
    options = frozenset(option.id for option in entry.question.options)
    match entry.question.kind:
        case quiz_pb2.QUESTION_KIND_MULTIPLE_CHOICE:
            weights = {weight.option: weight.percent for weight in entry.weights}
            return MultipleChoice(options, tuple(entry.correct_options), weights)
        case quiz_pb2.QUESTION_KIND_NUMERIC:
            return Numeric(Decimal(entry.numeric.value), Decimal(entry.numeric.tolerance or "0"))
        case quiz_pb2.QUESTION_KIND_SHORT_TEXT:
            return text_kind(entry.text)
        case quiz_pb2.QUESTION_KIND_ORDERING:
            return Ordering(tuple(entry.correct_options), entry.partial)
        case quiz_pb2.QUESTION_KIND_MATCHING:
            targets = frozenset(target.id for target in entry.question.targets)
            return Matching({match.option: match.target for match in entry.correct_matches}, targets, entry.partial)
        case _:
            return Choice(options, entry.correct_option)


def text_kind(key: quiz_pb2.TextKey) -> ShortText:
    """Return the judge of a short text."""
    return ShortText(tuple(key.accepted), key.case_sensitive, key.accent_sensitive, key.space_sensitive)


def parse_number(text: str) -> Decimal:
    """Return a decimal number with a point or a comma. Raises ValueError if the text is none."""
    plain = text.strip().replace("\u2212", "-")
    if "." not in plain:
        plain = plain.replace(",", ".", 1)
    if not _NUMBER.fullmatch(plain):
        raise ValueError("is not a number")
    return Decimal(plain)


def _credit(places: Sequence[bool], partial: bool) -> Fraction:
    if partial:
        return Fraction(sum(places), len(places))
    return ALL if all(places) else NONE


def _check_options(values: Sequence[str], options: Container[str]) -> None:
    if any(value not in options for value in values):
        raise ValueError("selects an option that the question does not have")


def _check_once(values: Sequence[str], message: str) -> None:
    if len(set(values)) != len(values):
        raise ValueError(message)

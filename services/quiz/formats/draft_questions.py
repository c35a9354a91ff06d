"""Questions of drafts as questions of the contract: kinds, points, weights and plain text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from topten.quiz.v1 import quiz_pb2

from services.quiz.formats import draft
from services.quiz.formats.contract import KINDS
from services.quiz.formats.draft import Choice, Item, Text
from services.quiz.formats.plain_text import TextFault, plain
from services.runtime.texts import same_text_key

DEFAULT_POINTS: Final = 10
MAX_POINTS: Final = 1000
MAX_EXPLANATION: Final = 1000
OPTION_IDS: Final = "abcdefghijklmnopqrstuvwxyz"
ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_EXACTLY_RIGHT: Final = 0.9999
# Three options of 33.33333 percent are meant to have all points together.
_ROUNDING_PERCENT: Final = 1.0
Definition = quiz_pb2.QuestionDefinition


class QuestionBuilder:
    """Builds the question of an item, and collects its faults and changes."""

    def __init__(self, item: Item, question_id: str) -> None:
        self.faults: list[str] = []
        self.changes = [*item.changes]
        self._item = item
        self._id = question_id

    def build(self) -> Definition:
        """Return the question; it is incomplete if there are faults."""
        entry = Definition(question=quiz_pb2.Question(id=self._id))
        if (fill := _KINDS.get(self._item.kind)) is None:
            self.faults.append(f"questions of the kind {self._item.kind!r} are not supported")
            return entry
        entry.question.kind = KINDS[self._item.kind]
        entry.question.text = self._plain(self._item.text, "text")
        entry.question.points = self._points()
        entry.explanation = self._explanation()
        if len(self._item.choices) > len(OPTION_IDS):
            self.faults.append(f"has {len(self._item.choices)} options")
        else:
            fill(self, entry)
        return entry

    def single_choice(self, entry: Definition) -> None:
        """Fill a question of which exactly one option is right."""
        choices = self._item.choices
        right = [index for index, choice in enumerate(choices) if choice.share >= _EXACTLY_RIGHT]
        if len(right) != 1:
            self.faults.append(
                f"has {len(right)} right options; exactly one can be right" if right else self._without_right()
            )
            return
        if any(0 < choice.share < _EXACTLY_RIGHT for choice in choices):
            self.changes.append("partial credit was left out")
        if any(choice.share < 0 for choice in choices):
            self.changes.append("penalties were left out")
        entry.correct_option = self._options(entry, choices)[right[0]]

    def true_false(self, entry: Definition) -> None:
        """Fill a statement that is true or false."""
        entry.question.options.add(id="true", text="True")
        entry.question.options.add(id="false", text="False")
        if self._item.truth is None:
            self.faults.append("does not say whether it is true or false")
            return
        entry.correct_option = "true" if self._item.truth else "false"

    def multiple_choice(self, entry: Definition) -> None:
        """Fill a question of which some options are right."""
        choices = self._item.choices
        ids = self._options(entry, choices)
        entry.correct_options.extend(ids[index] for index, choice in enumerate(choices) if choice.share > 0)
        if not entry.correct_options:
            self.faults.append("has no right option")
        elif self._item.partial:
            percents = self._percents([choice.share for choice in choices])
            for option, percent in zip(ids, percents, strict=False):
                entry.weights.add(option=option, percent=percent)

    def numeric(self, entry: Definition) -> None:
        """Fill a question for a number."""
        entry.numeric.value = self._item.number
        entry.numeric.tolerance = self._item.tolerance
        if self._item.tolerance.startswith("-"):
            self.faults.append("tolerance: must be 0 or more")

    def short_text(self, entry: Definition) -> None:
        """Fill a question for a text."""
        for index, text in enumerate(self._item.accepted):
            entry.text.accepted.append(self._plain(text, f"correct[{index}]"))
        entry.text.case_sensitive = self._item.case_sensitive
        if not entry.text.accepted:
            self.faults.append("has no right answer")

    def ordering(self, entry: Definition) -> None:
        """Fill a question whose options are put in order."""
        choices = [*self._item.choices]
        if order := self._item.order:
            given = self._options(entry, choices)
            entry.correct_options.extend(given[index] for index in order)
        else:
            shown = sorted(range(len(choices)), key=lambda index: choices[index].text.raw.casefold())
            if shown == sorted(shown):  # which would be the right order
                shown.reverse()
            ids = dict(zip(shown, self._options(entry, [choices[index] for index in shown]), strict=True))
            entry.correct_options.extend(ids[index] for index in range(len(choices)))
        entry.partial = self._item.partial

    def matching(self, entry: Definition) -> None:
        """Fill a question whose options are matched to targets."""
        choices = self._item.choices
        ids: dict[str, str] = {}
        for index, text in enumerate(self._item.targets):
            value = self._plain(text, f"targets[{index}].text")
            if same_text_key(value) not in ids:
                ids[same_text_key(value)] = f"t{len(ids) + 1}"
                entry.question.targets.add(id=f"t{len(ids)}", text=value)
        for option, choice in zip(self._options(entry, choices), choices, strict=True):
            key = same_text_key(self._plain(choice.target, "targets"))
            entry.correct_matches.add(option=option, target=ids.get(key, ""))
        entry.partial = self._item.partial

    def _options(self, entry: Definition, choices: Sequence[Choice]) -> list[str]:
        """Add the options and return their ids: the file's own if all are, else letters."""
        ids = [choice.id for choice in choices]
        if len(set(ids)) != len(ids) or not all(ID.fullmatch(each) for each in ids):
            ids = list(OPTION_IDS[: len(choices)])
        for index, (option_id, choice) in enumerate(zip(ids, choices, strict=True)):
            entry.question.options.add(id=option_id, text=self._plain(choice.text, f"options[{index}].text"))
        return ids

    def _percents(self, shares: Sequence[float]) -> list[int]:
        """Return shares in whole percent, of which the positive ones are 100 together."""
        given = [100 * min(max(share, -1), 1) for share in shares]
        together = sum(percent for percent in given if percent > 0)
        if abs(together - 100) > _ROUNDING_PERCENT:
            self.faults.append(f"has right options that earn {together:g} percent together; they must earn 100")
            return []
        percents = [math.floor(percent + 0.5) for percent in given]
        missing = 100 - sum(percent for percent in percents if percent > 0)
        if missing or any(abs(percent - rounded) > 1e-6 for percent, rounded in zip(given, percents, strict=True)):
            self.changes.append("weights were rounded to whole percents")
        largest = max(range(len(given)), key=lambda index: given[index])
        percents[largest] += missing
        return percents

    def _without_right(self) -> str:
        several = sum(choice.share > 0 for choice in self._item.choices)
        return (
            f"has {several} options that are partly right; exactly one can be right"
            if several
            else "has no right option"
        )

    def _plain(self, text: Text, place: str) -> str:
        try:
            value, changes = plain(text)
        except TextFault as fault:
            self.faults.append(f"{place}: {fault}")
            return ""
        self.changes += changes
        return value

    def _explanation(self) -> str:
        """Return the explanation; one that cannot be taken is left out."""
        if not self._item.explanation.raw.strip():
            return ""
        try:
            value, changes = plain(self._item.explanation)
        except TextFault as fault:
            self.changes.append(f"the explanation was left out: it {fault}")
            return ""
        if len(value) > MAX_EXPLANATION:
            self.changes.append(f"the explanation was left out: it must have at most {MAX_EXPLANATION} characters")
            return ""
        self.changes += changes
        return value

    def _points(self) -> int:
        given = self._item.points
        if given is None:
            return DEFAULT_POINTS
        # A bound first: a file may say infinity, or that it is not a number.
        points = math.floor(min(max(given, 1), MAX_POINTS) + 0.5) if not math.isnan(given) else 1
        if points != given:
            self.changes.append(f"{given:g} points became {points}")
        return points


_KINDS: Final[Mapping[str, Callable[[QuestionBuilder, Definition], None]]] = {
    draft.SINGLE_CHOICE: QuestionBuilder.single_choice,
    draft.TRUE_FALSE: QuestionBuilder.true_false,
    draft.MULTIPLE_CHOICE: QuestionBuilder.multiple_choice,
    draft.NUMERIC: QuestionBuilder.numeric,
    draft.SHORT_TEXT: QuestionBuilder.short_text,
    draft.ORDERING: QuestionBuilder.ordering,
    draft.MATCHING: QuestionBuilder.matching,
}

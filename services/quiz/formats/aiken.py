"""Aiken: a question, options `A.` or `A)`, and `ANSWER: A` (docs.moodle.org/en/Aiken_format)."""

from __future__ import annotations

import re
from typing import Final

from topten.quiz.v1 import quiz_pb2

from services.quiz.formats.assembly import assemble
from services.quiz.formats.draft import Choice, Item, QuizDraft, Text
from services.quiz.formats.report import QuizReport
from services.quiz.formats.source import Source

TITLE: Final = "Aiken"
SUFFIX: Final = ".aiken"
_OPTION: Final = re.compile(r"([A-Z])[.)][ \t]+(.*)")
_ANSWER: Final = re.compile(r"ANSWER:[ \t]*(.*)", re.IGNORECASE)
_ANSWER_LINE: Final = re.compile(r"^[ \t]*ANSWER:[ \t]*[A-Z][ \t]*$", re.MULTILINE)


def recognizes(source: Source) -> bool:
    """Whether a line has an answer."""
    return source.is_text and bool(_ANSWER_LINE.search(source.text))


def read(source: Source) -> list[QuizReport]:
    """Read every question."""
    draft = QuizDraft()
    reader = _Reader(draft)
    for number, line in enumerate(source.text.split("\n"), 1):
        reader.line(number, line.strip())
    reader.end()
    return assemble([draft], source.name)


def write(definition: quiz_pb2.QuizDefinition) -> bytes:
    """Write texts and right answers of questions with one right option. Aiken has no other kind."""
    lines: list[str] = []
    for entry in (each for each in definition.questions if each.correct_option):
        lines.append(entry.question.text)
        letters = dict(zip("ABCDEFGHIJ", entry.question.options, strict=False))
        lines += [f"{letter}. {option.text}" for letter, option in letters.items()]
        lines += [f"ANSWER: {letter}" for letter, option in letters.items() if option.id == entry.correct_option]
        lines.append("")
    return "\n".join(lines).encode()


class _Reader:
    """Collects lines until a question is complete."""

    def __init__(self, draft: QuizDraft) -> None:
        self._draft = draft
        self._number = 0
        self._text: list[str] = []
        self._options: dict[str, str] = {}
        self._fault = ""

    def line(self, number: int, line: str) -> None:
        if not line:
            return
        if answer := _ANSWER.fullmatch(line):
            self._number = self._number or number
            self._close(answer[1].strip().upper())
        elif (option := _OPTION.fullmatch(line)) and self._text:
            if option[1] in self._options:
                self._fault = self._fault or f"has the option {option[1]} twice"
            self._options[option[1]] = option[2]
        else:
            if self._options:  # the next question, without an answer to this one
                self._close("")
            self._number = self._number or number
            self._text.append(line)

    def end(self) -> None:
        if self._text:
            self._close("")

    def _close(self, answer: str) -> None:
        fault = self._fault
        if not self._text:
            fault = fault or "has no question before its answer"
        elif not answer:
            fault = fault or "has no line ANSWER:"
        elif answer not in self._options:
            fault = fault or "names an answer that is none of its options"
        choices = [Choice(Text(text), float(letter == answer)) for letter, text in self._options.items()]
        place, text = f"line {self._number}", Text("\n".join(self._text))
        self._draft.items.append(Item(place, text, choices=choices, fault=fault))
        self._number, self._text, self._options, self._fault = 0, [], {}, ""

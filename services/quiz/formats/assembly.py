"""From drafts to definitions: ids, titles and plain text, with a report for each item."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from topten.quiz.v1 import quiz_pb2

from services.quiz.formats.contract import faults_of, question_faults
from services.quiz.formats.draft import DEFAULT_GRACE_SECONDS, Item, QuizDraft, Text
from services.quiz.formats.draft_questions import ID, QuestionBuilder
from services.quiz.formats.plain_text import TextFault, plain
from services.quiz.formats.report import CHANGED, REFUSED, ItemReport, QuizReport
from services.quiz.formats.source import FormatError
from services.runtime.texts import clipped, without_controls

MAX_QUESTIONS: Final = 100
MAX_ITEMS: Final = 2000
MAX_TITLE: Final = 120


def assemble(drafts: list[QuizDraft], name: str) -> list[QuizReport]:
    """Return the quizzes of a file that is called `name`, without those that have no item.

    The id of a file's only quiz is that of the file; several have the ids of file and title. Raises FormatError for more than
    2000 items.
    """
    filled = [draft for draft in drafts if draft.items]
    if sum(len(draft.items) for draft in filled) > MAX_ITEMS:
        raise FormatError(f"$: must have at most {MAX_ITEMS} items")
    return [_quiz(draft, name, alone=len(filled) == 1) for draft in filled]


def slug(text: str) -> str:
    """Return the quiz id that a name gives: its ASCII letters in lower case, digits, and `-` for the rest."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", letters).strip("-")[:64].rstrip("-")


def _quiz(draft: QuizDraft, name: str, *, alone: bool) -> QuizReport:
    changes = [*draft.changes]
    title = _line(draft.title, "title", changes) or without_controls(re.sub(r"[-_\s]+", " ", name)).strip()
    if len(title) > MAX_TITLE:
        changes.append(f"the title was shortened to {MAX_TITLE} characters")
        title = clipped(title, MAX_TITLE)
    definition = quiz_pb2.QuizDefinition(
        quiz_id=slug(name) if alone else slug(f"{name} {title}"),
        title=title,
        description=_lines(draft.description, "description", changes),
        attempts=quiz_pb2.AttemptPolicy(max_attempts=draft.max_attempts, counting=draft.counting),
    )
    if draft.limit_seconds:
        definition.timing.limit_seconds, definition.timing.grace_seconds = draft.limit_seconds, DEFAULT_GRACE_SECONDS
    ids = _question_ids(draft.items)
    items = [_add(definition, item, question_id) for item, question_id in zip(draft.items, ids, strict=True)]
    report = QuizReport(definition, items, changes)
    if not definition.quiz_id:
        report.faults.append("id: the name of the file gives none; rename it to letters a-z, digits and -")
    elif not definition.questions:
        report.faults.append("questions: none could be taken")
    else:
        report.faults += [f"{place}: {text}" for place, text in faults_of(definition)]
    return report


def _add(definition: quiz_pb2.QuizDefinition, item: Item, question_id: str) -> ItemReport:
    """Append the question of an item, unless it has a fault."""
    if item.fault:
        return ItemReport(item.place, REFUSED, [item.fault])
    if len(definition.questions) >= MAX_QUESTIONS:
        return ItemReport(item.place, REFUSED, [f"a quiz has at most {MAX_QUESTIONS} questions"])
    builder = QuestionBuilder(item, question_id)
    entry = builder.build()
    faults = builder.faults or [f"{place}: {text}" for place, text in question_faults(entry)]
    if faults:
        return ItemReport(item.place, REFUSED, faults)
    definition.questions.append(entry)
    changes = list(dict.fromkeys(builder.changes))
    return ItemReport(item.place, CHANGED, changes) if changes else ItemReport(item.place)


def _question_ids(items: list[Item]) -> list[str]:
    """Return the id of each item: the file's own where it is one and the first of its kind, else `q` and a number."""
    taken: set[str] = set()
    ids: list[str] = []
    for item in items:
        own = item.id if ID.fullmatch(item.id) and item.id not in taken else ""
        ids.append(own)
        taken.add(own)
    for index, own in enumerate(ids):
        if not own:
            number = index + 1
            while f"q{number}" in taken:
                number += 1
            ids[index] = f"q{number}"
            taken.add(ids[index])
    return ids


def _lines(text: Text, place: str, changes: list[str]) -> str:
    """Return a text of the quiz itself; one that cannot be taken is left out."""
    if not text.raw:
        return ""
    try:
        value, changed = plain(text)
    except TextFault as fault:
        changes.append(f"the {place} was left out: it {fault}")
        return ""
    changes += [f"{place}: {change}" for change in changed]
    return value


def _line(text: Text, place: str, changes: list[str]) -> str:
    return " ".join(_lines(text, place, changes).split())

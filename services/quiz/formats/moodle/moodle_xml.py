"""Moodle XML (docs.moodle.org/en/Moodle_XML_format): a question bank, with categories as quizzes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from topten.quiz.v1 import quiz_pb2

from services.quiz.formats.assembly import assemble
from services.quiz.formats.decimals import decimal
from services.quiz.formats.draft import (
    MATCHING,
    MULTIPLE_CHOICE,
    NUMERIC,
    ORDERING,
    POINTS_OF_GRADE,
    SHORT_TEXT,
    SINGLE_CHOICE,
    TRUE_FALSE,
    Choice,
    Item,
    QuizDraft,
    Text,
    by_text,
)
from services.quiz.formats.gift.gift import category_title
from services.quiz.formats.markup import content_of, first, found, parse, root_of, tag
from services.quiz.formats.report import QuizReport
from services.quiz.formats.source import Source

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

TITLE: Final = "Moodle XML"
SUFFIX: Final = ".xml"
_KINDS: Final = {
    "multichoice": SINGLE_CHOICE,
    "truefalse": TRUE_FALSE,
    "numerical": NUMERIC,
    "shortanswer": SHORT_TEXT,
    "ordering": ORDERING,
    "matching": MATCHING,
}
# Grading of orders: all or nothing, by absolute positions, or by others that are neither.
_ALL_OR_NOTHING: Final = frozenset(("-1", "all_or_nothing"))
_BY_POSITION: Final = frozenset(("", "0", "absolute_position"))
_WILDCARD: Final = re.compile(r"(?<!\\)\*")
_HTML: Final = frozenset(("html", "moodle_auto_format", "", "0", "1"))


def recognizes(source: Source) -> bool:
    """Whether the root is a quiz."""
    return root_of(source.content) == "quiz"


def read(source: Source) -> list[QuizReport]:
    """Read every question, by category."""
    drafts = [QuizDraft()]
    number = 0
    for element in parse(source.content):
        kind = element.get("type", "")
        if tag(element) != "question":
            continue
        if kind == "category":
            drafts.append(QuizDraft(title=Text(category_title(content_of(first(element, "category", "text"))))))
        else:
            number += 1
            drafts[-1].items.append(_item(number, element, kind))
    return assemble(drafts, source.name)


def write(definition: quiz_pb2.QuizDefinition) -> bytes:
    """Write title, questions with ids, points and right answers, as plain text."""
    from xml.etree.ElementTree import Element, SubElement, indent, tostring

    from services.quiz.formats.moodle.moodle_writing import write_question

    root = Element("quiz")
    category = SubElement(SubElement(root, "question", type="category"), "category")
    SubElement(category, "text").text = f"$course$/top/{definition.title.replace('/', '//')}"
    for entry in definition.questions:
        write_question(root, entry)
    indent(root)
    content: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _item(number: int, element: Element, kind: str) -> Item:
    name = content_of(first(element, "name", "text"))
    id_number = content_of(first(element, "idnumber"))
    item = Item(f"question {number}", kind=_KINDS.get(kind, kind[:64]), id=id_number or name)
    item.text = _text(first(element, "questiontext"))
    item.points = _number(content_of(first(element, "defaultgrade")) or "1", POINTS_OF_GRADE)
    item.explanation = _text(next((each for each in element if tag(each) == "generalfeedback"), None))
    feedback = (each for each in element.iter() if tag(each).endswith("feedback") and tag(each) != "generalfeedback")
    if any(content_of(first(each, "text")) for each in feedback):
        item.changes.append("feedback was left out")
    _answers(item, element)
    return item


def _answers(item: Item, element: Element) -> None:
    """Read options and right answers, in the way of the item's kind."""
    answers = [each for each in element if tag(each) == "answer"]
    item.choices = [Choice(_text(each), _number(each.get("fraction", "0"), 0.01)) for each in answers]
    if item.kind == TRUE_FALSE:
        right = [content_of(first(each, "text")).lower() for each in answers if each.get("fraction", "") == "100"]
        item.truth = {"true": True, "false": False}.get(right[0]) if len(right) == 1 else None
    elif item.kind == SINGLE_CHOICE and content_of(first(element, "single")).lower() in {"false", "0"}:
        item.kind, item.partial = MULTIPLE_CHOICE, True
    elif item.kind == NUMERIC:
        _numeric(item, element, answers)
    elif item.kind == SHORT_TEXT:
        _short_text(item, element)
    elif item.kind == ORDERING:
        _ordering(item, element)
    elif item.kind == MATCHING:
        _matching(item, element)


def _numeric(item: Item, element: Element, answers: list[Element]) -> None:
    right = _right(item)
    if len(right) != 1:
        item.fault = f"has {len(right)} right numbers; exactly one can be right"
        return
    if any(content_of(each) for each in element if tag(each) == "units"):
        item.changes.append("units were left out")
    tolerance = content_of(first(answers[right[0]], "tolerance"))
    try:
        item.number = decimal(item.choices[right[0]].text.raw)
        item.tolerance = decimal(tolerance) if tolerance else ""
    except ValueError as error:
        item.fault = str(error)
    item.choices = []


def _short_text(item: Item, element: Element) -> None:
    item.case_sensitive = content_of(first(element, "usecase")) == "1"
    for index in _right(item):
        text = item.choices[index].text
        if _WILDCARD.search(text.raw):
            item.fault = "accepts any characters in place of *"
        item.accepted.append(Text(text.raw.replace("\\*", "*")))
    item.choices = []


def _ordering(item: Item, element: Element) -> None:
    """Read options, which the file has in the right order."""
    grading = content_of(first(element, "gradingtype")).lower()
    item.partial = grading not in _ALL_OR_NOTHING
    if item.partial and grading not in _BY_POSITION:
        item.changes.append("each option in its place earns a part, whatever is beside it")


def _matching(item: Item, element: Element) -> None:
    item.partial = True
    pairs = [(_text(each), Text(content_of(first(each, "answer", "text")))) for each in found(element, "subquestion")]
    # Without an option it is a target alone.
    item.choices = [Choice(option, target=target) for option, target in pairs if option.raw.strip()]
    item.targets = by_text(target for _, target in pairs if target.raw)


def _right(item: Item) -> list[int]:
    """Return the indexes of answers that earn everything."""
    if any(0 < choice.share < 1 for choice in item.choices):
        item.changes.append("answers that earn a part were left out")
    return [index for index, choice in enumerate(item.choices) if choice.share >= 1]


def _text(element: Element | None) -> Text:
    """Return the text in an element with a format; its own is HTML."""
    if element is None:
        return Text("")
    return Text(content_of(first(element, "text")), element.get("format", "") in _HTML)


def _number(text: str, unit: float) -> float:
    try:
        return round(float(text) * unit, 6)
    except (ValueError, OverflowError):
        return 0.0

"""QTI 1.2, as Canvas and Common Cartridge write it: the items of an assessment with their metadata."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final

from topten.quiz.v1 import quiz_pb2

from services.quiz.formats.draft import (
    MULTIPLE_CHOICE,
    POINTS_OF_GRADE,
    SHORT_TEXT,
    SINGLE_CHOICE,
    TRUE_FALSE,
    Choice,
    Item,
    QuizDraft,
    Text,
)
from services.quiz.formats.markup import content_of, first, found, inner_html, tag

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_KINDS: Final = {
    "multiple_choice_question": SINGLE_CHOICE,
    "cc.multiple_choice.v0p1": SINGLE_CHOICE,
    "true_false_question": TRUE_FALSE,
    "cc.true_false.v0p1": TRUE_FALSE,
    "multiple_answers_question": MULTIPLE_CHOICE,
    "cc.multiple_response.v0p1": MULTIPLE_CHOICE,
    "short_answer_question": SHORT_TEXT,
    "cc.fib.v0p1": SHORT_TEXT,
}
_CARDINALITIES: Final = {SINGLE_CHOICE: "single", TRUE_FALSE: "single", MULTIPLE_CHOICE: "multiple"}
_COUNTING: Final = {
    "keep_highest": quiz_pb2.COUNTING_BEST,
    "keep_latest": quiz_pb2.COUNTING_LAST,
    "keep_average": quiz_pb2.COUNTING_AVERAGE,
}
_MAX_ATTEMPTS: Final = 1_000_000
_MAX_MINUTES: Final = 1440
_PLAIN: Final = "text/plain"


def read_assessments(root: Element) -> list[QuizDraft]:
    """Read the assessments, or the items without one as a quiz."""
    assessments = [*found(root, "assessment")] or [root]
    return [
        QuizDraft(
            [_item(number, each) for number, each in enumerate(found(assessment, "item"), 1)],
            title=Text(assessment.get("title", "")),
        )
        for assessment in assessments
    ]


def apply_settings(draft: QuizDraft, meta: Element) -> None:
    """Apply Canvas' `assessment_meta.xml`: title, description, attempts, which of them counts, and the time limit."""
    draft.title = Text(content_of(first(meta, "title"))) if first(meta, "title") is not None else draft.title
    draft.description = Text(content_of(first(meta, "description")), markup=True)
    attempts = content_of(first(meta, "allowed_attempts"))
    if attempts.isascii() and attempts.isdigit():
        draft.max_attempts = min(int(attempts[:8]), _MAX_ATTEMPTS)
    policy = content_of(first(meta, "scoring_policy"))
    draft.counting = _COUNTING.get(policy, draft.counting)
    minutes = content_of(first(meta, "time_limit"))
    if minutes.isascii() and minutes.isdigit() and 0 < int(minutes[:8]) <= _MAX_MINUTES:
        draft.limit_seconds = int(minutes) * 60
    elif minutes:
        draft.changes.append(f"the time limit was left out: it must be 1 to {_MAX_MINUTES} minutes")


def _item(number: int, element: Element) -> Item:
    title = element.get("title", "")
    item = Item(f"item {number}" + (f" ({title[:40]})" if title.isprintable() and title else ""))
    item.id = element.get("ident", "")
    fields = {
        content_of(first(each, "fieldlabel")): content_of(first(each, "fieldentry"))
        for each in found(element, "qtimetadatafield")
    }
    kind = fields.get("question_type") or fields.get("cc_profile") or ""
    responses = [each for each in element.iter() if tag(each).startswith("response_") and tag(each) != "response_label"]
    presentation = first(element, "presentation")
    item.text = _material(presentation, responses)
    single = len(responses) == 1 and tag(responses[0]) == "response_lid"
    item.kind = _KINDS.get(kind, kind[:64] or (SINGLE_CHOICE if single else "without a type"))
    if first(element, "itemfeedback") is not None:
        item.changes.append("feedback was left out")
    if item.kind not in _KINDS.values():
        return item
    if len(responses) != 1:
        item.fault = f"has {len(responses)} fields for an answer; it must have one"
        return item
    if points := fields.get("points_possible") or fields.get("cc_weighting"):
        item.points = _number(points) * POINTS_OF_GRADE
    if item.kind == SHORT_TEXT:
        item.accepted = [Text(text) for text, share in _shares(element).items() if share >= 1]
    else:
        _choices(item, element, responses[0])
    return item


def _choices(item: Item, element: Element, response: Element) -> None:
    """Read options and which of them are right; a form of response that its kind does not have changes the kind."""
    cardinality = response.get("rcardinality", "Single").lower()
    if tag(response) != "response_lid" or cardinality != _CARDINALITIES[item.kind]:
        item.kind = f"{tag(response)} of cardinality {cardinality[:20]}"
        return
    shares = dict.fromkeys(_all_right(element), 1.0) if item.kind == MULTIPLE_CHOICE else _shares(element)
    for label in found(response, "response_label"):
        ident = label.get("ident", "")
        item.choices.append(Choice(_material(label, []), shares.get(ident, 0.0), ident))
    if item.kind == TRUE_FALSE:
        right = [each.text.raw.strip().lower() for each in item.choices if each.share >= 1]
        item.truth = {"true": True, "false": False}.get(right[0]) if len(right) == 1 else None


def _all_right(element: Element) -> list[str]:
    """Return the labels that are selected together, by the condition with a score that names them outside of `not`."""
    for condition in found(element, "respcondition"):
        wrong = {id(each) for outer in found(condition, "not") for each in outer.iter()}
        if any(_number(content_of(each)) > 0 for each in found(condition, "setvar")):
            return [content_of(each) for each in found(condition, "varequal") if id(each) not in wrong]
    return []


def _shares(element: Element) -> dict[str, float]:
    """Return which part of the points each label earns, by the conditions that name one label alone."""
    earned: dict[str, float] = {}
    for condition in found(element, "respcondition"):
        if first(condition, "not") is not None:
            continue
        named = [content_of(each) for each in found(condition, "varequal")]
        scores = [_number(content_of(each)) for each in found(condition, "setvar")]
        # Texts that a condition names are each right.
        if scores and (len(named) == 1 or first(element, "response_str") is not None):
            for name in named:
                earned[name] = earned.get(name, 0.0) + scores[-1]
    best = max(earned.values(), default=0.0)
    return {ident: score / best for ident, score in earned.items()} if best > 0 else {}


def _material(element: Element | None, without: list[Element]) -> Text:
    """Return the texts of an element, except those in others."""
    if element is None:
        return Text("")
    inside = {id(each) for outer in without for each in outer.iter()}
    parts: list[Text] = []
    for each in element.iter():
        if id(each) in inside:
            continue
        if tag(each) == "mattext":
            is_plain = each.get("texttype", _PLAIN) == _PLAIN
            parts.append(Text(content_of(each), markup=not is_plain) if not len(each) else inner_html(each))
        elif tag(each) in {"matimage", "mataudio", "matvideo"}:
            parts.append(Text("<img>", markup=True))
    if len(parts) == 1:
        return parts[0]
    return Text("<br>".join(_as_html(part) for part in parts), markup=True) if parts else Text("")


def _as_html(text: Text) -> str:
    return text.raw if text.markup else html.escape(text.raw)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0

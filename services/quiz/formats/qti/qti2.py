"""An item of QTI 2.1, 2.2 or 3, which renamed the elements alone: one interaction, and what is right in its declaration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from services.quiz.formats.decimals import decimal
from services.quiz.formats.draft import (
    MATCHING,
    MULTIPLE_CHOICE,
    NUMERIC,
    ORDERING,
    POINTS_OF_GRADE,
    SHORT_TEXT,
    TRUE_FALSE,
    Choice,
    Item,
    Text,
)
from services.quiz.formats.markup import content_of, first, found, inner_html, tag

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_NUMBERS: Final = frozenset(("float", "integer"))
_MAPPED: Final = "map_response"
# Shown to those who mark, or after an answer.
_FEEDBACK: Final = frozenset(("feedbackinline", "feedbackblock", "modalfeedback"))
_LEFT_OUT: Final = frozenset(
    ("rubricblock", "feedbackinline", "feedbackblock", "modalfeedback", "prompt", "stylesheet")
)


def read_item(root: Element, place: str) -> Item:
    """Read an `assessmentItem`."""
    item = Item(place, id=root.get("identifier", ""))
    body = first(root, "itembody")
    interactions = [] if body is None else [each for each in body.iter() if tag(each).endswith("interaction")]
    if len(interactions) != 1:
        item.kind = f"{len(interactions)} interactions"
        return item
    interaction = interactions[0]
    declaration = next(
        (
            each
            for each in found(root, "responsedeclaration")
            if each.get("identifier") in {None, _attribute(interaction, "responseIdentifier")}
        ),
        None,
    )
    if (read := _INTERACTIONS.get(tag(interaction))) is None:
        item.kind = tag(interaction).removesuffix("interaction")
    elif declaration is None:
        item.fault = "does not declare what is right"
    else:
        item.points = _points(root)
        read(item, _Part(root, interaction, declaration))
    item.text = _text(body, interaction)
    feedback = [each for each in root.iter() if tag(each) in _FEEDBACK]
    if len(feedback) == 1 and _attribute(feedback[0], "showHide") == "hide":  # shown but for one outcome
        item.explanation = inner_html(feedback[0])
    elif any(
        tag(each).endswith("feedback") or tag(each) in {"feedbackinline", "feedbackblock"} for each in root.iter()
    ):
        item.changes.append("feedback was left out")
    return item


class _Part(NamedTuple):
    """The parts of an item that its kind is read from."""

    root: Element
    interaction: Element
    declaration: Element


def _choice(item: Item, part: _Part) -> None:
    choices = [*found(part.interaction, "simplechoice")]
    ids = [each.get("identifier", "") for each in choices]
    right = _right(part)
    shares = dict.fromkeys(right, 1.0)
    if part.declaration.get("cardinality", "single") != "single":
        item.kind = MULTIPLE_CHOICE
        if mapped := _mapped(part):
            item.partial, shares = True, mapped
    elif sorted(ids) == ["false", "true"]:
        item.kind, item.truth = TRUE_FALSE, right == ["true"] if len(right) == 1 else None
    item.choices = _choices(choices, shares)


def _order(item: Item, part: _Part) -> None:
    item.kind = ORDERING
    item.choices = _choices([*found(part.interaction, "simplechoice")], {})
    places = {choice.id: index for index, choice in enumerate(item.choices)}
    right = _right(part)
    if not right or not all(name in places for name in right):
        item.fault = "does not put its choices in order"
        return
    item.order = [places[name] for name in right]


def _match(item: Item, part: _Part) -> None:
    item.kind = MATCHING
    sets = [[*found(each, "simpleassociablechoice")] for each in found(part.interaction, "simplematchset")]
    pairs = [pair.split() for pair in _right(part)]
    given = {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
    if len(sets) != 2 or len(given) != len(pairs):
        item.fault = "must match each choice of a set to one of another set"
        return
    targets = {each.get("identifier", ""): inner_html(each, without=_LEFT_OUT) for each in sets[1]}
    item.targets = [*targets.values()]
    item.partial = bool(_mapped(part))
    item.choices = _choices(sets[0], {})
    for choice in item.choices:
        choice.target = targets.get(given.get(choice.id, ""), choice.target)


def _entry(item: Item, part: _Part) -> None:
    """Read an entry of a text or a number."""
    mapped = _mapped(part)
    if any(0 < share < 1 for share in mapped.values()):
        item.changes.append("answers that earn a part were left out")
    accepted = [*_right(part), *(name for name, share in mapped.items() if share >= 1)]
    accepted = list(dict.fromkeys(accepted))
    if _attribute(part.declaration, "baseType") not in _NUMBERS:
        entries = [*found(part.declaration, "mapentry")]
        ignored = bool(entries) and all(_attribute(each, "caseSensitive") == "false" for each in entries)
        item.kind, item.case_sensitive = SHORT_TEXT, not ignored
        item.accepted = [Text(text) for text in accepted]
        return
    item.kind = NUMERIC
    try:
        [item.number] = [decimal(text) for text in accepted]
    except ValueError:
        item.fault = "must have exactly one right number"
        return
    equal = first(part.root, "responseprocessing", "equal")
    if equal is not None and _attribute(equal, "toleranceMode") not in {"", "exact"}:
        item.tolerance = _tolerance(equal)
        if not item.tolerance:
            item.changes.append("the tolerance was left out")


_INTERACTIONS: Final[Mapping[str, Callable[[Item, _Part], None]]] = {
    "choiceinteraction": _choice,
    "orderinteraction": _order,
    "matchinteraction": _match,
    "textentryinteraction": _entry,
}


def _choices(elements: Iterable[Element], shares: Mapping[str, float]) -> list[Choice]:
    return [
        Choice(
            inner_html(each, without=_LEFT_OUT), shares.get(each.get("identifier", ""), 0.0), each.get("identifier", "")
        )
        for each in elements
    ]


def _right(part: _Part) -> list[str]:
    correct = first(part.declaration, "correctresponse")
    return [] if correct is None else [content_of(each) for each in found(correct, "value")]


def _mapped(part: _Part) -> dict[str, float]:
    """Return what each value earns, as a part of all that can be earned, if points come from a map."""
    processing = first(part.root, "responseprocessing")
    if processing is None or not processing.get("template", "").removesuffix(".xml").endswith(_MAPPED):
        return {}
    entries = {
        _attribute(each, "mapKey"): _grade(_attribute(each, "mappedValue")) or 0.0
        for each in found(part.declaration, "mapentry")
    }
    gains = [value for value in entries.values() if value > 0]
    best = max(gains, default=0.0) if part.declaration.get("cardinality", "single") == "single" else sum(gains)
    return {name: value / best for name, value in entries.items()} if best > 0 else {}


def _tolerance(equal: Element) -> str:
    """Return an absolute tolerance that is the same in both directions; empty for another."""
    given = {*_attribute(equal, "tolerance").split()}
    if _attribute(equal, "toleranceMode") != "absolute" or len(given) != 1:
        return ""
    try:
        return decimal(given.pop())
    except ValueError:
        return ""


def _points(root: Element) -> float | None:
    for each in found(root, "outcomedeclaration"):
        if each.get("identifier") == "MAXSCORE":
            return _grade(content_of(first(each, "defaultvalue", "value")))
    return None


def _text(body: Element | None, interaction: Element) -> Text:
    """Return the text around the interaction, then its prompt."""
    around = inner_html(body, without={*_LEFT_OUT, tag(interaction)})
    prompt = inner_html(first(interaction, "prompt"))
    return Text(f"{around.raw}\n<br>{prompt.raw}" if around.raw.strip() else prompt.raw, markup=True)


def _attribute(element: Element, name: str) -> str:
    """Return an attribute by the name of QTI 2; QTI 3 writes `response-identifier`."""
    wanted = name.lower()
    return next((value for key, value in element.attrib.items() if key.replace("-", "").lower() == wanted), "")


def _grade(text: str) -> float | None:
    try:
        return round(float(text) * POINTS_OF_GRADE, 6)
    except ValueError:
        return None

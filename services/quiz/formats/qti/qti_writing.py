"""A quiz as a package of QTI 2.1: a test, and an item for each question.

Points of a question are MAXSCORE of its item, one grade for ten points. Its explanation is feedback that is shown whatever the
answer was.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from topten.quiz.v1 import quiz_pb2

from services.quiz.formats.draft import POINTS_OF_GRADE
from services.quiz.formats.gift.gift_writing import shares_of

_ITEMS: Final = "http://www.imsglobal.org/xsd/imsqti_v2p1"
_MANIFEST: Final = "http://www.imsglobal.org/xsd/imscp_v1p1"
_TEMPLATES: Final = "http://www.imsglobal.org/question/qti_v2p1/rptemplates/"
_TYPE: Final = {_ITEMS: "imsqti_item_xmlv2p1", "test": "imsqti_test_xmlv2p1"}
# The time of every file: a package of the same quiz has the same bytes.
_TIME: Final = (1980, 1, 1, 0, 0, 0)
# White space that HTML would change.
_SPACED: Final = re.compile(r"[^\S ]|  ")


def package_of(definition: quiz_pb2.QuizDefinition) -> bytes:
    """Return the package."""
    items = {f"items/{number:03}.xml": _item(entry) for number, entry in enumerate(definition.questions, 1)}
    test = Element("assessmentTest", xmlns=_ITEMS, identifier="test", title=definition.title)
    part = SubElement(test, "testPart", identifier="part", navigationMode="nonlinear", submissionMode="simultaneous")
    section = SubElement(part, "assessmentSection", identifier="section", title=definition.title, visible="true")
    for number, name in enumerate(items, 1):
        SubElement(section, "assessmentItemRef", identifier=f"item{number}", href=name)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, root in {"imsmanifest.xml": _manifest(list(items)), "test.xml": test, **items}.items():
            document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
            archive.writestr(zipfile.ZipInfo(name, _TIME), document, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def _manifest(items: Sequence[str]) -> Element:
    root = Element("manifest", xmlns=_MANIFEST, identifier="manifest")
    SubElement(root, "organizations")
    resources = SubElement(root, "resources")
    for number, name in enumerate(["test.xml", *items]):
        kind = _TYPE[_ITEMS if number else "test"]
        resource = SubElement(resources, "resource", identifier=f"resource{number}", type=kind, href=name)
        SubElement(resource, "file", href=name)
        for other in range(1, 1 + (0 if number else len(items))):
            SubElement(resource, "dependency", identifierref=f"resource{other}")
    return root


def _item(entry: quiz_pb2.QuestionDefinition) -> Element:
    question = entry.question
    root = Element(
        "assessmentItem",
        xmlns=_ITEMS,
        identifier=question.id,
        title=question.id,
        adaptive="false",
        timeDependent="false",
    )
    grade = f"{question.points / POINTS_OF_GRADE:g}"
    match question.kind:
        case quiz_pb2.QUESTION_KIND_SINGLE_CHOICE | quiz_pb2.QUESTION_KIND_TRUE_FALSE:
            _declare(root, "identifier", "single", [entry.correct_option])
        case quiz_pb2.QUESTION_KIND_MULTIPLE_CHOICE:
            gains = shares_of(entry) if entry.weights else {}
            right = entry.correct_options or [option for option, share in gains.items() if float(share) > 0]
            _declare(root, "identifier", "multiple", right, _parts(gains, question.points))
        case quiz_pb2.QUESTION_KIND_NUMERIC:
            _declare(root, "float", "single", [entry.numeric.value])
        case quiz_pb2.QUESTION_KIND_SHORT_TEXT:
            mapped = dict.fromkeys(entry.text.accepted, grade)
            _declare(root, "string", "single", entry.text.accepted[:1], mapped, keeps_case=entry.text.case_sensitive)
        case quiz_pb2.QUESTION_KIND_ORDERING:
            _declare(root, "identifier", "ordered", entry.correct_options)
        case quiz_pb2.QUESTION_KIND_MATCHING:
            pairs = [f"{each.option} {each.target}" for each in entry.correct_matches]
            shares = dict.fromkeys(pairs, str(100 / len(pairs))) if entry.partial else {}
            _declare(root, "directedPair", "multiple", pairs, _parts(shares, question.points))
    for name, value in (("SCORE", "0"), ("MAXSCORE", grade)):
        outcome = SubElement(root, "outcomeDeclaration", identifier=name, cardinality="single", baseType="float")
        SubElement(SubElement(outcome, "defaultValue"), "value").text = value
    if entry.explanation:
        SubElement(root, "outcomeDeclaration", identifier="FEEDBACK", cardinality="single", baseType="identifier")
    _write_body(SubElement(root, "itemBody"), question)
    _write_processing(root, entry, grade)
    if entry.explanation:
        # Hidden if the outcome is `none`, which it never is.
        shown = {"outcomeIdentifier": "FEEDBACK", "identifier": "none", "showHide": "hide"}
        _write_text(SubElement(root, "modalFeedback", shown), entry.explanation)
    return root


def _declare(
    root: Element,
    base: str,
    cardinality: str,
    right: Sequence[str],
    mapped: Mapping[str, str] | None = None,
    *,
    keeps_case: bool = True,
) -> None:
    """Append the right answers, and the share that each value earns if these differ."""
    declaration = SubElement(root, "responseDeclaration", identifier="RESPONSE", cardinality=cardinality, baseType=base)
    correct = SubElement(declaration, "correctResponse")
    for each in right:
        SubElement(correct, "value").text = each
    if mapped:
        mapping = SubElement(declaration, "mapping", lowerBound="0", defaultValue="0")
        for key, value in mapped.items():
            case = {} if keeps_case else {"caseSensitive": "false"}
            SubElement(mapping, "mapEntry", {"mapKey": key, "mappedValue": value} | case)


def _parts(shares: Mapping[str, str], points: int) -> dict[str, str]:
    """Return what each value earns, in grades, of its share in percent."""
    return {key: f"{float(share) * points / POINTS_OF_GRADE / 100:.12g}" for key, share in shares.items()}


def _write_body(body: Element, question: quiz_pb2.Question) -> None:
    attributes = {"responseIdentifier": "RESPONSE"}
    match question.kind:
        case quiz_pb2.QUESTION_KIND_NUMERIC | quiz_pb2.QUESTION_KIND_SHORT_TEXT:
            _write_text(SubElement(body, "div"), question.text)
            SubElement(SubElement(body, "p"), "textEntryInteraction", attributes)
            return
        case quiz_pb2.QUESTION_KIND_ORDERING:
            interaction = SubElement(body, "orderInteraction", attributes | {"shuffle": "false"})
        case quiz_pb2.QUESTION_KIND_MATCHING:
            interaction = SubElement(
                body, "matchInteraction", attributes | {"shuffle": "false", "maxAssociations": "0"}
            )
        case kind:
            most = "0" if kind == quiz_pb2.QUESTION_KIND_MULTIPLE_CHOICE else "1"
            interaction = SubElement(body, "choiceInteraction", attributes | {"shuffle": "false", "maxChoices": most})
    _write_text(SubElement(interaction, "prompt"), question.text)
    if question.kind != quiz_pb2.QUESTION_KIND_MATCHING:
        for option in question.options:
            _write_text(SubElement(interaction, "simpleChoice", identifier=option.id), option.text)
        return
    for options, most in ((question.options, "1"), (question.targets, "0")):
        choices = SubElement(interaction, "simpleMatchSet")
        for option in options:
            choice = SubElement(choices, "simpleAssociableChoice", identifier=option.id, matchMax=most)
            _write_text(choice, option.text)


def _write_processing(root: Element, entry: quiz_pb2.QuestionDefinition, grade: str) -> None:
    if not entry.numeric.tolerance:
        is_mapped = root.find("responseDeclaration/mapping") is not None
        SubElement(root, "responseProcessing", template=_TEMPLATES + ("map_response" if is_mapped else "match_correct"))
        return
    condition = SubElement(SubElement(SubElement(root, "responseProcessing"), "responseCondition"), "responseIf")
    tolerance = f"{entry.numeric.tolerance} {entry.numeric.tolerance}"
    equal = SubElement(condition, "equal", toleranceMode="absolute", tolerance=tolerance)
    SubElement(equal, "variable", identifier="RESPONSE")
    SubElement(equal, "correct", identifier="RESPONSE")
    earned = SubElement(condition, "setOutcomeValue", identifier="SCORE")
    SubElement(earned, "baseValue", baseType="float").text = grade


def _write_text(element: Element, text: str) -> None:
    """Write a text, preformatted if HTML would change its white space."""
    if _SPACED.search(text) or text != text.strip():
        element = SubElement(element, "pre")
    element.text = text

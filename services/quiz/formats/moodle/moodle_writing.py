"""Questions as elements of Moodle XML."""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element, SubElement

from topten.quiz.v1 import quiz_pb2

from services.quiz.formats.draft import POINTS_OF_GRADE
from services.quiz.formats.gift.gift_writing import pairs_of, shares_of

_TYPES: Final = {
    quiz_pb2.QUESTION_KIND_SINGLE_CHOICE: "multichoice",
    quiz_pb2.QUESTION_KIND_TRUE_FALSE: "truefalse",
    quiz_pb2.QUESTION_KIND_MULTIPLE_CHOICE: "multichoice",
    quiz_pb2.QUESTION_KIND_NUMERIC: "numerical",
    quiz_pb2.QUESTION_KIND_SHORT_TEXT: "shortanswer",
    quiz_pb2.QUESTION_KIND_ORDERING: "ordering",
    quiz_pb2.QUESTION_KIND_MATCHING: "matching",
}


def write_question(root: Element, entry: quiz_pb2.QuestionDefinition) -> None:
    """Append a question."""
    question = entry.question
    element = SubElement(root, "question", type=_TYPES[question.kind])
    SubElement(SubElement(element, "name"), "text").text = question.id
    _add_text(element, "questiontext", question.text)
    if entry.explanation:
        _add_text(element, "generalfeedback", entry.explanation)
    SubElement(element, "defaultgrade").text = f"{question.points / POINTS_OF_GRADE:g}"
    match question.kind:
        case quiz_pb2.QUESTION_KIND_TRUE_FALSE:
            for option in question.options:
                _add_answer(element, option.id, "100" if option.id == entry.correct_option else "0")
        case quiz_pb2.QUESTION_KIND_SINGLE_CHOICE | quiz_pb2.QUESTION_KIND_MULTIPLE_CHOICE:
            _add_choices(element, entry)
        case quiz_pb2.QUESTION_KIND_NUMERIC:
            answer = _add_answer(element, entry.numeric.value, "100")
            if entry.numeric.tolerance:
                SubElement(answer, "tolerance").text = entry.numeric.tolerance
        case quiz_pb2.QUESTION_KIND_SHORT_TEXT:
            SubElement(element, "usecase").text = str(int(entry.text.case_sensitive))
            for text in entry.text.accepted:
                _add_answer(element, text.replace("*", "\\*"), "100")
        case quiz_pb2.QUESTION_KIND_ORDERING:
            SubElement(element, "gradingtype").text = "ABSOLUTE_POSITION" if entry.partial else "ALL_OR_NOTHING"
            texts = {option.id: option.text for option in question.options}
            for number, option_id in enumerate(entry.correct_options, 1):
                _add_answer(element, texts[option_id], str(number))
        case quiz_pb2.QUESTION_KIND_MATCHING:
            for option_text, target in pairs_of(entry):
                SubElement(SubElement(_add_text(element, "subquestion", option_text), "answer"), "text").text = target


def _add_choices(element: Element, entry: quiz_pb2.QuestionDefinition) -> None:
    is_single = entry.question.kind == quiz_pb2.QUESTION_KIND_SINGLE_CHOICE
    SubElement(element, "single").text = str(is_single).lower()
    SubElement(element, "shuffleanswers").text = "0"
    shares = shares_of(entry)
    for option in entry.question.options:
        _add_answer(element, option.text, shares[option.id])


def _add_answer(element: Element, text: str, fraction: str) -> Element:
    answer = SubElement(element, "answer", fraction=fraction, format="plain_text")
    SubElement(answer, "text").text = text
    return answer


def _add_text(element: Element, name: str, text: str) -> Element:
    added = SubElement(element, name, format="plain_text")
    SubElement(added, "text").text = text
    return added

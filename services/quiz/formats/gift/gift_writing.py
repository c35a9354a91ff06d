"""The answers of questions in GIFT, between the braces."""

from __future__ import annotations

import re
from collections.abc import Iterable

from topten.quiz.v1 import quiz_pb2


def written_answers(entry: quiz_pb2.QuestionDefinition) -> str | None:
    """Return the answers of a question; None if GIFT cannot express its kind."""
    match entry.question.kind:
        case quiz_pb2.QUESTION_KIND_TRUE_FALSE:
            return entry.correct_option.upper()
        case quiz_pb2.QUESTION_KIND_SINGLE_CHOICE:
            right = entry.correct_option
            return _lines(_answer("=~"[option.id != right], option.text) for option in entry.question.options)
        case quiz_pb2.QUESTION_KIND_MULTIPLE_CHOICE:
            weights = shares_of(entry)
            return _lines(f"~%{weights[option.id]}%{escaped(option.text)}" for option in entry.question.options)
        case quiz_pb2.QUESTION_KIND_NUMERIC:
            tolerance = f":{entry.numeric.tolerance}" if entry.numeric.tolerance else ""
            return f"#{entry.numeric.value}{tolerance}"
        case quiz_pb2.QUESTION_KIND_SHORT_TEXT:
            return _lines(_answer("=", text) for text in entry.text.accepted)
        case quiz_pb2.QUESTION_KIND_MATCHING:
            return _lines(f"={escaped(option)} -> {escaped(target)}" for option, target in pairs_of(entry))
        case _:
            return None


def shares_of(entry: quiz_pb2.QuestionDefinition) -> dict[str, str]:
    """Return what each option earns in percent. All or nothing of several right options becomes equal parts."""
    weights = {weight.option: str(weight.percent) for weight in entry.weights}
    right = entry.correct_options or [entry.correct_option]
    equal = dict.fromkeys(right, f"{100 / len(right):.7g}")
    return {option.id: (weights or equal).get(option.id, "0") for option in entry.question.options}


def pairs_of(entry: quiz_pb2.QuestionDefinition) -> list[tuple[str, str]]:
    """Return the texts of matched options and targets; targets that match nothing have an empty option."""
    targets = {match.option: match.target for match in entry.correct_matches}
    texts = {target.id: target.text for target in entry.question.targets}
    pairs = [(option.text, texts[targets[option.id]]) for option in entry.question.options]
    return pairs + [("", text) for target, text in texts.items() if target not in targets.values()]


def escaped(text: str) -> str:
    """Return a text in which no character has a meaning of its own."""
    return re.sub(r"([\\~=#{}:])", r"\\\1", text).replace("\n", "\\n")


def _answer(mark: str, text: str) -> str:
    # A text that begins like a weight needs one before it.
    weight = f"%{100 * (mark == '=')}%" if text.startswith("%") else ""
    return f"{mark}{weight}{escaped(text)}"


def _lines(answers: Iterable[str]) -> str:
    return "".join(["\n", *(f"\t{answer}\n" for answer in answers)])

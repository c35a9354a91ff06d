"""A player's answer to one question, in the form that the kind of the question asks for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, cast

from topten.quiz.v1 import quiz_pb2

Form = Literal["selected_option", "selected_options", "text", "matches"]


class Answer(NamedTuple):
    """An answer. `form` is a field of the contract's `Answer`.

    `values` has the selected option, the selected options in order, the text, or option and target of each match in turn.
    """

    question_id: str
    form: Form
    values: tuple[str, ...]


class AnswerError(ValueError):
    """An answer that does not match the quiz; `index` is its position, `form` the field that is wrong, if it is one."""

    def __init__(self, index: int, message: str, form: str = "") -> None:
        super().__init__(message)
        self.index = index
        self.form = form


def selected(question_id: str, option: str) -> Answer:
    """Return the answer that selects one option."""
    return Answer(question_id, "selected_option", (option,))


def answers_of(messages: Iterable[quiz_pb2.Answer]) -> tuple[Answer, ...]:
    """Return the answers of a request. Raises AnswerError for one that has no form, or more than one."""
    return tuple(_answer(index, message) for index, message in enumerate(messages))


def _answer(index: int, message: quiz_pb2.Answer) -> Answer:
    given: list[tuple[Form, tuple[str, ...]]] = []
    if message.selected_option:
        given.append(("selected_option", (message.selected_option,)))
    if message.selected_options:
        given.append(("selected_options", tuple(message.selected_options)))
    if message.text:
        given.append(("text", (message.text,)))
    if message.matches:
        given.append(("matches", tuple(text for match in message.matches for text in (match.option, match.target))))
    if len(given) > 1:
        raise AnswerError(index, "is given in more than one form", given[1][0])
    if not given:
        raise AnswerError(index, "is empty; leave out questions without an answer")
    return Answer(message.question_id, *given[0])


def answer_message(answer: Answer) -> quiz_pb2.Answer:
    """Return an answer as the contract has it."""
    message = quiz_pb2.Answer(question_id=answer.question_id)
    match answer.form:
        case "selected_option":
            message.selected_option = answer.values[0]
        case "selected_options":
            message.selected_options.extend(answer.values)
        case "text":
            message.text = answer.values[0]
        case "matches":
            for option, target in pairs(answer.values):
                message.matches.add(option=option, target=target)
    return message


def pairs(values: Sequence[str]) -> list[tuple[str, str]]:
    """Return options and their targets of a form `matches`."""
    return list(zip(values[::2], values[1::2], strict=True))


def answer_list(answer: Answer) -> list[Any]:
    """Return an answer as it is stored and compared: `[question, option]`, or `[question, form, [values]]`."""
    if answer.form == "selected_option":
        return [answer.question_id, answer.values[0]]
    return [answer.question_id, answer.form, list(answer.values)]


def answer_in(stored: Sequence[Any]) -> Answer:
    """Return a stored answer."""
    if len(stored) == 2:
        return selected(stored[0], stored[1])
    return Answer(stored[0], cast("Form", stored[1]), tuple(stored[2]))

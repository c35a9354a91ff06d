"""Texts with characters that forge or hide: refused in every field of every request, by one function."""

from __future__ import annotations

from typing import Any

import protovalidate
import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from topten.identity.v1 import identity_service_pb2 as identity
from topten.quiz.v1 import quiz_pb2
from topten.quiz.v1 import quiz_service_pb2 as quiz
from topten.score.v1 import score_service_pb2 as score

from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.requests import read
from services.runtime.texts import fault_of, same_text_key, without_controls

VALIDATOR = protovalidate.Validator()
FORBIDDEN = ["\x00", "\x1b", "\x7f", "\x85", "\u200e", "\u202e", "\u2066", "\u2028", "\ufeff"]


def admitted(request: Message) -> Any:
    return read(type(request).FromString, request.SerializeToString(), VALIDATOR)


def refused_fields(request: Message) -> set[str]:
    with pytest.raises(ServiceError) as caught:
        admitted(request)
    assert caught.value.reason is Reason.INVALID_ARGUMENT
    return {field for field, _ in caught.value.violations}


@pytest.mark.parametrize("character", FORBIDDEN, ids=ascii)
def test_controls_are_refused_with_the_field(character: str) -> None:
    text = f"a{character}b"
    assert refused_fields(identity.BlockUserRequest(user_id="u", reason=text)) == {"reason"}
    assert refused_fields(quiz.ListQuizzesRequest(tag=text)) == {"tag"}
    option = quiz_pb2.Option(id="a", text=text)
    question = quiz_pb2.Question(id="q", text="?", options=[option])
    definition = quiz_pb2.QuizDefinition(questions=[quiz_pb2.QuestionDefinition(question=question)], tags=["x", text])
    assert {"definition.tags[1]", "definition.questions[0].question.options[0].text"} <= refused_fields(
        quiz.ImportQuizRequest(definition=definition)
    )


@pytest.mark.parametrize("text", [" ", "\u00a0\u3000", "\u200b", "\u3164", "\u2800"], ids=ascii)
def test_blank_texts_are_refused(text: str) -> None:
    assert refused_fields(identity.BlockUserRequest(user_id="u", reason=text)) == {"reason"}


def test_line_feeds_are_for_texts_of_several_lines() -> None:
    assert admitted(score.CloseFlagRequest(flag_id="f", note="one\n\ttwo")).note == "one\n\ttwo"
    assert refused_fields(identity.BlockUserRequest(user_id="u", reason="one\ntwo")) == {"reason"}


def test_secrets_and_names_that_are_looked_up_have_any_characters() -> None:
    request = identity.LoginRequest(username="\u202e \x00", password="\x1b\n")
    assert admitted(request) == request


@pytest.mark.parametrize("text", ["مرحبا", "नमस्ते", "👩‍👩‍👧", "a\u0301", "−4 °C", "می\u200cخواهم"])
def test_ordinary_texts_are_admitted(text: str) -> None:
    assert not fault_of(text)


@given(st.text())
def test_what_is_stripped_is_not_refused_for_its_characters(text: str) -> None:
    assert fault_of(without_controls(text)) in {"", "must not be blank"}


@pytest.mark.parametrize("other", ["a  b", " a b", "a\u200b b", "\u00ada b", "a\u00a0b", "a\u2060 b"])
def test_texts_that_nobody_can_tell_apart_have_one_key(other: str) -> None:
    assert same_text_key(other) == same_text_key("a b")
    assert same_text_key("e\u0301") == same_text_key("\u00e9") != same_text_key("e")
    family = "\U0001f468\u200d\U0001f469"  # a joiner makes one picture of two
    assert same_text_key(family) != same_text_key(family.replace("\u200d", ""))

"""Quiz files: the samples are sound, and every fault of another is named with its place."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import protovalidate
import pytest
from hypothesis import given
from hypothesis import strategies as st
from topten.quiz.v1 import quiz_pb2

import services.local
from services.local.quiz_file import MAX_BYTES, QuizFileError, parse_quiz

SAMPLES = sorted((Path(services.local.__file__).parent / "quizzes").glob("*.json"))
SOUND: dict[str, Any] = {
    "id": "sound",
    "title": "Sound",
    "questions": [
        {"id": "q1", "text": "?", "options": [{"id": "a", "text": "A"}, {"id": "b", "text": "B"}], "correct": "b"},
        {"id": "q2", "text": "!", "kind": "true_false", "correct": True},
    ],
}


def problems(document: Any) -> list[str]:
    with pytest.raises(QuizFileError) as caught:
        parse_quiz(json.dumps(document).encode())
    return caught.value.problems


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_are_sound_and_long_enough(path: Path) -> None:
    definition = parse_quiz(path.read_bytes())
    protovalidate.validate(definition)
    assert definition.quiz_id == path.stem
    assert len(definition.questions) >= 10
    kinds = {entry.question.kind for entry in definition.questions}
    assert kinds == {quiz_pb2.QUESTION_KIND_SINGLE_CHOICE, quiz_pb2.QUESTION_KIND_TRUE_FALSE}


def test_there_are_enough_samples_of_different_topics() -> None:
    assert len(SAMPLES) >= 6
    assert len({parse_quiz(path.read_bytes()).title for path in SAMPLES}) == len(SAMPLES)


def test_defaults_are_those_of_the_format() -> None:
    definition = parse_quiz(json.dumps(SOUND).encode())
    first, second = definition.questions
    assert first.question.points == 10
    assert first.question.kind == quiz_pb2.QUESTION_KIND_SINGLE_CHOICE
    assert [option.id for option in second.question.options] == ["true", "false"]
    assert second.correct_option == "true"
    assert definition.attempts == quiz_pb2.AttemptPolicy(max_attempts=0, counting=quiz_pb2.COUNTING_BEST)
    assert not definition.HasField("opens_at")


def test_every_fault_is_named_with_its_place() -> None:
    document = copy.deepcopy(SOUND)
    document["questions"][0]["correct"] = "z"
    document["questions"][0]["options"][1]["id"] = "a"
    document["questions"][1] |= {"id": "q1", "options": [], "correct": "yes"}
    document |= {"attempts": {"counts": "most"}, "closesAt": "tomorrow", "colour": "red"}
    assert sorted(problems(document)) == [
        "$: no such key: 'colour'",
        "attempts.counts: must be one of best, first, last, average, sum",
        "closesAt: must be a time such as 2026-11-23T18:00:00Z",
        "questions[0].correct: no option has the id 'z'",
        "questions[0].options[1].id: 'a' stands twice",
        "questions[1].correct: must be true or false",
        "questions[1].id: 'q1' stands twice",
        "questions[1].options: a true_false question has none of its own",
    ]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b" " * (MAX_BYTES + 1)])
def test_what_is_no_json_is_a_fault_and_no_crash(content: bytes) -> None:
    with pytest.raises(QuizFileError):
        parse_quiz(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(["id", "title", "tags", "attempts", "questions"], json_values)))
def test_whatever_stands_in_a_file_is_a_definition_or_a_list_of_faults(document: Any) -> None:
    try:
        parse_quiz(json.dumps(document).encode())
    except QuizFileError as error:
        assert error.problems


@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(SOUND["questions"][0], json_values)), max_size=3))
def test_whatever_stands_in_a_question_is_a_fault_at_most(questions: list[Any]) -> None:
    try:
        parse_quiz(json.dumps(SOUND | {"questions": questions}).encode())
    except QuizFileError as error:
        assert error.problems

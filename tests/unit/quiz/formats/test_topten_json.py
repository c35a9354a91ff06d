"""Topten's own JSON: the samples are valid, and every problem of another file is reported with its place."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import protovalidate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from topten.quiz.v1 import quiz_pb2

import services.embedded
from services.quiz.formats.contract import KINDS
from services.quiz.formats.report import CHANGED
from services.quiz.formats.source import MAX_TEXT_BYTES, FormatError, Source
from services.quiz.formats.topten import topten_json

SAMPLES = sorted((Path(services.embedded.__file__).parent / "quizzes").glob("*.json"))
VALID: dict[str, Any] = {
    "id": "valid",
    "title": "Valid",
    "questions": [
        {"id": "q1", "text": "?", "options": [{"id": "a", "text": "A"}, {"id": "b", "text": "B"}], "correct": "b"},
        {"id": "q2", "text": "!", "kind": "true_false", "correct": True},
    ],
}
TARGETS = [{"id": "w", "text": "W"}, {"id": "x", "text": "X"}]
NUMBER = "must be a number such as 3.14, with at most 15 digits before and 9 after the point"


def faults(content: bytes) -> list[str]:
    return topten_json.read(Source(content))[0].faults


def problems(document: Any) -> list[str]:
    found = faults(json.dumps(document).encode())
    assert found
    return found


def parse_quiz(content: bytes) -> quiz_pb2.QuizDefinition:
    [report] = topten_json.read(Source(content))
    assert not report.faults
    return report.definition


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_are_valid_and_long_enough(path: Path) -> None:
    definition = parse_quiz(path.read_bytes())
    protovalidate.validate(definition)
    assert definition.quiz_id == path.stem
    assert len(definition.questions) >= 10
    kinds = {entry.question.kind for entry in definition.questions}
    assert kinds == {quiz_pb2.QUESTION_KIND_SINGLE_CHOICE, quiz_pb2.QUESTION_KIND_TRUE_FALSE}


def test_samples_cover_different_topics() -> None:
    assert len(SAMPLES) >= 6
    assert len({parse_quiz(path.read_bytes()).title for path in SAMPLES}) == len(SAMPLES)


def test_omitted_keys_have_the_documented_defaults() -> None:
    definition = parse_quiz(json.dumps(VALID).encode())
    first, second = definition.questions
    assert first.question.points == 10
    assert first.question.kind == quiz_pb2.QUESTION_KIND_SINGLE_CHOICE
    assert [option.id for option in second.question.options] == ["true", "false"]
    assert second.correct_option == "true"
    assert definition.attempts == quiz_pb2.AttemptPolicy(max_attempts=0, counting=quiz_pb2.COUNTING_BEST)
    assert not definition.HasField("opens_at")


def test_every_problem_is_reported_with_its_place() -> None:
    document = copy.deepcopy(VALID)
    document["questions"][0]["correct"] = "z"
    document["questions"][0]["options"][1]["id"] = "a"
    document["questions"][1] |= {"id": "q1", "options": [], "correct": "yes"}
    document |= {"attempts": {"counts": "most"}, "closesAt": "tomorrow", "color": "red"}
    assert sorted(problems(document)) == [
        "$: unknown key: 'color'",
        "attempts.counts: must be one of best, first, last, average, sum",
        "closesAt: must be a time such as 2026-11-23T18:00:00Z",
        "questions[0].correct: no option has the id 'z'",
        "questions[0].options[1].id: 'a' is used twice",
        "questions[1].correct: must be true or false",
        "questions[1].id: 'q1' is used twice",
        "questions[1].options: must be true and false",
        "questions[1].options: must have at least 2",
    ]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b" " * (MAX_TEXT_BYTES + 1)])
def test_invalid_json_is_a_problem_and_not_a_crash(content: bytes) -> None:
    with pytest.raises(FormatError):
        topten_json.read(Source(content))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(["id", "title", "tags", "attempts", "questions"], json_values)))
def test_any_json_is_a_definition_or_a_list_of_problems(document: Any) -> None:
    [report] = topten_json.read(Source(json.dumps(document).encode()))
    if not report.faults:
        protovalidate.validate(report.definition)


QUESTION_KEYS = ["id", "text", "points", "options", "targets", "correct", "weights", "tolerance", "partial", "media"]
kinds = st.sampled_from([*KINDS]) | json_values


@settings(deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries({}, optional=dict.fromkeys(QUESTION_KEYS, json_values) | {"kind": kinds}), max_size=3
    )
)
def test_any_question_is_valid_or_a_list_of_problems(questions: list[Any]) -> None:
    [report] = topten_json.read(Source(json.dumps(VALID | {"questions": questions}).encode()))
    if not report.faults:
        protovalidate.validate(report.definition)


@pytest.mark.parametrize("text", [" ", "a\u202eb", "a\x00b", "\ud800"], ids=ascii)
def test_texts_that_forge_or_hide_are_faults_with_their_place(text: str) -> None:
    document = copy.deepcopy(VALID) | {"title": text, "tags": ["x", text]}
    document["questions"][0]["options"][1]["text"] = text
    places = {problem.partition(":")[0] for problem in problems(document)}
    assert {"title", "tags[1]", "questions[0].options[1].text"} <= places


def test_equal_options_are_a_fault() -> None:
    document = copy.deepcopy(VALID)
    document["questions"][0]["options"][1]["text"] = " A"
    assert problems(document) == ["questions[0].options[1].text: is the text of another option"]


def test_key_that_is_there_twice_is_a_fault() -> None:
    content = json.dumps(VALID).replace('"id": "valid"', '"id": "valid", "id": "other"').encode()
    assert faults(content) == ["$: the key 'id' is there twice"]


def test_faults_of_syntax_form_and_contract_are_reported_together() -> None:
    question = copy.deepcopy(VALID["questions"][0]) | {"points": 0, "text": "x" * 501}
    question["options"][0]["color"] = "red"
    document = VALID | {
        "questions": [question, 5],
        "opensAt": "2026-12-01T00:00:00Z",
        "closesAt": "2026-11-01T00:00:00Z",
    }
    content = json.dumps(document).replace('"points": 0', '"points": 0, "points": 0').encode()
    assert {fault.partition(":")[0] for fault in faults(content)} == {
        "closesAt",
        "questions[0]",
        "questions[0].options[0]",
        "questions[0].points",
        "questions[0].text",
        "questions[1]",
    }


def test_letters_are_composed_and_the_change_is_reported() -> None:
    document = copy.deepcopy(VALID) | {"title": "Cafe\u0301"}
    document["questions"][1]["text"] = "E\u0301"
    [report] = topten_json.read(Source(json.dumps(document).encode()))
    assert (report.definition.title, report.definition.questions[1].question.text) == ("Café", "É")
    assert report.changes == ["title: letters were composed (NFC)"]
    assert [(item.outcome, item.notes) for item in report.items][1] == (CHANGED, ["text: letters were composed (NFC)"])


def test_id_in_capitals_is_a_fault() -> None:
    assert problems(VALID | {"id": "Valid"}) == ["id: must be in lower case"]


def test_time_that_does_not_exist_is_a_fault() -> None:
    assert problems(VALID | {"opensAt": "0001-01-01T00:00:00+23:59"}) == ["opensAt: must be in the years 1 to 9999"]


def question(kind: str, **keys: Any) -> dict[str, Any]:
    options = [{"id": "a", "text": "A"}, {"id": "b", "text": "B"}]
    return {"id": "q1", "text": "?", "kind": kind, "options": options} | keys


def without_options(kind: str, **keys: Any) -> dict[str, Any]:
    return {key: value for key, value in question(kind, **keys).items() if key != "options"}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (question("guess"), ["kind: must be one of " + ", ".join(KINDS)]),
        (question("multiple_choice"), ["correct: is missing"]),
        (question("multiple_choice", correct=[]), ["correct: must name at least one option"]),
        (question("multiple_choice", correct="a"), ["correct: must be a list"]),
        (question("multiple_choice", correct=["a", "z"]), ["correct[1]: no option has the id 'z'"]),
        (question("multiple_choice", correct=["a", "a"]), ["correct[1]: 'a' is there twice"]),
        (question("multiple_choice", correct=["a"], weights={"z": 100}), ["weights: unknown key: 'z'"]),
        (
            question("multiple_choice", correct=["a"], weights={"a": 90}),
            ["weights: must sum up to 100 for the right options"],
        ),
        (question("multiple_choice", correct=["a"], weights={"a": 1.5}), ["weights.a: must be a whole number"]),
        (question("multiple_choice", correct=["a"], partial=True), ["partial: belongs to questions of another kind"]),
        (question("ordering", correct=["b"]), ["correct: must put all options in order, each once"]),
        (question("ordering", correct=["b", "a"], partial="yes"), ["partial: must be true or false"]),
        (without_options("numeric", correct=True), [f"correct: {NUMBER}"]),
        (without_options("numeric", correct="1e3"), [f"correct: {NUMBER}"]),
        (without_options("numeric", correct=1e300), [f"correct: {NUMBER}"]),
        (without_options("numeric"), [f"correct: {NUMBER}"]),
        (without_options("numeric", correct=1, tolerance=-1), ["tolerance: must be 0 or more"]),
        (question("numeric", correct=1), ["options: belongs to questions of another kind"]),
        (without_options("short_text", correct=[]), ["correct: *"]),
        (without_options("short_text", correct=["A", "a"]), ["correct: contains the same text twice"]),
        (without_options("short_text", correct=["a", "x" * 201]), ["correct[1]: *"]),
        (without_options("short_text", correct=["a"], caseSensitive=1), ["caseSensitive: must be true or false"]),
        (question("matching", correct={"a": "w"}), ["targets: is missing", "correct.a: no target has the id 'w'"]),
        (question("matching", correct=[], targets=TARGETS), ["correct: must be an object"]),
        (
            question("matching", correct={"a": "w"}, targets=TARGETS),
            ["correct: must match all options, each once"],
        ),
        (
            question("single_choice", correct="a", media={"url": "http://a.b/c", "alt": ""}),
            ["media.url: *", "media.alt: *"],
        ),
        (question("single_choice", correct="a", explanation="x" * 1001), ["explanation: *"]),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_every_fault_of_a_kind_has_its_place(entry: dict[str, Any], expected: list[str]) -> None:
    found = problems(VALID | {"questions": [entry]})
    wanted = [f"questions[0].{each}" for each in expected]
    assert [
        each.partition(": ")[0] + ": *" if f"{each.partition(': ')[0]}: *" in wanted else each for each in found
    ] == (wanted)


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"scoring": "fast"}, "scoring"),
        ({"scoring": ""}, "scoring"),
        ({"scoring": {"preset": "timed"}}, "scoring"),
        ({"scoring": {"penaltyPercent": 101}}, "scoring.penaltyPercent"),
        ({"scoring": {"timeBonusPercent": 10}}, "scoring.timeLimitSeconds"),
        ({"feedback": "all"}, "feedback"),
        ({"feedback": "answers_after_close"}, "feedback"),
        ({"roomsCountOnBoards": "yes"}, "roomsCountOnBoards"),
    ],
)
def test_every_fault_of_scoring_feedback_and_rooms_has_its_place(keys: dict[str, Any], place: str) -> None:
    [found] = problems(VALID | keys)
    assert found.startswith(f"{place}: ")


@pytest.mark.parametrize("written", ["3.14", '"3.14"'])
def test_numbers_are_exact(written: str) -> None:
    entry = without_options("numeric", correct="NUMBER", tolerance=0)
    content = json.dumps(VALID | {"questions": [entry]}).replace('"NUMBER"', written)
    assert parse_quiz(content.encode()).questions[0].numeric == quiz_pb2.NumericKey(value="3.14", tolerance="0")

"""What players see of a quiz, what makes one sound, and what tells two payloads apart."""

import random
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from topten.quiz.v1 import quiz_pb2

from services.quiz.quiz import from_definition, problems
from services.quiz.submission import payload_digest
from tests.factories import quiz_definition

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_the_key_is_no_part_of_what_players_see() -> None:
    definition = quiz_definition()
    view = from_definition(definition, 3).view
    assert [question.id for question in view.questions] == ["q1", "q2"]
    assert view.version == 3
    assert "correct" not in str(view.DESCRIPTOR.fields_by_name.keys()) + str(
        quiz_pb2.Question.DESCRIPTOR.fields_by_name.keys()
    )


def test_a_quiz_is_open_from_its_start_until_just_before_its_end() -> None:
    definition = quiz_definition()
    definition.opens_at.FromDatetime(NOON)
    definition.closes_at.FromDatetime(NOON + timedelta(hours=1))
    quiz = from_definition(definition, 1)
    millisecond = timedelta(milliseconds=1)
    assert not quiz.is_open(NOON - millisecond)
    assert quiz.is_open(NOON)
    assert quiz.is_open(NOON + timedelta(hours=1) - millisecond)
    assert not quiz.is_open(NOON + timedelta(hours=1))


def test_every_fault_of_a_definition_is_named_with_its_place() -> None:
    definition = quiz_definition(questions=3)
    definition.questions[1].question.id = "q1"
    definition.questions[2].correct_option = "z"
    definition.questions[0].question.kind = quiz_pb2.QUESTION_KIND_TRUE_FALSE
    definition.opens_at.FromDatetime(NOON)
    definition.closes_at.FromDatetime(NOON)
    assert [field for field, _ in problems(definition)] == [
        "definition.questions[0].question.options",
        "definition.questions[1].question.id",
        "definition.questions[2].correct_option",
        "definition.closes_at",
    ]
    assert problems(quiz_definition()) == []


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=6), st.randoms())
def test_the_order_of_answers_is_no_part_of_the_payload(answers: list[tuple[str, str]], dice: random.Random) -> None:
    shuffled = list(answers)
    dice.shuffle(shuffled)
    assert payload_digest("quiz", answers) == payload_digest("quiz", shuffled)
    assert payload_digest("quiz", answers) != payload_digest("other", answers)
    assert payload_digest("quiz", answers) != payload_digest("quiz", [*answers, ("one", "more")])

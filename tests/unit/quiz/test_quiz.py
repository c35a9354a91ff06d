"""Quizzes: what players see, which definitions are valid, and how payloads are compared."""

import random
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from topten.quiz.v1 import quiz_pb2

from services.quiz.questions.answers import Answer, selected
from services.quiz.quizzes.quiz import from_definition, problems
from services.quiz.submissions.submission import payload_digest
from tests.factories import quiz_definition

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_players_do_not_see_the_answer_key() -> None:
    definition = quiz_definition()
    view = from_definition(definition, 3).view
    assert [question.id for question in view.questions] == ["q1", "q2"]
    assert view.version == 3
    assert "correct" not in str(view.DESCRIPTOR.fields_by_name.keys()) + str(
        quiz_pb2.Question.DESCRIPTOR.fields_by_name.keys()
    )


def test_quiz_is_open_from_its_start_until_just_before_its_end() -> None:
    definition = quiz_definition()
    definition.opens_at.FromDatetime(NOON)
    definition.closes_at.FromDatetime(NOON + timedelta(hours=1))
    quiz = from_definition(definition, 1)
    millisecond = timedelta(milliseconds=1)
    assert not quiz.is_open(NOON - millisecond)
    assert quiz.is_open(NOON)
    assert quiz.is_open(NOON + timedelta(hours=1) - millisecond)
    assert not quiz.is_open(NOON + timedelta(hours=1))


def test_every_fault_of_a_definition_is_reported_with_its_field() -> None:
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


_answers = st.builds(
    Answer,
    st.text(max_size=5),
    st.sampled_from(["selected_options", "text", "matches"]),
    st.lists(st.text(max_size=5), max_size=4).map(tuple),
) | st.builds(selected, st.text(max_size=5), st.text(max_size=5))


@given(st.lists(_answers, max_size=6), st.randoms())
def test_payload_digest_ignores_the_order_of_answers(answers: list[Answer], dice: random.Random) -> None:
    shuffled = list(answers)
    dice.shuffle(shuffled)
    assert payload_digest("quiz", answers) == payload_digest("quiz", shuffled)
    assert payload_digest("quiz", answers) != payload_digest("other", answers)
    assert payload_digest("quiz", answers) != payload_digest("quiz", [*answers, selected("one", "more")])

"""Points follow from the rules alone, and the deltas of all attempts add up to the counted total."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from topten.quiz.v1 import quiz_pb2

from services.quiz.questions.answers import Answer, AnswerError, selected
from services.quiz.quizzes.quiz import Quiz, from_definition
from services.quiz.quizzes.scoring import NOTHING, Marks, mark, tally, tally_of
from tests.factories import quiz_definition

COUNTINGS = [value for value in quiz_pb2.Counting.values() if value]


@pytest.fixture
def quiz() -> Quiz:
    return from_definition(quiz_definition(questions=3, points=10), 1)


def test_correct_answers_earn_their_points(quiz: Quiz) -> None:
    assert mark(quiz, [selected("q1", "a"), selected("q2", "b"), selected("q3", "a")]) == Marks(
        points=20, correct=2, questions=3
    )


def test_unanswered_questions_score_nothing(quiz: Quiz) -> None:
    assert mark(quiz, []) == Marks(points=0, correct=0, questions=3)


@pytest.mark.parametrize(
    ("answers", "index"),
    [([selected("q9", "a")], 0), ([selected("q1", "a"), selected("q1", "a")], 1), ([selected("q1", "z")], 0)],
    ids=["unknown question", "question twice", "unknown option"],
)
def test_answers_that_do_not_match_the_quiz_are_refused(quiz: Quiz, answers: list[Answer], index: int) -> None:
    with pytest.raises(AnswerError) as caught:
        mark(quiz, answers)
    assert caught.value.index == index


@given(st.sampled_from(COUNTINGS), st.lists(st.integers(0, 100_000), min_size=1, max_size=30))
def test_deltas_add_up_to_the_counted_total(counting: quiz_pb2.Counting.ValueType, attempts: list[int]) -> None:
    expected = {
        quiz_pb2.COUNTING_BEST: max(attempts),
        quiz_pb2.COUNTING_FIRST: attempts[0],
        quiz_pb2.COUNTING_LAST: attempts[-1],
        quiz_pb2.COUNTING_AVERAGE: sum(attempts) // len(attempts),
        quiz_pb2.COUNTING_SUM: sum(attempts),
    }
    state, total = NOTHING, 0
    for points in attempts:
        after = tally(counting, state, points)
        total += after.counted - state.counted
        state = after
    assert (state.used, state.counted, total) == (len(attempts), expected[counting], expected[counting])


@given(
    st.sampled_from(COUNTINGS),
    st.lists(st.integers(0, 100_000), min_size=1, max_size=12),
    st.lists(st.integers(0, 11), unique=True, max_size=6),
    st.lists(st.integers(0, 100_000), max_size=4),
)
def test_voided_attempts_count_as_if_they_had_not_happened(
    counting: quiz_pb2.Counting.ValueType, attempts: list[int], voided: list[int], later: list[int]
) -> None:
    voided = [number for number in voided if number < len(attempts)]
    state, total = NOTHING, 0
    for points in attempts:
        after = tally(counting, state, points)
        total, state = total + after.counted - state.counted, after
    for done in range(1, len(voided) + 1):
        left = [points for number, points in enumerate(attempts) if number not in voided[:done]]
        after = tally_of(counting, state, left)
        total, state = total + after.counted - state.counted, after
    for points in later:
        after = tally(counting, state, points)
        total, state = total + after.counted - state.counted, after
    valid = [points for number, points in enumerate(attempts) if number not in voided] + later
    alone = NOTHING
    for points in valid:
        alone = tally(counting, alone, points)
    assert state.counted == alone.counted == total
    assert state.sequence == len(attempts) + len(voided) + len(later)
    assert (state.used, state.valid) == (len(attempts) + len(later), len(valid))


def test_totals_are_exact_beyond_32_bits() -> None:
    state = NOTHING
    for _ in range(3):
        state = tally(quiz_pb2.COUNTING_SUM, state, 2**30)
    assert state.counted == 3 * 2**30
    assert tally_of(quiz_pb2.COUNTING_SUM, state, [1]).counted == 1

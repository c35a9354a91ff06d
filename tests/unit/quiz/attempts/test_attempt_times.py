"""The deadline of an attempt, its extra time, and the limits that let one begin."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st
from topten.quiz.v1 import quiz_pb2

from services.quiz.attempts.attempt import MAX_OPEN, Attempt, started, time_limit
from services.quiz.attempts.extra_time import ExtraTime
from services.quiz.quizzes.quiz import Quiz, from_definition
from services.quiz.quizzes.scoring import NOTHING, Tally
from services.quiz.quizzes.terms import tally_after, terms_of
from services.quiz.submissions.action import attempts_refused
from services.runtime.clock import milliseconds_of
from services.runtime.errors import Reason
from tests.factories import quiz_definition

NOON = datetime(2026, 11, 16, 12, tzinfo=UTC)
COUNTINGS = [value for value in quiz_pb2.Counting.values() if value]
SECONDS = st.integers(5, 86_400)
EXTRA: dict[ExtraTime, float | None] = {
    ExtraTime.NONE: 1.0,
    ExtraTime.ONE_AND_A_HALF: 1.5,
    ExtraTime.DOUBLE: 2.0,
    ExtraTime.UNLIMITED: None,
}


def timed(limit: int, *, grace: int = 0, closes: int | None = None) -> Quiz:
    definition = quiz_definition("timed")
    definition.timing.limit_seconds, definition.timing.grace_seconds = limit, grace
    if closes is not None:
        definition.closes_at.FromDatetime(NOON + timedelta(seconds=closes))
    return from_definition(definition, 1)


def begun(quiz: Quiz, extra: ExtraTime = ExtraTime.NONE) -> Attempt:
    return started(quiz, "id", "ada", "VN", 1, extra, NOON)


@given(SECONDS, st.integers(0, 300), st.none() | SECONDS, st.sampled_from(list(EXTRA)))
def test_time_is_up_after_the_limit_with_extra_time_and_never_after_the_quiz_closes(
    limit: int, grace: int, closes: int | None, extra: ExtraTime
) -> None:
    quiz = timed(limit, grace=grace, closes=closes)
    attempt = begun(quiz, extra)
    factor = EXTRA[extra]
    ends = [end for end in (None if factor is None else limit * factor, closes) if end is not None]
    deadline = NOON + timedelta(seconds=min(ends)) if ends else None
    assert attempt.deadline == deadline
    assert attempt.accepts_until == (deadline or NOON + MAX_OPEN) + timedelta(seconds=grace)
    assert attempt.accepts(attempt.accepts_until)
    assert not attempt.accepts(attempt.accepts_until + timedelta(milliseconds=1))


@given(SECONDS, st.sampled_from(list(EXTRA)), st.floats(0, 1))
def test_extra_time_costs_no_time_bonus(limit: int, extra: ExtraTime, part: float) -> None:
    quiz = timed(limit)
    given_time = time_limit(quiz, extra) or 2 * timedelta(seconds=limit)
    with_it, without = begun(quiz, extra), begun(quiz)
    at, plain = NOON + part * given_time, NOON + part * timedelta(seconds=limit)
    assert abs(with_it.elapsed_ms(at) - without.elapsed_ms(plain)) <= 1


def test_time_counts_to_the_deadline_however_late_answers_arrive() -> None:
    attempt = begun(timed(60, grace=30))
    assert attempt.elapsed_ms(NOON + timedelta(seconds=80)) == 60_000


def test_a_quiz_that_is_not_timed_has_no_deadline() -> None:
    attempt = begun(from_definition(quiz_definition("plain"), 1))
    assert (attempt.deadline, attempt.accepts_until, attempt.is_timed) == (None, None, False)


# Pauses between attempts in seconds, and the points of each.
PLAY = st.lists(st.tuples(st.integers(0, 90), st.integers(0, 100)), max_size=12)


@given(st.sampled_from(COUNTINGS), st.integers(0, 5), st.sampled_from([0, 30, 60]), PLAY)
def test_the_policy_of_attempts_gives_the_points_of_a_naive_model(
    counting: quiz_pb2.Counting.ValueType, most: int, cooldown: int, play: list[tuple[int, int]]
) -> None:
    definition = quiz_definition("policy", max_attempts=most, counting=counting)
    definition.attempts.cooldown_seconds = cooldown
    terms = terms_of(from_definition(definition, 1))
    tally, total = NOTHING, 0
    taken: list[tuple[int, int]] = []
    times = accumulate(pause for pause, _ in play)
    for at, (_, points) in zip(times, play, strict=True):
        received = NOON + timedelta(seconds=at)
        refused = attempts_refused(terms.limits, tally, milliseconds_of(received))
        if most and len(taken) >= most:
            assert refused
            assert refused.reason is Reason.ATTEMPTS_EXHAUSTED
        elif taken and at < taken[-1][0] + cooldown:
            assert refused
            assert (refused.reason, refused.retry_after) == (
                Reason.ATTEMPT_TOO_SOON,
                timedelta(seconds=taken[-1][0] + cooldown - at),
            )
        else:
            assert refused is None
            after = tally_after(terms, tally, received, points)
            total += after.counted - tally.counted
            tally = after
            taken.append((at, points))
    assert (tally.used, total) == (len(taken), naive(counting, [points for _, points in taken]))


def naive(counting: quiz_pb2.Counting.ValueType, points: list[int]) -> int:
    if not points:
        return 0
    return {
        quiz_pb2.COUNTING_BEST: max(points),
        quiz_pb2.COUNTING_FIRST: points[0],
        quiz_pb2.COUNTING_LAST: points[-1],
        quiz_pb2.COUNTING_AVERAGE: sum(points) // len(points),
        quiz_pb2.COUNTING_SUM: sum(points),
    }[counting]


def test_records_from_before_a_cooldown_let_the_next_attempt_begin() -> None:
    definition = quiz_definition("policy")
    definition.attempts.cooldown_seconds = 60
    old = replace(Tally(3, 3, 3, 30, 10), recent=())
    assert attempts_refused(terms_of(from_definition(definition, 2)).limits, old, milliseconds_of(NOON)) is None

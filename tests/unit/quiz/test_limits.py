"""A limit holds for every stretch of time of its length, and refuses nothing that it need not."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from topten.quiz.v1 import quiz_pb2

from services.quiz.quizzes.limits import MAX_USES, Limits
from services.quiz.quizzes.scoring import NOTHING, Tally, tally
from tests.properties import examples

PER = 6400
# Pauses between actions, and the points of each.
PLAY = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 10)), max_size=60)
BUSY_PLAY = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3)), min_size=100, max_size=400)


def use(limits: Limits, before: Tally, at: int, points: int) -> Tally:
    after = tally(quiz_pb2.COUNTING_SUM, before, points)
    return replace(after, recent=limits.recent_after(before, at, points))


def accepted(limits: Limits, play: list[tuple[int, int]]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Play on, and return what was accepted and what was refused, each as time and points."""
    state, at = NOTHING, 1_000_000
    taken: list[tuple[int, int]] = []
    refused: list[tuple[int, int]] = []
    for pause, points in play:
        at += pause
        if limits.exceeded(state, at, points):
            refused.append((at, points))
        else:
            state = use(limits, state, at, points)
            taken.append((at, points))
        assert len(state.recent) <= MAX_USES + 2
    return taken, refused


def within(taken: list[tuple[int, int]], start: int, length: int) -> list[int]:
    return [points for at, points in taken if start <= at < start + length]


@given(st.integers(1, 5), st.integers(0, 30), PLAY)
def test_no_stretch_of_time_has_more_and_nothing_else_is_refused(
    actions: int, points: int, play: list[tuple[int, int]]
) -> None:
    taken, refused = accepted(Limits(actions, points, PER), play)
    for at, _ in taken:
        window = within(taken, at, PER)
        assert len(window) <= actions
        assert not points or sum(window) <= points
    for at, earned in refused:
        window = within([each for each in taken if each[0] <= at], at - PER + 1, PER)
        assert len(window) >= actions or (points and sum(window) + earned > points)


@examples(30)
@given(st.integers(MAX_USES + 1, 150), BUSY_PLAY)
def test_many_uses_are_kept_in_little_space_and_wait_little_longer(actions: int, play: list[tuple[int, int]]) -> None:
    taken, refused = accepted(Limits(actions, 0, PER), play)
    assert all(len(within(taken, at, PER)) <= actions for at, _ in taken)
    longer = PER + PER // MAX_USES
    for at, _ in refused:
        assert len(within([each for each in taken if each[0] <= at], at - longer + 1, longer)) >= actions


@given(st.integers(1, 3000), PLAY)
def test_a_cooldown_lies_between_any_two_actions(cooldown: int, play: list[tuple[int, int]]) -> None:
    taken, refused = accepted(Limits(cooldown=cooldown), play)
    times = [at for at, _ in taken]
    assert all(later - earlier >= cooldown for earlier, later in pairwise(times))
    assert all(any(0 <= at - earlier < cooldown for earlier in times) for at, _ in refused)


@given(st.integers(1, 5), PLAY)
def test_without_a_window_a_limit_is_for_all_time(actions: int, play: list[tuple[int, int]]) -> None:
    taken, refused = accepted(Limits(actions), play)
    assert len(taken) == min(actions, len(play))
    assert len(taken) + len(refused) == len(play)

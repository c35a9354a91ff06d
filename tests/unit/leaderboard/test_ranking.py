"""One order for every read path: that of a plain sort, and that of Redis."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.leaderboard.ranking import may_change, order, ranked
from services.runtime.boards import Board, encode

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALL = Board("all")
members = st.lists(
    st.tuples(st.text("abcdef", min_size=1, max_size=3), st.integers(1, 5), st.integers(0, 3)),
    unique_by=lambda member: member[0],
    max_size=20,
)


def values(players: list[tuple[str, int, int]]) -> list[tuple[str, float]]:
    return [(user_id, encode(points, NOON + timedelta(hours=hours), ALL)) for user_id, points, hours in players]


@given(members)
def test_more_points_first_then_the_earlier_then_the_user_id(players: list[tuple[str, int, int]]) -> None:
    by_hand = sorted(sorted(players, key=lambda player: player[0], reverse=True), key=lambda p: (-p[1], p[2]))
    assert [user_id for user_id, _ in order(values(players))] == [player[0] for player in by_hand]


@given(members, st.integers(1, 50))
def test_ranks_count_up_without_a_gap_and_points_are_whole(players: list[tuple[str, int, int]], first: int) -> None:
    found = ranked(order(values(players)), first)
    assert [place.rank for place in found] == list(range(first, first + len(players)))
    assert sorted((place.user_id, place.points) for place in found) == sorted(p[:2] for p in players)


@given(members, st.text("abcdefg", min_size=1, max_size=3), st.integers(0, 6), st.integers(0, 3), st.integers(1, 6))
def test_a_standing_that_changes_the_head_is_never_missed(
    players: list[tuple[str, int, int]], user_id: str, points: int, hours: int, size: int
) -> None:
    before = dict(values(players))
    after = dict(before)
    value = encode(points, NOON + timedelta(hours=hours), ALL) if points else 0.0
    lowered = value < before.get(user_id, 0.0)
    if points:
        after[user_id] = value
    else:
        after.pop(user_id, None)
    head, new_head = order(before.items())[:size], order(after.items())[:size]
    if head != new_head:
        assert may_change(head, size, user_id, value, lowered=lowered)


def test_what_happens_far_below_the_head_is_not_read() -> None:
    head = order(values([("a", 5, 0), ("b", 4, 0)]))
    assert not may_change(head, 2, "c", encode(3, NOON, ALL), lowered=False)
    assert may_change(head, 3, "c", encode(3, NOON, ALL), lowered=False), "the head has room"

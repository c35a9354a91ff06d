"""One order for every read path: that of a plain sort and of Redis."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.boards.encoding import encode
from services.leaderboard.ranking import may_change, order, percentile_of, quantile_index, ranked, shared_ranks

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
members = st.lists(
    st.tuples(st.text("abcdef", min_size=1, max_size=3), st.integers(1, 5), st.integers(0, 3)),
    unique_by=lambda member: member[0],
    max_size=20,
)


def values(players: list[tuple[str, int, int]]) -> list[tuple[str, float]]:
    return [(user_id, encode(points, NOON + timedelta(hours=hours))) for user_id, points, hours in players]


@given(members)
def test_order_is_by_points_then_time_then_user_id(players: list[tuple[str, int, int]]) -> None:
    expected = sorted(sorted(players, key=lambda player: player[0], reverse=True), key=lambda p: (-p[1], p[2]))
    assert [user_id for user_id, _ in order(values(players))] == [player[0] for player in expected]


@given(members, st.integers(1, 50))
def test_ranks_have_no_gaps_and_points_are_whole(players: list[tuple[str, int, int]], first: int) -> None:
    places = ranked(order(values(players)), first)
    assert [place.rank for place in places] == list(range(first, first + len(players)))
    assert sorted((place.user_id, place.points) for place in places) == sorted(p[:2] for p in players)


@given(members)
def test_equal_points_share_a_rank_with_a_gap_or_without(players: list[tuple[str, int, int]]) -> None:
    in_order = [value for _, value in order(values(players))]
    points = [int(value) for value in in_order]
    assert shared_ranks(in_order, "competition") == [1 + sum(p > mine for p in points) for mine in points]
    assert shared_ranks(in_order, "dense") == [1 + len({p for p in points if p > mine}) for mine in points]


@given(members, st.integers(1, 50), st.integers(5, 9))
def test_gap_is_the_points_to_the_place_above(players: list[tuple[str, int, int]], first: int, above: int) -> None:
    places = ranked(order(values(players)), first, encode(above, NOON))
    points = [above, *(place.points for place in places)]
    assert [place.gap for place in places] == [one - other for one, other in pairwise(points)]
    assert [place.gap for place in ranked(order(values(players)))] == [None, *(place.gap for place in places[1:])][
        : len(players)
    ]


@given(members, st.text("abcdefg", min_size=1, max_size=3), st.integers(0, 6), st.integers(0, 3), st.integers(1, 6))
def test_standing_that_changes_the_head_is_never_missed(
    players: list[tuple[str, int, int]], user_id: str, points: int, hours: int, size: int
) -> None:
    before = dict(values(players))
    after = dict(before)
    value = encode(points, NOON + timedelta(hours=hours)) if points else 0.0
    lowered = value < before.get(user_id, 0.0)
    if points:
        after[user_id] = value
    else:
        after.pop(user_id, None)
    head, new_head = order(before.items())[:size], order(after.items())[:size]
    if head != new_head:
        assert may_change(head, size, user_id, value, lowered=lowered)


def test_change_below_the_head_is_not_visible() -> None:
    head = order(values([("a", 5, 0), ("b", 4, 0)]))
    assert not may_change(head, 2, "c", encode(3, NOON), lowered=False)
    assert may_change(head, 3, "c", encode(3, NOON), lowered=False), "the head is not full"


@given(st.integers(1, 10_000), st.floats(0, 100, exclude_min=True, allow_subnormal=True))
def test_quantile_is_the_last_rank_with_at_least_the_percentile(total: int, percentile: float) -> None:
    index = quantile_index(percentile, total)
    assert 0 <= index < total
    assert percentile_of(index + 1, total) >= percentile - 1e-6
    assert index + 1 == total or percentile_of(index + 2, total) < percentile + 1e-6

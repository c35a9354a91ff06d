"""The board of a group: its members in the order of the whole board, with ranks of their own."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.boards.encoding import points_of
from services.leaderboard.ranking import order
from services.leaderboard.reading.groups import ranked_members
from services.leaderboard.reading.results import Standing

boards = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.floats(1, 2**31 - 1), max_size=20)


@given(boards, st.sets(st.text("abcdef", min_size=1, max_size=3), max_size=10), st.booleans())
def test_group_board_is_the_whole_board_without_all_others(
    values: dict[str, float], group: set[str], ascending: bool
) -> None:
    whole = order(values.items())
    standings = {
        user_id: Standing(rank, value, None, None) for rank, (user_id, value) in enumerate(whole, 1) if user_id in group
    }
    places = ranked_members(standings, ascending=ascending)
    assert [place.user_id for place in places] == [user_id for user_id, _ in whole if user_id in group]
    assert [place.rank for place in places] == list(range(1, len(places) + 1))
    assert [place.points for place in places] == [points_of(values[p.user_id], ascending=ascending) for p in places]
    points = [points_of(values[place.user_id]) for place in places]
    assert [place.gap for place in places] == [None, *(a - b for a, b in pairwise(points))][: len(places)]


def test_members_share_ranks_where_the_board_says_so() -> None:
    standings = {
        name: Standing(place, value, None, None)
        for place, (name, value) in enumerate([("a", 5.5), ("b", 5.25), ("c", 1.5)], 1)
    }
    assert [each.rank for each in ranked_members(standings, ranks="competition")] == [1, 1, 3]
    assert [each.rank for each in ranked_members(standings, ranks="dense")] == [1, 1, 2]

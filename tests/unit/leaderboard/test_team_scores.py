"""Scores of teams: what plain words say of random teams, methods, orders and voids."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from services.boards.definition import TeamScore
from services.boards.encoding import MAX_POINTS, encode, mirrored, points_of
from services.leaderboard.ranking import order
from services.leaderboard.team_scores import team_value

START: Final = datetime(2026, 11, 23, tzinfo=UTC)
BIG: Final = MAX_POINTS - 5


class Action(NamedTuple):
    """What a player did: points, tens of minutes after the start, and whether it was taken back."""

    points: int
    moment: int
    is_void: bool


actions = st.lists(st.builds(Action, st.integers(1, 6), st.integers(0, 50), st.booleans()), max_size=4)
players = st.dictionaries(st.sampled_from("abcdefgh"), actions, max_size=8)
teams = st.dictionaries(st.sampled_from(["t1", "t2", "t3", "t4"]), st.sets(st.sampled_from("abcdefgh")), max_size=4)
scores = st.one_of(
    st.just(TeamScore("sum")), st.just(TeamScore("mean")), st.builds(TeamScore, st.just("best"), st.integers(1, 4))
)


def standing(done: list[Action]) -> tuple[int, int] | None:
    """Return a player's points and when they reached them; None without any."""
    kept = [each for each in done if not each.is_void]
    return (sum(each.points for each in kept), max(each.moment for each in kept)) if kept else None


@given(players, teams, scores, st.booleans())
def test_teams_are_ranked_as_plain_words_say(
    done: dict[str, list[Action]], members: dict[str, set[str]], score: TeamScore, ascending: bool
) -> None:
    standings = {name: found for name, each in done.items() if (found := standing(each)) is not None}
    expected: list[tuple[int, int, str]] = []
    for team, names in members.items():
        ranked = sorted(standings[name] for name in names if name in standings)
        if not ascending:
            ranked.sort(key=lambda each: (-each[0], each[1]))
        if score.method == "best":
            ranked = [] if ascending and len(ranked) < score.best_of else ranked[: score.best_of]
        if ranked:
            total = sum(points for points, _ in ranked)
            expected.append((
                total // len(ranked) if score.method == "mean" else total, max(moment for _, moment in ranked), team,
            ))  # fmt: skip
    # Better points first, then who was first, then the greater id.
    expected.sort(key=lambda each: each[2], reverse=True)
    expected.sort(key=lambda each: (each[0] if ascending else -each[0], each[1]))

    values = {
        name: encode(mirrored(points) if ascending else points, START + timedelta(minutes=10 * moment))
        for name, (points, moment) in standings.items()
    }
    teams_in_order = order(
        (team, value)
        for team, names in members.items()
        if (value := team_value([values[n] for n in names if n in values], score, ascending=ascending)) is not None
    )
    points = [(points_of(value, ascending=ascending), team) for team, value in teams_in_order]
    assert points == [(each[0], each[2]) for each in expected]


def value_of(values: list[float], score: TeamScore, *, ascending: bool = False) -> float:
    """Return the value of a team that is ranked."""
    value = team_value(values, score, ascending=ascending)
    assert value is not None
    return value


def test_of_equal_points_the_team_is_ahead_whose_last_member_was_first() -> None:
    early, late = (encode(10, START + timedelta(hours=hours)) for hours in (1, 2))
    latest = encode(5, START + timedelta(hours=3))
    score = TeamScore("best", 2)
    first = value_of([early, late], score)
    assert value_of([early, late, latest], score) == first, "a member who does not count delays nobody"
    assert value_of([late, late], score) == first
    behind = value_of([encode(15, START), latest], score)
    assert (points_of(behind), behind < first) == (20, True)


def test_score_has_the_bound_of_every_score() -> None:
    for score in (TeamScore("sum"), TeamScore("best", 500)):
        assert points_of(value_of([encode(BIG, START)] * 500, score)) == MAX_POINTS
    slow = value_of([encode(mirrored(BIG), START)] * 3, TeamScore("best", 3), ascending=True)
    assert (points_of(slow, ascending=True), slow > 0) == (MAX_POINTS, True)


def test_team_without_enough_members_is_not_ranked() -> None:
    one = [encode(10, START)]
    assert team_value([], TeamScore("sum")) is None
    assert value_of(one, TeamScore("best", 3)) == one[0]
    assert team_value(one, TeamScore("best", 3), ascending=True) is None
    assert value_of(one, TeamScore("mean"), ascending=True) == one[0]

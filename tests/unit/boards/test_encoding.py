"""The value that orders a board: exact points, and of equal points the earlier moment, on every board alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.boards import former_encoding
from services.boards.board import Board
from services.boards.catalog import Catalog, parse_declarations
from services.boards.encoding import EPOCH, MAX_POINTS, SPAN, encode, points_of, resolution_bits
from services.leaderboard.ranking import order
from services.runtime.clock import milliseconds_of
from services.score.ledger.folds.fold import Fold, empty_fold
from services.score.ledger.totals import QuizTotal, Total
from services.score.projection.standings import Placement

NOW = datetime(2026, 11, 18, 12, tzinfo=UTC)
NOW_MS = milliseconds_of(NOW)
PLACEMENT = Placement(Catalog(parse_declarations("home=weekly,VN; each=monthly,country; ever=all")))

points = st.integers(1, MAX_POINTS)
# Points near a power of two are where the resolution changes.
edge_points = st.integers(0, 31).flatmap(lambda b: st.integers(max(1, 2**b - 2), min(MAX_POINTS, 2**b + 2)))
times = st.timedeltas(timedelta(), SPAN).map(lambda offset: EPOCH + offset)


def resolution(total: int) -> timedelta:
    """The resolution that the documentation states, to the microsecond."""
    return timedelta(seconds=2.0 ** (total.bit_length() - 22))


@given(points | edge_points, times)
def test_points_are_read_back_from_every_value(total: int, at: datetime) -> None:
    value = encode(total, at)
    assert points_of(value) == total
    assert total <= value < total + 1


@given(points | edge_points, times, times)
def test_earlier_of_equal_points_is_never_behind(total: int, at: datetime, also: datetime) -> None:
    first, second = sorted((at, also))
    assert encode(total, first) >= encode(total, second)


@given(points | edge_points, times, st.integers(1, 1000))
def test_times_further_apart_than_the_resolution_never_tie(total: int, at: datetime, microseconds: int) -> None:
    later = at + resolution(total) + timedelta(microseconds=microseconds)
    # The first step shares the greatest value, because the fraction stays below one.
    assume(at >= EPOCH + 2 * resolution(total))
    assume(later <= EPOCH + SPAN)
    assert encode(total, at) > encode(total, later)


@given(points | edge_points, points | edge_points, times, times)
def test_more_points_always_win(one: int, other: int, at: datetime, also: datetime) -> None:
    assume(one != other)
    less, more = sorted((one, other))
    assert encode(more, at) > encode(less, also)


@given(points | edge_points, st.timedeltas(timedelta(), timedelta(days=5000)))
def test_time_outside_the_span_counts_as_its_nearest_end(total: int, distance: timedelta) -> None:
    assert encode(total, EPOCH - distance) == encode(total, EPOCH)
    assert encode(total, EPOCH + SPAN + distance) == encode(total, EPOCH + SPAN) == total


@pytest.mark.parametrize(
    ("total", "step"), [(1, 2.0**-21), (2**16 - 1, 2.0**-6), (2**22 - 1, 1.0), (2**22, 2.0), (MAX_POINTS, 512.0)]
)
def test_resolution_is_the_one_that_is_documented(total: int, step: float) -> None:
    assert SPAN.total_seconds() / 2 ** resolution_bits(total) == step


@st.composite
def scenes(draw: st.DrawFn) -> dict[str, tuple[int, int]]:
    """Players with points and the milliseconds at which they reached them; many are equal or nearly so."""
    totals = draw(st.lists(points | edge_points, min_size=1, max_size=3))
    moments = st.integers(0, 40) | st.integers(0, 3_600_000)
    players = draw(st.lists(st.tuples(st.sampled_from(totals), moments), min_size=2, max_size=12))
    return {f"player-{n}": (total, NOW_MS + moment) for n, (total, moment) in enumerate(players)}


def fold_of(user_id: str, total: int, reached_at: int) -> Fold:
    reached = Total((total, reached_at))
    week, month = Board.parse("weekly", NOW).qualifier, Board.parse("monthly", NOW).qualifier
    return empty_fold(user_id)._replace(
        country="VN",
        total=reached,
        weeks={week: reached},
        months={month: reached},
        quizzes={"rivers": QuizTotal((total, 1, reached_at))},
    )


@given(scenes())
def test_every_board_orders_by_points_then_moment_then_id(players: dict[str, tuple[int, int]]) -> None:
    folds = [fold_of(user_id, *reached) for user_id, reached in players.items()]
    boards = PLACEMENT.boards_of(folds[0])
    assert len(boards) == 8

    def place(user_id: str) -> tuple[int, int, str]:
        total, reached_at = players[user_id]
        # Steps are counted back from the end of the span.
        left = (EPOCH + SPAN - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) - 1000 * reached_at
        return total, left // (Fraction(2) ** (total.bit_length() - 22) * 10**6), user_id

    expected = sorted(players, key=place, reverse=True)
    for board in boards:
        members = [(fold.user_id, PLACEMENT.standings(fold, [board])[0].value) for fold in folds]
        assert [user_id for user_id, _ in order(members)] == expected, board.name


@pytest.mark.parametrize("total", [0, -1, MAX_POINTS + 1])
def test_points_out_of_bounds_are_refused(total: int) -> None:
    with pytest.raises(ValueError, match="bounds"):
        encode(total, NOW)


def test_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        encode(1, NOW.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("total", "board", "value"),
    [
        (195, "all", 195.79774802923203),
        (195, "weekly:2026-47", 195.6428571427241),
        (4_200_000, "monthly:2026-11", 4_200_000.416666666),
        (MAX_POINTS, "quiz:rivers", 2_147_483_647.7977476),
    ],
)
def test_former_encoding_keeps_its_values(total: int, board: str, value: float) -> None:
    """As the version computed them that wrote it."""
    assert former_encoding.encode_us(total, 1000 * NOW_MS, Board.parse(board, NOW)) == value

"""Which total a board shows, and until when it is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.runtime.boards import Board, encode, points_of
from services.runtime.catalog import Catalog
from services.score.ledger import Change, Event, Fold, QuizTotal, Total, apply, boards_at, next_row, unscored
from services.score.standings import Placing, expires_at, is_kept, lowers, milliseconds_of, time_of

PLACING = Placing(Catalog())
AT = datetime(2026, 11, 18, 12, tzinfo=UTC)


def fold(delta: int = 10, country: str = "VN") -> Fold:
    event = Event("e1", "ada", "q", delta, milliseconds_of(AT), "a1", 1, delta, country)
    empty = unscored("ada")
    return apply(empty, next_row(empty, event, 0))


def test_a_first_event_stands_on_each_of_its_boards() -> None:
    boards = boards_at(milliseconds_of(AT), "VN", "q")
    assert set(PLACING.boards_of(fold())) == set(boards)
    for board in boards:
        found = PLACING.standing(fold(), board)
        assert found is not None
        assert (found.points, found.value, found.revision) == (10, encode(10, AT, board), 1)


@given(st.integers(-1000, 0))
def test_who_has_no_points_has_no_value(points: int) -> None:
    for board in PLACING.boards_of(fold(points)):
        found = PLACING.standing(fold(points), board)
        assert found is not None
        assert found.value == 0


def test_who_is_hidden_has_no_value_anywhere() -> None:
    hidden = fold()._replace(hidden=True)
    assert {found.value for board in PLACING.boards_of(hidden) if (found := PLACING.standing(hidden, board))} == {0}


def test_a_board_that_does_not_count_the_player_has_no_standing() -> None:
    for text in ("country:DE", "quiz:other", "weekly:2026-01", "monthly:2026-01"):
        assert PLACING.standing(fold(), Board.parse(text, AT)) is None


def test_every_standing_is_as_late_as_the_fold_it_was_read_from() -> None:
    late = fold()._replace(revision=9, quizzes={"q": QuizTotal(10, 3, 0)})
    assert {found.revision for found in PLACING.standings(late, PLACING.boards_of(late))} == {9}


def test_a_change_of_the_account_touches_every_board_and_may_lower_each() -> None:
    blocked = Event("e2", "ada", "", 0, milliseconds_of(AT), "", 0, 0, kind="PLAYER_BLOCKED", change=Change("m", "", 1))
    assert set(PLACING.touched(fold(), blocked)) == set(PLACING.boards_of(fold()))
    assert lowers(blocked)


def test_an_event_touches_the_boards_of_its_own_time_and_lowers_them_only_if_it_takes_points() -> None:
    earlier = milliseconds_of(AT - timedelta(days=7))
    void = Event("e2", "ada", "q", -10, earlier, "a1", 2, 0, kind="ACTION_VOIDED", change=Change("m", "cheat"))
    assert set(PLACING.touched(fold(), void)) == set(boards_at(earlier, "VN", "q"))
    assert lowers(void)
    assert not lowers(void._replace(delta=0))


def test_who_moved_away_is_taken_from_the_board_he_left_and_who_came_back_is_not() -> None:
    assert [(gone.board.text, gone.value, gone.lowered) for gone in PLACING.left(fold(), "DE")] == [
        ("country:DE", 0, True)
    ]
    assert PLACING.left(fold(), "VN") == PLACING.left(fold(), "") == []


@given(st.integers(1, 2**31 - 1), st.integers(0, 10**12))
def test_the_points_of_a_value_are_the_total(points: int, reached_at: int) -> None:
    found = PLACING.standing(fold()._replace(total=Total(points, reached_at)), Board("all"))
    assert found is not None
    assert points_of(found.value) == points


def test_a_period_is_kept_for_the_retention_after_its_end() -> None:
    week = Board("weekly", "2026-47")
    end = datetime(2026, 11, 23, tzinfo=UTC) + timedelta(days=35)
    assert expires_at(week, timedelta(days=35)) == end
    assert is_kept(week, end - timedelta(seconds=1), timedelta(days=35))
    assert not is_kept(week, end, timedelta(days=35))
    assert is_kept(Board("all"), datetime(9000, 1, 1, tzinfo=UTC), timedelta(days=1))


@given(st.integers(0, 4 * 10**12))
def test_milliseconds_are_times_and_back(milliseconds: int) -> None:
    assert milliseconds_of(time_of(milliseconds)) == milliseconds

"""Which total a board shows, and how long it is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.boards.board import Board
from services.boards.catalog import Catalog
from services.boards.definition import Definition
from services.boards.encoding import encode, points_of
from services.runtime.clock import milliseconds_of
from services.score.ledger.event_boards import boards_at
from services.score.ledger.events import Change, Event
from services.score.ledger.folds.fold import Fold, apply, empty_fold, next_row
from services.score.ledger.history import History
from services.score.ledger.rows import Row
from services.score.ledger.times import time_of
from services.score.ledger.totals import QuizTotal, Total
from services.score.projection.standings import Placement, can_lower, expires_at, is_kept, lowers_quiz
from tests.properties import examples

PLACEMENT = Placement(Catalog())
AT = datetime(2026, 11, 18, 12, tzinfo=UTC)


def fold(delta: int = 10, country: str = "VN") -> Fold:
    event = Event("e1", "ada", "q", delta, milliseconds_of(AT), "a1", 1, delta, country)
    empty = empty_fold("ada")
    return apply(empty, next_row(empty, event, 0))


def test_first_event_places_the_player_on_each_of_its_boards() -> None:
    boards = boards_at(milliseconds_of(AT), "VN", "q")
    assert set(PLACEMENT.boards_of(fold())) == set(boards)
    for board in boards:
        found = PLACEMENT.standing(fold(), board)
        assert found is not None
        assert (found.points, found.value, found.revision) == (10, encode(10, AT), 1)


@given(st.integers(-1000, 0))
def test_player_without_points_has_no_value(points: int) -> None:
    for board in PLACEMENT.boards_of(fold(points)):
        found = PLACEMENT.standing(fold(points), board)
        assert found is not None
        assert found.value == 0


def test_hidden_player_has_no_value_on_any_board() -> None:
    hidden = fold()._replace(hidden=True)
    assert {found.value for board in PLACEMENT.boards_of(hidden) if (found := PLACEMENT.standing(hidden, board))} == {0}


def test_board_that_does_not_count_the_player_has_no_standing() -> None:
    for text in ("country:DE", "quiz:other", "weekly:2026-01", "monthly:2026-01"):
        assert PLACEMENT.standing(fold(), Board.parse(text, AT)) is None


def test_standings_carry_the_revision_of_their_fold() -> None:
    late = fold()._replace(revision=9, quizzes={"q": QuizTotal((10, 3, 0))})
    assert {found.revision for found in PLACEMENT.standings(late, PLACEMENT.boards_of(late))} == {9}


def test_account_change_affects_every_board_and_may_lower_each() -> None:
    blocked = Event("e2", "ada", "", 0, milliseconds_of(AT), "", 0, 0, kind="PLAYER_BLOCKED", change=Change("m", "", 1))
    assert set(PLACEMENT.affected_boards(fold(), blocked)) == set(PLACEMENT.boards_of(fold()))
    assert can_lower(blocked)


def test_event_affects_the_boards_of_its_time_and_lowers_only_by_taking_points() -> None:
    earlier = milliseconds_of(AT - timedelta(days=7))
    void = Event("e2", "ada", "q", -10, earlier, "a1", 2, 0, kind="ACTION_VOIDED", change=Change("m", "cheat"))
    assert set(PLACEMENT.affected_boards(fold(), void)) == set(boards_at(earlier, "VN", "q"))
    assert can_lower(void)
    assert not can_lower(void._replace(delta=0))


@examples(300)
@given(
    st.lists(
        st.tuples(st.integers(-20, 40), st.integers(1, 4), st.integers(0, 60), st.integers(0, 5)),
        min_size=1,
        max_size=12,
    )
)
def test_no_value_falls_without_being_written_as_lowered(attempts: list[tuple[int, int, int, int]]) -> None:
    """Whatever number and total an attempt has, and in whatever order attempts are counted."""
    before, rows = empty_fold("ada"), list[Row]()
    for number, (delta, attempt, total, second) in enumerate(attempts):
        at = milliseconds_of(AT) + 1000 * second
        event = Event(f"e{number}", "ada", "q", delta, at, f"a{number}", attempt, total, "VN")
        rows.append(next_row(before, event, at, history=History(tuple(rows), is_all=True)))
        after = apply(before, rows[-1])
        former = {each.board: each.value for each in PLACEMENT.standings(before, PLACEMENT.boards_of(before))}
        for standing in PLACEMENT.standings(after, PLACEMENT.boards_of(after)):
            if standing.value < former.get(standing.board, 0.0):
                assert can_lower(event) or lowers_quiz(before, after, "q"), standing.board
        before = after


def test_player_is_removed_from_the_board_of_a_former_country() -> None:
    assert [(gone.board.name, gone.value, gone.lowered) for gone in PLACEMENT.removals(fold(), "DE")] == [
        ("country:DE", 0, True)
    ]
    assert PLACEMENT.removals(fold(), "VN") == PLACEMENT.removals(fold(), "") == []


@given(st.integers(1, 2**31 - 1), st.integers(0, 10**12))
def test_points_of_a_value_are_the_total(points: int, reached_at: int) -> None:
    found = PLACEMENT.standing(fold()._replace(total=Total((points, reached_at))), Board("all"))
    assert found is not None
    assert points_of(found.value) == points


def test_period_is_kept_for_the_retention_after_its_end() -> None:
    week = Board("weekly", "2026-47")
    end = datetime(2026, 11, 23, tzinfo=UTC) + timedelta(days=35)
    assert expires_at(Catalog(), week, timedelta(days=35)) == end
    assert is_kept(Catalog(), week, end - timedelta(seconds=1), timedelta(days=35))
    assert not is_kept(Catalog(), week, end, timedelta(days=35))
    assert is_kept(Catalog(), Board("all"), datetime(9000, 1, 1, tzinfo=UTC), timedelta(days=1))


@given(st.integers(0, 4 * 10**12))
def test_milliseconds_round_trip(milliseconds: int) -> None:
    assert milliseconds_of(time_of(milliseconds)) == milliseconds


@examples(200)
@given(
    st.timedeltas(timedelta(0), timedelta(days=40)),
    st.sampled_from(("VN", "DE", "")),
    st.sampled_from((("q", ""), ("", "run"))),
    st.sampled_from(((), ("red",))),
)
def test_event_affects_the_defined_boards_that_count_it(
    after: timedelta, country: str, source: tuple[str, str], tags: tuple[str, ...]
) -> None:
    definitions = (
        Definition("today", period="daily", time_zone="Asia/Tokyo", segment="each-country", number=1),
        Definition("sprint", sources=("tag:red",), period="every:14:2026-11-20", aggregate="count", number=2),
        Definition("run", sources=("action:run",), period="range:2026-11-20/2026-12-10", order="asc", number=3),
        Definition("quiz", sources=("quiz:q",), period="weekly", freezes_before=86_400, number=4, freeze_number=5),
        Definition("here", period="monthly", segment="country:VN"),
    )
    placement = Placement(Catalog(defined=definitions, edition=1, numbers=5))
    at, (quiz_id, action_type_id) = milliseconds_of(AT + after), source
    change = Change("", "", action_type_id=action_type_id) if action_type_id else None
    event = Event("e2", "ada", quiz_id, 10, at, "a2", 1, 10, country, change=change, tags=tags)
    placed = fold(country=country)
    sources = {"all", f"quiz:{quiz_id}" if quiz_id else f"action:{action_type_id}", *(f"tag:{tag}" for tag in tags)}
    counting = [each for each in placement.catalog.counted if sources & {*each.sources} and each.calendar.counts(at)]
    assert len(placement.catalog.counted) == len(definitions) + 1, "a copy until the freeze"
    assert list(placement.affected_boards(placed, event)) == [
        *boards_at(at, country, quiz_id),
        *(each.board(country, each.calendar.name_of(at)) for each in counting if each.includes(country)),
    ]

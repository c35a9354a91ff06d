"""The contract of the boards in Redis: names, periods, and the value that orders."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.runtime.boards import (
    ALL_TIME,
    EPOCH,
    MAX_POINTS,
    Board,
    Period,
    boards_of,
    encode,
    period,
    points_of,
)

NOW = datetime(2026, 11, 18, 12, tzinfo=UTC)

points = st.integers(1, MAX_POINTS)
# Points near a power of two are where the resolution changes.
edge_points = st.integers(0, 31).flatmap(lambda b: st.integers(max(1, 2**b - 2), min(MAX_POINTS, 2**b + 2)))
times = st.integers(0, 40 * 366 * 86_400 * 10**6).map(
    lambda offset: EPOCH - timedelta(days=366) + timedelta(microseconds=offset)
)
boards = st.one_of(
    st.just(Board("all")),
    st.just(Board("country", "VN")),
    st.just(Board("quiz", "rivers")),
    times.map(lambda at: Board.parse("weekly", at)),
    times.map(lambda at: Board.parse("monthly", at)),
)


def window(board: Board) -> tuple[datetime, timedelta]:
    counted = period(board)
    return (counted.starts_at, counted.ends_at - counted.starts_at) if counted else (EPOCH, ALL_TIME)


@st.composite
def boards_with_times(draw: st.DrawFn) -> tuple[Board, datetime, datetime]:
    """A board and two times inside of its period, in order."""
    board = draw(boards)
    start, length = window(board)
    inside = st.timedeltas(timedelta(), length).map(lambda offset: start + offset)
    first, second = sorted((draw(inside), draw(inside)))
    return board, first, second


@given(points | edge_points, boards_with_times())
def test_points_are_read_back_from_every_value(total: int, at: tuple[Board, datetime, datetime]) -> None:
    board, first, second = at
    for reached in (first, second):
        value = encode(total, reached, board)
        assert points_of(value) == total
        assert total <= value < total + 1


@given(points | edge_points, boards_with_times())
def test_of_equal_points_the_earlier_is_never_behind(total: int, at: tuple[Board, datetime, datetime]) -> None:
    board, first, second = at
    assert encode(total, first, board) >= encode(total, second, board)


@given(points | edge_points, boards_with_times())
def test_times_apart_by_more_than_the_resolution_never_tie(total: int, at: tuple[Board, datetime, datetime]) -> None:
    board, first, second = at
    _, length = window(board)
    bits = min(30, 52 - total.bit_length())
    step = length / 2**bits
    # The very first step of a period shares the greatest value, since a tie must stay below one.
    assume(second - first > 2 * step + timedelta(microseconds=1))
    assert encode(total, first, board) > encode(total, second, board)


@given(points | edge_points, points | edge_points, boards, times, times)
def test_more_points_always_win_whatever_the_times(
    one: int, other: int, board: Board, at: datetime, also: datetime
) -> None:
    assume(one != other)
    less, more = sorted((one, other))
    assert encode(more, at, board) > encode(less, also, board)


@given(points | edge_points, boards, times)
def test_a_time_outside_of_the_period_counts_as_its_nearest_end(total: int, board: Board, at: datetime) -> None:
    start, length = window(board)
    nearest = min(max(at, start), start + length)
    assert encode(total, at, board) == encode(total, nearest, board)


@pytest.mark.parametrize(("total", "bits"), [(1, 30), (2**22 - 1, 30), (2**22, 29), (2**30, 21), (MAX_POINTS, 21)])
def test_the_resolution_shrinks_gently_as_points_grow(total: int, bits: int) -> None:
    week = Board("weekly", "2026-47")
    start, length = window(week)
    assert encode(total, start, week) == total + 1 - 2.0**-bits
    assert encode(total, start + length, week) == total
    assert encode(total, start + length / 2, week) == total + 0.5


def test_a_week_tells_milliseconds_apart() -> None:
    week = Board("weekly", "2026-47")
    at = NOW
    assert encode(1_000_000, at, week) > encode(1_000_000, at + timedelta(milliseconds=1), week)


@pytest.mark.parametrize("total", [0, -1, MAX_POINTS + 1])
def test_points_out_of_bounds_are_refused(total: int) -> None:
    with pytest.raises(ValueError, match="bounds"):
        encode(total, NOW, Board("all"))


def test_a_time_without_a_zone_is_refused() -> None:
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(ValueError, match="zone"):
        encode(1, naive, Board("all"))
    with pytest.raises(ValueError, match="zone"):
        Board.parse("weekly", naive)


@pytest.mark.parametrize(
    ("at", "week", "month"),
    [
        ("2026-11-18T12:00:00+00:00", "2026-47", "2026-11"),
        ("2026-12-31T23:59:59.999999+00:00", "2026-53", "2026-12"),  # a year of 53 weeks
        ("2027-01-01T00:00:00+00:00", "2026-53", "2027-01"),  # still the old year's last week
        ("2027-01-03T23:59:59.999999+00:00", "2026-53", "2027-01"),
        ("2027-01-04T00:00:00+00:00", "2027-01", "2027-01"),
        ("2024-12-30T00:00:00+00:00", "2025-01", "2024-12"),  # already the new year's first week
        ("2024-02-29T23:59:59+00:00", "2024-09", "2024-02"),
        ("2024-03-01T00:00:00+00:00", "2024-09", "2024-03"),
        ("2026-11-01T01:00:00+07:00", "2026-44", "2026-10"),  # UTC decides, not the wall clock
    ],
)
def test_an_instant_belongs_to_the_week_and_month_of_utc(at: str, week: str, month: str) -> None:
    instant = datetime.fromisoformat(at)
    assert Board.parse("weekly", instant) == Board("weekly", week)
    assert Board.parse("monthly", instant) == Board("monthly", month)


@given(times)
def test_every_instant_lies_in_the_period_of_its_own_board(at: datetime) -> None:
    for board in boards_of(at, "VN", "rivers"):
        counted = period(board)
        if counted is not None:
            assert counted.starts_at <= at < counted.ends_at
            following = Board.parse(board.kind, counted.ends_at)
            assert following != board
            next_period = period(following)
            assert next_period is not None
            assert next_period.starts_at == counted.ends_at


@pytest.mark.parametrize(
    ("text", "starts", "ends"),
    [
        ("weekly:2026-53", "2026-12-28", "2027-01-04"),
        ("weekly:2026-01", "2025-12-29", "2026-01-05"),
        ("monthly:2024-02", "2024-02-01", "2024-03-01"),
        ("monthly:2026-02", "2026-02-01", "2026-03-01"),
        ("monthly:2026-12", "2026-12-01", "2027-01-01"),
        ("monthly:9998-12", "9998-12-01", "9999-01-01"),
        ("weekly:9998-52", "9998-12-21", "9998-12-28"),
    ],
)
def test_periods_touch_without_overlap(text: str, starts: str, ends: str) -> None:
    expected = Period(datetime.fromisoformat(f"{starts}T00:00:00Z"), datetime.fromisoformat(f"{ends}T00:00:00Z"), "UTC")
    assert period(Board.parse(text, NOW)) == expected


@pytest.mark.parametrize("text", ["all", "country:VN", "quiz:rivers"])
def test_a_board_of_all_time_has_no_period(text: str) -> None:
    assert period(Board.parse(text, NOW)) is None


@pytest.mark.parametrize(
    "text", ["all", "weekly:2026-47", "monthly:2026-11", "country:VN", "quiz:world-capitals", "quiz:" + "a" * 64]
)
def test_a_full_name_is_read_back_from_its_board(text: str) -> None:
    board = Board.parse(text, NOW)
    assert board.text == text
    assert board.key == f"leaderboard:{text}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "All",
        "all:",
        "all:x",
        "weekly:",
        "weekly:2026",
        "weekly:2026-1",
        "weekly:2026-00",
        "weekly:2025-53",
        "weekly:2026-54",
        "weekly:1999-10",
        "weekly:9999-52",
        "weekly:2026-47 ",
        "weekly:2026-47\n",
        "weekly:٢٠٢٦-٤٧",
        "monthly:2026-13",
        "monthly:2026-00",
        "monthly:2026-1",
        "monthly:0000-01",
        "country:",
        "country:vn",
        "country:VNM",
        "country:V1",
        "country:VN\n",
        "quiz:",
        "quiz:-a",
        "quiz:A",
        "quiz:a_b",
        "quiz:a\n",
        "quiz:" + "a" * 65,
        "quiz:é",
        "daily",
        "all" * 1_000_000,
    ],
)
def test_junk_names_no_board(text: str) -> None:
    with pytest.raises(ValueError, match="no board"):
        Board.parse(text, NOW)


@given(st.text(max_size=200))
def test_whatever_is_read_is_written_the_same(text: str) -> None:
    try:
        board = Board.parse(text, NOW)
    except ValueError:
        return
    assert board.text == text or text in ("weekly", "monthly")


def test_an_event_moves_all_its_boards() -> None:
    at = datetime(2027, 1, 1, 6, tzinfo=timezone(timedelta(hours=7)))
    assert [board.text for board in boards_of(at, "VN", "rivers")] == [
        "all",
        "weekly:2026-53",
        "monthly:2026-12",
        "country:VN",
        "quiz:rivers",
    ]
    assert [board.text for board in boards_of(at, "", "")] == ["all", "weekly:2026-53", "monthly:2026-12"]


@pytest.mark.parametrize(("country", "quiz_id"), [("vn", "rivers"), ("VN", "Rivers"), ("V:", "")])
def test_an_event_with_a_wrong_country_or_quiz_is_refused(country: str, quiz_id: str) -> None:
    with pytest.raises(ValueError, match="no board"):
        boards_of(NOW, country, quiz_id)

"""The contract of the boards in Redis: names and periods."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.boards.board import Board, boards_of, period_of
from services.boards.periods.period import Period

NOW = datetime(2026, 11, 18, 12, tzinfo=UTC)

times = st.integers(0, 40 * 366 * 86_400 * 10**6).map(
    lambda offset: datetime(2019, 1, 1, tzinfo=UTC) + timedelta(microseconds=offset)
)


def test_time_without_a_zone_is_refused() -> None:
    naive = NOW.replace(tzinfo=None)
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
def test_week_and_month_are_those_of_utc(at: str, week: str, month: str) -> None:
    instant = datetime.fromisoformat(at)
    assert Board.parse("weekly", instant) == Board("weekly", week)
    assert Board.parse("monthly", instant) == Board("monthly", month)


@given(times)
def test_every_instant_is_in_the_period_of_its_board(at: datetime) -> None:
    for board in boards_of(at, "VN", "rivers"):
        period = period_of(board)
        if period is not None:
            assert period.starts_at <= at < period.ends_at
            following = Board.parse(board.kind, period.ends_at)
            assert following != board
            next_period = period_of(following)
            assert next_period is not None
            assert next_period.starts_at == period.ends_at


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
    assert period_of(Board.parse(text, NOW)) == expected


@pytest.mark.parametrize("text", ["all", "country:VN", "quiz:rivers"])
def test_board_of_all_time_has_no_period(text: str) -> None:
    assert period_of(Board.parse(text, NOW)) is None


@pytest.mark.parametrize(
    "text", ["all", "weekly:2026-47", "monthly:2026-11", "country:VN", "quiz:world-capitals", "quiz:" + "a" * 64]
)
def test_full_name_is_read_back_from_its_board(text: str) -> None:
    board = Board.parse(text, NOW)
    assert board.name == text
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
def test_malformed_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no board"):
        Board.parse(text, NOW)


@given(st.text(max_size=200))
def test_parsed_name_is_written_the_same(text: str) -> None:
    try:
        board = Board.parse(text, NOW)
    except ValueError:
        return
    assert board.name == text or text in ("weekly", "monthly")


def test_event_moves_all_its_boards() -> None:
    at = datetime(2027, 1, 1, 6, tzinfo=timezone(timedelta(hours=7)))
    assert [board.name for board in boards_of(at, "VN", "rivers")] == [
        "all",
        "weekly:2026-53",
        "monthly:2026-12",
        "country:VN",
        "quiz:rivers",
    ]
    assert [board.name for board in boards_of(at, "", "")] == ["all", "weekly:2026-53", "monthly:2026-12"]


@pytest.mark.parametrize(("country", "quiz_id"), [("vn", "rivers"), ("VN", "Rivers"), ("V:", "")])
def test_event_with_an_impossible_country_or_quiz_is_refused(country: str, quiz_id: str) -> None:
    with pytest.raises(ValueError, match="no board"):
        boards_of(NOW, country, quiz_id)

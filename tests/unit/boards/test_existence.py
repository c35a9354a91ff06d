"""Which boards exist, at any moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.boards.board import Board
from services.boards.catalog import Catalog, parse_declarations
from services.boards.existence import MAX_CLOSING, Existence, existence_of
from services.countries import COUNTRIES

NOW = datetime(2026, 11, 18, 12, tzinfo=UTC)
CATALOG = Catalog(parse_declarations("asean=all,VN+TH; week=weekly; local=weekly,country"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("all", Existence.YES),
        ("weekly", Existence.YES),
        ("weekly:2026-47", Existence.YES),
        ("weekly:2026-46", Existence.IF_RANKED),
        ("weekly:2026-48", Existence.NO),
        ("monthly", Existence.YES),
        ("monthly:2026-10", Existence.IF_RANKED),
        ("monthly:2026-12", Existence.NO),
        ("country:VN", Existence.YES),
        ("country:XX", Existence.NO),
        ("quiz:x", Existence.IF_QUIZ),
        ("custom:asean", Existence.YES),
        ("custom:week:2026-W47", Existence.YES),
        ("custom:week:2026-46", Existence.IF_RANKED),
        ("custom:week:2026-48", Existence.NO),
        ("custom:local:VN", Existence.YES),
        ("custom:local:XX", Existence.NO),
        ("custom:local:XX:2026-46", Existence.NO),
    ],
)
def test_a_board_exists_by_its_name_and_the_time(name: str, expected: Existence) -> None:
    assert existence_of(CATALOG, CATALOG.parse(name, NOW), NOW) is expected


@given(st.integers(0, 365 * 900).map(lambda days: datetime(2001, 1, 1, tzinfo=UTC) + timedelta(days=days)))
def test_the_boards_of_this_moment_exist(now: datetime) -> None:
    assert all(existence_of(CATALOG, board, now) is Existence.YES for board in CATALOG.current(now))


@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=2, max_size=2))
def test_only_assigned_countries_have_a_board(country: str) -> None:
    assert (existence_of(CATALOG, Board("country", country), NOW) is Existence.YES) == (country in COUNTRIES)


def test_a_board_exists_until_nothing_more_is_counted() -> None:
    ends_at = datetime(2026, 11, 23, tzinfo=UTC)
    board = Board("weekly", "2026-47")
    assert existence_of(CATALOG, board, ends_at + MAX_CLOSING - timedelta(seconds=1)) is Existence.YES
    assert existence_of(CATALOG, board, ends_at + MAX_CLOSING) is Existence.IF_RANKED

"""The boards that an operator declares."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.boards import Board, period
from services.runtime.catalog import MAX_DECLARED, Catalog, parse_declared

NOW = datetime(2026, 11, 18, 12, tzinfo=UTC)
TEXT = "asean=all,VN+TH+ID; asean-week=weekly,TH+VN; by-country=weekly,country; world=monthly"
CATALOG = Catalog(parse_declared(TEXT))


def test_what_was_declared_is_written_again_in_one_way() -> None:
    again = str(CATALOG)
    assert again == "asean-week=weekly,TH+VN; asean=all,ID+TH+VN; by-country=weekly,country; world=monthly"
    assert str(Catalog(parse_declared(again))) == again
    assert str(Catalog()) == ""


@pytest.mark.parametrize(
    "text",
    [
        "asean",
        "Asean=all",
        "asean=daily",
        "asean=all,vn",
        "asean=all,VN,TH",
        "a=all; a=weekly",
        "=all",
        ";".join(f"b{n}=all" for n in range(MAX_DECLARED + 1)),
    ],
)
def test_what_is_no_declaration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"has|declares"):
        parse_declared(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("all", "all"),
        ("weekly", "weekly:2026-47"),
        ("custom:asean", "custom:asean"),
        ("custom:asean-week", "custom:asean-week:2026-W47"),
        ("custom:asean-week:2026-46", "custom:asean-week:2026-W46"),
        ("custom:asean-week:2026-W46", "custom:asean-week:2026-W46"),
        ("custom:by-country:VN", "custom:by-country:VN:2026-W47"),
        ("custom:by-country:VN:2020-53", "custom:by-country:VN:2020-W53"),
        ("custom:world", "custom:world:2026-11"),
    ],
)
def test_a_board_that_leaves_its_period_open_is_the_one_of_now(text: str, name: str) -> None:
    assert CATALOG.parse(text, NOW).text == name
    assert CATALOG.parse(name, NOW + timedelta(days=400)).text == name


@pytest.mark.parametrize(
    "text",
    [
        "custom",
        "custom:",
        "custom:nothing",
        "custom:asean:VN",
        "custom:asean:2026-W47",
        "custom:by-country",
        "custom:by-country:2026-W47",
        "custom:by-country:vn",
        "custom:asean-week:2026-W54",
        "custom:asean-week:2026-60",
        "custom:world:2026-W47",
        "custom:world:2026-13",
        "custom:asean-week:2026-W47:VN",
    ],
)
def test_what_is_not_declared_so_is_no_board(text: str) -> None:
    with pytest.raises(ValueError, match="no board"):
        CATALOG.parse(text, NOW)


def test_a_period_s_bounds_are_those_of_the_built_in_boards() -> None:
    assert period(CATALOG.parse("custom:asean-week", NOW)) == period(Board.parse("weekly", NOW))
    assert period(CATALOG.parse("custom:world", NOW)) == period(Board.parse("monthly", NOW))
    assert period(CATALOG.parse("custom:asean", NOW)) is None


def test_only_a_name_without_its_period_follows_the_calendar() -> None:
    follows = ("weekly", "monthly", "custom:asean-week", "custom:by-country:VN", "custom:world")
    assert all(CATALOG.follows_calendar(text) for text in follows)
    stays = (
        "all",
        "weekly:2026-47",
        "country:VN",
        "",
        "custom:asean",
        "custom:world:2026-11",
        "custom:nothing",
        "custom:",
    )
    assert not any(CATALOG.follows_calendar(text) for text in stays)


def test_a_player_is_on_the_boards_of_his_country() -> None:
    def of(country: str) -> list[str]:
        return [board.text for board in CATALOG.custom_boards(country, ("2026-46", "2026-47"), ("2026-11",))]

    both = ["2026-W46", "2026-W47"]
    weeks, own = [f"custom:asean-week:{week}" for week in both], [f"custom:by-country:VN:{week}" for week in both]
    assert of("VN") == ["custom:asean", *weeks, *own, "custom:world:2026-11"]
    assert of("ID")[:1] == ["custom:asean"]
    assert of("") == ["custom:world:2026-11"]


@given(st.text(max_size=40))
def test_any_text_is_a_board_or_refused(text: str) -> None:
    try:
        board = CATALOG.parse(f"custom:{text}", NOW)
    except ValueError:
        return
    counted = CATALOG.counted(board)
    assert counted is not None
    assert (counted.declared.span == "all") == (period(board) is None)


def test_a_board_that_is_not_declared_any_more_counts_nothing() -> None:
    board = CATALOG.parse("custom:asean-week", NOW)
    assert Catalog().counted(board) is None
    assert Catalog(parse_declared("asean-week=monthly")).counted(board) is None
    assert Catalog(parse_declared("asean-week=weekly,country")).counted(board) is None


def test_the_boards_of_this_moment_are_named() -> None:
    assert [board.text for board in CATALOG.current(NOW)] == [
        "all",
        "weekly:2026-47",
        "monthly:2026-11",
        "custom:asean",
        "custom:asean-week:2026-W47",
        "custom:world:2026-11",
    ]

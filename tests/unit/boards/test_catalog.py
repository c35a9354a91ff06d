"""Boards that an operator declares."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.boards.board import Board, period_of
from services.boards.catalog import MAX_DECLARATIONS, Catalog, parse_declarations

NOW = datetime(2026, 11, 18, 12, tzinfo=UTC)
TEXT = "asean=all,VN+TH+ID; asean-week=weekly,TH+VN; by-country=weekly,country; world=monthly"
CATALOG = Catalog(parse_declarations(TEXT))


def test_text_of_a_catalog_is_canonical() -> None:
    again = str(CATALOG)
    assert again == "asean-week=weekly,TH+VN; asean=all,ID+TH+VN; by-country=weekly,country; world=monthly"
    assert str(Catalog(parse_declarations(again))) == again
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
        ";".join(f"b{n}=all" for n in range(MAX_DECLARATIONS + 1)),
    ],
)
def test_malformed_declaration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"has|declares"):
        parse_declarations(text)


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
def test_name_without_a_period_is_the_current_board(text: str, name: str) -> None:
    assert CATALOG.parse(text, NOW).name == name
    assert CATALOG.parse(name, NOW + timedelta(days=400)).name == name


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
def test_undeclared_board_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no board"):
        CATALOG.parse(text, NOW)


def test_periods_equal_those_of_built_in_boards() -> None:
    assert period_of(CATALOG.parse("custom:asean-week", NOW)) == period_of(Board.parse("weekly", NOW))
    assert period_of(CATALOG.parse("custom:world", NOW)) == period_of(Board.parse("monthly", NOW))
    assert period_of(CATALOG.parse("custom:asean", NOW)) is None


def test_only_a_name_without_a_period_follows_the_calendar() -> None:
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


def test_player_is_on_the_boards_of_their_country() -> None:
    def of(country: str) -> list[str]:
        return [each.name for each in CATALOG.counted if each.includes(country)]

    assert of("VN") == ["asean", "asean-week", "by-country", "world"]
    assert of("ID") == ["asean", "by-country", "world"]
    assert of("") == ["world"]


@given(st.text(max_size=40))
def test_any_text_is_a_board_or_a_value_error(text: str) -> None:
    try:
        board = CATALOG.parse(f"custom:{text}", NOW)
    except ValueError:
        return
    definition = CATALOG.definition_of(board)
    assert definition is not None
    assert (definition.period == "all") == (CATALOG.period_of(board) is None)


def test_board_that_is_no_longer_declared_has_no_definition() -> None:
    board = CATALOG.parse("custom:asean-week", NOW)
    assert Catalog().definition_of(board) is None
    assert Catalog(parse_declarations("asean-week=monthly")).definition_of(board) is None
    assert Catalog(parse_declarations("asean-week=weekly,country")).definition_of(board) is None


def test_current_boards_are_listed() -> None:
    assert [board.name for board in CATALOG.current(NOW)] == [
        "all",
        "weekly:2026-47",
        "monthly:2026-11",
        "custom:asean",
        "custom:asean-week:2026-W47",
        "custom:world:2026-11",
    ]

"""Who may read a defined board: everybody, players of its segment, or moderators alone."""

from __future__ import annotations

import uuid

import pytest

from services.boards.board import Board
from services.boards.catalog import Catalog
from services.boards.definition import Definition
from services.boards.visibility import is_decided_by_groups, is_public, may_read
from services.runtime.auth.claims import Claims, Kind

GROUP = "0198c0de-0000-7000-8000-000000000001"
BOARDS = Catalog(
    defined=[
        Definition("open"),
        Definition("staff", visibility="moderators"),
        Definition("players", visibility="members"),
        Definition("vietnam", segment="country:VN", visibility="members"),
        Definition("countries", segment="each-country", visibility="members"),
        Definition("friends", segment=f"group:{GROUP}", visibility="members"),
    ],
    edition=1,
    numbers=0,
)
ALL = ["open", "staff", "players", "vietnam", "countries:VN", "countries:TH", "friends"]


def claims(roles: str = "", scopes: str = "", country: str = "", board: str = "") -> Claims:
    granted = frozenset(scopes.split())
    kind: Kind = "board" if board else "access"
    return Claims("u", "", frozenset(roles.split()), country, "s", kind, 1e10, granted, board=board)


@pytest.mark.parametrize(
    ("caller", "readable"),
    [
        (claims("player", country="VN"), ["open", "players", "vietnam", "countries:VN"]),
        (claims("player", country="TH"), ["open", "players", "countries:TH"]),
        (claims("player"), ["open", "players"]),
        (claims("guest", country="VN"), ["open"]),
        (claims(country="VN"), ["open"]),  # a token for streams
        (claims(scopes="data:own", country="VN"), ["open"]),
        (claims(board="custom:players"), ["open"]),
        (claims("moderator player", country="VN"), ALL),
        (claims("admin"), ALL),
        (claims("service", "leaderboard:read"), ALL),
        (claims("service", "board:define"), ALL),
        (claims("service", "score:read"), ["open"]),
    ],
)
def test_a_board_exists_for_those_who_may_read_it(caller: Claims, readable: list[str]) -> None:
    assert [name for name in ALL if may_read(BOARDS, Board("custom", name), caller)] == readable


@pytest.mark.parametrize(
    ("caller", "is_asked"),
    [
        (claims("player"), True),
        (claims("guest"), False),
        (claims(), False),
        (claims(board="custom:friends"), False),
        (claims("player", board="custom:friends"), False),
        (claims("admin player"), False),
        (claims("service", "leaderboard:read"), False),
    ],
)
def test_a_board_of_members_exists_for_members_of_its_group(caller: Claims, is_asked: bool) -> None:
    board = Board("custom", "friends")
    definition = BOARDS.definition_of(board)
    assert definition is not None
    assert is_decided_by_groups(definition, caller) is is_asked
    readable = [may_read(BOARDS, board, caller, groups) for groups in ([], [str(uuid.uuid4())], [GROUP])]
    assert readable == ([False, False, True] if is_asked else [readable[0]] * 3), "only players are asked for groups"


def test_built_in_boards_are_public() -> None:
    for board in (Board("all"), Board("weekly", "2026-47"), Board("quiz", "x"), Board("custom", "unknown")):
        assert is_public(BOARDS, board)
        assert may_read(BOARDS, board, claims("guest"))
    assert [name for name in ALL if is_public(BOARDS, Board("custom", name))] == ["open"]

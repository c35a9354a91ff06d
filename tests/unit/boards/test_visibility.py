"""Who may read a defined board: everybody, players of its segment, or moderators alone."""

from __future__ import annotations

import pytest

from services.boards.board import Board
from services.boards.catalog import Catalog
from services.boards.definition import Definition
from services.boards.visibility import is_public, may_read
from services.runtime.auth.claims import Claims, Kind

BOARDS = Catalog(
    defined=[
        Definition("open"),
        Definition("staff", visibility="moderators"),
        Definition("players", visibility="members"),
        Definition("vietnam", segment="country:VN", visibility="members"),
        Definition("countries", segment="each-country", visibility="members"),
    ],
    edition=1,
    numbers=0,
)
ALL = ["open", "staff", "players", "vietnam", "countries:VN", "countries:TH"]


def claims(roles: str = "", scopes: str = "", country: str = "", board: str = "") -> Claims:
    granted = frozenset(scopes.split())
    kind: Kind = "board" if board else "access"
    return Claims("u", "", frozenset(roles.split()), country, "s", "t", kind, 1e10, granted, board=board)


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


def test_built_in_boards_are_public() -> None:
    for board in (Board("all"), Board("weekly", "2026-47"), Board("quiz", "x"), Board("custom", "unknown")):
        assert is_public(BOARDS, board)
        assert may_read(BOARDS, board, claims("guest"))
    assert [name for name in ALL if is_public(BOARDS, Board("custom", name))] == ["open"]

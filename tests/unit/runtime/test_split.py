"""Boards over several keys: their names, and who is on which."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from services.runtime.boards import Board
from services.runtime.catalog import Catalog
from services.runtime.split import MAX_KEYS, Split

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SPLIT = Split("monthly=2; all = 4;country:US=3; custom:asean=2;weekly=1")


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("all", [f"leaderboard:all:{n}" for n in range(4)]),
        ("weekly", ["leaderboard:weekly:2026-48"]),
        ("monthly", ["leaderboard:monthly:2026-11:0", "leaderboard:monthly:2026-11:1"]),
        ("country:US", [f"leaderboard:country:US:{n}" for n in range(3)]),
        ("country:VN", ["leaderboard:country:VN"]),
        ("custom:asean:2026-11", ["leaderboard:custom:asean:2026-11:0", "leaderboard:custom:asean:2026-11:1"]),
    ],
)
def test_a_board_is_one_key_under_its_published_name_unless_it_is_split(text: str, keys: list[str]) -> None:
    parts = SPLIT.parts(Board.parse(text, NOW))
    assert [part.key for part in parts] == keys
    for part in parts:
        others = {key_slot(key.encode()) for key in (part.fence_key, part.meta_key, part.previous_key)}
        assert others == {key_slot(part.key.encode())}


def test_players_are_spread_evenly_and_always_the_same() -> None:
    board = Board("all")
    counts = Counter(SPLIT.part(board, f"player-{n}").key for n in range(4000))
    assert all(800 < count < 1200 for count in counts.values()), counts
    assert SPLIT.part(board, "ada").key == "leaderboard:all:0"


def test_the_keys_of_a_split_board_are_in_slots_of_their_own() -> None:
    assert len({key_slot(part.key.encode()) * 3 // 16384 for part in SPLIT.parts(Board("all"))}) == 3


@given(st.dictionaries(st.sampled_from(["all", "weekly", "monthly", "country", "quiz:x"]), st.integers(1, MAX_KEYS)))
def test_a_split_is_read_back_from_its_text(keys: dict[str, int]) -> None:
    split = Split(";".join(f"{name}={number}" for name, number in keys.items()))
    assert str(Split(str(split))) == str(split)
    again = Catalog.of(str(Catalog((), split)))
    assert (str(again.split), str(again)) == (str(split), str(Catalog((), split)))


@pytest.mark.parametrize("text", ["all", "all=0", "all=65", "all=x", "nothing=2", "all=2; all=3", "weekly:2026-48=2"])
def test_what_says_no_split_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="has "):
        Split(text)

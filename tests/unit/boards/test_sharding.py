"""Sharding: the keys of a board, and the players on each."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from services.boards.board import Board
from services.boards.catalog import Catalog
from services.boards.sharding import MAX_KEYS, Sharding

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SHARDING = Sharding("monthly=2; all = 4;country:US=3; custom:asean=2;weekly=1")


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
def test_board_is_one_key_under_its_published_name_unless_sharded(text: str, keys: list[str]) -> None:
    shards = SHARDING.shards(Board.parse(text, NOW))
    assert [shard.key for shard in shards] == keys
    for shard in shards:
        others = {key_slot(key.encode()) for key in (shard.fence_key, shard.meta_key, shard.previous_key)}
        assert others == {key_slot(shard.key.encode())}


def test_players_are_spread_evenly_and_stay_on_their_shard() -> None:
    board = Board("all")
    counts = Counter(SHARDING.shard_of(board, f"player-{n}").key for n in range(4000))
    assert all(800 < count < 1200 for count in counts.values()), counts
    assert SHARDING.shard_of(board, "ada").key == "leaderboard:all:0"


def test_shards_of_a_board_are_in_different_slots() -> None:
    assert len({key_slot(shard.key.encode()) * 3 // 16384 for shard in SHARDING.shards(Board("all"))}) == 3


@given(st.dictionaries(st.sampled_from(["all", "weekly", "monthly", "country", "quiz:x"]), st.integers(1, MAX_KEYS)))
def test_sharding_is_read_back_from_its_text(keys: dict[str, int]) -> None:
    sharding = Sharding(";".join(f"{name}={number}" for name, number in keys.items()))
    assert str(Sharding(str(sharding))) == str(sharding)
    again = Catalog.from_text(str(Catalog((), sharding)))
    assert (str(again.sharding), str(again)) == (str(sharding), str(Catalog((), sharding)))


@pytest.mark.parametrize("text", ["all", "all=0", "all=65", "all=x", "nothing=2", "all=2; all=3", "weekly:2026-48=2"])
def test_malformed_sharding_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="has "):
        Sharding(text)

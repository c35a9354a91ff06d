"""Boards with a size and with shared ranks: every read path gives what a plain list gives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from operator import methodcaller
from typing import Any, get_args

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from services.boards.board import GENERATION_KEY, Board
from services.boards.catalog import Catalog
from services.boards.definition import Definition, Ranks
from services.boards.sharding import SHARDING_KEY, Sharding
from services.leaderboard.ranking import order, quantile_index
from services.leaderboard.reading.boards import Boards
from services.runtime.config.settings import MongoConfig
from services.runtime.stores.mongo import open_mongo
from tests.system.boards.seeded import reader

NO_MONGO = MongoConfig(url="mongodb://127.0.0.1:1/?replicaSet=none")
KEYS = "custom:sharded=3"
values = st.sampled_from([1.0, 1.5, 2.0, 2.25, 2.75, 3.5, 1000.000000001])
user_ids = st.text(st.sampled_from("abcdef"), min_size=1, max_size=2)


@pytest_asyncio.fixture(scope="module")
async def shown(redis: Redis) -> AsyncIterator[tuple[Catalog, Boards]]:
    await redis.set(GENERATION_KEY, 1)
    await redis.set(SHARDING_KEY, KEYS)
    async with open_mongo(NO_MONGO, "boards", wait=False) as unreachable:
        catalog = Catalog(sharding=Sharding(KEYS))
        yield catalog, reader(redis, unreachable.database, catalog=catalog)


@pytest.mark.parametrize("name", ["plain", "sharded"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(user_ids, values, max_size=16),
    st.integers(1, 20),
    st.sampled_from(get_args(Ranks)),
    st.integers(1, 6),
    st.floats(0.1, 100),
)
async def test_every_question_is_answered_as_by_a_plain_list(
    redis: Redis,
    shown: tuple[Catalog, Boards],
    name: str,
    members: dict[str, float],
    size: int,
    ranks: Ranks,
    length: int,
    percentile: float,
) -> None:
    catalog, boards = shown
    catalog.update([Definition(name, size=size, ranks=ranks)], edition=1, numbers=0)
    board = Board("custom", name)
    keys = {shard.key for shard in catalog.sharding.shards(board)}
    await redis.delete(*keys)
    for user_id, value in members.items():
        await redis.zadd(catalog.sharding.shard_of(board, user_id).key, {user_id: value})

    async def ask(question: str, *arguments: Any) -> Any:
        return await boards.read(board, methodcaller(question, *arguments))

    expected = order(members.items())[:size]
    points = [int(value) for _, value in expected]
    rank_of: Callable[[int], int] = {
        "unique": lambda place: place + 1,
        "competition": lambda place: 1 + sum(each > points[place] for each in points),
        "dense": lambda place: 1 + len({each for each in points if each > points[place]}),
    }[ranks]
    expected_ranks = [rank_of(place) for place in range(len(expected))]

    def ranks_in(read: Any, first: int) -> list[int]:
        if read.shared_ranks is None:
            return list(range(first, first + len(read.members)))
        return list(read.shared_ranks)

    head = await ask("head", length)
    assert (head.members, ranks_in(head, 1)) == (expected[:length], expected_ranks[:length])
    assert await ask("total") == len(expected)
    standings = await ask("standings", [*members, "nobody"])
    assert {user_id: (each.rank, each.shown_rank) for user_id, each in standings.items()} == {
        user_id: (place + 1, expected_ranks[place]) for place, (user_id, _) in enumerate(expected)
    }
    read: list[Any] = []
    while (window := await ask("page", length, read[-1] if read else None)).members:
        assert (window.total, window.first) == (len(expected), len(read) + 1)
        assert ranks_in(window, window.first) == expected_ranks[len(read) : len(read) + len(window.members)]
        read += window.members
    assert read == expected
    for place, (user_id, _) in enumerate(order(members.items())):
        window = await ask("around", user_id, length)
        if place >= size:
            assert (window.total, list(window.members)) == (len(expected), [])
            continue
        start = max(0, min(place - length, len(expected) - 2 * length - 1))
        around = slice(start, start + 2 * length + 1)
        assert (window.first, window.members) == (start + 1, expected[around])
        assert ranks_in(window, window.first) == expected_ranks[around]
        assert window.above == (expected[start - 1][1] if start else None)
    for wanted in (1, 2, 3, 1000):
        others = [int(value) for user_id, value in order(members.items()) if user_id != "a"]
        if ranks == "unique":
            ahead = sum(each >= wanted for each in others)
        elif ranks == "competition":
            ahead = sum(each > wanted for each in others)
        else:
            ahead = len({each for each in others if each > wanted})
        assert await ask("ahead", float(wanted), "a") == (ahead, len(expected))
    found = expected[quantile_index(percentile, len(expected))][1] if expected else None
    assert await ask("quantile", percentile) == (found, len(expected))

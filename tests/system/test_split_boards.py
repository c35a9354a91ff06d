"""A board over four keys beside the same board as one key and a plain sort, on one server and on a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from services.leaderboard.boards import Boards
from services.leaderboard.closed import ClosedBoards
from services.leaderboard.ranking import order
from services.runtime.boards import GENERATION_KEY, Board
from services.runtime.catalog import Catalog
from services.runtime.clock import utc_now
from services.runtime.mongo_client import open_mongo
from services.runtime.redis_client import open_redis
from services.runtime.settings import MongoConfig, RedisConfig
from services.runtime.split import SPLIT_KEY, Split
from services.score.archive import PAGE, Archive
from services.score.board_writer import BoardWriter, by_board
from services.score.rebuild import server_time
from services.score.standings import Placing, Standing
from tests.servers import running, unique

SPLIT = "quiz=4"
PLAYERS = [*(f"p{n}" for n in range(25)), "é", "Ж漢", "😀"]
# Few values, so that many are equal; 0 is who was voided or blocked.
values = st.sampled_from([0.0, 1.0, 1.5, 2.0, 2.25, 7.000000001])
batches = st.lists(st.dictionaries(st.sampled_from(PLAYERS), values, max_size=12), min_size=1, max_size=5)


class Both:
    """One board as one key and as four, each on a server of its own, written alike."""

    def __init__(self, one: Redis, four: Redis) -> None:
        self.board = Board("quiz", "none")
        self.clients = {"": one, SPLIT: four}
        # The readers are configured for one key, and find out.
        self.readers = [Boards(redis, timeout=timedelta(seconds=5)) for redis in self.clients.values()]
        self.writers = {
            redis: BoardWriter(
                redis,
                Placing(Catalog((), Split(split))),
                fence_ttl=timedelta(hours=1),
                period_retention=timedelta(days=35),
                now=utc_now,
            )
            for split, redis in self.clients.items()
        }
        self.members: dict[str, float] = {}
        self._revision = 0

    def fresh(self) -> None:
        """A board that nobody has written to."""
        self.board, self.members = Board("quiz", unique("q")), {}

    async def write(self, batch: dict[str, float]) -> None:
        """Each player has this value from now on, whatever he had."""
        self._revision += 1
        standings = [
            Standing(
                self.board, user_id, int(value), value, self._revision, lowered=value < self.members.get(user_id, 0.0)
            )
            for user_id, value in batch.items()
        ]
        for redis, writer in self.writers.items():
            await writer.write(by_board(standings), begun_at=await server_time(redis), generation=1)
        self.members = {user_id: value for user_id, value in {**self.members, **batch}.items() if value > 0}


@pytest_asyncio.fixture(scope="module", params=["redis", "cluster"])
async def both(request: pytest.FixtureRequest) -> AsyncIterator[Both]:
    async with AsyncExitStack() as stack:
        clients = []
        for name, split in (("redis", ""), (request.param, SPLIT)):
            server = await stack.enter_async_context(running(name))
            client = await stack.enter_async_context(open_redis(RedisConfig(url=server.url), "test"))
            await client.set(GENERATION_KEY, 1)
            await client.set(SPLIT_KEY, split)
            clients.append(client)
        yield Both(*clients)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches, st.integers(1, 6), st.tuples(st.sampled_from([*PLAYERS, "nobody"]), values), st.floats(0.1, 100))
async def test_four_keys_answer_as_one_and_as_a_plain_sort(
    both: Both, written: list[dict[str, float]], size: int, stranger: tuple[str, float], percentile: float
) -> None:
    both.fresh()
    for batch in written:
        await both.write(batch)
    board, by_hand = both.board, order(both.members.items())
    one, four = both.readers
    heads = [await reader.head(board, size) for reader in both.readers]
    assert [head.members for head in heads] == [by_hand[:size]] * 2
    assert heads[0].previous == heads[1].previous, "the rank before the last action"
    places = [await reader.places(board, [*PLAYERS, "nobody"]) for reader in both.readers]
    assert places[0] == places[1]
    assert {user_id: (place.rank, place.value) for user_id, place in places[1].items()} == {
        user_id: (rank, value) for rank, (user_id, value) in enumerate(by_hand, start=1)
    }
    pages: list[tuple[str, float]] = []
    after = None
    while (window := await four.page(board, size, after, stranger[0])).members:
        assert window == await one.page(board, size, after, stranger[0])
        assert (window.total, window.first) == (len(by_hand), len(pages) + 1)
        pages += window.members
        after = window.members[-1]
    assert pages == by_hand
    assert await four.page(board, 9, stranger, "") == await one.page(board, 9, stranger, "")
    for user_id in [*PLAYERS, "nobody"]:
        one_window, window = await one.around(board, user_id, size), await four.around(board, user_id, size)
        assert window == one_window
    for value in (stranger[1], 0.5, 9.0):
        assert await four.ahead(board, value, stranger[0]) == await one.ahead(board, value, stranger[0])
    assert await four.quantile(board, percentile) == await one.quantile(board, percentile)


async def test_a_place_among_many_is_found(both: Both) -> None:
    both.fresh()
    await both.write({f"m{n}": 1.0 + n * 7919 % 3000 for n in range(3000)})
    for percentile in (0.1, 12.5, 50, 99.9, 100):
        found = [await reader.quantile(both.board, percentile) for reader in both.readers]
        assert found[0] == found[1]


async def test_the_version_is_the_sum_of_the_keys_and_only_grows(both: Both) -> None:
    both.fresh()
    seen = [(await both.readers[1].head(both.board, 5)).version]
    for turn in range(1, 6):
        await both.write({player: float(turn) for player in PLAYERS[: 3 * turn]})
        seen.append((await both.readers[1].head(both.board, 5)).version)
    assert seen[0] == 0
    assert seen == sorted(set(seen))
    parts = Split(SPLIT).parts(both.board)
    versions = [int(await both.clients[SPLIT].hget(part.meta_key, "version") or 0) for part in parts]
    assert seen[-1] == sum(versions)
    assert all(versions), "everybody's key was written"


async def test_a_closed_period_of_several_keys_is_kept_in_one_order(both: Both, mongo_url: str) -> None:
    """With as many equal values as there are pages, so that the keys' pages end at different places."""
    redis, week = both.clients[SPLIT], Board("weekly", "2026-47")
    writer = BoardWriter(
        redis,
        Placing(Catalog((), Split("weekly=3"))),
        fence_ttl=timedelta(hours=1),
        period_retention=timedelta(days=42),
        now=lambda: datetime(2026, 11, 25, tzinfo=UTC),
    )
    members = {f"m{n}": 1.0 + n % 7 for n in range(3 * PAGE + 1)}
    standings = [Standing(week, user_id, int(value), value, 1, lowered=False) for user_id, value in members.items()]
    await writer.write(by_board(standings), begun_at=await server_time(redis), generation=1)
    await redis.set(SPLIT_KEY, f"{SPLIT}; weekly=3")
    async with open_mongo(MongoConfig(url=mongo_url, database=unique("test")), "boards") as mongo:
        archive = Archive(mongo.database, redis)
        await archive.prepare()
        assert await archive.keep(week, datetime(2026, 11, 25, tzinfo=UTC))
        reader = await ClosedBoards(mongo.database, timeout=timedelta(seconds=5)).reader(week)
        assert reader is not None
        kept = (await reader.page(week, len(members) + 1, None, "")).members
        await mongo.client.drop_database(mongo.database)
    await redis.set(SPLIT_KEY, SPLIT)
    assert kept == order(members.items())

"""A board of four shards beside the same board as one key and a plain sort, on one server and on a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from operator import methodcaller
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis

from services.boards.board import GENERATION_KEY, Board, period_of
from services.boards.catalog import Catalog
from services.boards.encoding import ENCODING
from services.boards.sharding import SHARDING_KEY, Sharding
from services.leaderboard.ranking import order, ranked
from services.leaderboard.reading.archive import Archive
from services.runtime.clock import utc_now
from services.runtime.config.settings import MongoConfig, RedisConfig
from services.runtime.stores.mongo import open_mongo
from services.runtime.stores.redis import open_redis
from services.score.periods.archive_store import PAGE, ArchiveStore
from services.score.projection.board_writer import BoardWriter, by_board
from services.score.projection.rebuild import server_time
from services.score.projection.standings import Placement, Standing
from tests.deadline import deadline_seconds
from tests.no_metadata import no_metadata
from tests.servers import running, unique
from tests.system.boards.seeded import reader

SHARDING = "quiz=4"
PLAYERS = [*(f"p{n}" for n in range(25)), "é", "Ж漢", "😀"]
# Few values, so that many are equal; 0 is a player whose actions are void or who is blocked.
values = st.sampled_from([0.0, 1.0, 1.5, 2.0, 2.25, 7.000000001])
batches = st.lists(st.dictionaries(st.sampled_from(PLAYERS), values, max_size=12), min_size=1, max_size=5)


class Both:
    """One board as one key and as four shards, on two servers that are written alike."""

    def __init__(self, one: Redis, four: Redis, database: AsyncDatabase[dict[str, Any]]) -> None:
        self.board = Board("quiz", "none")
        self.clients = {"": one, SHARDING: four}
        # The readers are configured for one key, and follow the sharding in Redis.
        self.readers = [reader(redis, database) for redis in self.clients.values()]
        self.writers = {
            redis: BoardWriter(
                redis,
                Placement(Catalog((), Sharding(sharding))),
                no_metadata,
                fence_ttl=timedelta(hours=1),
                period_retention=timedelta(days=35),
                now=utc_now,
            )
            for sharding, redis in self.clients.items()
        }
        self.members: dict[str, float] = {}
        self._revision = 0

    def reset(self) -> None:
        """Continue with a new, empty board."""
        self.board, self.members = Board("quiz", unique("q")), {}

    async def ask(self, question: str, *arguments: Any) -> Any:
        """Return the answer of both boards, or of the head what does not depend on the number of keys."""
        answers = [await each.read(self.board, methodcaller(question, *arguments)) for each in self.readers]
        if question == "head":
            answers = [head._replace(version=0) for head in answers]
        assert answers[0] == answers[1]
        return answers[1]

    async def write(self, batch: dict[str, float]) -> None:
        """Set the value of each player."""
        self._revision += 1
        standings = [
            Standing(
                self.board, user_id, int(value), value, self._revision, lowered=value < self.members.get(user_id, 0.0)
            )
            for user_id, value in batch.items()
        ]
        for redis, writer in self.writers.items():
            await writer.write(by_board(standings), started_at=await server_time(redis), generation=1)
        self.members = {user_id: value for user_id, value in {**self.members, **batch}.items() if value > 0}


@pytest_asyncio.fixture(scope="module", params=["redis", "cluster"])
async def both(request: pytest.FixtureRequest, mongo_url: str) -> AsyncIterator[Both]:
    async with AsyncExitStack() as stack:
        clients = []
        for name, sharding in (("redis", ""), (request.param, SHARDING)):
            server = await stack.enter_async_context(running(name))
            client = await stack.enter_async_context(open_redis(RedisConfig(url=server.url), "test"))
            await client.set(GENERATION_KEY, 1)
            await client.set(SHARDING_KEY, sharding)
            clients.append(client)
        config = MongoConfig(url=mongo_url, database=unique("test"))
        mongo = await stack.enter_async_context(open_mongo(config, "boards"))
        yield Both(clients[0], clients[1], mongo.database)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches, st.integers(1, 6), st.tuples(st.sampled_from([*PLAYERS, "nobody"]), values), st.floats(0.1, 100))
async def test_four_shards_answer_as_one_key_and_as_a_plain_sort(
    both: Both, written: list[dict[str, float]], size: int, stranger: tuple[str, float], percentile: float
) -> None:
    both.reset()
    for batch in written:
        await both.write(batch)
    expected = order(both.members.items())
    head = await both.ask("head", size)
    assert head.members == expected[:size]
    standings = await both.ask("standings", [*PLAYERS, "nobody"])
    places = ranked(expected)
    above = [None, *(value for _, value in expected)]
    assert {user_id: (each.rank, each.value, each.above) for user_id, each in standings.items()} == {
        user_id: (rank, value, above[rank - 1]) for rank, (user_id, value) in enumerate(expected, start=1)
    }
    assert await both.ask("total") == len(expected)
    pages: list[tuple[str, float]] = []
    while (window := await both.ask("page", size, pages[-1] if pages else None)).members:
        assert (window.total, window.first) == (len(expected), len(pages) + 1)
        pages += window.members
        assert ranked(window.members, window.first, window.above) == places[window.first - 1 : len(pages)]
    assert pages == expected
    await both.ask("page", 9, stranger)
    for user_id in [*PLAYERS, "nobody"]:
        window = await both.ask("around", user_id, size)
        last = window.first - 1 + len(window.members)
        assert ranked(window.members, window.first, window.above) == places[window.first - 1 : last]
    for value in (stranger[1], 0.5, 9.0):
        await both.ask("ahead", value, stranger[0])
    await both.ask("quantile", percentile)


async def test_quantiles_of_many_players_are_found(both: Both) -> None:
    both.reset()
    await both.write({f"m{n}": 1.0 + n * 7919 % 3000 for n in range(3000)})
    for percentile in (0.1, 12.5, 50, 99.9, 100):
        await both.ask("quantile", percentile)


async def test_version_is_the_sum_of_the_shards_and_only_grows(both: Both) -> None:
    both.reset()

    async def version() -> int:
        return (await both.readers[1].read(both.board, lambda view: view.head(5))).version

    versions = [await version()]
    for turn in range(1, 6):
        await both.write({player: float(turn) for player in PLAYERS[: 3 * turn]})
        versions.append(await version())
    assert versions[0] == 0
    assert versions == sorted(set(versions))
    shards = Sharding(SHARDING).shards(both.board)
    of_shards = [int(await both.clients[SHARDING].hget(shard.meta_key, "version") or 0) for shard in shards]
    assert versions[-1] == sum(of_shards)
    assert all(of_shards), "every shard was written"


async def test_closed_period_of_several_shards_is_archived_in_one_order(both: Both, mongo_url: str) -> None:
    """Values repeat as often as there are pages, so that the pages of the shards end at different members."""
    redis, week = both.clients[SHARDING], Board("weekly", "2026-47")
    writer = BoardWriter(
        redis,
        Placement(Catalog((), Sharding("weekly=3"))),
        no_metadata,
        fence_ttl=timedelta(hours=1),
        period_retention=timedelta(days=42),
        now=lambda: datetime(2026, 11, 25, tzinfo=UTC),
    )
    members = {f"m{n}": 1.0 + n % 7 for n in range(3 * PAGE + 1)}
    standings = [Standing(week, user_id, int(value), value, 1, lowered=False) for user_id, value in members.items()]
    await writer.write(by_board(standings), started_at=await server_time(redis), generation=1)
    await redis.set(SHARDING_KEY, f"{SHARDING}; weekly=3")
    async with open_mongo(MongoConfig(url=mongo_url, database=unique("test")), "boards") as mongo:
        store = ArchiveStore(mongo.database, redis)
        await store.prepare()
        period = period_of(week)
        assert period is not None
        in_force = int(await redis.get(GENERATION_KEY) or 0)
        assert await store.archive(
            week, period, datetime(2026, 11, 25, tzinfo=UTC), generation=in_force, encoding=ENCODING
        )
        archived = await Archive(mongo.database, timeout=timedelta(seconds=deadline_seconds())).find(week)
        assert archived is not None
        page = await archived.page(len(members) + 1, None)
        await mongo.client.drop_database(mongo.database)
    await redis.set(SHARDING_KEY, SHARDING)
    assert page.members == order(members.items())

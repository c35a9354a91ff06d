"""MongoDB as it is elsewhere: three nodes, of which the primary dies, steps down, or can't reach the others."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest_asyncio

from services.runtime.jetstream import open_jetstream
from services.runtime.mongo_client import open_mongo
from services.runtime.redis_client import open_redis
from services.runtime.settings import MongoConfig, NatsConfig, RedisConfig
from services.score.meta import Meta
from tests.faults.replica_set import ReplicaSet, replica_set
from tests.servers import RunningServer, running, unique
from tests.system.score import ScoreSystem, assert_counted_once, fresh_stream, many

SETTINGS = {"TOPTEN_SCORE_BATCH": "20", "TOPTEN_SCORE_ACK_WAIT": "3s", "TOPTEN_MONGO_TIMEOUT": "2s"}


@pytest_asyncio.fixture(scope="module")
async def nodes() -> AsyncIterator[ReplicaSet]:
    async with replica_set() as found:
        yield found


@pytest_asyncio.fixture
async def system(nodes: ReplicaSet) -> AsyncIterator[ScoreSystem]:
    """As the system of the other tests, on the set."""
    async with running("redis") as redis_server, running("nats") as nats_server:
        mongo_config = MongoConfig(url=nodes.url, database=unique("test"))
        async with (
            open_mongo(mongo_config, "score") as mongo,
            open_redis(RedisConfig(url=redis_server.url), "test") as redis,
            open_jetstream(NatsConfig(url=nats_server.url), "test") as nats,
        ):
            await fresh_stream(nats)
            servers: dict[str, RunningServer] = {"redis": redis_server, "nats": nats_server}
            found = ScoreSystem(servers, mongo, redis, nats, await Meta(mongo.database).salt(), mongo_url=nodes.url)
            yield found


async def test_a_primary_that_dies_or_steps_down_under_load_takes_nothing_with_it(
    system: ScoreSystem, nodes: ReplicaSet
) -> None:
    events = many(1200, players=30, seed=61, lowest=-20)
    async with system.worker(**SETTINGS), system.worker(**SETTINGS):
        publishing = asyncio.create_task(system.publish(*events))
        await system.until_counted(100)
        primary = await nodes.primary()
        primary.kill()
        counted = await system.database["ledger"].count_documents({})
        await system.until_counted(counted + 300)
        primary.start()
        await nodes.step_down()
        await publishing
        await system.settled()
        await assert_counted_once(system, events)


async def test_a_write_that_no_majority_has_is_no_score_until_one_has(system: ScoreSystem, nodes: ReplicaSet) -> None:
    """The primary takes the rows and can't promise them: a write concern that times out, again and again."""
    events = many(300, players=20, seed=62, lowest=-20)
    async with system.worker(**SETTINGS), system.worker(**SETTINGS):
        publishing = asyncio.create_task(system.publish(*events))
        await system.until_counted(40)
        primary = await nodes.primary()
        others = [node for node in nodes.nodes if node is not primary]
        for node in others:
            node.signal(signal.SIGSTOP)
        await publishing
        await asyncio.sleep(3)  # the fault itself: longer than a write may take
        for node in others:
            node.signal(signal.SIGCONT)
        await system.settled()
        await assert_counted_once(system, events)

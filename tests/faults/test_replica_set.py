"""MongoDB as in production: three nodes, of which the primary dies, steps down, or cannot reach the others."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest_asyncio

from services.runtime.config.settings import MongoConfig, NatsConfig, RedisConfig
from services.runtime.stores.jetstream import open_jetstream
from services.runtime.stores.mongo import open_mongo
from services.runtime.stores.redis import open_redis
from services.score.coordination_store import CoordinationStore
from tests.deadline import eventually
from tests.faults.replica_set import ReplicaSet, replica_set
from tests.servers import RunningServer, running, unique
from tests.system.score import ScoreSystem, assert_counted_once, create_stream, random_events

SETTINGS = {"TOPTEN_SCORE_BATCH": "20", "TOPTEN_SCORE_ACK_WAIT": "3s", "TOPTEN_MONGO_TIMEOUT": "2s"}


@pytest_asyncio.fixture(scope="module")
async def nodes() -> AsyncIterator[ReplicaSet]:
    async with replica_set() as initiated:
        yield initiated


@pytest_asyncio.fixture
async def system(nodes: ReplicaSet) -> AsyncIterator[ScoreSystem]:
    async with system_on(nodes) as on_nodes:
        yield on_nodes


@asynccontextmanager
async def system_on(nodes: ReplicaSet) -> AsyncIterator[ScoreSystem]:
    """The score system of the other tests, on a replica set."""
    async with running("redis") as redis_server, running("nats") as nats_server:
        mongo_config = MongoConfig(url=nodes.url, database=unique("test"))
        async with (
            open_mongo(mongo_config, "score") as mongo,
            open_redis(RedisConfig(url=redis_server.url), "test") as redis,
            open_jetstream(NatsConfig(url=nats_server.url), "test") as nats,
        ):
            await create_stream(nats)
            servers: dict[str, RunningServer] = {"redis": redis_server, "nats": nats_server}
            yield ScoreSystem(
                servers, mongo, redis, nats, await CoordinationStore(mongo.database).salt(), mongo_url=nodes.url
            )


async def test_primary_that_dies_or_steps_down_under_load_loses_nothing(system: ScoreSystem, nodes: ReplicaSet) -> None:
    events = random_events(1200, players=30, seed=61, lowest=-20)
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
        await system.until_drained()
        await assert_counted_once(system, events)


async def test_write_without_a_majority_counts_only_once_a_majority_has_it(
    system: ScoreSystem, nodes: ReplicaSet
) -> None:
    """The primary writes the rows but cannot acknowledge them: each write concern times out."""
    events = random_events(300, players=20, seed=62, lowest=-20)
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
        await system.until_drained()
        await assert_counted_once(system, events)


async def test_old_node_that_is_forced_to_be_primary_gets_no_row_on_rows_that_it_lacks() -> None:
    """The other two are lost with what they acknowledged; play goes on meanwhile."""
    lost, later = random_events(300, players=20, seed=63), random_events(300, players=20, seed=64)
    async with replica_set() as nodes, system_on(nodes) as system, system.worker(**SETTINGS), system.worker(**SETTINGS):
        await system.publish(*lost[:150])
        await system.until_drained()
        primary = await nodes.primary()
        old = next(node for node in nodes.nodes if node is not primary)
        old.kill()
        await system.publish(*lost[150:])
        await system.until_counted(250)
        publishing = asyncio.create_task(system.publish(*later))
        for node in nodes.nodes:
            node.kill()
        old.start()
        await nodes.force(old)
        await publishing
        await system.until_drained()
        rows = [row async for row in system.store.chains()]
        assert {event.event_id for event in later} <= {row.event_id for row in rows}
        points: Counter[str] = Counter()
        for row in rows:
            points[row.user_id] += row.delta
        await eventually(lambda: shows(system, points), "the board shows the sums of the ledger")
        assert await system.verify() == []


async def shows(system: ScoreSystem, points: Counter[str]) -> bool:
    return dict(await system.board("all")) == {user_id: total for user_id, total in points.items() if total > 0}

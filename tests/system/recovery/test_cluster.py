"""A real Redis Cluster: failover, a node that returns empty, and resharded boards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from redis.asyncio import RedisCluster
from redis.exceptions import ResponseError

from services.boards.board import GENERATION_KEY, Board
from services.boards.catalog import Catalog
from services.boards.sharding import Sharding
from services.cli.system.client import GraphqlClient
from services.runtime.config.settings import RedisConfig
from services.runtime.stores.redis import REDIS_ERRORS, key_on_each, open_redis, subscription
from services.score.projection.standings import Agreement
from tests.deadline import deadline
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import endpoints, register, shows, stream, until
from tests.servers import (
    HOST,
    RunningCluster,
    RunningServer,
    assert_verified,
    running,
    running_cluster,
    running_stack,
    unique,
)
from tests.system.boards.seeded import reader
from tests.system.score import ScoreSystem, random_events, score_system, totals_of


@pytest_asyncio.fixture(scope="module")
async def cluster() -> AsyncIterator[RunningCluster]:
    async with running_cluster() as started:
        yield started


@pytest_asyncio.fixture(scope="module")
async def servers(cluster: RunningCluster) -> AsyncIterator[dict[str, RunningServer]]:
    async with running("mongo") as mongo, running("nats") as nats:
        yield {"redis": cluster, "mongo": mongo, "nats": nats}


@pytest_asyncio.fixture
async def system(servers: dict[str, RunningServer]) -> AsyncIterator[ScoreSystem]:
    async with score_system(servers) as fresh:
        yield fresh


@pytest.mark.slow
async def test_whole_system_survives_a_failover() -> None:
    """With replicas, and the board of all time over four keys. A failover takes as long as the nodes agree on it (about 3 s)
    and founding six nodes and a whole system as long again.
    """
    async with running_cluster(replicas=True) as cluster:
        with running_stack({"TOPTEN_REDIS_URL": cluster.url, "TOPTEN_BOARDS_KEYS": "all=4"}) as stack:
            quiz_id = unique("far-")
            await import_quiz(endpoints(stack), quiz_definition(quiz_id, max_attempts=5))
            async with GraphqlClient(endpoints(stack).graphql) as client:
                players = [await register(client) for _ in range(8)]
                ada = players[0]
                async with stream(stack.http, ada.access_token) as events:
                    for player in players:
                        await player.submit(quiz_id, [("q1", "a")])
                    before = await until(events, shows(ada.username, 10))
                    # The masters were started first. One is killed permanently, and its replica is promoted.
                    cluster.nodes[0].kill()
                    await ada.submit(quiz_id, [("q1", "a"), ("q2", "a")])
                    after = await until(events, shows(ada.username, 20))
                first, then = (tuple(map(int, (event.id or "").split("-"))) for event in (before, after))
                assert then > first, "no frame goes back"
            await assert_verified(stack)


async def test_boards_are_rebuilt_when_a_node_returns_empty(cluster: RunningCluster, system: ScoreSystem) -> None:
    events = random_events(300, players=30, seed=5)
    async with system.worker(TOPTEN_BOARDS_KEYS="all=4"):
        await system.publish(*events[:150])
        await system.until_drained()
        before = await system.until_complete()
        # A node without the generation, which would be missed at once.
        node = await without(cluster, GENERATION_KEY)
        node.kill()
        await node.start()
        await system.publish(*events[150:])
        await system.until_complete(after=before)
        await system.until_drained()
        assert await board_of(system) == {user: total for user, total in totals_of(events).items() if total > 0}


async def test_flush_of_one_node_is_detected(cluster: RunningCluster, system: ScoreSystem) -> None:
    events = random_events(100, players=10, seed=6)
    async with system.worker():
        await system.publish(*events)
        await system.until_drained()
        before = await system.until_complete()
        node = await without(cluster, GENERATION_KEY)
        async with open_redis(RedisConfig(url=node.url), "test") as redis:
            await redis.flushall()
        await system.until_complete(after=before)
        assert await board_of(system) == {user: total for user, total in totals_of(events).items() if total > 0}


async def test_flush_of_one_node_is_detected_by_workers_that_start_later(
    cluster: RunningCluster, system: ScoreSystem
) -> None:
    events = random_events(100, players=10, seed=8)
    async with system.worker():
        await system.publish(*events)
        await system.until_drained()
        before = await system.until_complete()
    node = await without(cluster, GENERATION_KEY)
    async with open_redis(RedisConfig(url=node.url), "test") as redis:
        await redis.flushall()
    async with system.worker():
        await system.until_complete(after=before)
        assert await board_of(system) == {user: total for user, total in totals_of(events).items() if total > 0}


async def test_resharding_a_board_loses_nothing(system: ScoreSystem) -> None:
    """The worker that starts last declares it; the other adopts it, and so does a reader configured differently."""
    events = random_events(300, players=30, seed=7)
    expected = {user: total for user, total in totals_of(events).items() if total > 0}
    async with system.worker(TOPTEN_BOARDS_KEYS="all=3"):
        await system.publish(*events[:100])
        await system.until_drained()
        async with system.worker(TOPTEN_BOARDS_KEYS="all=5; weekly=2"):
            await system.publish(*events[100:200])
            await until_keys(system, 5)
            async with system.worker():
                await system.publish(*events[200:])
                await until_keys(system, 1)
                await system.until_drained()
                assert await board_of(system) == expected
                assert await system.verify() == []


async def test_slot_may_move_to_a_node_that_has_just_joined(tmp_path: Path) -> None:
    """As in an operator's resharding: until the slot has moved, only redirections reveal the node."""
    async with running_cluster() as cluster:
        joined = RunningServer("node", tmp_path, urlsplit(cluster.nodes[0].url).password or "")
        await joined.start()
        try:
            async with AsyncExitStack() as stack:
                urls = (cluster.url, joined.url, *(node.url for node in cluster.nodes))
                clients: list[Any] = [
                    await stack.enter_async_context(open_redis(RedisConfig(url=url), "test")) for url in urls
                ]
                redis, new, *masters = clients
                key = unique("key-")
                slot = await masters[0].execute_command("CLUSTER KEYSLOT", key)
                await redis.set(key, "before")
                (old,) = [node for node in masters if await holds(node, key)]
                bus = (await new.config_get("cluster-port"))["cluster-port"]
                await old.execute_command("CLUSTER MEET", HOST, joined.port, bus)
                ids = {node: (await node.execute_command("CLUSTER MYID")).decode() for node in (old, new)}
                async with deadline():
                    while ids[new] not in str(await old.execute_command("CLUSTER NODES")):
                        await asyncio.sleep(0.02)
                    while (await new.execute_command("CLUSTER INFO"))["cluster_state"] != "ok":
                        await asyncio.sleep(0.02)
                await new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[old])
                await old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[new])
                await redis.delete(key)
                assert await redis.set(key, "after")
                assert await redis.get(key) == b"after"
                assert not await holds(old, key)
        finally:
            joined.kill()


async def holds(node: Any, key: str) -> bool:
    """Return whether a node has the key itself."""
    try:
        return bool(await node.exists(key))
    except ResponseError:  # another node has it
        return False


async def until_keys(system: ScoreSystem, keys: int) -> None:
    """Wait until the all-time board has this many keys, none of another sharding, and is complete."""
    sharding = Sharding(f"all={keys}; weekly=2" if keys > 1 else "")
    wanted = {shard.key.encode() for shard in sharding.shards(Board("all"))}
    async with deadline():
        while {key async for key in system.redis.scan_iter(match="leaderboard:all*")} != wanted:
            await asyncio.sleep(0.02)
    await system.until_complete()
    system.placement.adopt(Agreement(Catalog((), sharding), 0))


async def board_of(system: ScoreSystem) -> dict[str, int]:
    """Return the all-time board as a reader returns it that does not know its keys."""
    boards = reader(system.redis, system.database)
    window = await boards.read(Board("all"), lambda view: view.page(1000, None))
    return {user_id: int(value) for user_id, value in window.members}


async def without(cluster: RunningCluster, key: str) -> RunningServer:
    """Return a node that does not have the key."""
    for node in cluster.nodes:
        async with AsyncExitStack() as stack:
            redis: Any = await stack.enter_async_context(open_redis(RedisConfig(url=node.url), "test"))
            slot = await redis.execute_command("CLUSTER KEYSLOT", key)
            if not await redis.execute_command("CLUSTER COUNTKEYSINSLOT", slot):
                return node
    raise AssertionError("every node has the key")


async def test_each_master_has_a_key(cluster: RunningCluster) -> None:
    async with open_redis(RedisConfig(url=cluster.url), "test") as redis:
        keys = key_on_each(redis, "counter")
        nodes = {cast("RedisCluster", redis).get_node_from_key(key) for key in keys}
        assert (len(keys), len(nodes)) == (3, 3)


async def test_connections_closed_while_in_use_raise_only_store_errors(cluster: RunningCluster) -> None:
    """Before it reloads the layout, the driver closes the connections to all nodes, even while they are used."""
    others: list[BaseException] = []
    answered = 0

    async def use(number: int, redis: Any) -> None:
        nonlocal answered
        for _ in range(20):
            try:
                if number % 2:
                    async with subscription(redis) as events:
                        await events.subscribe("anything")
                        for _ in range(5):
                            await events.get_message(timeout=0.01)
                else:
                    await redis.set(f"used:{number}", 1)
                answered += 1
            except REDIS_ERRORS:
                pass
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # whichever else there is
                others.append(error)

    async def close(redis: Any) -> None:
        while True:
            closing = asyncio.create_task(redis.aclose())
            for _ in range(3):
                await asyncio.sleep(0)
            closing.cancel()  # as the task that triggered the reload may be
            await asyncio.wait([closing])

    async with open_redis(RedisConfig(url=cluster.url), "test") as redis:
        closer = asyncio.create_task(close(redis))
        await asyncio.gather(*(use(number, redis) for number in range(30)))
        closer.cancel()
        await asyncio.wait([closer])
    assert others == []
    assert answered

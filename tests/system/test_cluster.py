"""On a real Redis Cluster: a whole system through a failover, a node that comes back empty, and boards that are split anew."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from redis.asyncio import RedisCluster
from redis.exceptions import ResponseError

from services.leaderboard.boards import Boards
from services.local.client import GraphqlClient
from services.runtime.boards import GENERATION_KEY, Board
from services.runtime.catalog import Catalog
from services.runtime.redis_client import REDIS_ERRORS, key_on_each, open_redis, subscription
from services.runtime.settings import RedisConfig
from services.runtime.split import Split
from services.score.standings import Terms
from tests.factories import quiz_definition
from tests.imports import import_quiz
from tests.players import endpoints, register, shows, stream, until
from tests.servers import HOST, RunningCluster, RunningServer, running, running_cluster, running_stack, topten, unique
from tests.system.score import PATIENCE_SECONDS, ScoreSystem, many, score_system, totals_of


@pytest_asyncio.fixture(scope="module")
async def cluster() -> AsyncIterator[RunningCluster]:
    async with running_cluster() as started:
        yield started


@pytest_asyncio.fixture
async def system(cluster: RunningCluster) -> AsyncIterator[ScoreSystem]:
    async with AsyncExitStack() as stack:
        servers: dict[str, RunningServer] = {"redis": cluster}
        for name in ("mongo", "nats"):
            servers[name] = await stack.enter_async_context(running(name))
        yield await stack.enter_async_context(score_system(servers))


@pytest.mark.slow
async def test_a_whole_system_plays_on_through_a_failover() -> None:
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
                    # The masters were started first; one of them goes for good, and its replica takes its place.
                    cluster.nodes[0].kill()
                    await ada.submit(quiz_id, [("q1", "a"), ("q2", "a")])
                    after = await until(events, shows(ada.username, 20))
                first, then = (tuple(map(int, (event.id or "").split("-"))) for event in (before, after))
                assert then > first, "no frame goes back"
            command = [*topten("verify"), "--data", str(stack.data)]
            checked = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
            assert checked.returncode == 0, checked.stdout + checked.stderr


async def test_a_node_that_comes_back_empty_is_noticed_and_its_boards_are_made_anew(
    cluster: RunningCluster, system: ScoreSystem
) -> None:
    events = many(300, players=30, seed=5)
    async with system.worker(TOPTEN_BOARDS_KEYS="all=4"):
        await system.publish(*events[:150])
        await system.settled()
        before = await system.whole()
        # One that does not have the generation, which would be missed at once.
        node = await without(cluster, GENERATION_KEY)
        node.kill()
        await node.start()
        await system.publish(*events[150:])
        await system.whole(than=before)
        await system.settled()
        assert await board_of(system) == {user: total for user, total in totals_of(events).items() if total > 0}


async def test_a_flush_of_one_node_is_noticed(cluster: RunningCluster, system: ScoreSystem) -> None:
    events = many(100, players=10, seed=6)
    async with system.worker():
        await system.publish(*events)
        await system.settled()
        before = await system.whole()
        node = await without(cluster, GENERATION_KEY)
        async with open_redis(RedisConfig(url=node.url), "test") as redis:
            await redis.flushall()
        await system.whole(than=before)
        assert await board_of(system) == {user: total for user, total in totals_of(events).items() if total > 0}


async def test_a_flush_of_one_node_that_nobody_was_there_to_see_is_noticed(
    cluster: RunningCluster, system: ScoreSystem
) -> None:
    events = many(100, players=10, seed=8)
    async with system.worker():
        await system.publish(*events)
        await system.settled()
        before = await system.whole()
    node = await without(cluster, GENERATION_KEY)
    async with open_redis(RedisConfig(url=node.url), "test") as redis:
        await redis.flushall()
    async with system.worker():
        await system.whole(than=before)
        assert await board_of(system) == {user: total for user, total in totals_of(events).items() if total > 0}


async def test_a_board_is_split_and_joined_again_without_loss(system: ScoreSystem) -> None:
    """The worker that starts last says how; the other takes it over, and so does a reader that was told otherwise."""
    events = many(300, players=30, seed=7)
    expected = {user: total for user, total in totals_of(events).items() if total > 0}
    async with system.worker(TOPTEN_BOARDS_KEYS="all=3"):
        await system.publish(*events[:100])
        await system.settled()
        async with system.worker(TOPTEN_BOARDS_KEYS="all=5; weekly=2"):
            await system.publish(*events[100:200])
            await until_keys(system, 5)
            async with system.worker():
                await system.publish(*events[200:])
                await until_keys(system, 1)
                await system.settled()
                assert await board_of(system) == expected
                assert await system.verified() == []


async def test_a_slot_may_move_to_a_node_that_has_just_joined(tmp_path: Path) -> None:
    """As an operator's resharding does it: until the slot is there, only redirections tell of the node."""
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
                async with asyncio.timeout(PATIENCE_SECONDS):
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
    """Whether a node has the key itself."""
    try:
        return bool(await node.exists(key))
    except ResponseError:  # it is elsewhere
        return False


async def until_keys(system: ScoreSystem, keys: int) -> None:
    """Returns when the board of all time has so many keys, none of another split, and is whole."""
    split = Split(f"all={keys}; weekly=2" if keys > 1 else "")
    wanted = {part.key.encode() for part in split.parts(Board("all"))}
    async with asyncio.timeout(PATIENCE_SECONDS):
        while {key async for key in system.redis.scan_iter(match="leaderboard:all*")} != wanted:
            await asyncio.sleep(0.02)
    await system.whole()
    system.placing.adopt(Terms(Catalog((), split), 0))


async def board_of(system: ScoreSystem) -> dict[str, int]:
    """The board of all time, as a reader has it who knows nothing of its keys."""
    window = await Boards(system.redis, timeout=timedelta(seconds=5)).page(Board("all"), 1000, None, "")
    return {user_id: int(value) for user_id, value in window.members}


async def without(cluster: RunningCluster, key: str) -> RunningServer:
    """A node that does not have the key."""
    for node in cluster.nodes:
        async with AsyncExitStack() as stack:
            redis: Any = await stack.enter_async_context(open_redis(RedisConfig(url=node.url), "test"))
            slot = await redis.execute_command("CLUSTER KEYSLOT", key)
            if not await redis.execute_command("CLUSTER COUNTKEYSINSLOT", slot):
                return node
    raise AssertionError("every node has the key")


async def test_there_is_a_key_for_each_master(cluster: RunningCluster) -> None:
    async with open_redis(RedisConfig(url=cluster.url), "test") as redis:
        keys = key_on_each(redis, "counter")
        nodes = {cast("RedisCluster", redis).get_node_from_key(key) for key in keys}
        assert (len(keys), len(nodes)) == (3, 3)


async def test_connections_that_are_closed_in_use_are_lost_and_nothing_else(cluster: RunningCluster) -> None:
    """The driver closes those to all nodes before it asks for the layout anew, whoever uses them and waits for their end."""
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
            closing.cancel()  # as whoever made it do so may be
            await asyncio.wait([closing])

    async with open_redis(RedisConfig(url=cluster.url), "test") as redis:
        closer = asyncio.create_task(close(redis))
        await asyncio.gather(*(use(number, redis) for number in range(30)))
        closer.cancel()
        await asyncio.wait([closer])
    assert others == []
    assert answered

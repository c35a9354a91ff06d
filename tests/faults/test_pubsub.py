"""The connection of a leaderboard instance to Redis fails: every screen behind it becomes right again by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from topten.quiz.v1 import quiz_pb2

from services.cli.system.client import GraphqlClient
from tests.deadline import deadline
from tests.factories import quiz_definition
from tests.faults.proxy import Proxy, proxied
from tests.imports import import_quiz
from tests.players import endpoints, register, shows
from tests.replicas import second_instance
from tests.screens import Screen
from tests.servers import RunningStack, unique

RIGHT = [("q1", "a"), ("q2", "a")]


@pytest.fixture(scope="module")
async def proxy(stack: RunningStack) -> AsyncIterator[Proxy]:
    """A proxy between the second leaderboard and Redis."""
    async with proxied(urlsplit(stack.endpoints["stores"]["redis"]).port or 0) as opened:
        yield opened


@pytest.fixture(scope="module")
async def http(stack: RunningStack, proxy: Proxy) -> AsyncIterator[str]:
    """An edge that reads the second leaderboard."""
    redis = proxy.url(stack.endpoints["stores"]["redis"])
    with ExitStack() as processes:  # waited for in threads, because this loop serves the proxy
        leaderboard = await asyncio.to_thread(
            processes.enter_context, second_instance(stack, "leaderboard", REDIS_URL=redis)
        )
        address = leaderboard["TOPTEN_LEADERBOARD_GRPC_ADDRESS"]
        edge = await asyncio.to_thread(
            processes.enter_context, second_instance(stack, "edge", UPSTREAM_LEADERBOARD=address)
        )
        yield f"http://{edge['TOPTEN_EDGE_HTTP_ADDRESS']}"
        await asyncio.to_thread(processes.close)


@pytest.mark.slow
@pytest.mark.parametrize("fail", [Proxy.cut, Proxy.strand, Proxy.silence], ids=["cut", "half-open", "silent"])
async def test_screen_becomes_right_after_its_messages_were_lost(
    stack: RunningStack, proxy: Proxy, http: str, fail: Callable[[Proxy], object]
) -> None:
    """Takes up to 7 s each: a silent connection is pinged after 3 s and given up after 3 more."""
    quiz_id = unique("lost-")
    await import_quiz(endpoints(stack), quiz_definition(quiz_id, counting=quiz_pb2.COUNTING_SUM))
    async with GraphqlClient(endpoints(stack).graphql) as client:
        player = await register(client)

        async def token() -> str:
            return player.access_token

        here, there = Screen(stack.http, token, f"quiz:{quiz_id}"), Screen(http, token, f"quiz:{quiz_id}")
        watching = [asyncio.create_task(screen.watch()) for screen in (here, there)]
        try:
            await player.submit(quiz_id, RIGHT)
            for screen in (here, there):
                await screen.until(shows(player.username, 20))
            fail(proxy)
            await player.submit(quiz_id, RIGHT)
            await here.until(shows(player.username, 40))
            if fail is Proxy.silence:
                stale = await there.until(lambda data: bool(data["stale"]))
                assert shows(player.username, 20)(stale), "the last known frame"
                moved = here.moved_to(http)
                watching.append(asyncio.create_task(moved.watch()))
                async with deadline("the screen reaches the other edge"):
                    while not moved.connections:
                        await asyncio.sleep(0.02)
                proxy.resume()
                await moved.until(shows(player.username, 40))
                assert (moved.faults, moved.dropped) == ([], 0), "an edge that is behind sends nothing older"
            right = await there.until(lambda data: shows(player.username, 40)(data) and not data["stale"])
            assert right["leaderboard"] == (await here.until(lambda data: True))["leaderboard"]
            assert here.faults == there.faults == []
            assert there.connections == 1, "the stream itself was never lost"
        finally:
            for task in watching:
                task.cancel()

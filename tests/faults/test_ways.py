"""Ways to the stores that are cut, silent or slow, and processes that stand still for a while."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest_asyncio

from tests.faults.proxy import Proxy, proxied
from tests.servers import RunningServer
from tests.system.score import ScoreSystem, assert_counted_once, many, score_servers, score_system

SMALL = {"TOPTEN_SCORE_BATCH": "20", "TOPTEN_SCORE_ACK_WAIT": "3s"}
SILENCE_SECONDS = 3.5


@pytest_asyncio.fixture(scope="module")
async def servers() -> AsyncIterator[dict[str, RunningServer]]:
    async with score_servers() as running:
        yield running


@pytest_asyncio.fixture
async def system(servers: dict[str, RunningServer]) -> AsyncIterator[ScoreSystem]:
    async with score_system(servers) as fresh:
        yield fresh


@pytest_asyncio.fixture
async def ways(system: ScoreSystem) -> AsyncIterator[dict[str, Proxy]]:
    """A proxy before each store; workers that are started from now on go through them."""
    async with AsyncExitStack() as stack:
        proxies = {}
        for name, server in system.servers.items():
            proxies[name] = await stack.enter_async_context(proxied(server.port))
            system.environ[f"TOPTEN_{name.upper()}_URL"] = proxies[name].url(server.url)
        yield proxies


async def rows(system: ScoreSystem) -> int:
    return await system.database["ledger"].estimated_document_count()


async def test_connections_that_are_cut_again_and_again_lose_and_double_nothing(
    system: ScoreSystem, ways: dict[str, Proxy]
) -> None:
    """Each cut falls somewhere else: before a write, after it, between it and its answer."""
    events = many(900, players=30, seed=51, lowest=-20)
    async with system.worker(**SMALL), system.worker(**SMALL):
        publishing = asyncio.create_task(system.publish(*events))
        cuts = 0
        while await rows(system) < 700:
            before = await rows(system)
            for way in ways.values():
                cuts += way.cut()
            async with asyncio.timeout(60):
                while await rows(system) == before:
                    await asyncio.sleep(0.01)
        assert cuts > 10
        await publishing
        await system.settled()
        await assert_counted_once(system, events)


async def test_a_silent_way_to_each_store_is_given_up_and_found_again(
    system: ScoreSystem, ways: dict[str, Proxy]
) -> None:
    """Half-open connections, one store after the other; what was held back comes late, or never after a cut."""
    events = many(600, players=20, seed=52, lowest=-20)
    async with system.worker(**SMALL, TOPTEN_MONGO_TIMEOUT="1s"):
        done = 0
        for way in ways.values():
            part = events[done : done + 200]
            done += 200
            publishing = asyncio.create_task(system.publish(*part))
            await system.until_counted(done - 190)
            way.silence()
            await publishing
            await asyncio.sleep(SILENCE_SECONDS)  # the fault itself: longer than any single answer is waited for
            way.cut()
            way.resume()
            await system.settled()
        await assert_counted_once(system, events)


async def test_slow_ways_cost_time_and_nothing_else(system: ScoreSystem, ways: dict[str, Proxy]) -> None:
    events = many(150, players=20, seed=53, lowest=-20)
    for way in ways.values():
        way.delay = 0.05
    async with system.worker(**SMALL, TOPTEN_MONGO_TIMEOUT="5s"), system.worker(**SMALL, TOPTEN_MONGO_TIMEOUT="5s"):
        await system.publish(*events)
        await system.settled()
        for way in ways.values():
            way.delay = 0.0
        await assert_counted_once(system, events)


async def test_a_worker_that_stood_still_while_another_counted_its_events_changes_nothing(system: ScoreSystem) -> None:
    events = many(800, players=20, seed=54, lowest=-20)
    async with system.worker(**SMALL) as one, system.worker(**SMALL):
        publishing = asyncio.create_task(system.publish(*events))
        await system.until_counted(50)
        os.kill(one.pid, signal.SIGSTOP)
        await publishing
        try:
            # The other takes over its partitions, and what it held comes back after the ack wait.
            await system.until_counted(len(events))
        finally:
            os.kill(one.pid, signal.SIGCONT)
        await system.settled()
        await assert_counted_once(system, events)

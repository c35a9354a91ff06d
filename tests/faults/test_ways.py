"""Connections to the stores that are cut, silent or slow, and suspended processes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest_asyncio

from tests.deadline import deadline
from tests.faults.proxy import Proxy, proxied
from tests.system.score import ScoreSystem, assert_counted_once, random_events

SMALL = {"TOPTEN_SCORE_BATCH": "20", "TOPTEN_SCORE_ACK_WAIT": "3s"}
SILENCE_SECONDS = 3.5


@pytest_asyncio.fixture
async def proxies(system: ScoreSystem) -> AsyncIterator[dict[str, Proxy]]:
    """A proxy in front of each store, for workers that are started from now on."""
    async with AsyncExitStack() as stack:
        proxies = {}
        for name, server in system.servers.items():
            proxies[name] = await stack.enter_async_context(proxied(server.port))
            system.environ[f"TOPTEN_{name.upper()}_URL"] = proxies[name].url(server.url)
        yield proxies


async def rows(system: ScoreSystem) -> int:
    return await system.database["ledger"].estimated_document_count()


async def test_repeated_disconnects_lose_and_double_nothing(system: ScoreSystem, proxies: dict[str, Proxy]) -> None:
    """Each cut hits another moment: before a write, after it, between it and its reply."""
    events = random_events(900, players=30, seed=51, lowest=-20)
    async with system.worker(**SMALL), system.worker(**SMALL):
        publishing = asyncio.create_task(system.publish(*events))
        cuts = 0
        while await rows(system) < 700:
            before = await rows(system)
            for proxy in proxies.values():
                cuts += proxy.cut()
            async with deadline():
                while await rows(system) == before:
                    await asyncio.sleep(0.01)
        assert cuts > 10
        await publishing
        await system.until_drained()
        await assert_counted_once(system, events)


async def test_half_open_connection_to_each_store_loses_and_doubles_nothing(
    system: ScoreSystem, proxies: dict[str, Proxy]
) -> None:
    """One store after the other. Bytes held back arrive late, or never after a cut."""
    events = random_events(600, players=20, seed=52, lowest=-20)
    async with system.worker(**SMALL, TOPTEN_MONGO_TIMEOUT="1s"):
        done = 0
        for proxy in proxies.values():
            part = events[done : done + 200]
            done += 200
            publishing = asyncio.create_task(system.publish(*part))
            await system.until_counted(done - 190)
            proxy.silence()
            await publishing
            await asyncio.sleep(SILENCE_SECONDS)  # the fault itself: longer than any time-out
            proxy.cut()
            proxy.resume()
            await system.until_drained()
        await assert_counted_once(system, events)


async def test_slow_connections_lose_and_double_nothing(system: ScoreSystem, proxies: dict[str, Proxy]) -> None:
    events = random_events(150, players=20, seed=53, lowest=-20)
    for proxy in proxies.values():
        proxy.delay = 0.05
    async with system.worker(**SMALL, TOPTEN_MONGO_TIMEOUT="5s"), system.worker(**SMALL, TOPTEN_MONGO_TIMEOUT="5s"):
        await system.publish(*events)
        await system.until_drained()
        for proxy in proxies.values():
            proxy.delay = 0.0
        await assert_counted_once(system, events)


async def test_resumed_worker_changes_nothing_that_another_counted(system: ScoreSystem) -> None:
    events = random_events(800, players=20, seed=54, lowest=-20)
    async with system.worker(**SMALL) as one, system.worker(**SMALL):
        publishing = asyncio.create_task(system.publish(*events))
        await system.until_counted(50)
        os.kill(one.pid, signal.SIGSTOP)
        await publishing
        try:
            # The other takes over its partitions; the messages it held are delivered again after the ack wait.
            await system.until_counted(len(events))
        finally:
            os.kill(one.pid, signal.SIGCONT)
        await system.until_drained()
        await assert_counted_once(system, events)

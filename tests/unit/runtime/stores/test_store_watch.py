"""What is watched: each store by itself, noticed when it goes and when it comes back. Two real servers, one of which goes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from structlog.testing import capture_logs

from services.runtime.config.settings import RedisConfig
from services.runtime.process.lifecycle import TaskDiedError, run
from services.runtime.stores.redis import redis_client
from services.runtime.stores.watch import StoreWatch
from tests.deadline import deadline
from tests.servers import RunningServer, running

SOON = timedelta(milliseconds=20)


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with running("redis") as started:
        yield started


@asynccontextmanager
async def watched(**urls: str) -> AsyncIterator[None]:
    """A watch of servers of these names; an answer has long enough to come from a busy machine."""
    async with AsyncExitStack() as stack:
        clients: dict[str, Redis] = {
            name: await stack.enter_async_context(redis_client(RedisConfig(url=url), "test"))
            for name, url in urls.items()
        }
        watch = StoreWatch(every=SOON, **{name: client.ping for name, client in clients.items()})
        await watch.start()
        yield
        await watch.stop()


async def says(store: str, *, up: bool) -> None:
    async with deadline():
        while REGISTRY.get_sample_value("topten_store_up", {"store": store}) != up:
            await asyncio.sleep(0.005)


async def test_a_dead_or_hanging_store_is_down_until_it_responds(server: RunningServer, redis_url: str) -> None:
    async with watched(first=server.url, second=redis_url):
        await says("first", up=True)
        server.kill()
        await says("first", up=False)
        await says("second", up=True)
        await server.start()
        await says("first", up=True)
        server.signal(signal.SIGSTOP)
        await says("first", up=False)
        await says("second", up=True)
        server.signal(signal.SIGCONT)
        await says("first", up=True)


async def test_a_driver_that_fails_by_itself_ends_the_process() -> None:
    """Its client may hang for good, while a new one would reach the store."""

    async def ping() -> None:
        raise RuntimeError("Lock is not acquired")

    async with deadline("the process ends"):
        with pytest.raises(TaskDiedError):
            await run(StoreWatch(every=SOON, fourth=ping))


async def test_each_change_of_a_store_is_one_log_line_without_driver_text(server: RunningServer) -> None:
    password = urlsplit(server.url).password
    assert password
    with capture_logs() as lines:
        async with watched(third=server.url):
            server.kill()
            await says("third", up=False)
            await server.start()
            await says("third", up=True)
    told = [line for line in lines if line.get("store") == "third"]
    assert [(line["log_level"], line["event"]) for line in told] == [
        ("warning", "store unreachable"),
        ("info", "store reachable again"),
    ]
    assert not any(secret in str(told) for secret in (password, str(urlsplit(server.url).port)))

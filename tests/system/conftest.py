"""Clients of the session's system, and stores of a module, which its tests may stop and empty, with what runs on them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from redis.asyncio import Redis

from services.cli.system.client import GraphqlClient
from services.runtime.config.settings import RedisConfig
from services.runtime.stores.redis import open_redis
from tests.players import Player, endpoints, register
from tests.servers import RunningServer, RunningStack, running
from tests.system.graphql import Web, browsing
from tests.system.score import ScoreSystem, score_servers, score_system


@pytest_asyncio.fixture
async def client(stack: RunningStack) -> AsyncIterator[GraphqlClient]:
    """A client without cookies."""
    async with GraphqlClient(endpoints(stack).graphql) as opened:
        yield opened


@pytest_asyncio.fixture
async def player(client: GraphqlClient) -> Player:
    """A new player."""
    return await register(client)


@pytest_asyncio.fixture
async def web(stack: RunningStack) -> AsyncIterator[Web]:
    """A client with cookies, which returns whole HTTP responses."""
    async with browsing(stack.http) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module")
async def server() -> AsyncIterator[RunningServer]:
    """A Redis; some modules define another store by this name."""
    async with running("redis") as started:
        yield started


@pytest_asyncio.fixture(scope="module")
async def redis(server: RunningServer) -> AsyncIterator[Redis]:
    """A client of `server`."""
    async with open_redis(RedisConfig(url=server.url), "test") as client:
        yield client


@pytest_asyncio.fixture(scope="module")
async def servers() -> AsyncIterator[dict[str, RunningServer]]:
    """One store of each kind."""
    async with score_servers() as started:
        yield started


@pytest_asyncio.fixture
async def system(servers: dict[str, RunningServer]) -> AsyncIterator[ScoreSystem]:
    """Score on `servers`, with empty stores."""
    async with score_system(servers) as fresh:
        yield fresh

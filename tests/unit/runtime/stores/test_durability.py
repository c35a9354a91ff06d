"""A server that would forget is named, and in production not used."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from nats.js.api import ClusterInfo, PeerInfo, StorageType, StreamConfig, StreamInfo, StreamState
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError
from redis.asyncio import Redis

from services.embedded.programs import mongo_server
from services.runtime.stores.durability import NotDurableError, insist, mongo_faults, redis_faults, stream_faults
from tests.servers import HOST, free_port, running


@pytest_asyncio.fixture
async def standalone(tmp_path: Path) -> AsyncIterator[AsyncMongoClient[dict[str, Any]]]:
    """A mongod that is no replica set."""
    port = free_port()
    program = mongo_server(tmp_path, port, "unused").argv[0]
    argv = [program, "--dbpath", str(tmp_path / "data"), "--port", str(port), "--bind_ip", HOST]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(HOST, port, serverSelectionTimeoutMS=500)
    try:
        while True:
            try:
                await client.admin.command("ping")
                break
            except PyMongoError:
                assert process.poll() is None
        yield client
    finally:
        await client.close()
        process.kill()
        process.wait()


async def test_a_standalone_mongodb_is_a_fault(standalone: AsyncMongoClient[dict[str, Any]]) -> None:
    (fault,) = await mongo_faults(standalone)
    assert "replica set" in fault


async def test_the_embedded_mongodb_has_no_fault(mongo_url: str) -> None:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url)
    async with client:
        assert await mongo_faults(client) == []


async def test_an_evicting_redis_is_a_fault() -> None:
    async with running("redis") as server, Redis.from_url(server.url) as redis:
        assert await redis_faults(redis) == []
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        (fault,) = await redis_faults(redis)
        assert "allkeys-lru" in fault


def stream(**changes: Any) -> StreamInfo:
    sound = StreamConfig(name="S", storage=StorageType.FILE, deny_delete=True, deny_purge=True, num_replicas=1)
    state = StreamState(messages=0, bytes=0, first_seq=0, last_seq=0, consumer_count=0)
    cluster = changes.pop("cluster", None)
    return StreamInfo(config=sound.evolve(**changes), state=state, cluster=cluster)


def test_a_stream_that_can_lose_messages_is_a_fault() -> None:
    peers = ClusterInfo(replicas=[PeerInfo(name="n2"), PeerInfo(name="n3")])
    assert stream_faults(stream()) == []
    assert stream_faults(stream(cluster=peers, num_replicas=3)) == []
    for changes in (
        {"storage": StorageType.MEMORY},
        {"max_age": 60},
        {"deny_delete": False},
        {"deny_purge": False},
        {"cluster": peers},
    ):
        assert len(stream_faults(stream(**changes))) == 1, changes


def test_a_fault_warns_in_development_and_fails_the_start_in_production() -> None:
    insist(["it forgets"], production=False)
    insist([], production=True)
    with pytest.raises(NotDurableError, match="it forgets"):
        insist(["it forgets"], production=True)

"""Search everything that is stored, as bytes, for texts that must not be left."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import nats
from bson.raw_bson import RawBSONDocument
from nats.js.errors import NotFoundError
from pymongo import AsyncMongoClient
from redis.asyncio import Redis

from services.runtime.config.settings import RedisConfig
from services.runtime.stores.redis import open_redis
from tests.servers import RunningStack


async def residue_in_mongo(url: str, needles: Sequence[str]) -> set[str]:
    """Return `database.collection: needle` for every document in any database but MongoDB's own."""
    client: AsyncMongoClient[RawBSONDocument] = AsyncMongoClient(url, document_class=RawBSONDocument)
    residue: set[str] = set()
    async with client:
        for name in await client.list_database_names():
            if name in ("admin", "config", "local"):
                continue
            for collection in await client[name].list_collection_names():
                async for document in client[name][collection].find():
                    residue |= {
                        f"{name}.{collection}: {needle}" for needle in needles if needle.encode() in document.raw
                    }
    return residue


async def residue_in_redis(url: str, needles: Sequence[str]) -> set[str]:
    """Return `key: needle` for every key with a needle in its name or value, whatever its type."""
    residue: set[str] = set()
    async with open_redis(RedisConfig(url=url), "test") as redis:
        async for key in redis.scan_iter(count=1000):
            content = key + repr(await _value(redis, key)).encode()
            residue |= {f"{key.decode()}: {needle}" for needle in needles if needle.encode() in content}
    return residue


async def residue_in_nats(url: str, needles: Sequence[str]) -> set[str]:
    """Return `stream/sequence: needle` for every message in any stream."""
    client = await nats.connect(url)
    residue: set[str] = set()
    try:
        jetstream = client.jetstream()
        async for stream, sequence in _messages(jetstream):
            try:
                message = await jetstream.get_msg(stream, sequence)
            except NotFoundError:
                continue
            content = f"{message.subject} {message.headers}".encode() + (message.data or b"")
            residue |= {f"{stream}/{sequence}: {needle}" for needle in needles if needle.encode() in content}
    finally:
        await client.close()
    return residue


def residue_in_logs(stack: RunningStack, needles: Sequence[str]) -> set[str]:
    """Return `file: needle` for every log of a process of the stack."""
    logs: list[Path] = sorted((stack.data / "logs").glob("*.log"))
    assert logs
    return {f"{log.name}: {needle}" for log in logs for needle in needles if needle.encode() in log.read_bytes()}


async def _messages(jetstream: Any) -> AsyncIterator[tuple[str, int]]:
    for stream in await jetstream.streams_info():
        for sequence in range(max(1, stream.state.first_seq), stream.state.last_seq + 1):
            yield stream.config.name, sequence


async def _value(redis: Redis, key: bytes) -> Any:
    kind = bytes(await redis.type(key)).decode()  # type: ignore[arg-type]  # without decode_responses it is bytes
    reads = {
        "string": lambda: redis.get(key),
        "hash": lambda: redis.hgetall(key),
        "zset": lambda: redis.zrange(key, 0, -1),
        "set": lambda: redis.smembers(key),
        "list": lambda: redis.lrange(key, 0, -1),
        "stream": lambda: redis.xrange(key),
    }
    return None if kind == "none" else await reads[kind]()  # type: ignore[no-untyped-call]

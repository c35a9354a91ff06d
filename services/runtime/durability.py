"""Are the servers set up to keep what they acknowledge? Asked once, when a process starts.

A store that answers and forgets looks like one that works until the day it matters. What is found is a loud warning in
development and a refusal to start in production. What a server does not tell this client is not a fault; whether NATS
syncs every message (`sync_interval: always`) can't be asked over a client connection at all.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from nats.js.api import StorageType, StreamInfo
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from services.runtime.mongo_client import Document
from services.runtime.redis_client import configured, information

CLUSTER_REPLICAS = 3
# When a period's board expires, and when a board that was made anew takes the place of another.
LAZY = ("lazyfree-lazy-expire", "lazyfree-lazy-server-del")
_log = structlog.get_logger("durability")


class NotDurableError(RuntimeError):
    """A server is set up to lose data; the message says which and how."""


async def mongo_faults(client: AsyncMongoClient[Document]) -> list[str]:
    """What lets MongoDB lose an acknowledged write."""
    faults = []
    hello = await client.admin.command("hello")
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        faults.append("MongoDB is no replica set, so that a majority is one server and there are no retries")
    try:
        status = await client.admin.command("serverStatus", 1)
    except OperationFailure:
        return faults  # the account may not ask, as on a managed server
    if status.get("storageEngine", {}).get("persistent") is False:
        faults.append("MongoDB keeps its data in memory only")
    return faults


async def redis_faults(redis: Redis) -> list[str]:
    """What lets a Redis server drop members of a board in silence, or stand still while it frees one; each once."""
    policies = {memory.get("maxmemory_policy", "noeviction") for memory in await information(redis, "memory")}
    faults = [
        f"Redis evicts keys when it is full (maxmemory-policy {policy}); boards would silently be wrong"
        for policy in sorted(policies - {"noeviction"})
    ]
    try:
        settings = await configured(redis, "lazyfree-lazy-*")
    except ResponseError:
        return faults  # a managed service may not tell
    lazy = {name for server in settings for name in LAZY if server.get(name, "yes") != "yes"}
    return faults + [
        f"Redis frees a whole board in one go ({name} is off) and answers nobody meanwhile" for name in sorted(lazy)
    ]


def stream_faults(info: StreamInfo) -> list[str]:
    """What lets a JetStream stream drop what waits in it."""
    config, name = info.config, info.config.name
    faults = []
    if config.storage != StorageType.FILE:
        faults.append(f"the stream {name} is not stored in files")
    if config.max_age:
        faults.append(f"the stream {name} drops what has waited for {config.max_age} s")
    if not (config.deny_delete and config.deny_purge):
        faults.append(f"messages of the stream {name} can be deleted")
    if info.cluster is not None and info.cluster.replicas and (config.num_replicas or 1) < CLUSTER_REPLICAS:
        faults.append(f"the stream {name} has {config.num_replicas} of {CLUSTER_REPLICAS} replicas on a cluster")
    return faults


def insist(faults: Iterable[str], *, production: bool) -> None:
    """Warns of each fault; in production raises NotDurableError if there is any."""
    found = list(faults)
    for fault in found:
        _log.warning("what is acknowledged may be lost", fault=fault)
    if found and production:
        raise NotDurableError("; ".join(found))

"""Checks at the start of a process that the stores are configured to keep acknowledged data.

A misconfigured store works until a crash loses data. A fault is a warning in development and fails the start in production.
Settings that a server does not reveal are not faults; NATS does not reveal over a client connection whether it syncs every
message (`sync_interval: always`).
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from nats.js.api import StorageType, StreamInfo
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from services.runtime.stores.mongo import Document
from services.runtime.stores.redis import configured, information

CLUSTER_REPLICAS = 3
# When the board of a period expires, and when a rebuilt board replaces another.
LAZY = ("lazyfree-lazy-expire", "lazyfree-lazy-server-del")
_log = structlog.get_logger("durability")


class NotDurableError(RuntimeError):
    """A server is configured to lose data; the message names it and the fault."""


async def mongo_faults(client: AsyncMongoClient[Document]) -> list[str]:
    """The settings with which MongoDB can lose acknowledged writes."""
    faults = []
    hello = await client.admin.command("hello")
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        faults.append("MongoDB is not a replica set: a majority is one server, and writes are not retried")
    try:
        status = await client.admin.command("serverStatus", 1)
    except OperationFailure:
        return faults  # not permitted, as on a managed server
    if status.get("storageEngine", {}).get("persistent") is False:
        faults.append("MongoDB stores data in memory only")
    return faults


async def redis_faults(redis: Redis) -> list[str]:
    """The settings with which Redis can lose members of a board, or block while it frees one; each once."""
    policies = {memory.get("maxmemory_policy", "noeviction") for memory in await information(redis, "memory")}
    faults = [
        f"Redis evicts keys when it is full (maxmemory-policy {policy}), which makes boards silently wrong"
        for policy in sorted(policies - {"noeviction"})
    ]
    try:
        settings = await configured(redis, "lazyfree-lazy-*")
    except ResponseError:
        return faults  # not permitted, as on a managed service
    lazy = {name for server in settings for name in LAZY if server.get(name, "yes") != "yes"}
    return faults + [f"Redis blocks while it frees a board ({name} is off)" for name in sorted(lazy)]


def stream_faults(info: StreamInfo) -> list[str]:
    """The settings with which a JetStream stream can lose messages."""
    config, name = info.config, info.config.name
    faults = []
    if config.storage != StorageType.FILE:
        faults.append(f"stream {name} is not stored in files")
    if config.max_age:
        faults.append(f"stream {name} drops messages older than {config.max_age} s")
    if not (config.deny_delete and config.deny_purge):
        faults.append(f"stream {name} allows to delete messages")
    if info.cluster is not None and info.cluster.replicas and (config.num_replicas or 1) < CLUSTER_REPLICAS:
        faults.append(f"stream {name} has {config.num_replicas} of {CLUSTER_REPLICAS} replicas on a cluster")
    return faults


def insist(faults: Iterable[str], *, production: bool) -> None:
    """Log each fault as a warning; in production, raise NotDurableError if there are any."""
    found = list(faults)
    for fault in found:
        _log.warning("acknowledged data may be lost", fault=fault)
    if found and production:
        raise NotDurableError("; ".join(found))

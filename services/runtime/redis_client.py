"""A client of Redis that notices a dead connection and tries a command again on a new one.

Of one server, of a cluster, or of the master that sentinels name (see `redis_url`), under one type: the driver's client of
a cluster has the same methods. What differs between them is in this module and in `redis_scripts`, and nowhere else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import structlog
from redis import exceptions
from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.client import PubSub
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import ExponentialBackoff

from services.runtime.lifecycle import wait_for
from services.runtime.redis_url import RedisAddress, parse_redis_url
from services.runtime.settings import RedisConfig
from services.runtime.store_metrics import Connections, counted
from services.runtime.store_spans import trace_redis

# For one answer; a subscription waits for messages without it.
SOCKET_SECONDS = 5.0
# What a call may raise. The driver's errors about the layout of a cluster are none of its other errors.
REDIS_ERRORS: Final = (exceptions.RedisError, exceptions.RedisClusterException, OSError)
# What passes: no server yet, none any more, one that still loads its data, or a cluster that is being founded.
_PASSING = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.BusyLoadingError,
    exceptions.ClusterDownError,
    exceptions.RedisClusterException,
)
_MOST_TRIED = 10_000
_log = structlog.get_logger("redis")


@asynccontextmanager
async def open_redis(config: RedisConfig, name: str) -> AsyncIterator[Redis]:
    """A pool of connections named `name`, waiting up to 60 s for a server that is still starting. Answers are bytes.

    A command whose connection breaks is sent again up to three times, so it may act twice: scripts and writes must be
    idempotent. What is published while a subscription reconnects is gone; read the state again after each subscribe.
    """
    async with redis_client(config, name) as client:
        # A refused password is a ConnectionError too, but no server gets used to it.
        await wait_for("redis", lambda: _ping(client), retry_on=_PASSING, never=exceptions.AuthenticationError)
        _log.info("connected", servers=len(_masters(client)) or 1)
        yield client


@asynccontextmanager
async def redis_client(config: RedisConfig, name: str, **options: Any) -> AsyncIterator[Redis]:
    """As `open_redis`, not waiting for a server; `options` of the driver go before those of this module."""
    address = parse_redis_url(config.url)
    settings: dict[str, Any] = {
        **_location(address),
        "client_name": name,
        "decode_responses": False,
        "max_connections": 100,
        "health_check_interval": 15,
        "socket_keepalive": True,
        "socket_connect_timeout": 2,
        "socket_timeout": SOCKET_SECONDS,
        "retry": Retry(ExponentialBackoff(cap=0.5, base=0.02), 3),
        "retry_on_error": list(_PASSING[:3]),
        **options,
    }
    client: Redis | RedisCluster
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.nodes]
        # The nodes that were named stay known, so that a cluster all of whose addresses changed is found again.
        client = _shared(_Cluster(startup_nodes=nodes, dynamic_startup_nodes=False, **settings))
    elif address.kind == "sentinel":
        own = {key: value for key, value in settings.items() if key.startswith(("socket_", "ssl"))}
        own |= {"username": address.sentinel_username or None, "password": address.sentinel_password or None}
        make: Any = Sentinel  # which the driver has no types for
        sentinel = make(address.nodes, sentinel_kwargs=own)
        client = sentinel.master_for(address.master, **settings)
    else:
        client = Redis(**settings)
    found = cast("Redis", client)
    trace_redis(found)
    try:
        with counted("redis", lambda: _connections(found)):
            yield found
    finally:
        await client.aclose()
        if isinstance(client, RedisCluster):
            # Which closes nothing where it was about to ask for the layout anew.
            await client.nodes_manager.aclose()
            await client.nodes_manager.aclose("startup_nodes")
        elif isinstance(client.connection_pool, SentinelConnectionPool):
            for asked in client.connection_pool.sentinel_manager.sentinels:
                await asked.aclose()


def is_cluster(redis: Redis) -> bool:
    """Whether keys of different slots may be on different servers."""
    return isinstance(redis, RedisCluster)


def subscription(redis: Redis) -> PubSub:
    """A new subscription. On a cluster it is one to any node, each of which hears of everything that is published."""
    nodes = _masters(redis)
    if not nodes:
        return redis.pubsub()
    cluster = cast("RedisCluster", redis)
    # Another one each time, so that whoever tries again does not wait for a node that is dead.
    return cluster.pubsub(node=cluster.get_random_primary_node())


async def information(redis: Redis, section: str) -> list[dict[str, Any]]:
    """INFO of each server that holds keys: of the one, or of every master of a cluster as it is at this moment."""
    if not is_cluster(redis):
        return [await redis.info(section)]
    cluster = cast("RedisCluster", redis)
    # A master that has been replaced still answers, so the layout is asked for first.
    await cluster.initialize()
    await cluster.nodes_manager.initialize()
    return [await cluster.info(section, target_nodes=node) for node in cluster.get_primaries()]


async def configured(redis: Redis, pattern: str) -> list[dict[str | None, str | None]]:
    """CONFIG GET of each server that holds keys. Raises ResponseError where a service does not allow that."""
    if not is_cluster(redis):
        return [await redis.config_get(pattern)]
    cluster = cast("RedisCluster", redis)
    return [await cluster.config_get(pattern, target_nodes=node) for node in cluster.get_primaries()]


def key_on_each(redis: Redis, stem: str) -> list[str]:
    """Keys that begin with `stem`, one on each server that holds keys, as far as the client knows them."""
    nodes = _masters(redis)
    if not nodes:
        return [stem]
    cluster = cast("RedisCluster", redis)
    found: dict[str, str] = {}
    for number in range(_MOST_TRIED):
        key = f"{stem}:{number}"
        node = cluster.get_node_from_key(key)
        if node is not None:
            found.setdefault(node.name, key)
        if len(found) == len(nodes):
            break
    return list(found.values())


class _Shared(Connection):
    """A connection to a node of a cluster, which any task may close: to the one that uses it, it is lost then, no more.

    Before the driver asks a cluster for its layout anew, it closes what it has to every node, in use or not. By itself it
    would let a task that is about to write trip over the writer that is no more, which is none of `REDIS_ERRORS` and is
    not tried again; and where one of two that wait for the end of a connection is cancelled, cancel the other as well.
    """

    async def _send_packed_command(self, command: Iterable[bytes]) -> None:
        if self._writer is None or self._writer.is_closing():
            raise exceptions.ConnectionError("the connection was closed by another task")
        await super()._send_packed_command(command)

    async def disconnect(self, *arguments: Any, **options: Any) -> None:
        await super().disconnect(*arguments, **{**options, "nowait": True})


class _SharedOverTls(_Shared, SSLConnection):
    pass


class _Cluster(RedisCluster):
    """One that also goes to a node that is given its first keys, of which no layout tells before it has a slot.

    By itself the driver would trip over a redirection (ASK) to such a node.
    """

    def get_node(
        self, host: str | None = None, port: int | None = None, node_name: str | None = None
    ) -> ClusterNode | None:
        node = super().get_node(host, port, node_name)
        if node is None and node_name:
            host, _, text = node_name.rpartition(":")
            node = ClusterNode(host, int(text), "primary", **self.nodes_manager.connection_kwargs)
            self.nodes_manager.set_nodes(self.nodes_manager.nodes_cache, {node.name: node})
        return node


def _shared(cluster: RedisCluster) -> RedisCluster:
    settings = cluster.get_connection_kwargs()
    kind = _SharedOverTls if settings["connection_class"] is SSLConnection else _Shared
    # The driver takes no class of one's own; these are where it takes its own one from.
    settings["connection_class"] = kind
    for node in cluster.startup_nodes:
        node.connection_class = kind
    return cluster


def _masters(redis: Redis) -> list[ClusterNode]:
    return cast("RedisCluster", redis).get_primaries() if is_cluster(redis) else []


def _location(address: RedisAddress) -> dict[str, Any]:
    """What the driver has to know beside the nodes, as its URL says it."""
    found: dict[str, Any] = dict(parse_url(address.plain))
    if found.pop("connection_class", None) is SSLConnection:
        found["ssl"] = True
    if address.kind != "server":
        del found["host"], found["port"]
    return found


def _connections(redis: Redis) -> Connections:
    if not is_cluster(redis):
        return Connections(*(number for number, _ in redis.connection_pool.get_connection_count()))
    nodes: list[Any] = cast("RedisCluster", redis).get_nodes()
    # The driver counts those of a cluster for nobody else.
    idle = sum(len(node._free) for node in nodes)  # noqa: SLF001  # the driver has no public name for it
    every = sum(len(node._connections) for node in nodes)  # noqa: SLF001  # the driver has no public name for it
    return Connections(idle, every - idle)


async def _ping(redis: Redis) -> None:
    try:
        await redis.ping()
    except exceptions.RedisClusterException as error:
        # The driver says of a cluster that none of its nodes could be had, and why in the cause alone.
        if isinstance(error.__cause__, exceptions.AuthenticationError):
            raise error.__cause__ from None
        raise

"""A Redis client that detects dead connections and retries commands on a new one.

One type for a single server, a cluster, and the master named by sentinels (see `redis_url`): the driver's cluster client has
the same methods. Only this module and `redis_scripts` know the differences.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
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

from services.runtime.config.settings import RedisConfig
from services.runtime.process.lifecycle import wait_for
from services.runtime.stores.metrics import Connections, counted
from services.runtime.stores.redis_url import RedisAddress, parse_redis_url
from services.runtime.stores.spans import trace_redis

# For one response; subscriptions wait for messages without a timeout.
SOCKET_SECONDS = 5.0
# The exceptions of a command. The driver's errors about the layout of a cluster are not RedisErrors.
REDIS_ERRORS: Final = (exceptions.RedisError, exceptions.RedisClusterException, OSError)
# Transient errors: a server that starts, restarts or loads its data, or a cluster that is being created.
_TRANSIENT = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.BusyLoadingError,
    exceptions.ClusterDownError,
    exceptions.RedisClusterException,
)
_MAX_ATTEMPTS = 10_000
_log = structlog.get_logger("redis")


@asynccontextmanager
async def open_redis(config: RedisConfig, name: str) -> AsyncIterator[Redis]:
    """A pool of connections named `name`. Waits for a server that is still starting (`startup_left`). Responses are bytes.

    A command whose connection breaks is retried up to three times and may act twice, so scripts and writes must be
    idempotent. Messages published while a subscription reconnects are lost: read the state after each subscribe.
    """
    async with redis_client(config, name) as client:
        # A refused password is a ConnectionError too, but never transient.
        await wait_for("redis", lambda: _ping(client), retry_on=_TRANSIENT, never=exceptions.AuthenticationError)
        _log.info("redis connected", servers=len(_masters(client)) or 1)
        yield client


@asynccontextmanager
async def redis_client(config: RedisConfig, name: str, **options: Any) -> AsyncIterator[Redis]:
    """As `open_redis`, without waiting for a server. `options` of the driver override those of this module."""
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
        "retry_on_error": list(_TRANSIENT[:3]),
        **options,
    }
    client = _client(address, settings)
    typed = cast("Redis", client)
    trace_redis(typed)
    try:
        with counted("redis", lambda: _connections(typed)):
            yield typed
    finally:
        await _close(client)


def _client(address: RedisAddress, settings: Mapping[str, Any]) -> Redis | RedisCluster:
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.nodes]
        # The configured nodes stay known, so that the client finds a cluster again after all its addresses changed.
        return _shared(_Cluster(startup_nodes=nodes, dynamic_startup_nodes=False, **settings))
    if address.kind == "sentinel":
        own = {key: value for key, value in settings.items() if key.startswith(("socket_", "ssl"))}
        own |= {"username": address.sentinel_username or None, "password": address.sentinel_password or None}
        make: Any = Sentinel  # not typed by the driver
        master: Redis = make(address.nodes, sentinel_kwargs=own).master_for(address.master, **settings)
        return master
    return Redis(**settings)


async def _close(client: Redis | RedisCluster) -> None:
    await client.aclose()
    if isinstance(client, RedisCluster):
        # aclose() closes nothing while the client is due to reload the layout.
        await client.nodes_manager.aclose()
        await client.nodes_manager.aclose("startup_nodes")
    elif isinstance(client.connection_pool, SentinelConnectionPool):
        for each in client.connection_pool.sentinel_manager.sentinels:
            await each.aclose()


def is_cluster(redis: Redis) -> bool:
    """Whether keys of different hash slots may be on different servers."""
    return isinstance(redis, RedisCluster)


def subscription(redis: Redis) -> PubSub:
    """A new subscription. On a cluster it uses any node, since all nodes receive all messages."""
    nodes = _masters(redis)
    if not nodes:
        return redis.pubsub()
    cluster = cast("RedisCluster", redis)
    # A random node, so that a retry does not wait for the same dead node.
    return cluster.pubsub(node=cluster.get_random_primary_node())


async def information(redis: Redis, section: str) -> list[dict[str, Any]]:
    """INFO of each server that holds keys: of the single server, or of every current master of a cluster."""
    if not is_cluster(redis):
        return [await redis.info(section)]
    cluster = cast("RedisCluster", redis)
    # A replaced master still responds, so reload the layout first.
    await cluster.initialize()
    await cluster.nodes_manager.initialize()
    return [await cluster.info(section, target_nodes=node) for node in cluster.get_primaries()]


async def configured(redis: Redis, pattern: str) -> list[dict[str | None, str | None]]:
    """CONFIG GET of each server that holds keys. Raises ResponseError where it is not permitted."""
    if not is_cluster(redis):
        return [await redis.config_get(pattern)]
    cluster = cast("RedisCluster", redis)
    return [await cluster.config_get(pattern, target_nodes=node) for node in cluster.get_primaries()]


def key_on_each(redis: Redis, stem: str) -> list[str]:
    """Keys that start with `stem`, one on each known server that holds keys."""
    nodes = _masters(redis)
    if not nodes:
        return [stem]
    cluster = cast("RedisCluster", redis)
    found: dict[str, str] = {}
    for number in range(_MAX_ATTEMPTS):
        key = f"{stem}:{number}"
        node = cluster.get_node_from_key(key)
        if node is not None:
            found.setdefault(node.name, key)
        if len(found) == len(nodes):
            break
    return list(found.values())


class _Shared(Connection):
    """A connection to a cluster node that any task may close; for its user that is a lost connection.

    Before the driver reloads the layout of a cluster, it closes its connections to all nodes, in use or not. Without this
    class, a task that is about to write fails on the missing writer, which is none of `REDIS_ERRORS` and is not retried;
    and of two tasks that wait for the end of a connection, cancelling one cancels the other.
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
    """A cluster client that follows redirections (ASK) to a node that has no hash slot yet, where the driver fails."""

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
    # The driver has no option for the class; these are where it reads its own.
    settings["connection_class"] = kind
    for node in cluster.startup_nodes:
        node.connection_class = kind
    return cluster


def _masters(redis: Redis) -> list[ClusterNode]:
    return cast("RedisCluster", redis).get_primaries() if is_cluster(redis) else []


def _location(address: RedisAddress) -> dict[str, Any]:
    """The options of the URL, without the nodes."""
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
    # The driver has no public count of the connections of a cluster.
    idle = sum(len(node._free) for node in nodes)  # noqa: SLF001  # the driver has no public name for it
    every = sum(len(node._connections) for node in nodes)  # noqa: SLF001  # the driver has no public name for it
    return Connections(idle, every - idle)


async def _ping(redis: Redis) -> None:
    try:
        await redis.ping()
    except exceptions.RedisClusterException as error:
        # For a cluster, the driver states the reason only in the cause.
        if isinstance(error.__cause__, exceptions.AuthenticationError):
            raise error.__cause__ from None
        raise

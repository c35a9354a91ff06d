"""A client of Redis that notices a dead connection and tries a command again on a new one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from services.runtime.lifecycle import wait_for
from services.runtime.settings import RedisConfig
from services.runtime.store_metrics import Connections, counted

# For one answer; a subscription waits for messages without it.
SOCKET_SECONDS = 5.0
# What passes: no server yet, none any more, or one that still loads its data.
_PASSING = (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.BusyLoadingError)
_log = structlog.get_logger("redis")


@asynccontextmanager
async def open_redis(config: RedisConfig, name: str) -> AsyncIterator[Redis]:
    """A pool of connections named `name`, waiting up to 60 s for a server that is still starting. Answers are bytes.

    A command whose connection breaks is sent again up to three times, so it may act twice: scripts and writes must be
    idempotent. What is published while a subscription reconnects is gone; read the state again after each subscribe.
    """
    client = Redis.from_url(
        config.url,
        client_name=name,
        decode_responses=False,
        max_connections=100,
        health_check_interval=15,
        socket_keepalive=True,
        socket_connect_timeout=2,
        socket_timeout=SOCKET_SECONDS,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.02), 3),
        retry_on_error=list(_PASSING),
    )
    pool = client.connection_pool
    try:
        # A refused password is a ConnectionError too, but no server gets used to it.
        await wait_for("redis", client.ping, retry_on=_PASSING, never=exceptions.AuthenticationError)
        _log.info("connected")
        with counted("redis", lambda: Connections(*(number for number, _ in pool.get_connection_count()))):
            yield client
    finally:
        await client.aclose()

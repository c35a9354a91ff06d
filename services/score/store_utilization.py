"""How full the stores are, as a metric. The score process has a connection to each of them.

A store without a bound, or whose server does not report one, is left out: Redis without `maxmemory`, a MongoDB whose
operator hides its disk. Must never hold anything up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from functools import partial
from typing import Any, Final

from nats.js import JetStreamContext
from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis

from services.runtime.process.periodic import Periodic
from services.runtime.stores.redis import information
from services.score.errors import STORE_ERRORS
from services.score.metrics import STORE_USED

EVERY: Final = timedelta(seconds=10)


def utilization_gauge(store: str, measure: Callable[[], Awaitable[float | None]]) -> Periodic:
    """Return a server that sets the gauge of a store every 10 s; `measure` returns 0 to 1, or None if unknown."""
    return Periodic(
        f"utilization of {store}", partial(_update, store, measure), every=EVERY, at_rest=6, retry_on=STORE_ERRORS
    )


async def _update(store: str, measure: Callable[[], Awaitable[float | None]]) -> None:
    ratio = await measure()
    if ratio is not None:
        STORE_USED.labels(store).set(ratio)


async def mongo_utilization(database: AsyncDatabase[dict[str, Any]]) -> float | None:
    """Return the used part of the database's disk."""
    stats = await database.command("dbStats")
    return _ratio(stats.get("fsUsedSize", 0), stats.get("fsTotalSize", 0))


async def redis_utilization(redis: Redis) -> float | None:
    """Return the used part of `maxmemory`, of the fullest server."""
    servers = await information(redis, "memory")
    return _highest(_ratio(memory.get("used_memory", 0), memory.get("maxmemory", 0)) for memory in servers)


async def stream_utilization(jetstream: JetStreamContext, stream: str) -> float | None:
    """Return the used part of the stream's limit, or of its account's if that is fuller."""
    info, account = await asyncio.gather(jetstream.stream_info(stream), jetstream.account_info())
    return _highest(
        (
            _ratio(info.state.bytes, info.config.max_bytes or 0),
            _ratio(account.storage, account.limits.max_storage or 0),
        )
    )


def _highest(ratios: Iterable[float | None]) -> float | None:
    return max((ratio for ratio in ratios if ratio is not None), default=None)


def _ratio(used: float, limit: float) -> float | None:
    return used / limit if limit > 0 else None

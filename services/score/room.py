"""How full the stores are, as a metric: the score process has a connection to each.

A server. What a server does not tell, or has no bound for, is left out: Redis without `maxmemory`, a MongoDB whose
operator keeps its disk to himself. Must never hold anything up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog
from nats.js import JetStreamContext
from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis

from services.runtime.lifecycle import cancel, spawn
from services.runtime.redis_client import information
from services.score.answers import STORE_ERRORS
from services.score.metrics import STORE_USED

EVERY_SECONDS: Final = 10.0
Ask = Callable[[], Awaitable[float | None]]
_log = structlog.get_logger("room")


class Room:
    """Asks each store at the start and then every 10 s; each answers with its share in use, None if it can't tell."""

    def __init__(self, asks: Mapping[str, Ask]) -> None:
        self._asks = asks
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begins."""
        self._tasks = [spawn(f"room of {store}", self._ask_for_ever(store, ask)) for store, ask in self._asks.items()]

    async def stop(self) -> None:
        """Ends."""
        await cancel(*self._tasks)

    async def _ask_for_ever(self, store: str, ask: Ask) -> None:
        while True:
            try:
                share = await ask()
            except STORE_ERRORS as error:
                _log.debug("a store does not say how full it is", store=store, error=type(error).__name__)
            else:
                if share is not None:
                    STORE_USED.labels(store).set(share)
            await asyncio.sleep(EVERY_SECONDS)


async def mongo_room(database: AsyncDatabase[dict[str, Any]]) -> float | None:
    """The share of its disk that is used."""
    stats = await database.command("dbStats")
    return _share(stats.get("fsUsedSize", 0), stats.get("fsTotalSize", 0))


async def redis_room(redis: Redis) -> float | None:
    """The share of `maxmemory` that is used, of the fullest server where there are several."""
    servers = await information(redis, "memory")
    shares = [_share(memory.get("used_memory", 0), memory.get("maxmemory", 0)) for memory in servers]
    return max((share for share in shares if share is not None), default=None)


async def stream_room(jetstream: JetStreamContext, stream: str) -> float | None:
    """The share of the stream's bytes, or of its account's if that is fuller."""
    info, account = await asyncio.gather(jetstream.stream_info(stream), jetstream.account_info())
    shares = (
        _share(info.state.bytes, info.config.max_bytes or 0),
        _share(account.storage, account.limits.max_storage or 0),
    )
    return max((share for share in shares if share is not None), default=None)


def _share(used: float, whole: float) -> float | None:
    return used / whole if whole > 0 else None

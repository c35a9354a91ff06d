"""Checks of the stores: each responds, is durable, and has space left. Reads only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import nats
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from pymongo import DESCENDING, AsyncMongoClient
from pymongo.errors import PyMongoError

from services.boards.board import GENERATION_KEY
from services.boards.periods.closed import BOARDS, DATABASE
from services.diagnosis.checks import RUNBOOKS, STORE_AWAY, UNCOUNTED, Check, check, check_utilization
from services.diagnosis.process_status import ProcessStatus
from services.runtime.config.settings import RedisConfig
from services.runtime.stores.durability import mongo_faults, redis_faults, stream_faults
from services.runtime.stores.redis import REDIS_ERRORS, redis_client
from services.streams import QUIZ_STREAM, SCORE_DURABLE

STORE_SECONDS: Final = 4.0
_STORE_ERRORS = (PyMongoError, NatsError, TimeoutError, *REDIS_ERRORS)


async def check_stores(urls: Mapping[str, str], database: str, processes: Sequence[ProcessStatus]) -> list[Check]:
    """Check the stores at `urls` directly and all others by what processes report.

    `database` is the common prefix of the MongoDB databases, without the underscore.
    """
    probes: dict[str, Callable[[], Awaitable[list[Check]]]] = {
        "mongo": lambda: _check_mongo(urls["mongo"], database),
        "redis": lambda: _check_redis(urls["redis"]),
        "nats": lambda: _check_nats(urls["nats"]),
    }
    results = await asyncio.gather(*(_check_store(name, probe) for name, probe in probes.items() if name in urls))
    return [*(check for checks in results for check in checks), *check_utilization(processes)]


async def _check_store(name: str, probe: Callable[[], Awaitable[list[Check]]]) -> list[Check]:
    try:
        async with asyncio.timeout(STORE_SECONDS):
            return await probe()
    except _STORE_ERRORS as error:
        return [Check(name, f"does not respond ({type(error).__name__})", STORE_AWAY)]


async def _check_mongo(url: str, database: str) -> list[Check]:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        url, serverSelectionTimeoutMS=2000, timeoutMS=3000, tz_aware=True
    )
    async with client:
        checks = _durability("mongo", await mongo_faults(client))
        boards = client[f"{database}_{DATABASE}"][BOARDS]
        last = await boards.find_one({}, {"ends_at": 1, "closed_at": 1}, sort=[("ends_at", DESCENDING)])
        replaced = await client[database]["incarnation"].find_one({"replaced_at": {"$exists": True}})
    text = "none yet"
    if last is not None:
        text = f"ended {last['ends_at']:%Y-%m-%d}, closed {last['closed_at']:%Y-%m-%d %H:%M} UTC"
    data = "never replaced"
    if replaced is not None:
        # Not how often: one restore replaces the data's identity twice, before and after it swaps collections.
        data = f"last replaced {replaced['replaced_at'][-1]:%Y-%m-%d %H:%M:%S} UTC: {replaced['cause']}"
    return [*checks, Check("mongo data", data), Check("last closed period", text)]


async def _check_redis(url: str) -> list[Check]:
    async with redis_client(RedisConfig(url=url), "doctor", socket_timeout=2, socket_connect_timeout=2) as client:
        checks = _durability("redis", await redis_faults(client))
        generation = await client.get(GENERATION_KEY)
    text = "being rebuilt" if generation is None else f"generation {int(generation)}"
    return [*checks, check("boards", text, wrong=generation is None, runbook="toptenboardsstale")]


async def _check_nats(url: str) -> list[Check]:
    async def ignore(_error: Exception) -> None:
        """Leave a refused connection to the exception that follows."""

    client = await nats.connect(
        url, connect_timeout=2, max_reconnect_attempts=0, allow_reconnect=False, error_cb=ignore
    )
    try:
        jetstream = client.jetstream(timeout=2)
        info = await jetstream.stream_info(QUIZ_STREAM)
        consumers = [consumer.name for consumer in await jetstream.consumers_info(QUIZ_STREAM)]
    except NotFoundError:
        return [Check("nats", f"stream {QUIZ_STREAM} is missing", UNCOUNTED)]
    finally:
        await client.close()
    counts = any(name.startswith(SCORE_DURABLE) for name in consumers)
    consuming = Check("consumers", f"{len(consumers)}" if counts else "none counts events", "" if counts else UNCOUNTED)
    return [*_durability("nats", stream_faults(info)), consuming]


def _durability(name: str, faults: Sequence[str]) -> list[Check]:
    """One check for each durability fault, or one that there is none."""
    checks = [Check(name, fault, f"{RUNBOOKS}what-stores-must-guarantee") for fault in faults]
    return checks or [Check(name, "responds, durable")]

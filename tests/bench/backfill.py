"""A board that is defined when everybody has played: each player gets a row with its counter, and then their place.

    python -m tests.bench backfill [PLAYERS …]

One worker in this process, on its own servers, with one row of the ledger a player before. CPU is that of this process, and of
its three servers. The floor is a pipelined ZADD of the pairs of the board in the same Redis, right after.
"""

from __future__ import annotations

import gc
import os
import time
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

from redis.asyncio import Redis

from services.boards.board import GENERATION_KEY
from services.boards.definition import Definition
from services.runtime.clock import utc_now
from services.runtime.config.settings import MongoConfig, RedisConfig
from services.runtime.stores.mongo import open_mongo
from services.runtime.stores.redis import open_redis
from services.score.__main__ import OBJECTS_BEFORE_COLLECTION
from services.score.definitions.service import BoardDefinitions
from services.score.projection.board_building import BoardBuilder
from services.score.projection.standings import Agreement
from tests.bench.cpu import cpu_of, started_here
from tests.bench.scoring import NAME, now_ms, open_scoring
from tests.bench.sizes import fill
from tests.servers import running

SIZES = (20_000, 100_000)
PAGE = 1000
LATE = Definition("late", period="yearly", time_zone="Asia/Tokyo")


class Cost(NamedTuple):
    """Seconds: of the backfill, of CPU of the worker and of its servers during it, and of the floor."""

    took: float
    worker: float
    servers: float
    floor: float


async def floor(redis: Redis, key: str) -> float:
    """Measure a pipelined ZADD of the board's pairs in seconds, without reading them."""
    pairs: Any = await redis.zrange(key, 0, -1, withscores=True)
    begun = time.perf_counter()
    async with redis.pipeline(transaction=False) as pipeline:
        for start in range(0, len(pairs), PAGE):
            members = [part for member, value in pairs[start : start + PAGE] for part in (value, member)]
            pipeline.execute_command("ZADD", "floor", *members)
        await pipeline.execute()
    return time.perf_counter() - begun


async def measure(players: int) -> Cost:
    """Measure one backfill on its own servers."""
    async with AsyncExitStack() as stack:
        urls = {name: (await stack.enter_async_context(running(name))).url for name in ("mongo", "redis")}
        mongo = await stack.enter_async_context(open_mongo(MongoConfig(url=urls["mongo"]), "score"))
        redis = await stack.enter_async_context(open_redis(RedisConfig(url=urls["redis"]), "score"))
        scoring = await open_scoring(mongo, redis, stack)
        placement, definitions = scoring.placement, scoring.definitions
        builder = BoardBuilder(
            redis, scoring.store, scoring.folds, scoring.meta, definitions, scoring.writer, placement, NAME, now=now_ms
        )
        await fill(mongo, scoring.store, players)

        async def has_group(_group_id: str) -> bool:
            return False

        await BoardDefinitions(definitions, lambda: placement.catalog, has_group, now=utc_now).put(LATE, actor="bench")
        placement.adopt(Agreement(await definitions.catalog(""), 0))
        await redis.set(GENERATION_KEY, 1)
        servers = started_here()
        begun, cpu, of_servers = time.perf_counter(), time.process_time(), cpu_of(servers)
        await builder.step()
        took, cpu = time.perf_counter() - begun, time.process_time() - cpu
        of_servers = cpu_of(servers) - of_servers
        [ready] = (await definitions.read()).boards.values()
        key = LATE.board("", LATE.calendar.name_of(now_ms())).key
        on_board = await redis.zcard(key)
        if ready.state != "ready" or on_board != players:
            raise SystemExit(f"the board is {ready.state} with {on_board} of {players} players")
        return Cost(took, cpu, of_servers, await floor(redis, key))


async def main(sizes: list[int]) -> None:
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION, 10, 10)
    print(
        "| players | load | backfill, s | floor, s | × | CPU of the worker, ms a player | CPU of its stores, ms a player |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for players in sizes or SIZES:
        cost = await measure(players)
        print(
            f"| {players:,} | {os.getloadavg()[0]:.0f} | {cost.took:.1f} | {cost.floor:.2f} | {cost.took / cost.floor:.0f} "
            f"| {cost.worker / players * 1000:.3f} | {cost.servers / players * 1000:.3f} |",
            flush=True,
        )

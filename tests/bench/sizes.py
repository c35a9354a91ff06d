"""Cost against size: boards of 10 000, 100 000 and 1 000 000 players, rebuilt, written and read.

    python -m tests.bench sizes [PLAYERS …]

A rebuild stands beside its floor, a pipelined ZADD of the same pairs to all of its boards in the same Redis; its memory is
the peak of this process beyond what it had before. Then events of players who are there are counted, and the head and one
rank are read.
"""

from __future__ import annotations

import gc
import random
import resource
import time
from contextlib import AsyncExitStack
from datetime import timedelta
from itertools import count
from typing import NamedTuple

import uuid_utils
from redis.asyncio import Redis

from services.boards.board import Board
from services.boards.catalog import Catalog
from services.runtime.config.settings import MongoConfig, RedisConfig
from services.runtime.stores.mongo import Mongo, open_mongo
from services.runtime.stores.redis import open_redis
from services.score.__main__ import OBJECTS_BEFORE_COLLECTION
from services.score.ledger.documents import fold_document, row_document
from services.score.ledger.events import Event
from services.score.ledger.folds.fold import apply, next_row
from services.score.ledger.store import ScoreStore
from services.score.projection.standings import Placement
from tests.bench.scoring import NAME, now_ms, open_scoring
from tests.servers import running

SIZES = (10_000, 100_000, 1_000_000)
COUNTRIES = ("VN", "DE", "BR", "JP", "US")
PAGE = 2000
EVENTS = 10_000
READS = 500


class Cost(NamedTuple):
    """The measurements for one size: seconds, MiB, events per second, microseconds."""

    rebuild: float
    floor: float
    memory: float
    counted: float
    top: float
    rank: float


def event(number: int, attempt: int) -> Event:
    """Return the event of the n-th player; players are spread over five countries and twenty quizzes."""
    user_id = f"{number:08}-player"
    quiz, country = f"quiz-{number % 20}", COUNTRIES[number % len(COUNTRIES)]
    points = 10 + number * 7919 % 5000
    return Event(str(uuid_utils.uuid7()), user_id, quiz, points, now_ms(), "a", attempt, points * attempt, country)


async def fill(mongo: Mongo, store: ScoreStore, players: int) -> None:
    """Write one row and one fold per player into the database, an hour old, so that none seems to be in progress."""
    now = now_ms() - 3_600_000
    for start in range(0, players, PAGE):
        rows, folds = [], []
        for number in range(start, min(start + PAGE, players)):
            empty = store.empty_fold(f"{number:08}-player")
            row = next_row(empty, event(number, 1), now)
            rows.append(row_document(row))
            folds.append(fold_document(apply(empty, row)))
        await mongo.database["ledger"].insert_many(rows, ordered=False)
        await mongo.database["players"].insert_many(folds, ordered=False)


async def floor(redis: Redis, store: ScoreStore) -> float:
    """Measure a pipelined ZADD of all pairs in seconds, without creating the pairs."""
    took = 0.0
    pairs: dict[Board, list[float | str]] = {}

    async def write() -> None:
        nonlocal took
        begun = time.perf_counter()
        async with redis.pipeline(transaction=False) as pipeline:
            for board, members in pairs.items():
                pipeline.execute_command("ZADD", f"floor:{board.key}", *members)
            await pipeline.execute()
        took += time.perf_counter() - begun
        pairs.clear()

    placement = Placement(Catalog())
    done = count(1)
    async for fold in store.all_folds():
        for found in placement.standings(fold, placement.boards_of(fold)):
            pairs.setdefault(found.board, []).extend((found.value, found.user_id))
        if next(done) % 1000 == 0:
            await write()
    await write()
    return took


async def measure(players: int) -> Cost:
    async with AsyncExitStack() as stack:
        urls = {name: (await stack.enter_async_context(running(name))).url for name in ("mongo", "redis")}
        mongo = await stack.enter_async_context(
            open_mongo(MongoConfig(url=urls["mongo"], timeout=timedelta(minutes=1)), "score")
        )
        redis = await stack.enter_async_context(open_redis(RedisConfig(url=urls["redis"]), "score"))
        scoring = await open_scoring(mongo, redis, stack)
        await fill(mongo, scoring.store, players)
        gc.collect()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun = time.perf_counter()
        await scoring.rebuild.run(NAME, lambda *_: None)
        took = time.perf_counter() - begun
        memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        least = await floor(redis, scoring.store)
        await scoring.detector.start()
        chosen = random.Random(7).sample(range(players), min(EVENTS, players))
        begun = time.perf_counter()
        for start in range(0, len(chosen), 500):
            await scoring.worker.count([event(number, 2) for number in chosen[start : start + 500]])
        counted = len(chosen) / (time.perf_counter() - begun)
        await scoring.detector.stop()
        begun = time.perf_counter()
        for _ in range(READS):
            await redis.zrevrange("leaderboard:all", 0, 9, withscores=True)
        top = (time.perf_counter() - begun) / READS * 1e6
        begun = time.perf_counter()
        for number in chosen[:READS]:
            await redis.zrevrank("leaderboard:all", f"{number:08}-player")
        rank = (time.perf_counter() - begun) / READS * 1e6
        return Cost(took, least, memory, counted, top, rank)


async def main(sizes: list[int]) -> None:
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION, 10, 10)
    print(
        "| players | rebuild, s | floor, s | × | µs a player | peak memory, MiB | counted, events/s | top 10, µs | rank, µs |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for players in sizes or SIZES:
        cost = await measure(players)
        print(
            f"| {players:,} | {cost.rebuild:.1f} | {cost.floor:.1f} | {cost.rebuild / cost.floor:.1f} "
            f"| {cost.rebuild / players * 1e6:.0f} | {cost.memory:.0f} | {cost.counted:,.0f} "
            f"| {cost.top:.0f} | {cost.rank:.0f} |",
            flush=True,
        )

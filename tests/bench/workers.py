"""Two score processes beside one, on partitions of the same preloaded stream: wall time, and CPU per event.

    python -m tests.bench workers

Real processes. The clock runs from the first tenth of the events in the ledger to the last, so that no start is measured;
CPU is user and system time of the score processes in that stretch. Everything is verified after each run.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from statistics import median
from typing import NamedTuple

from services.runtime.config.settings import MongoConfig, NatsConfig, RedisConfig
from services.runtime.stores.jetstream import open_jetstream
from services.runtime.stores.mongo import open_mongo
from services.runtime.stores.redis import open_redis
from services.score.coordination_store import CoordinationStore
from services.streams import QUIZ_STREAM
from tests.bench.cpu import cpu_of
from tests.bench.score_throughput import preload
from tests.bench.stream_server import stream_server
from tests.servers import running, unique
from tests.system.processes import running_service
from tests.system.score import ScoreSystem, create_stream

EVENTS = 40_000
PLAYERS = 3000
RUNS = 3


class Measured(NamedTuple):
    """Events per second, and microseconds of CPU per event."""

    events: float
    cpu: float


async def measure(workers: int) -> Measured:
    async with AsyncExitStack() as stack:
        servers = {name: await stack.enter_async_context(running(name)) for name in ("mongo", "redis")}
        nats_url = await stack.enter_async_context(stream_server(always=False))
        mongo_config = MongoConfig(url=servers["mongo"].url, database=unique("bench"))
        mongo = await stack.enter_async_context(open_mongo(mongo_config, "score"))
        redis = await stack.enter_async_context(open_redis(RedisConfig(url=servers["redis"].url), "bench"))
        nats = await stack.enter_async_context(open_jetstream(NatsConfig(url=nats_url), "bench"))
        await create_stream(nats)
        system = ScoreSystem(
            servers, mongo, redis, nats, await CoordinationStore(mongo.database).salt(), nats_url=nats_url
        )
        players = [unique("player-") for _ in range(PLAYERS)]
        random.Random(7).shuffle(players)
        await preload(nats, players, EVENTS, {})
        settings = {**system.environ, "TOPTEN_SCORE_FOLD_INTERVAL": "2s", "TOPTEN_SCORE_HEARTBEAT": "2s"}
        started = await asyncio.gather(
            *(stack.enter_async_context(running_service("score", settings)) for _ in range(workers))
        )
        pids = [worker.pid for worker in started]
        await system.until_counted(EVENTS // 10)
        counted = await mongo.database["ledger"].estimated_document_count()
        begun, cpu = time.perf_counter(), cpu_of(pids)
        while (await nats.jetstream.stream_info(QUIZ_STREAM)).state.messages:
            await asyncio.sleep(0.02)
        took, cpu = time.perf_counter() - begun, cpu_of(pids) - cpu
        if wrong := await system.verify():
            raise SystemExit(f"not what the ledger says: {wrong[:3]}")
        return Measured((EVENTS - counted) / took, cpu / (EVENTS - counted) * 1e6)


async def main() -> None:
    print("| score processes | events/s | CPU an event |")
    print("| --- | --- | --- |")
    figures = {}
    for workers in (1, 2):
        runs = [await measure(workers) for _ in range(RUNS)]
        figures[workers] = Measured(median(run.events for run in runs), median(run.cpu for run in runs))
        print(f"| {workers} | {figures[workers].events:,.0f} | {figures[workers].cpu:.0f} µs |", flush=True)
    one, two = figures[1], figures[2]
    print(f"| two to one | {two.events / one.events:.2f} | {two.cpu / one.cpu:.2f} |")

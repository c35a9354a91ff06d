"""Events a second from a preloaded stream to ledger, folds and boards, beside the plain insert of the same rows.

    python -m tests.bench.score_throughput [EVENTS]

Real servers, one worker in this process. NATS runs twice: with its default, as a cluster of three does, where the worker
is what is measured; and with `sync_interval: always`, as the embedded server does, where the removal of every
acknowledged event from the work queue waits for the disk.

The clock runs from the first pull until the stream is empty and every fold is written; then everything is verified. The
floor is an unordered `insert_many` of the very rows that the worker wrote, with the same indexes, write concern and
batch size, on the same server, right after. Of three runs the one with the middle share is shown.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import uuid_utils
from topten.quiz.v1 import quiz_events_pb2

from services.quiz.publisher import STREAM, QuizPublisher
from services.runtime.catalog import Catalog
from services.runtime.clock import utc_now
from services.runtime.jetstream import Nats, open_jetstream
from services.runtime.mongo_client import Document, Mongo, open_mongo
from services.runtime.redis_client import open_redis
from services.runtime.settings import MongoConfig, NatsConfig, RedisConfig
from services.score.__main__ import OBJECTS_BEFORE_COLLECTION
from services.score.board_writer import BoardWriter
from services.score.dead_letters import DeadLetters
from services.score.fold import Folds
from services.score.generation import Generation
from services.score.intake import Intake
from services.score.meta import Meta
from services.score.publisher import ScorePublisher
from services.score.rebuild import Rebuild
from services.score.reports import Checked, Found
from services.score.seals import Seals
from services.score.share import Shares
from services.score.standings import Placing, milliseconds_of
from services.score.store import ScoreStore
from services.score.verify import Verification
from services.score.worker import Worker
from tests.bench.stream_server import stream_server
from tests.servers import running
from tests.system.score import referee

BATCH = 500
RUNS = 3
PARTITIONS = 4
RETENTION = timedelta(days=35)
COUNTRIES = ("VN", "DE", "BR", "JP", "US")


class Measured(NamedTuple):
    """Events a second, and the floor's rows a second."""

    events: float
    floor: float
    players: int
    cpu_us: float


def now_ms() -> int:
    return milliseconds_of(utc_now())


def event(number: int, player: str, attempt: int) -> bytes:
    """An event that raises a player by ten points."""
    message = quiz_events_pb2.QuizCompletedEvent(event_id=str(uuid_utils.uuid7()), event_type="QUIZ_COMPLETED")
    payload = message.payload
    payload.user_id = player
    payload.quiz_id = f"quiz-{number % 12}"
    payload.score_delta = 10
    payload.timestamp.FromDatetime(datetime.now(UTC))
    payload.action_id = str(uuid_utils.uuid7())
    payload.attempt = attempt
    payload.quiz_total = 10 * attempt
    payload.country = COUNTRIES[ord(player[-1]) % len(COUNTRIES)]
    payload.client.ip = f"10.0.{number % 250}.{number % 199}"
    payload.client.user_agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    return message.SerializeToString()


async def preload(nats: Nats, players: list[str], count: int, attempts: dict[str, int]) -> None:
    """Puts `count` events on the stream, five hundred in flight."""
    turns = asyncio.Semaphore(500)

    async def send(number: int, player: str) -> None:
        async with turns:
            attempts[player] = attempt = attempts.get(player, 0) + 1
            await nats.jetstream.publish(f"quiz.events.{player}", event(number, player, attempt), timeout=60)

    async with asyncio.TaskGroup() as sending:
        for number in range(count):
            sending.create_task(send(number, players[number % len(players)]))


async def drained(nats: Nats) -> None:
    """Returns when the stream is empty."""
    while (await nats.jetstream.stream_info(STREAM)).state.messages:
        await asyncio.sleep(0.02)


async def floor(mongo: Mongo, since: int) -> float:
    """Rows a second of a plain insert of the newest rows, of all with a place in the ledger after `since`."""
    rows: list[Document] = [row async for row in mongo.database["ledger"].find().sort("recorded_at", 1)]
    rows = rows[since:]
    plain = mongo.database["plain"]
    await plain.drop()
    await plain.create_index([("user_id", 1), ("revision", 1)], unique=True)
    await plain.create_index("recorded_at")
    begun = time.perf_counter()
    for start in range(0, len(rows), BATCH):
        await plain.insert_many(rows[start : start + BATCH], ordered=False)
    return len(rows) / (time.perf_counter() - begun)


async def measure(count: int, *, new_players: bool, always: bool) -> Measured:
    """One run on servers of its own."""
    async with AsyncExitStack() as stack:
        urls = {name: (await stack.enter_async_context(running(name))).url for name in ("mongo", "redis")}
        urls["nats"] = await stack.enter_async_context(stream_server(always=always))
        mongo = await stack.enter_async_context(open_mongo(MongoConfig(url=urls["mongo"]), "score"))
        redis = await stack.enter_async_context(open_redis(RedisConfig(url=urls["redis"]), "score"))
        nats = await stack.enter_async_context(open_jetstream(NatsConfig(url=urls["nats"]), "score"))
        await QuizPublisher(nats.jetstream).prepare(partitions=PARTITIONS, replicas=1, max_bytes=1 << 30)
        meta, letters = Meta(mongo.database), DeadLetters(mongo.database)
        seals = Seals(await meta.salt())
        store = ScoreStore(mongo.database, seals)
        await store.prepare(timedelta(days=90))
        folds = Folds(store, meta, "bench", limit=50_000, now=now_ms)
        placing = Placing(Catalog())
        writer = BoardWriter(redis, placing, fence_ttl=timedelta(hours=1), period_retention=RETENTION, now=utc_now)
        rebuild = Rebuild(redis, store, folds, meta, writer, placing, period_retention=RETENTION, now=utc_now)
        generation = Generation(redis, meta, rebuild, placing, "bench", timedelta(seconds=2))
        worker = Worker(
            store, folds, writer, ScorePublisher(redis), generation, referee(mongo.database), placing, now_ms
        )
        known = [str(uuid_utils.uuid7()) for _ in range(3000)]
        attempts: dict[str, int] = {}
        warm = len(known)
        await generation.start()

        async def drain() -> tuple[float, float]:
            intake = Intake(
                nats, worker, letters, Shares(redis, "bench"),
                stream=STREAM, seals=seals, batch=BATCH,
                ack_wait=timedelta(seconds=60), max_ack_pending=10_000, now=now_ms,
            )  # fmt: skip
            begun, cpu = time.perf_counter(), time.process_time()
            await intake.start()
            await drained(nats)
            await folds.flush()
            took, cpu = time.perf_counter() - begun, time.process_time() - cpu
            await intake.stop()
            return took, cpu

        await preload(nats, known, warm, attempts)
        await drain()
        if new_players:
            fresh = [str(uuid_utils.uuid7()) for _ in range(2 * count // 3)]
            players = fresh + [known[n % len(known)] for n in range(count - len(fresh))]
            random.Random(7).shuffle(players)
        else:
            players = known
        await preload(nats, players, count, attempts)
        took, cpu = await drain()
        await generation.stop()
        check = Verification(
            store, redis, meta, placing, period_retention=RETENTION, now=utc_now, in_flight=timedelta(seconds=1)
        )
        steps: list[Any] = [step async for step in check.run() if isinstance(step, Found | Checked)]
        if not isinstance(steps[0], Checked) or steps[0].rows != count + warm:
            raise SystemExit(f"not what the ledger says: {steps[:3]}")
        return Measured(count / took, await floor(mongo, warm), steps[0].players, cpu / count * 1e6)


async def main(count: int) -> None:
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION, 10, 10)  # as the process does
    print(
        "| events | players | stream on disk | events/s | plain insert_many, rows/s | share | CPU of the worker an event |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for always in (False, True):
        for name, new_players in (("cached", False), ("two of three new", True)):
            runs = [await measure(count, new_players=new_players, always=always) for _ in range(RUNS)]
            one = sorted(runs, key=lambda run: run.events / run.floor)[RUNS // 2]
            print(
                f"| {count} | {one.players} {name} | {'at once' if always else 'behind'} | {one.events:,.0f} "
                f"| {one.floor:,.0f} | {one.events / one.floor:.2f} | {one.cpu_us:.0f} µs |",
                flush=True,
            )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 60_000))

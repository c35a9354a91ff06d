"""Events per second from a preloaded stream to ledger, folds and boards, beside the plain insert of the same rows.

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
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import uuid_utils
from topten.quiz.v1 import quiz_events_pb2

from services.boards.definition import Definition
from services.quiz.publisher import QuizPublisher
from services.runtime.clock import utc_now
from services.runtime.config.settings import MongoConfig, NatsConfig, RedisConfig
from services.runtime.stores.jetstream import Nats, open_jetstream
from services.runtime.stores.mongo import Document, Mongo, open_mongo
from services.runtime.stores.redis import open_redis
from services.score.__main__ import OBJECTS_BEFORE_COLLECTION
from services.score.admin.head_audit import HeadAudit
from services.score.admin.verify import Finding, Verification, VerifySummary
from services.score.definitions.store import Definitions
from services.score.ingest.consumers import Consumers
from services.score.ingest.dead_letter_store import DeadLetterStore
from services.score.ingest.partition_assignment import PartitionAssignment
from services.score.ledger.folds.cache import FoldCache
from services.score.periods.head_store import HeadStore
from services.streams import QUIZ_STREAM
from tests.bench.cpu import cpu_of, name_of, started_here
from tests.bench.scoring import NAME, RETENTION, now_ms, open_scoring
from tests.bench.stream_server import stream_server
from tests.servers import running

BATCH = 500
RUNS = 3
PARTITIONS = 4
COUNTRIES = ("VN", "DE", "BR", "JP", "US")


class Measured(NamedTuple):
    """Events per second, and rows per second of the floor."""

    events: float
    floor: float
    players: int
    cpu_us: float


class Drained(NamedTuple):
    """Seconds that it took, and seconds of CPU of the worker and of each of its servers meanwhile."""

    seconds: float
    worker: float
    servers: Mapping[str, float]


def event(number: int, player: str, attempt: int) -> bytes:
    """Return an event of ten points."""
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
    """Publish `count` events, five hundred in flight."""
    turns = asyncio.Semaphore(500)

    async def send(number: int, player: str) -> None:
        async with turns:
            attempts[player] = attempt = attempts.get(player, 0) + 1
            await nats.jetstream.publish(f"quiz.events.{player}", event(number, player, attempt), timeout=60)

    async with asyncio.TaskGroup() as sending:
        for number in range(count):
            sending.create_task(send(number, players[number % len(players)]))


async def drained(nats: Nats) -> None:
    """Wait until the stream is empty."""
    while (await nats.jetstream.stream_info(QUIZ_STREAM)).state.messages:
        await asyncio.sleep(0.02)


async def floor(mongo: Mongo, since: int) -> float:
    """Measure a plain insert of the newest ledger rows after `since`, in rows per second."""
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


class Counting:
    """A worker in this process that counts what is on the stream, on servers of its own."""

    def __init__(
        self, nats: Nats, consumers: Callable[[], Consumers], folds: FoldCache, servers: Collection[int]
    ) -> None:
        self.nats = nats
        self._consumers = consumers
        self._folds = folds
        self._servers = list(servers)
        self._attempts: dict[str, int] = {}

    async def preload(self, players: list[str], count: int) -> None:
        """Publish the next events of these players."""
        await preload(self.nats, players, count, self._attempts)

    async def drain(self) -> Drained:
        """Count everything that is on the stream."""
        consumers = self._consumers()
        begun, cpu, of_servers = time.perf_counter(), time.process_time(), self._cpu_of_servers()
        await consumers.start()
        await drained(self.nats)
        await self._folds.flush()
        took, cpu = time.perf_counter() - begun, time.process_time() - cpu
        spent = {name: after - of_servers[name] for name, after in self._cpu_of_servers().items()}
        await consumers.stop()
        return Drained(took, cpu, spent)

    def _cpu_of_servers(self) -> dict[str, float]:
        return {name_of(pid): cpu_of([pid]) for pid in self._servers}


@asynccontextmanager
async def counting(
    *, always: bool, declared: str = "", defined: Sequence[Definition] = ()
) -> AsyncIterator[tuple[Counting, Mongo, Verification]]:
    """Start servers and a worker that counts for these boards, which are ready. At the end, both are stopped."""
    async with AsyncExitStack() as stack:
        others = set(started_here())
        urls = {name: (await stack.enter_async_context(running(name))).url for name in ("mongo", "redis")}
        urls["nats"] = await stack.enter_async_context(stream_server(always=always))
        servers = set(started_here()) - others
        mongo = await stack.enter_async_context(open_mongo(MongoConfig(url=urls["mongo"]), "score"))
        redis = await stack.enter_async_context(open_redis(RedisConfig(url=urls["redis"]), "score"))
        nats = await stack.enter_async_context(open_jetstream(NatsConfig(url=urls["nats"]), "score"))
        await QuizPublisher(nats.jetstream, partitions=PARTITIONS, replicas=1, max_bytes=1 << 30).prepare()
        scoring = await open_scoring(mongo, redis, stack, declared)
        letters = DeadLetterStore(mongo.database)
        boards = Definitions(1, len(defined), {each.name: each for each in defined})
        await scoring.definitions.change(lambda _: (boards, None))
        await scoring.detector.start()
        stack.push_async_callback(scoring.detector.stop)

        def consumers() -> Consumers:
            return Consumers(
                nats, scoring.worker, letters, PartitionAssignment(redis, NAME),
                stream=QUIZ_STREAM, digests=scoring.digests, batch=BATCH,
                ack_wait=timedelta(seconds=60), max_ack_pending=10_000, now=now_ms,
            )  # fmt: skip

        verification = Verification(
            scoring.store,
            redis,
            scoring.meta,
            scoring.placement,
            HeadAudit(HeadStore(mongo.database)),
            period_retention=RETENTION,
            now=utc_now,
            in_flight=timedelta(seconds=1),
        )
        yield Counting(nats, consumers, scoring.folds, servers), mongo, verification


async def verified(verification: Verification, rows: int) -> int:
    """Verify that there are so many rows, and that all agrees with them. Return how many players there are."""
    steps: list[Any] = [step async for step in verification.run() if isinstance(step, Finding | VerifySummary)]
    if not isinstance(steps[0], VerifySummary) or steps[0].rows != rows:
        raise SystemExit(f"not what the ledger says: {steps[:3]}")
    return steps[0].players


async def measure(count: int, *, new_players: bool, always: bool) -> Measured:
    """Measure one run on its own servers."""
    async with counting(always=always) as (worker, mongo, verification):
        known = [str(uuid_utils.uuid7()) for _ in range(3000)]
        warm = len(known)
        await worker.preload(known, warm)
        await worker.drain()
        if new_players:
            fresh = [str(uuid_utils.uuid7()) for _ in range(2 * count // 3)]
            players = fresh + [known[n % len(known)] for n in range(count - len(fresh))]
            random.Random(7).shuffle(players)
        else:
            players = known
        await worker.preload(players, count)
        took = await worker.drain()
        players_counted = await verified(verification, count + warm)
        return Measured(count / took.seconds, await floor(mongo, warm), players_counted, took.worker / count * 1e6)


async def main(count: int) -> None:
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION, 10, 10)  # as the service does
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

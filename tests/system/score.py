"""Score workers on servers of their own, and what they should have counted."""

from __future__ import annotations

import asyncio
import random
import signal
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from nats.errors import Error as NatsError
from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis
from topten.quiz.v1 import quiz_events_pb2

from services.boards.board import GENERATION_KEY, Board
from services.boards.catalog import Catalog
from services.boards.encoding import points_of
from services.boards.periods.closed import DATABASE
from services.quiz.publisher import QuizPublisher, partition_of
from services.runtime.clock import utc_now
from services.runtime.config.settings import MongoConfig, NatsConfig, RedisConfig
from services.runtime.stores.jetstream import Nats, open_jetstream
from services.runtime.stores.mongo import Mongo, open_mongo
from services.runtime.stores.redis import open_redis
from services.score.admin.head_audit import HeadAudit
from services.score.admin.verify import Finding, Verification, VerifySummary
from services.score.coordination_store import CoordinationStore
from services.score.fairplay.flag_store import FlagStore
from services.score.fairplay.monitor import FairPlayMonitor
from services.score.fairplay.rules import Limits
from services.score.ledger.documents import Document
from services.score.ledger.personal_data_digests import PersonalDataDigests
from services.score.ledger.store import ScoreStore
from services.score.periods.head_store import HeadStore
from services.score.projection.standings import Placement
from services.score.webhooks.announcer import Announcer
from services.score.webhooks.delivery_store import DeliveryStore
from services.score.webhooks.webhook_store import WebhookStore
from services.streams import EVENT_GROUP, GROUP_SUFFIX, QUIZ_STREAM
from tests.deadline import deadline_seconds, eventually
from tests.servers import RunningServer, running, unique
from tests.system.processes import Service, running_service, service_process

RETENTION = timedelta(days=35)
PARTITIONS = 4
# Background loops run so often that no test waits for one.
FAST = {"TOPTEN_SCORE_FOLD_INTERVAL": "100ms", "TOPTEN_SCORE_HEARTBEAT": "100ms", "TOPTEN_MONGO_TIMEOUT": "1s"}
QuizCompleted = quiz_events_pb2.QuizCompletedEvent


def completed(
    user_id: str,
    delta: int,
    *,
    quiz_id: str = "capitals",
    attempt: int = 1,
    total: int | None = None,
    country: str = "VN",
    at: datetime | None = None,
) -> QuizCompleted:
    """Return the event of a new action."""
    event = QuizCompleted(event_id=str(uuid.uuid4()), event_type="QUIZ_COMPLETED")
    payload = event.payload
    payload.user_id, payload.quiz_id, payload.score_delta = user_id, quiz_id, delta
    payload.timestamp.FromDatetime(at or datetime.now(UTC))
    payload.action_id, payload.attempt = str(uuid.uuid4()), attempt
    payload.quiz_total = delta if total is None else total
    payload.country = country
    payload.client.ip, payload.client.user_agent = "192.0.2.7", "Browser/1"
    return event


def random_events(count: int, *, players: int, seed: int, lowest: int = 0) -> list[QuizCompleted]:
    """Return events of players who repeat quizzes; with `lowest` below 0 some totals fall."""
    random_source = random.Random(seed)
    attempts: Counter[tuple[str, str]] = Counter()
    totals: Counter[tuple[str, str]] = Counter()
    events = []
    for _ in range(count):
        player, quiz = f"player-{random_source.randrange(players)}", f"quiz-{random_source.randrange(5)}"
        delta = random_source.randrange(max(lowest, -totals[player, quiz]), 50)
        attempts[player, quiz] += 1
        totals[player, quiz] += delta
        country = ("VN", "DE", "")[hash(player) % 3]
        events.append(
            completed(
                player,
                delta,
                quiz_id=quiz,
                attempt=attempts[player, quiz],
                total=totals[player, quiz],
                country=country,
            )
        )
    return events


def totals_of(events: Iterable[QuizCompleted]) -> dict[str, int]:
    """Return each player's sum of points, each event counted once."""
    unique_events = {event.event_id: event for event in events}
    totals: Counter[str] = Counter()
    for event in unique_events.values():
        totals[event.payload.user_id] += event.payload.score_delta
    return dict(totals)


def fair_play_monitor(database: AsyncDatabase[Document]) -> FairPlayMonitor:
    """Return a monitor that flags and never blocks, so that it needs no identity service."""
    blocker: Any = None
    return FairPlayMonitor(
        FlagStore(database), blocker, limits=Limits(points=20_000, actions=120, question_ms=150), blocking=()
    )


def announcer(database: AsyncDatabase[Document]) -> Announcer:
    """Return what stores deliveries to webhooks, of which there are none."""
    return Announcer(WebhookStore(database), DeliveryStore(database), now=utc_now)


class ScoreSystem:
    """Servers, a database and a stream; the test starts the workers."""

    def __init__(
        self,
        servers: dict[str, RunningServer],
        mongo: Mongo,
        redis: Redis,
        nats: Nats,
        salt: bytes,
        *,
        mongo_url: str = "",
        nats_url: str = "",
    ) -> None:
        self.servers = servers
        self.mongo = mongo
        self.redis = redis
        self.nats = nats
        self.prefix = mongo.database.name.removesuffix("_score")
        self.environ = {
            **FAST,
            "TOPTEN_MONGO_URL": mongo_url or servers["mongo"].url,
            "TOPTEN_MONGO_DATABASE": self.prefix,
            "TOPTEN_REDIS_URL": servers["redis"].url,
            "TOPTEN_NATS_URL": nats_url or servers["nats"].url,
        }
        self.database = mongo.database
        self.store = ScoreStore(mongo.database, PersonalDataDigests(salt))
        self.placement = Placement(Catalog())

    @asynccontextmanager
    async def worker(self, **settings: str) -> AsyncIterator[Service]:
        """Run a score process. It must not end by itself."""
        async with running_service("score", {**self.environ, **settings}) as service:
            yield service
            if (code := service.exit_code) is None:
                code = await service.stop()
            assert code in (0, -signal.SIGKILL), service.log

    @contextmanager
    def crashing(self, point: str, settings: Mapping[str, str], *, nth: int = 1) -> Iterator[Service]:
        """Prepare a score process that kills itself at the `nth` pass of a crash point. The test launches it."""
        with service_process(
            "score", {**self.environ, **settings}, ("tests.faults.crashing", point, str(nth))
        ) as service:
            yield service

    async def publish(self, *events: QuizCompleted, copies: int = 1) -> None:
        """Put events on the stream; the stream does not recognize copies as duplicates."""
        async with asyncio.TaskGroup() as sending:
            for event in events:
                for _ in range(copies):
                    sending.create_task(self.publish_bytes(event.payload.user_id, event.SerializeToString()))

    async def publish_groups(self, *events: QuizCompleted, size: int = 7) -> None:
        """Put events on the stream as the quiz service does if they were recorded together."""
        by_partition: defaultdict[int, list[quiz_events_pb2.GroupedEvent]] = defaultdict(list)
        for event in events:
            user_id = event.payload.user_id
            grouped = quiz_events_pb2.GroupedEvent(user_id=user_id, event=event.SerializeToString())
            by_partition[partition_of(user_id, PARTITIONS)].append(grouped)
        for partition, each in by_partition.items():
            for start in range(0, len(each), size):
                group = quiz_events_pb2.EventGroup(
                    event_id=str(uuid.uuid4()), event_type=EVENT_GROUP, events=each[start : start + size]
                )
                await self.publish_bytes(f"{partition}.{GROUP_SUFFIX}", group.SerializeToString())

    async def publish_bytes(self, user_id: str, data: bytes) -> None:
        """Put bytes on the stream, retrying until it has acknowledged them."""
        while True:
            try:
                await self.nats.jetstream.publish(f"quiz.events.{user_id}", data, timeout=5)
            except (NatsError, OSError):
                await asyncio.sleep(0.05)
            else:
                return

    async def add_former_worker(self) -> None:
        """Report a running worker of the version before, which knows the former encoding alone."""
        far = datetime(2100, 1, 1, tzinfo=UTC)
        worker = {"_id": "worker:former", "flushed_to": far, "beat_at": far, "boards": "", "closed_through": far}
        await self.database["meta"].insert_one(worker)

    async def remove_former_worker(self) -> None:
        """Report that the worker of the version before has ended."""
        await self.database["meta"].delete_one({"_id": "worker:former"})

    async def is_built_in(self, encoding: int) -> bool:
        """Whether the boards in force are in this encoding."""
        boards = await CoordinationStore(self.database).boards()
        in_force = int(await self.redis.get(GENERATION_KEY) or 0)
        return (in_force, encoding) == (boards.completed, boards.built_encoding)

    async def until_drained(self) -> None:
        """Wait until every event on the stream is acknowledged and the boards are complete."""

        async def is_empty() -> bool:
            with suppress(NatsError, OSError):
                return not (await self.nats.jetstream.stream_info(QUIZ_STREAM)).state.messages
            return False

        await eventually(is_empty, "an empty stream")
        await self.until_complete()

    async def until_counted(self, rows: int) -> None:
        """Wait until the ledger has this many rows."""

        async def has_rows() -> bool:
            return await self.database["ledger"].estimated_document_count() >= rows

        await eventually(has_rows, f"{rows} rows in the ledger")

    async def until_complete(self, after: int = 0) -> int:
        """Wait for complete boards of a generation later than `after`, and return it."""

        async def generation() -> int:
            current = int(await self.redis.get(GENERATION_KEY) or 0)
            return current if current > after else 0

        return await eventually(generation, f"boards of a generation after {after}")

    async def board(self, name: str) -> list[tuple[str, int]]:
        """Return players and points, in order."""
        key = Board.parse(name, utc_now()).key
        members: Any = await self.redis.zrevrange(key, 0, -1, withscores=True)
        return [(member.decode(), points_of(value)) for member, value in members]

    async def verify(self) -> list[Finding]:
        """Return the findings of a verification of everything."""
        verification = Verification(
            self.store,
            self.redis,
            CoordinationStore(self.database),
            self.placement,
            HeadAudit(HeadStore(self.mongo.client[f"{self.prefix}_{DATABASE}"])),
            period_retention=RETENTION,
            now=utc_now,
            in_flight=timedelta(milliseconds=500),
        )
        steps: list[Any] = [step async for step in verification.run() if isinstance(step, Finding | VerifySummary)]
        assert isinstance(steps[-1], VerifySummary)
        assert steps[-1].findings == len(steps) - 1
        return steps[:-1]

    async def chain(self, user_id: str) -> list[int]:
        """Return the revisions of a player's rows."""
        return [row.revision async for row in self.store.rows_after({user_id: 0})]


async def assert_counted_once(system: ScoreSystem, events: list[QuizCompleted]) -> None:
    """Assert one row per event, totals that are sums, chains without gaps, and boards that agree."""
    ids = {event.event_id for event in events}
    # A primary that was just elected may not show yet all that is committed. After this read it does.
    await system.database.command("find", "ledger", limit=1, readConcern={"level": "linearizable"})
    rows = [row async for row in system.store.chains()]
    counted = {row.event_id for row in rows}
    assert (ids - counted, counted - ids) == (set(), set()), "events without a row, and rows without an event"
    doubled = {event_id for event_id, count in Counter(row.event_id for row in rows).items() if count > 1}
    assert [row for row in rows if row.event_id in doubled] == []
    totals = totals_of(events)
    last = {row.user_id: row for row in rows}
    assert {user_id: row.total.points for user_id, row in last.items()} == totals
    assert {user_id: row.revision for user_id, row in last.items()} == {
        user_id: sum(row.user_id == user_id for row in rows) for user_id in totals
    }
    assert dict(await system.board("all")) == {user_id: total for user_id, total in totals.items() if total > 0}
    findings = await system.verify()
    assert findings == [], findings


async def create_stream(nats: Nats) -> None:
    """Create the stream as the quiz service does."""
    await QuizPublisher(nats.jetstream, partitions=PARTITIONS, replicas=1, max_bytes=1 << 28).prepare()


@asynccontextmanager
async def score_servers() -> AsyncIterator[dict[str, RunningServer]]:
    """Run one server of each kind, which a test may stop and start."""
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(running(name)) for name in ("mongo", "redis", "nats")}


@asynccontextmanager
async def score_system(servers: dict[str, RunningServer]) -> AsyncIterator[ScoreSystem]:
    """Provide an empty Redis, an empty stream and a new database on these servers."""
    async with AsyncExitStack() as stack:
        mongo_config = MongoConfig(
            url=servers["mongo"].url, database=unique("test"), timeout=timedelta(seconds=deadline_seconds())
        )
        mongo = await stack.enter_async_context(open_mongo(mongo_config, "score"))
        redis = await stack.enter_async_context(open_redis(RedisConfig(url=servers["redis"].url), "test"))
        nats = await stack.enter_async_context(open_jetstream(NatsConfig(url=servers["nats"].url), "test"))
        await redis.flushall()
        await create_stream(nats)
        yield ScoreSystem(servers, mongo, redis, nats, await CoordinationStore(mongo.database).salt())
        await nats.jetstream.delete_stream(QUIZ_STREAM)
        await mongo.client.drop_database(mongo.database)

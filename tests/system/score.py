"""A score service on servers of its own, and what it should have counted."""

from __future__ import annotations

import asyncio
import random
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from nats.errors import Error as NatsError
from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis
from topten.quiz.v1 import quiz_events_pb2

from services.quiz.publisher import STREAM, QuizPublisher
from services.runtime.boards import GENERATION_KEY, Board, points_of
from services.runtime.catalog import Catalog
from services.runtime.clock import utc_now
from services.runtime.jetstream import Nats, open_jetstream
from services.runtime.mongo_client import Mongo, open_mongo
from services.runtime.redis_client import open_redis
from services.runtime.settings import MongoConfig, NatsConfig, RedisConfig
from services.score.documents import Document
from services.score.flags import Flags
from services.score.meta import Meta
from services.score.referee import Referee
from services.score.reports import Checked, Found
from services.score.rules import Limits
from services.score.seals import Seals
from services.score.standings import Placing
from services.score.store import ScoreStore
from services.score.verify import Verification
from tests.servers import RunningServer, running, unique
from tests.system.processes import Service, made, running_service

RETENTION = timedelta(days=35)
PARTITIONS = 4
# Less than a test may take, so that what is waited for in vain ends the test's processes in order.
PATIENCE_SECONDS = 60
# So often that a test need not wait for it.
OFTEN = {"TOPTEN_SCORE_FOLD_INTERVAL": "100ms", "TOPTEN_SCORE_HEARTBEAT": "100ms", "TOPTEN_MONGO_TIMEOUT": "1s"}
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
    """An event of a new action."""
    event = QuizCompleted(event_id=str(uuid.uuid4()), event_type="QUIZ_COMPLETED")
    payload = event.payload
    payload.user_id, payload.quiz_id, payload.score_delta = user_id, quiz_id, delta
    payload.timestamp.FromDatetime(at or datetime.now(UTC))
    payload.action_id, payload.attempt = str(uuid.uuid4()), attempt
    payload.quiz_total = delta if total is None else total
    payload.country = country
    payload.client.ip, payload.client.user_agent = "192.0.2.7", "Browser/1"
    return event


def many(count: int, *, players: int, seed: int, lowest: int = 0) -> list[QuizCompleted]:
    """Events of `players` who repeat quizzes; with `lowest` below 0 some totals fall."""
    chance = random.Random(seed)
    attempts: Counter[tuple[str, str]] = Counter()
    totals: Counter[tuple[str, str]] = Counter()
    events = []
    for _ in range(count):
        player, quiz = f"player-{chance.randrange(players)}", f"quiz-{chance.randrange(5)}"
        delta = chance.randrange(max(lowest, -totals[player, quiz]), 50)
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
    """What each player's points add up to, each event once."""
    unique_events = {event.event_id: event for event in events}
    totals: Counter[str] = Counter()
    for event in unique_events.values():
        totals[event.payload.user_id] += event.payload.score_delta
    return dict(totals)


def referee(database: AsyncDatabase[Document]) -> Referee:
    """Rules that flag and never block, so that identity is not asked."""
    blocker: Any = None
    return Referee(Flags(database), blocker, limits=Limits(points=20_000, actions=120, question_ms=150), blocking=())


class ScoreSystem:
    """Servers, a database and a stream; workers are started by the test."""

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
        self.environ = {
            **OFTEN,
            "TOPTEN_MONGO_URL": mongo_url or servers["mongo"].url,
            "TOPTEN_MONGO_DATABASE": mongo.database.name.removesuffix("_score"),
            "TOPTEN_REDIS_URL": servers["redis"].url,
            "TOPTEN_NATS_URL": nats_url or servers["nats"].url,
        }
        self.database = mongo.database
        self.store = ScoreStore(mongo.database, Seals(salt))
        self.placing = Placing(Catalog())

    @asynccontextmanager
    async def worker(self, **settings: str) -> AsyncIterator[Service]:
        """A score process, which ends as it is told to and never by itself."""
        async with running_service("score", {**self.environ, **settings}) as service:
            yield service
            if (code := service.exit_code) is None:
                code = await service.stop()
            assert code in (0, -signal.SIGKILL), service.log

    @contextmanager
    def crashing(self, point: str, settings: Mapping[str, str], *, nth: int = 1) -> Iterator[Service]:
        """A score process that dies when it comes to the point; the test launches it."""
        with made("score", {**self.environ, **settings}, ("tests.faults.crashing", point, str(nth))) as service:
            yield service

    async def publish(self, *events: QuizCompleted, copies: int = 1) -> None:
        """Puts events on the stream; copies are not recognised as such by the stream."""
        async with asyncio.TaskGroup() as sending:
            for event in events:
                for _ in range(copies):
                    sending.create_task(self.publish_bytes(event.payload.user_id, event.SerializeToString()))

    async def publish_bytes(self, user_id: str, data: bytes) -> None:
        """Puts anything on the stream, until the stream has it."""
        while True:
            try:
                await self.nats.jetstream.publish(f"quiz.events.{user_id}", data, timeout=5)
            except (NatsError, OSError):
                await asyncio.sleep(0.05)
            else:
                return

    async def settled(self) -> None:
        """Returns when the stream is empty, so every event was acknowledged, and the boards are whole."""
        empty = False
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not empty:
                with suppress(NatsError, OSError):
                    empty = not (await self.nats.jetstream.stream_info(STREAM)).state.messages
                await asyncio.sleep(0 if empty else 0.02)
        await self.whole()

    async def until_counted(self, rows: int) -> None:
        """Returns when the ledger has so many rows."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.database["ledger"].estimated_document_count() < rows:
                await asyncio.sleep(0.005)

    async def whole(self, than: int = 0) -> int:
        """The generation of the boards, when there is one newer than `than`."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (generation := int(await self.redis.get(GENERATION_KEY) or 0)) <= than:
                await asyncio.sleep(0.02)
        return generation

    async def board(self, text: str) -> list[tuple[str, int]]:
        """Players and points, in order."""
        key = Board.parse(text, utc_now()).key
        members: Any = await self.redis.zrevrange(key, 0, -1, withscores=True)
        return [(member.decode(), points_of(value)) for member, value in members]

    async def verified(self) -> list[Found]:
        """What a check of everything finds."""
        check = Verification(
            self.store,
            self.redis,
            Meta(self.database),
            self.placing,
            period_retention=RETENTION,
            now=utc_now,
            in_flight=timedelta(milliseconds=500),
        )
        steps: list[Any] = [step async for step in check.run() if isinstance(step, Found | Checked)]
        assert isinstance(steps[-1], Checked)
        assert steps[-1].findings == len(steps) - 1
        return steps[:-1]

    async def chain(self, user_id: str) -> list[int]:
        """The revisions that a player has."""
        return [row.revision async for row in self.store.rows_after({user_id: 0})]


async def assert_counted_once(system: ScoreSystem, events: list[QuizCompleted]) -> None:
    """Each event is one row, each total the sum, each chain whole, and everything derived says the same."""
    ids = {event.event_id for event in events}
    rows = [row async for row in system.store.chains()]
    assert {row.event_id for row in rows} == ids
    assert len(rows) == len(ids)
    totals = totals_of(events)
    last = {row.user_id: row for row in rows}
    assert {user_id: row.total.points for user_id, row in last.items()} == totals
    assert {user_id: row.revision for user_id, row in last.items()} == {
        user_id: sum(row.user_id == user_id for row in rows) for user_id in totals
    }
    assert dict(await system.board("all")) == {user_id: total for user_id, total in totals.items() if total > 0}
    findings = await system.verified()
    assert findings == [], findings


async def fresh_stream(nats: Nats) -> None:
    """Makes the stream as the quiz service does."""
    await QuizPublisher(nats.jetstream).prepare(partitions=PARTITIONS, replicas=1, max_bytes=1 << 28)


@asynccontextmanager
async def score_servers() -> AsyncIterator[dict[str, RunningServer]]:
    """One server of each kind that a test may stop and start."""
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(running(name)) for name in ("mongo", "redis", "nats")}


@asynccontextmanager
async def score_system(servers: dict[str, RunningServer]) -> AsyncIterator[ScoreSystem]:
    """An empty Redis, an empty stream and a new database on these servers."""
    async with AsyncExitStack() as stack:
        mongo_config = MongoConfig(url=servers["mongo"].url, database=unique("test"))
        mongo = await stack.enter_async_context(open_mongo(mongo_config, "score"))
        redis = await stack.enter_async_context(open_redis(RedisConfig(url=servers["redis"].url), "test"))
        nats = await stack.enter_async_context(open_jetstream(NatsConfig(url=servers["nats"].url), "test"))
        await redis.flushall()
        await fresh_stream(nats)
        yield ScoreSystem(servers, mongo, redis, nats, await Meta(mongo.database).salt())
        await nats.jetstream.delete_stream(STREAM)
        await mongo.client.drop_database(mongo.database)

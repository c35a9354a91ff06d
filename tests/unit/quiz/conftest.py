"""A replica of the service quiz on real stores, without its gRPC server."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import pytest
from pymongo import AsyncMongoClient, monitoring
from topten.identity.v1 import identity_pb2, identity_service_pb2

from services.quiz.action_types.store import ActionTypeStore
from services.quiz.amendments.rejudging import Rejudging
from services.quiz.attempts.attempt_store import AttemptStore
from services.quiz.attempts.deadlines import AttemptDeadlines
from services.quiz.attempts.extra_time_store import ExtraTimeStore
from services.quiz.attempts.service import AttemptService
from services.quiz.authoring.authorship import Authorship
from services.quiz.authoring.draft_store import DraftStore
from services.quiz.config import Window
from services.quiz.player_lookup import PlayerLookup
from services.quiz.publisher import QuizPublisher
from services.quiz.quizzes.delivery_store import DeliveryStore
from services.quiz.quizzes.quiz_cache import QuizCache
from services.quiz.quizzes.quiz_store import QuizStore
from services.quiz.submissions.action import Action, Outcome
from services.quiz.submissions.reviews import Reviews
from services.quiz.submissions.service import SubmissionService
from services.quiz.submissions.store import SubmissionStore
from services.runtime.clock import utc_now
from services.runtime.config.settings import MongoConfig, NatsConfig, RedisConfig
from services.runtime.errors import ServiceError
from services.runtime.outbox.publishing import Outbox
from services.runtime.stores.incarnation import IncarnationStore, IncarnationWatch
from services.runtime.stores.jetstream import open_jetstream
from services.runtime.stores.mongo import open_mongo
from services.runtime.stores.redis import open_redis
from tests.servers import unique

HOUR = timedelta(hours=1)
Open = Callable[..., Awaitable["Replica"]]


class Identity:
    """Stands for the service identity: some players are blocked, some erased, some unknown."""

    def __init__(self) -> None:
        self.blocked: set[str] = set()
        self.erased: set[str] = set()
        self.unknown: set[str] = set()
        self.calls = 0

    async def GetUsers(
        self, request: identity_service_pb2.GetUsersRequest, **_: Any
    ) -> identity_service_pb2.GetUsersResponse:
        known = [user_id for user_id in request.user_ids if user_id not in self.erased | self.unknown]
        return identity_service_pb2.GetUsersResponse(users=[identity_pb2.User(user_id=each) for each in known])

    async def CheckPlayers(
        self, request: identity_service_pb2.CheckPlayersRequest, **_: Any
    ) -> identity_service_pb2.CheckPlayersResponse:
        self.calls += 1
        asked = {*request.user_ids}
        known = asked - self.erased - self.unknown
        return identity_service_pb2.CheckPlayersResponse(
            blocked=[
                identity_service_pb2.BlockedPlayer(user_id=user_id, block=identity_pb2.Block(reason="cheating"))
                for user_id in known & self.blocked
            ],
            erased_user_ids=asked & self.erased,
            unknown_user_ids=asked & self.unknown - self.erased,
            countries=dict.fromkeys(known, "VN"),
        )

    async def get(self) -> str:
        return "a token"


class Commands(monitoring.CommandListener):
    """Counts the commands that a client sends."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in ("insert", "find", "aggregate", "update"):
            self.counts[f"{event.command_name} {event.command.get(event.command_name)}"] += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing to count."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing to count."""


@dataclass
class Replica:
    """A replica of the service quiz, without its gRPC server."""

    service: SubmissionService
    commands: Commands
    identity: Identity
    database: Any
    quizzes: QuizStore
    action_types: ActionTypeStore
    outbox: Outbox
    cache: QuizCache
    reviews: Reviews
    rejudging: Rejudging
    attempts: AttemptService
    deadlines: AttemptDeadlines

    async def submit(self, *actions: Action) -> list[str]:
        """The reason of each refusal, `again` for a repeated action, or the number of the recorded attempt."""
        return [shown(outcome) for outcome in await self.service.submit_actions(actions)]

    async def costs(self, *actions: Action) -> dict[str, int]:
        """The commands of a group that is accepted as a whole."""
        self.commands.counts.clear()
        assert all(each.isdigit() for each in await self.submit(*actions))
        return dict(self.commands.counts)


def shown(outcome: Outcome) -> str:
    if isinstance(outcome, ServiceError):
        return str(outcome.reason)
    if isinstance(outcome, Exception):
        raise outcome
    submission, is_duplicate = outcome
    return "again" if is_duplicate else str(submission.tally.used)


@pytest.fixture
async def open_replica(mongo_url: str, redis_url: str, nats_url: str) -> AsyncIterator[Open]:
    """Open a replica; all have one database. `url` and `milliseconds` are of its MongoDB."""
    name = unique("groups")
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(open_redis(RedisConfig(url=redis_url), "quiz"))
        nats = await stack.enter_async_context(open_jetstream(NatsConfig(url=nats_url), "quiz"))
        publisher = QuizPublisher(nats.jetstream, partitions=4, replicas=1, max_bytes=1 << 26)
        await publisher.prepare()
        mongo = await stack.enter_async_context(open_mongo(MongoConfig(url=mongo_url, database=name), "quiz"))
        incarnation = IncarnationWatch(IncarnationStore(mongo.client, name), advances=False)
        await incarnation.remember()

        async def opened(url: str = mongo_url, milliseconds: int = 5000) -> Replica:
            commands = Commands()
            client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
                url,
                tz_aware=True,
                w="majority",
                journal=True,
                timeoutMS=milliseconds,
                serverSelectionTimeoutMS=milliseconds,
                event_listeners=[commands],
            )
            stack.push_async_callback(client.close)
            database, identity = client[name], Identity()
            quizzes, submissions, deliveries = QuizStore(database), SubmissionStore(database), DeliveryStore(database)
            action_types, open_attempts = ActionTypeStore(database), AttemptStore(database)
            if url == mongo_url:
                for store in (quizzes, submissions, deliveries, open_attempts):
                    await store.prepare()
            outbox = Outbox(
                submissions.outbox,
                publisher,
                incarnation,
                interval=HOUR,
                lease=timedelta(seconds=5),
                now=utc_now,
            )
            stack.push_async_callback(outbox.stop)
            cache = QuizCache(quizzes, redis, ttl=HOUR)
            reviews = Reviews(submissions, cache, now=utc_now)
            rejudging = Rejudging(submissions, cache, deliveries, outbox, now=utc_now)
            players = PlayerLookup(cast("Any", identity), cast("Any", identity), now=utc_now)
            service = SubmissionService(
                submissions,
                cache,
                action_types,
                open_attempts,
                outbox,
                players,
                deliveries,
                reviews,
                version_grace=HOUR,
                window=Window(HOUR, HOUR),
                now=utc_now,
            )
            deadlines = AttemptDeadlines(open_attempts, service, now=utc_now)
            extra_times = ExtraTimeStore(database)
            authorship = Authorship(DraftStore(database), quizzes, players)
            attempts = AttemptService(
                open_attempts, extra_times, submissions, cache, players, authorship, deadlines, now=utc_now
            )
            return Replica(
                service,
                commands,
                identity,
                database,
                quizzes,
                action_types,
                outbox,
                cache,
                reviews,
                rejudging,
                attempts,
                deadlines,
            )

        yield opened

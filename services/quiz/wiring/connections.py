"""What the quiz process connects to: its stores, and the services that it asks about players and boards."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from redis.asyncio import Redis
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceStub

from services.quiz.action_types.store import ActionTypeStore
from services.quiz.attempts.attempt_store import AttemptStore
from services.quiz.config import QuizConfig
from services.quiz.publisher import QuizPublisher
from services.quiz.quizzes.delivery_store import DeliveryStore
from services.quiz.quizzes.quiz_store import QuizStore
from services.quiz.submissions.store import SubmissionStore
from services.runtime.auth.service_token import ServiceToken
from services.runtime.auth.verification import open_service_token
from services.runtime.grpc.client import open_channel
from services.runtime.stores.durability import insist, mongo_faults
from services.runtime.stores.incarnation import IncarnationStore, IncarnationWatch
from services.runtime.stores.jetstream import Nats, open_jetstream
from services.runtime.stores.mongo import Mongo, long_operation, open_mongo
from services.runtime.stores.redis import REDIS_ERRORS, open_redis

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub
    from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceAsyncStub


@dataclass(frozen=True)
class Stores:
    """Connections, and what the process keeps in them."""

    mongo: Mongo
    redis: Redis
    nats: Nats
    publisher: QuizPublisher
    incarnation: IncarnationWatch
    quizzes: QuizStore
    submissions: SubmissionStore
    deliveries: DeliveryStore
    attempts: AttemptStore
    action_types: ActionTypeStore

    async def prepare(self) -> None:
        """Create the indexes. Idempotent. Raises UNAVAILABLE."""
        with long_operation():
            for store in (self.quizzes, self.submissions, self.deliveries, self.attempts):
                await store.prepare()


@dataclass(frozen=True)
class Upstreams:
    """The services that quiz calls, and its token for them."""

    identity: IdentityServiceAsyncStub
    leaderboard: LeaderboardServiceAsyncStub
    token: ServiceToken


async def open_stores(config: QuizConfig, stack: AsyncExitStack) -> Stores:
    """Connect to the stores and refuse those that do not keep what they acknowledge."""
    mongo = await stack.enter_async_context(open_mongo(config.mongo, "quiz"))
    redis = await stack.enter_async_context(open_redis(config.redis, "quiz"))
    nats = await stack.enter_async_context(open_jetstream(config.nats, "quiz"))
    publisher = QuizPublisher(
        nats.jetstream,
        partitions=config.partitions,
        replicas=config.stream_replicas,
        max_bytes=config.stream_max_bytes,
    )
    incarnations = IncarnationStore(mongo.client, config.mongo.database)
    stores = Stores(
        mongo,
        redis,
        nats,
        publisher,
        IncarnationWatch(incarnations, advances=False, retry_on=REDIS_ERRORS),
        QuizStore(mongo.database),
        SubmissionStore(mongo.database),
        DeliveryStore(mongo.database),
        AttemptStore(mongo.database),
        ActionTypeStore(mongo.database),
    )
    await stores.prepare()
    stack.push_async_callback(stores.deliveries.flush)  # after the last quiz was served
    await publisher.prepare()
    insist([*await mongo_faults(mongo.client), *await publisher.faults()], production=config.process.production)
    return stores


async def open_upstreams(config: QuizConfig, stack: AsyncExitStack) -> Upstreams:
    """Open channels to the services that quiz calls."""
    token = await stack.enter_async_context(open_service_token(config.auth))
    identity = await stack.enter_async_context(open_channel(config.upstream.identity, config.tls, upstream="identity"))
    target = config.upstream.leaderboard
    leaderboard = await stack.enter_async_context(open_channel(target, config.tls, upstream="leaderboard"))
    return Upstreams(
        cast("IdentityServiceAsyncStub", IdentityServiceStub(identity)),
        cast("LeaderboardServiceAsyncStub", LeaderboardServiceStub(leaderboard)),
        token,
    )

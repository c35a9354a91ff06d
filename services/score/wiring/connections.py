"""What the score process connects to: its stores, and the services that record events."""

from __future__ import annotations

import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from redis.asyncio import Redis
from topten.group.v1.group_service_pb2_grpc import GroupServiceStub
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceStub
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub

from services.runtime.auth.service_token import ServiceToken
from services.runtime.auth.verification import open_service_token
from services.runtime.grpc.client import open_channel
from services.runtime.stores.durability import insist, mongo_faults, redis_faults
from services.runtime.stores.incarnation import IncarnationStore, IncarnationWatch
from services.runtime.stores.jetstream import Nats, open_jetstream
from services.runtime.stores.mongo import Mongo, open_mongo
from services.runtime.stores.redis import REDIS_ERRORS, open_redis
from services.score.config import ScoreConfig

if TYPE_CHECKING:
    from topten.group.v1.group_service_pb2_grpc import GroupServiceAsyncStub
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub
    from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceAsyncStub
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub


@dataclass(frozen=True)
class Stores:
    """Connections, and the id that this worker has in all of them."""

    mongo: Mongo
    redis: Redis
    nats: Nats
    token: ServiceToken
    incarnations: IncarnationStore
    incarnation: IncarnationWatch
    worker_id: str


@dataclass(frozen=True)
class Upstreams:
    """The services that record events. Score also has players blocked, finds groups, and watches boards."""

    identity: IdentityServiceAsyncStub
    groups: GroupServiceAsyncStub
    quiz: QuizServiceAsyncStub
    leaderboard: LeaderboardServiceAsyncStub


async def open_stores(config: ScoreConfig, stack: AsyncExitStack) -> Stores:
    """Connect to the stores and refuse those that do not keep what they acknowledge."""
    mongo = await stack.enter_async_context(open_mongo(config.mongo, "score"))
    redis = await stack.enter_async_context(open_redis(config.redis, "score"))
    nats = await stack.enter_async_context(open_jetstream(config.nats, "score"))
    token = await stack.enter_async_context(open_service_token(config.auth))
    faults = [*await mongo_faults(mongo.client), *await redis_faults(redis)]
    insist(faults, production=config.process.production)
    incarnations = IncarnationStore(mongo.client, config.mongo.database)
    return Stores(
        mongo, redis, nats, token, incarnations, IncarnationWatch(incarnations, retry_on=REDIS_ERRORS), uuid.uuid4().hex
    )


async def open_upstreams(config: ScoreConfig, stack: AsyncExitStack) -> Upstreams:
    """Open channels to the services that score calls."""
    identity = await stack.enter_async_context(open_channel(config.upstream.identity, config.tls, upstream="identity"))
    quiz = await stack.enter_async_context(open_channel(config.upstream.quiz, config.tls, upstream="quiz"))
    target = config.upstream.leaderboard
    leaderboard = await stack.enter_async_context(open_channel(target, config.tls, upstream="leaderboard"))
    return Upstreams(
        cast("IdentityServiceAsyncStub", IdentityServiceStub(identity)),
        cast("GroupServiceAsyncStub", GroupServiceStub(identity)),
        cast("QuizServiceAsyncStub", QuizServiceStub(quiz)),
        cast("LeaderboardServiceAsyncStub", LeaderboardServiceStub(leaderboard)),
    )

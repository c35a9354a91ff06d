"""The quiz process: configuration → stores → service → servers."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, cast

from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from topten.quiz.v1.quiz_service_pb2_grpc import add_QuizServiceServicer_to_server

from services.quiz.cache import QuizCache
from services.quiz.config import QuizConfig
from services.quiz.deliveries import Deliveries
from services.quiz.moderation import Moderation
from services.quiz.personal import PersonalRecords
from services.quiz.players import Players
from services.quiz.publisher import QuizPublisher
from services.quiz.rpc import ACCESS, QuizServicer
from services.quiz.service import QuizService
from services.quiz.store import QuizStore
from services.runtime.auth import open_service_token, open_verifier
from services.runtime.clock import utc_now
from services.runtime.config import from_command_line
from services.runtime.durability import insist, mongo_faults
from services.runtime.grpc_client import open_channel
from services.runtime.grpc_server import GrpcServer
from services.runtime.jetstream import open_jetstream
from services.runtime.lifecycle import execute, run
from services.runtime.mongo_client import open_mongo
from services.runtime.ops_server import OpsServer
from services.runtime.outbox import Outbox
from services.runtime.redis_client import open_redis
from services.runtime.store_watch import StoreWatch
from services.runtime.telemetry import configure

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub


async def main(config: QuizConfig) -> None:
    """Put the process together and run it until it is told to stop."""
    async with AsyncExitStack() as stack:
        ops = await stack.enter_async_context(OpsServer(config.ops_address))
        mongo = await stack.enter_async_context(open_mongo(config.mongo, "quiz"))
        redis = await stack.enter_async_context(open_redis(config.redis, "quiz"))
        nats = await stack.enter_async_context(open_jetstream(config.nats, "quiz"))
        verifier = await stack.enter_async_context(open_verifier(config.auth))
        token = await stack.enter_async_context(open_service_token(config.auth))
        store = QuizStore(mongo.database)
        await store.prepare()
        publisher = QuizPublisher(nats.jetstream)
        await publisher.prepare(
            partitions=config.partitions, replicas=config.stream_replicas, max_bytes=config.stream_max_bytes
        )
        production = config.process.production
        insist([*await mongo_faults(mongo.client), *await publisher.faults()], production=production)
        cache = QuizCache(store, redis, ttl=config.cache_ttl)
        outbox = Outbox(
            store.waiting, publisher, interval=config.outbox_interval, lease=config.outbox_lease, now=utc_now
        )
        get_users = "/topten.identity.v1.IdentityService/GetUsers"
        channel = await stack.enter_async_context(
            open_channel(config.upstream.identity, config.tls, upstream="identity", idempotent=[get_users])
        )
        players = Players(cast("IdentityServiceAsyncStub", IdentityServiceStub(channel)), token)
        deliveries = Deliveries(mongo.database)
        service = QuizService(store, cache, outbox, players, deliveries, window=config.timestamp_window, now=utc_now)
        moderation = Moderation(store, cache, outbox, players, now=utc_now)
        servicer = QuizServicer(service, moderation, PersonalRecords(mongo.database), utc_now)
        server = GrpcServer(
            config.grpc_address,
            [partial(add_QuizServiceServicer_to_server, servicer)],
            verifier=verifier,
            access=ACCESS,
            tls=config.tls,
            max_calls=config.process.max_calls,
            max_connection_age=config.grpc.connection_age,
            reflection=not production,
        )
        # All three may go away: kept quizzes are then read on, or those in MongoDB, and events wait in their documents.
        watch = StoreWatch(mongo=mongo.ping, redis=redis.ping, nats=nats.ping)
        await run(ops, cache, outbox, deliveries, watch, server, grace=config.process.shutdown_grace)


if __name__ == "__main__":
    settings = from_command_line(QuizConfig)
    configure(settings.process, "quiz")
    execute(main, settings)

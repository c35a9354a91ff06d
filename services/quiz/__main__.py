"""The quiz process: configuration → stores → services → servers."""

from __future__ import annotations

import services.runtime.quick_start  # noqa: F401  # first: it makes the imports below cheap

# isort: split
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from nats.errors import Error as NatsError
from topten.action.v1.action_service_pb2_grpc import add_ActionServiceServicer_to_server
from topten.attempt.v1.attempt_service_pb2_grpc import add_AttemptServiceServicer_to_server
from topten.authoring.v1.authoring_service_pb2_grpc import add_AuthoringServiceServicer_to_server
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceStub
from topten.quiz.v1.quiz_service_pb2_grpc import add_QuizServiceServicer_to_server
from topten.room.v1.room_service_pb2_grpc import add_RoomServiceServicer_to_server

from services.confirmation.confirmations import Confirmations
from services.confirmation.signals import CountedSignals
from services.quiz.action_types.reports import ActionReports
from services.quiz.action_types.rpc import ActionServicer
from services.quiz.action_types.service import ActionTypeService
from services.quiz.action_types.store import ActionTypeStore
from services.quiz.attempts.attempt_store import AttemptStore
from services.quiz.attempts.extra_time_store import ExtraTimeStore
from services.quiz.attempts.rpc import AttemptServicer
from services.quiz.attempts.wiring import attempts_of
from services.quiz.authoring.rpc import AuthoringServicer
from services.quiz.authoring.wiring import authoring_of
from services.quiz.config import QuizConfig
from services.quiz.confirmed_submission import ConfirmedSubmission
from services.quiz.delivery_store import DeliveryStore
from services.quiz.moderation import Moderation
from services.quiz.personal_data_store import PersonalDataStore
from services.quiz.player_lookup import PlayerLookup
from services.quiz.publisher import QuizPublisher
from services.quiz.quiz_cache import QuizCache
from services.quiz.quiz_store import QuizStore
from services.quiz.record_restoration import RecordRestoration
from services.quiz.rejudging import Rejudging
from services.quiz.relay import ActionRelay
from services.quiz.reviews import Reviews
from services.quiz.rooms.rpc import RoomServicer
from services.quiz.rooms.wiring import rooms_of
from services.quiz.rpc import QuizServicer
from services.quiz.service import QuizService
from services.quiz.submission_service import SubmissionService
from services.quiz.submission_store import SubmissionStore
from services.runtime.auth.verification import TokenVerifier, open_service_token, open_verifier
from services.runtime.clock import utc_now
from services.runtime.config.loading import from_command_line
from services.runtime.grpc.client import open_channel
from services.runtime.grpc.server import GrpcServer
from services.runtime.lifecycle import Stage, execute, run
from services.runtime.ops_server import OpsServer
from services.runtime.outbox import Outbox
from services.runtime.periodic import Periodic
from services.runtime.stores.durability import insist, mongo_faults
from services.runtime.stores.incarnation import Incarnation, IncarnationStore, IncarnationWatch
from services.runtime.stores.jetstream import open_jetstream
from services.runtime.stores.mongo import open_mongo
from services.runtime.stores.redis import REDIS_ERRORS, open_redis
from services.runtime.stores.watch import StoreWatch
from services.runtime.telemetry.logging import configure

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub
    from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceAsyncStub

    from services.runtime.auth.service_token import ServiceToken

KEEP_STREAM: Final = timedelta(seconds=2)
SUBSCRIBE_AGAIN: Final = timedelta(seconds=1)
WRITE_DELIVERIES: Final = timedelta(milliseconds=100)


async def main(config: QuizConfig) -> None:
    """Build the process and run it until it is stopped."""
    async with AsyncExitStack() as stack:
        ops = await stack.enter_async_context(OpsServer(config.ops_address, config))
        mongo = await stack.enter_async_context(open_mongo(config.mongo, "quiz"))
        redis = await stack.enter_async_context(open_redis(config.redis, "quiz"))
        nats = await stack.enter_async_context(open_jetstream(config.nats, "quiz"))
        verifier = await stack.enter_async_context(open_verifier(config.auth))
        quizzes, submissions = QuizStore(mongo.database), SubmissionStore(mongo.database)
        deliveries, action_types = DeliveryStore(mongo.database), ActionTypeStore(mongo.database)
        open_attempts = AttemptStore(mongo.database)
        stores = (quizzes, submissions, deliveries, open_attempts)
        for store in stores:
            await store.prepare()
        stack.push_async_callback(deliveries.flush)  # after the last quiz was served
        publisher = QuizPublisher(
            nats.jetstream,
            partitions=config.partitions,
            replicas=config.stream_replicas,
            max_bytes=config.stream_max_bytes,
        )
        await publisher.prepare()
        insist([*await mongo_faults(mongo.client), *await publisher.faults()], production=config.process.production)
        incarnation = IncarnationWatch(
            IncarnationStore(mongo.client, config.mongo.database), advances=False, retry_on=REDIS_ERRORS
        )
        cache = QuizCache(quizzes, redis, ttl=config.cache_ttl)
        outbox = Outbox(
            submissions.outbox,
            publisher,
            incarnation,
            interval=config.outbox_interval,
            lease=config.outbox_lease,
            now=utc_now,
        )
        token = await stack.enter_async_context(open_service_token(config.auth))
        players = await _open_player_lookup(config, token, stack)
        reviews = Reviews(submissions, cache, now=utc_now)
        submitting = SubmissionService(
            submissions,
            cache,
            action_types,
            open_attempts,
            outbox,
            players,
            deliveries,
            reviews,
            window=config.timestamp_window,
            version_grace=config.version_grace,
            now=utc_now,
        )
        relay, signals = ActionRelay(submitting, verifier), CountedSignals(redis)
        confirmed = ConfirmedSubmission(submitting, await _open_confirmations(config, signals, token, stack))
        rooms = rooms_of(
            mongo.database,
            redis,
            quizzes,
            submitting,
            players,
            players_host=config.rooms.players_host,
            now=utc_now,
        )
        await rooms.prepare()
        serving = QuizService(quizzes, cache, deliveries, media_hosts=config.media.hosts, now=utc_now)
        authoring = authoring_of(mongo.database, quizzes, serving, players, media_hosts=config.media.hosts, now=utc_now)
        await authoring.drafts.prepare()
        attempts = attempts_of(
            open_attempts,
            ExtraTimeStore(mongo.database),
            submissions,
            submitting,
            cache,
            players,
            authoring.authorship,
            now=utc_now,
        )
        servicer = QuizServicer(
            serving,
            authoring.authorship,
            submitting,
            confirmed,
            reviews,
            relay,
            Moderation(submissions, cache, outbox, players, now=utc_now),
            Rejudging(submissions, cache, deliveries, outbox, now=utc_now),
            RecordRestoration(submissions, cache, outbox, now=utc_now),
            PersonalDataStore(mongo.database),
            rooms.personal_data,
            attempts.service,
            authoring.drafts,
            utc_now,
        )
        actions = ActionServicer(
            ActionTypeService(action_types, now=utc_now), ActionReports(submitting, confirmed), relay
        )

        async def use_replaced_data(_incarnation: Incarnation) -> None:
            cache.forget()
            deliveries.forget()
            players.forget()
            submitting.forget()
            rooms.forget()
            for store in (*stores, rooms, authoring.drafts):
                await store.prepare()
            await cache.forget_shared()

        incarnation.actions.append(use_replaced_data)
        await run(
            ops,
            incarnation,
            Periodic("stream", publisher.keep, every=KEEP_STREAM, at_rest=5, retry_on=(NatsError, TimeoutError)),
            signals.server(),
            Periodic("quiz change subscription", cache.follow_changes, every=SUBSCRIBE_AGAIN, retry_on=REDIS_ERRORS),
            outbox,
            Periodic("delivery writer", deliveries.flush_when_any, every=WRITE_DELIVERIES, stage=Stage.PUBLISHER),
            # All three may be away: cached quizzes are served, and events wait in their documents.
            StoreWatch(mongo=mongo.ping, redis=redis.ping, nats=nats.ping),
            *rooms.servers,
            attempts.server,
            _grpc_server(config, servicer, actions, rooms.servicer, attempts.servicer, authoring.servicer, verifier),
            grace=config.process.shutdown_grace,
        )


async def _open_confirmations(
    config: QuizConfig, signals: CountedSignals, token: ServiceToken, stack: AsyncExitStack
) -> Confirmations:
    target = config.upstream.leaderboard
    channel = await stack.enter_async_context(open_channel(target, config.tls, upstream="leaderboard"))
    return Confirmations(signals, cast("LeaderboardServiceAsyncStub", LeaderboardServiceStub(channel)), token)


async def _open_player_lookup(config: QuizConfig, token: ServiceToken, stack: AsyncExitStack) -> PlayerLookup:
    channel = await stack.enter_async_context(open_channel(config.upstream.identity, config.tls, upstream="identity"))
    return PlayerLookup(cast("IdentityServiceAsyncStub", IdentityServiceStub(channel)), token)


def _grpc_server(
    config: QuizConfig,
    servicer: QuizServicer,
    actions: ActionServicer,
    rooms: RoomServicer,
    attempts: AttemptServicer,
    authoring: AuthoringServicer,
    verifier: TokenVerifier,
) -> GrpcServer:
    return GrpcServer(
        config.grpc_address,
        [
            partial(add_QuizServiceServicer_to_server, servicer),
            partial(add_ActionServiceServicer_to_server, actions),
            partial(add_RoomServiceServicer_to_server, rooms),
            partial(add_AttemptServiceServicer_to_server, attempts),
            partial(add_AuthoringServiceServicer_to_server, authoring),
        ],
        verifier=verifier,
        tls=config.tls,
        max_calls=config.process.max_calls,
        max_connection_age=config.grpc.connection_age,
        reflection=not config.process.production,
    )


if __name__ == "__main__":
    settings = from_command_line(QuizConfig)
    configure(settings.process, "quiz")
    execute(main, settings, startup=settings.process.startup_timeout)

"""The score process: configuration → stores → worker and service → servers."""

from __future__ import annotations

import gc
import uuid
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, cast

from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub
from topten.score.v1.score_service_pb2_grpc import add_ScoreServiceServicer_to_server

from services.runtime import closed
from services.runtime.auth import open_service_token, open_verifier
from services.runtime.boards import Board
from services.runtime.clock import utc_now
from services.runtime.config import from_command_line
from services.runtime.durability import insist, mongo_faults, redis_faults
from services.runtime.grpc_client import open_channel
from services.runtime.grpc_server import GrpcServer
from services.runtime.jetstream import open_jetstream
from services.runtime.lifecycle import execute, run
from services.runtime.mongo_client import open_mongo
from services.runtime.ops_server import OpsServer
from services.runtime.redis_client import open_redis
from services.runtime.store_watch import StoreWatch
from services.runtime.telemetry import configure
from services.score.archive import Archive
from services.score.behind import WriteBehind
from services.score.board_writer import BoardWriter
from services.score.closing import Closer
from services.score.config import ScoreConfig
from services.score.dead_letters import REPLAYED, DeadLetters
from services.score.erasing import Eraser
from services.score.flags import Flags
from services.score.fold import Folds
from services.score.generation import Generation
from services.score.intake import Intake
from services.score.layout import reach
from services.score.letters import Letters
from services.score.locate import Locator
from services.score.meta import Meta
from services.score.outbox import Outbox
from services.score.publisher import ScorePublisher
from services.score.rebuild import Rebuild, parts_in
from services.score.referee import Blocker, Referee
from services.score.repair import Check, Repair
from services.score.room import Room, mongo_room, redis_room, stream_room
from services.score.rpc import ACCESS, ScoreServicer
from services.score.rules import Limits
from services.score.seals import Seals
from services.score.service import ScoreService
from services.score.share import Shares
from services.score.standings import Placing, milliseconds_of
from services.score.store import ScoreStore
from services.score.verify import Verification
from services.score.worker import Worker

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub

# A batch makes thousands of objects that stay, and looking for cycles among them after every 700 costs a tenth of it.
OBJECTS_BEFORE_COLLECTION = 50_000
GET_OUTBOX = "/topten.quiz.v1.QuizService/GetOutbox"
BLOCK_USER = "/topten.identity.v1.IdentityService/BlockUser"
MILLISECOND = timedelta(milliseconds=1)


def now_ms() -> int:
    """The time of the ledger."""
    return milliseconds_of(utc_now())


async def main(config: ScoreConfig) -> None:
    """Put the process together and run it until it is told to stop."""
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION, 10, 10)
    retention = config.period_retention
    worker_id = uuid.uuid4().hex
    async with AsyncExitStack() as stack:
        ops = await stack.enter_async_context(OpsServer(config.ops_address))
        mongo = await stack.enter_async_context(open_mongo(config.mongo, "score"))
        redis = await stack.enter_async_context(open_redis(config.redis, "score"))
        nats = await stack.enter_async_context(open_jetstream(config.nats, "score"))
        verifier = await stack.enter_async_context(open_verifier(config.auth))
        token = await stack.enter_async_context(open_service_token(config.auth))

        production = config.process.production
        insist([*await mongo_faults(mongo.client), *await redis_faults(redis)], production=production)
        meta = Meta(mongo.database)
        seals = Seals(await meta.salt())
        store = ScoreStore(mongo.database, seals)
        await store.prepare(config.audit_ttl)
        folds = Folds(store, meta, worker_id, limit=config.cached_players, now=now_ms)
        placing = Placing(config.boards.catalog)
        writer = BoardWriter(redis, placing, fence_ttl=config.fence_ttl, period_retention=retention, now=utc_now)
        rebuild = Rebuild(redis, store, folds, meta, writer, placing, period_retention=retention, now=utc_now)
        generation = Generation(redis, meta, rebuild, placing, worker_id, config.heartbeat)
        flags = Flags(mongo.database)
        await flags.prepare()
        channel = await stack.enter_async_context(
            open_channel(config.upstream.identity, config.tls, upstream="identity", idempotent=[BLOCK_USER])
        )
        identity = cast("IdentityServiceAsyncStub", IdentityServiceStub(channel))
        limits = Limits(config.rule_points, config.rule_actions, round(config.rule_question_time / MILLISECOND))
        blocker = Blocker(identity, token, config.auto_block_for)
        referee = Referee(flags, blocker, limits=limits, blocking=config.auto_block)
        worker = Worker(store, folds, writer, ScorePublisher(redis), generation, referee, placing, now_ms)
        letters = DeadLetters(mongo.database)
        await letters.prepare()
        intake = Intake(
            nats,
            worker,
            letters,
            Shares(redis, worker_id),
            stream=config.stream,
            seals=seals,
            batch=config.batch,
            ack_wait=config.ack_wait,
            max_ack_pending=config.max_ack_pending,
            now=now_ms,
        )

        archive = Archive(mongo.client[f"{config.mongo.database}_{closed.DATABASE}"], redis)
        await archive.prepare()
        quizzes = await stack.enter_async_context(
            open_channel(config.upstream.quiz, config.tls, upstream="quiz", idempotent=[GET_OUTBOX])
        )
        outbox = Outbox(cast("QuizServiceAsyncStub", QuizServiceStub(quizzes)), token)

        async def boards_of_redis() -> list[Board]:
            return list({part.board: None async for part in parts_in(redis, utc_now())})

        closer = Closer(
            meta,
            archive,
            outbox.oldest_waiting,
            partial(reach, nats.jetstream, config.stream),
            boards_of_redis,
            worker_id,
            grace=config.close_after,
            interval=config.close_interval,
            now=utc_now,
        )

        def check(repair: bool) -> Check:
            verification = Verification(store, redis, meta, placing, period_retention=retention, now=utc_now)
            return Repair(verification, folds.make_anew, generation.make) if repair else verification

        eraser = Eraser(
            store,
            folds,
            flags,
            letters,
            archive,
            writer,
            redis,
            fence_ttl=config.fence_ttl,
            now=now_ms,
        )
        service = ScoreService(store, generation, check, flags, placing.boards_of)
        server = GrpcServer(
            config.grpc_address,
            [
                partial(
                    add_ScoreServiceServicer_to_server,
                    ScoreServicer(
                        service,
                        Letters(letters, worker, seals=seals, replayed=REPLAYED),
                        Locator(store, letters),
                        eraser,
                    ),
                )
            ],
            verifier=verifier,
            access=ACCESS,
            tls=config.tls,
            max_calls=config.process.max_calls,
            max_connection_age=config.grpc.connection_age,
            reflection=not production,
        )
        room = Room(
            {
                "mongo": partial(mongo_room, mongo.database),
                "redis": partial(redis_room, redis),
                "nats": partial(stream_room, nats.jetstream, config.stream),
            }
        )
        await run(
            ops,
            WriteBehind(folds, config.fold_interval),
            generation,
            referee,
            closer,
            room,
            StoreWatch(mongo=mongo.ping, redis=redis.ping, nats=nats.ping),
            server,
            intake,  # last, because it waits for the stream
            grace=config.process.shutdown_grace,
        )


if __name__ == "__main__":
    settings = from_command_line(ScoreConfig)
    configure(settings.process, "score")
    execute(main, settings)

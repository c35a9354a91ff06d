"""The identity process: configuration → stores → service → servers."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, cast

from topten.identity.v1.identity_service_pb2_grpc import add_IdentityServiceServicer_to_server
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub
from topten.score.v1.score_service_pb2_grpc import ScoreServiceStub

from services.identity.change_store import ChangeStore
from services.identity.config import IdentityConfig
from services.identity.erasing import Erasing, Forgetting
from services.identity.erasure_store import ErasureStore
from services.identity.expiry import Expiry
from services.identity.export import AccountExport
from services.identity.http import IdentityHttp
from services.identity.moderation import Moderation
from services.identity.passwords import Passwords
from services.identity.rpc import ACCESS, IdentityServicer
from services.identity.service import IdentityService
from services.identity.store import IdentityStore
from services.identity.tokens import TokenIssuer
from services.runtime.access import SERVICE
from services.runtime.auth import open_verifier
from services.runtime.clock import utc_now
from services.runtime.config import from_command_line
from services.runtime.grpc_client import open_channel
from services.runtime.grpc_server import GrpcServer
from services.runtime.jetstream import open_jetstream
from services.runtime.jwks import StaticKeys
from services.runtime.lifecycle import execute, run
from services.runtime.mongo_client import open_mongo
from services.runtime.ops_server import OpsServer
from services.runtime.outbox import EventPublisher, Outbox
from services.runtime.store_watch import StoreWatch
from services.runtime.telemetry import configure

SUBJECT = "quiz.events"

if TYPE_CHECKING:
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub
    from topten.score.v1.score_service_pb2_grpc import ScoreServiceAsyncStub


async def main(config: IdentityConfig) -> None:
    """Put the process together and run it until it is told to stop."""
    auth = config.auth
    tokens = TokenIssuer(config.signing_key, issuer=auth.issuer, audience=auth.audience, access_ttl=config.access_ttl)
    passwords = Passwords(memory_kib=config.argon2_memory_kib, rounds=config.argon2_rounds)
    async with AsyncExitStack() as stack:
        ops = OpsServer(config.ops_address)
        # The keys and service tokens need no store, and the other processes ask for them while they start.
        http = IdentityHttp(tokens, config.service_clients, now=utc_now)
        for method, path, handler in http.routes():
            ops.add_route(method, path, handler)
        await stack.enter_async_context(ops)
        mongo = await stack.enter_async_context(open_mongo(config.mongo, "identity"))
        store = IdentityStore(mongo.database)
        await store.prepare()
        service = IdentityService(
            store,
            passwords,
            tokens,
            session_ttl=config.session_ttl,
            rotation_grace=config.rotation_grace,
            now=utc_now,
        )
        # Not waited for: who is away when it starts, or later, gets the events when it is back.
        nats = await stack.enter_async_context(open_jetstream(config.nats, "identity", wait=False))
        changes = ChangeStore(mongo.database)
        await changes.prepare()
        outbox = Outbox(
            changes.waiting,
            EventPublisher(nats.jetstream, config.stream, SUBJECT),
            interval=config.outbox_interval,
            lease=config.outbox_lease,
            now=utc_now,
        )
        moderation = Moderation(changes, outbox, now=utc_now)
        erasures = ErasureStore(mongo.database)
        await erasures.prepare()
        quiz = await stack.enter_async_context(open_channel(config.upstream.quiz, config.tls, upstream="quiz"))
        score = await stack.enter_async_context(open_channel(config.upstream.score, config.tls, upstream="score"))
        forgetting = Forgetting(
            erasures,
            cast("ScoreServiceAsyncStub", ScoreServiceStub(score)),
            cast("QuizServiceAsyncStub", QuizServiceStub(quiz)),
            lambda: tokens.service_token("identity", frozenset({SERVICE}), frozenset({"player:erase"}), utc_now()),
            repeat_for=config.erasure_repeat,
            now=utc_now,
        )
        erasing = Erasing(erasures, store, passwords, outbox, now=utc_now)
        servicer = IdentityServicer(service, moderation, erasing, AccountExport(store, erasures), utc_now)
        # Its own keys are at hand; asking itself for them over HTTP would only be a way to fail.
        verifier = await stack.enter_async_context(open_verifier(auth, StaticKeys(*tokens.public_keys)))
        server = GrpcServer(
            config.grpc_address,
            [partial(add_IdentityServiceServicer_to_server, servicer)],
            verifier=verifier,
            access=ACCESS,
            tls=config.tls,
            max_calls=config.process.max_calls,
            max_connection_age=config.grpc.connection_age,
            reflection=not config.process.production,
        )
        # Without MongoDB nobody signs in, but keys and the services' own tokens are still to be had.
        watch = StoreWatch(mongo=mongo.ping, nats=nats.ping)
        await run(ops, outbox, Expiry(moderation), forgetting, watch, server, grace=config.process.shutdown_grace)


if __name__ == "__main__":
    settings = from_command_line(IdentityConfig)
    configure(settings.process, "identity")
    execute(main, settings)

"""The identity process: configuration → stores → services → servers."""

from __future__ import annotations

import services.runtime.quick_start  # noqa: F401  # first: it makes the imports below cheap

# isort: split
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from topten.group.v1.group_service_pb2_grpc import add_GroupServiceServicer_to_server
from topten.identity.v1.identity_service_pb2_grpc import add_IdentityServiceServicer_to_server
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub
from topten.score.v1.score_service_pb2_grpc import ScoreServiceStub

from services.identity.board_token_store import BoardTokenStore
from services.identity.board_tokens import BoardTokens
from services.identity.change_store import ChangeStore
from services.identity.client_store import ClientStore
from services.identity.config import IdentityConfig
from services.identity.erasure_propagation import ErasurePropagation
from services.identity.erasure_store import ErasureStore
from services.identity.external_player_store import ExternalPlayerStore
from services.identity.external_players import ExternalPlayers
from services.identity.group_rpc import GroupServicer
from services.identity.group_store import GroupStore
from services.identity.groups import Groups
from services.identity.guests import Guests
from services.identity.http import IdentityHttp
from services.identity.moderation import Moderation
from services.identity.passwords import Passwords
from services.identity.personal_data import PersonalData
from services.identity.player_directory import PlayerDirectory
from services.identity.record_restoration import RecordRestoration
from services.identity.rpc import IdentityServicer
from services.identity.service import IdentityService
from services.identity.service_clients import ServiceClients
from services.identity.store import IdentityStore
from services.identity.tokens import TokenIssuer
from services.identity.usernames import UsernameRules
from services.runtime.auth.access import SERVICE
from services.runtime.auth.jwks import StaticKeys
from services.runtime.auth.verification import TokenVerifier, open_verifier
from services.runtime.clock import utc_now
from services.runtime.config.loading import from_command_line
from services.runtime.errors import ServiceError
from services.runtime.grpc.client import open_channel
from services.runtime.grpc.server import GrpcServer
from services.runtime.lifecycle import execute, run
from services.runtime.ops_server import OpsServer
from services.runtime.outbox import EventPublisher, Outbox
from services.runtime.periodic import Periodic
from services.runtime.stores.incarnation import Incarnation, IncarnationStore, IncarnationWatch
from services.runtime.stores.jetstream import open_jetstream
from services.runtime.stores.mongo import open_mongo
from services.runtime.stores.watch import StoreWatch
from services.runtime.telemetry.logging import configure
from services.streams import QUIZ_SUBJECT

if TYPE_CHECKING:
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub
    from topten.score.v1.score_service_pb2_grpc import ScoreServiceAsyncStub

SWEEP_EVERY: Final = timedelta(seconds=1)


async def main(config: IdentityConfig) -> None:
    """Build the process and run it until it is stopped."""
    auth = config.auth
    tokens = TokenIssuer(config.signing_key, issuer=auth.issuer, audience=auth.audience, access_ttl=config.access_ttl)
    passwords = Passwords(memory_kib=config.argon2_memory_kib, rounds=config.argon2_rounds)
    async with AsyncExitStack() as stack:
        # Keys and service tokens need no store, and the other processes request them while they start.
        clients = ServiceClients(config.service_clients, [each.issuer for each in auth.outside], now=utc_now)
        ops = await _open_http(config, tokens, clients, stack)
        mongo = await stack.enter_async_context(open_mongo(config.mongo, "identity"))
        store, changes, erasures, board_token_store, group_store = (
            IdentityStore(mongo.database),
            ChangeStore(mongo.database),
            ErasureStore(mongo.database),
            BoardTokenStore(mongo.database),
            GroupStore(mongo.database),
        )
        stores = (store, changes, erasures, board_token_store, group_store)
        for each in stores:
            await each.prepare()
        clients.open(ClientStore(mongo.database))
        # Without waiting: events are published when JetStream is available.
        nats = await stack.enter_async_context(open_jetstream(config.nats, "identity", wait=False))
        incarnation = IncarnationWatch(IncarnationStore(mongo.client, config.mongo.database), advances=False)
        outbox = Outbox(
            changes.outbox,
            EventPublisher(nats.jetstream, config.stream, QUIZ_SUBJECT),
            incarnation,
            interval=config.outbox_interval,
            lease=config.outbox_lease,
            now=utc_now,
        )
        moderation = Moderation(changes, outbox, now=utc_now)
        usernames = UsernameRules(config.reserved_usernames)
        board_tokens = BoardTokens(board_token_store, tokens, now=utc_now)
        personal_data = PersonalData(store, changes, erasures, group_store, passwords, outbox, now=utc_now)
        guests = Guests(
            store,
            moderation,
            personal_data,
            usernames,
            lifetime=config.guest_ttl,
            retention=config.guest_retention,
            now=utc_now,
        )
        service = IdentityService(
            store,
            passwords,
            tokens,
            usernames,
            board_tokens,
            guests,
            session_ttl=config.session_ttl,
            rotation_grace=config.rotation_grace,
            now=utc_now,
        )
        players = ExternalPlayers(store, ExternalPlayerStore(mongo.database), moderation, usernames, now=utc_now)
        restoration = RecordRestoration(changes, erasures, outbox, now=utc_now)
        servicer = IdentityServicer(
            service,
            players,
            moderation,
            PlayerDirectory(store, changes, now=utc_now),
            personal_data,
            restoration,
            clients,
            usernames,
            tokens.board_head,
            board_tokens,
            utc_now,
        )
        propagation = await _open_erasure_propagation(config, erasures, tokens, stack)
        # Reads its own keys directly; over HTTP that could fail.
        verifier = await stack.enter_async_context(open_verifier(auth, StaticKeys(*tokens.public_keys)))
        sweep = partial(Periodic, every=SWEEP_EVERY, at_rest=15, retry_on=(ServiceError,))

        async def prepare_indexes(_incarnation: Incarnation) -> None:
            for each in stores:
                await each.prepare()

        # Nothing is cached; what a restored database may lack is its indexes.
        incarnation.actions.append(prepare_indexes)
        await run(
            ops,
            incarnation,
            outbox,
            sweep("sanction expiry", moderation.end_expired_sanctions),
            sweep("guest erasure", guests.erase_ended),
            sweep("erasure propagation", propagation.run_due),
            # Without MongoDB nobody signs in, but keys and service tokens are still served.
            StoreWatch(mongo=mongo.ping, nats=nats.ping),
            _grpc_server(config, servicer, GroupServicer(Groups(group_store, store, now=utc_now)), verifier),
            grace=config.process.shutdown_grace,
        )


async def _open_http(
    config: IdentityConfig, tokens: TokenIssuer, clients: ServiceClients, stack: AsyncExitStack
) -> OpsServer:
    ops = OpsServer(config.ops_address, config)
    for method, path, handler in IdentityHttp(tokens, clients, now=utc_now).routes():
        ops.add_route(method, path, handler)
    return await stack.enter_async_context(ops)


async def _open_erasure_propagation(
    config: IdentityConfig, erasures: ErasureStore, tokens: TokenIssuer, stack: AsyncExitStack
) -> ErasurePropagation:
    quiz = await stack.enter_async_context(open_channel(config.upstream.quiz, config.tls, upstream="quiz"))
    score = await stack.enter_async_context(open_channel(config.upstream.score, config.tls, upstream="score"))
    return ErasurePropagation(
        erasures,
        cast("ScoreServiceAsyncStub", ScoreServiceStub(score)),
        cast("QuizServiceAsyncStub", QuizServiceStub(quiz)),
        lambda: tokens.service_token("identity", frozenset({SERVICE}), frozenset({"player:erase"}), utc_now()),
        repeat_for=config.erasure_repeat,
        now=utc_now,
    )


def _grpc_server(
    config: IdentityConfig, servicer: IdentityServicer, groups: GroupServicer, verifier: TokenVerifier
) -> GrpcServer:
    return GrpcServer(
        config.grpc_address,
        [
            partial(add_IdentityServiceServicer_to_server, servicer),
            partial(add_GroupServiceServicer_to_server, groups),
        ],
        verifier=verifier,
        tls=config.tls,
        max_calls=config.process.max_calls,
        max_connection_age=config.grpc.connection_age,
        reflection=not config.process.production,
    )


if __name__ == "__main__":
    settings = from_command_line(IdentityConfig)
    configure(settings.process, "identity")
    execute(main, settings, startup=settings.process.startup_timeout)

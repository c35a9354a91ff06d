"""The parts of the identity process, a builder per noun: each takes the settings and the parts below it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from topten.group.v1.group_service_pb2_grpc import add_GroupServiceServicer_to_server
from topten.identity.v1.identity_service_pb2_grpc import add_IdentityServiceServicer_to_server
from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceStub
from topten.score.v1.score_service_pb2_grpc import ScoreServiceStub

from services.boards.periods.closed import DATABASE
from services.identity.board_tokens.board_token_store import BoardTokenStore
from services.identity.board_tokens.service import BoardTokens
from services.identity.clients.client_store import ClientStore
from services.identity.clients.service import ServiceClients
from services.identity.config import IdentityConfig
from services.identity.erasure.erasure_store import ErasureStore
from services.identity.erasure.personal_data import PersonalData
from services.identity.erasure.propagation import ErasurePropagation
from services.identity.erasure.record_restoration import RecordRestoration
from services.identity.external_players.external_player_store import ExternalPlayerStore
from services.identity.external_players.service import ExternalPlayers
from services.identity.groups.group_store import GroupStore
from services.identity.groups.rpc import GroupServicer
from services.identity.groups.service import Groups
from services.identity.groups.team_boards import BoardDefinitions
from services.identity.guests import Guests
from services.identity.http import IdentityHttp
from services.identity.moderation.change_store import ChangeStore
from services.identity.moderation.player_directory import PlayerDirectory
from services.identity.moderation.service import Moderation
from services.identity.passwords import Passwords
from services.identity.rpc import IdentityServicer
from services.identity.service import IdentityService
from services.identity.store import IdentityStore
from services.identity.tokens import TokenIssuer
from services.identity.usernames import UsernameRules
from services.runtime.auth.access import SERVICE
from services.runtime.auth.verification import TokenVerifier
from services.runtime.grpc.client import open_channel
from services.runtime.grpc.server import GrpcServer
from services.runtime.outbox.publishing import EventPublisher, Outbox
from services.runtime.process.ops_server import OpsServer
from services.runtime.stores.incarnation import IncarnationStore, IncarnationWatch
from services.runtime.stores.jetstream import Nats, open_jetstream
from services.runtime.stores.mongo import Mongo, long_operation, open_mongo
from services.runtime.stores.mongo_clock import MongoClock
from services.streams import QUIZ_SUBJECT

if TYPE_CHECKING:
    from topten.quiz.v1.quiz_service_pb2_grpc import QuizServiceAsyncStub
    from topten.score.v1.score_service_pb2_grpc import ScoreServiceAsyncStub


@dataclass(frozen=True)
class Stores:
    """Connections, and what the process keeps in MongoDB."""

    mongo: Mongo
    nats: Nats
    incarnation: IncarnationWatch
    accounts: IdentityStore
    changes: ChangeStore
    erasures: ErasureStore
    board_tokens: BoardTokenStore
    groups: GroupStore

    async def prepare(self) -> None:
        """Create the indexes. Idempotent. Raises UNAVAILABLE."""
        with long_operation():
            for store in (self.accounts, self.changes, self.erasures, self.board_tokens, self.groups):
                await store.prepare()


@dataclass(frozen=True)
class Accounts:
    """Accounts as the process runs them."""

    usernames: UsernameRules
    outbox: Outbox
    moderation: Moderation
    personal_data: PersonalData
    guests: Guests
    board_tokens: BoardTokens
    service: IdentityService


async def open_http(
    config: IdentityConfig, tokens: TokenIssuer, clients: ServiceClients, clock: MongoClock, stack: AsyncExitStack
) -> OpsServer:
    """Serve the public keys and service tokens, which need no store; the other processes request them while they start."""
    ops = OpsServer(config.ops_address, config)
    for method, path, handler in IdentityHttp(tokens, clients, now=clock.now).routes():
        ops.add_route(method, path, handler)
    return await stack.enter_async_context(ops)


async def open_stores(
    config: IdentityConfig, clients: ServiceClients, clock: MongoClock, stack: AsyncExitStack
) -> Stores:
    """Connect to the stores. JetStream may be away: events are published when it is available."""
    mongo = await stack.enter_async_context(open_mongo(config.mongo, "identity", clock=clock))
    nats = await stack.enter_async_context(open_jetstream(config.nats, "identity", wait=False))
    stores = Stores(
        mongo,
        nats,
        IncarnationWatch(IncarnationStore(mongo.client, config.mongo.database), advances=False),
        IdentityStore(mongo.database),
        ChangeStore(mongo.database),
        ErasureStore(mongo.database),
        BoardTokenStore(mongo.database),
        GroupStore(mongo.database),
    )
    await stores.prepare()
    clients.open(ClientStore(mongo.database))
    return stores


def build_accounts(config: IdentityConfig, stores: Stores, tokens: TokenIssuer) -> Accounts:
    """Return the parts of accounts."""
    now = stores.mongo.clock.now
    passwords = Passwords(memory_kib=config.argon2_memory_kib, rounds=config.argon2_rounds)
    usernames = UsernameRules(config.reserved_usernames)
    outbox = Outbox(
        stores.changes.outbox,
        EventPublisher(stores.nats.jetstream, config.stream, QUIZ_SUBJECT),
        stores.incarnation,
        interval=config.outbox_interval,
        lease=config.outbox_lease,
        now=now,
    )
    moderation = Moderation(stores.changes, outbox, now=now)
    personal_data = PersonalData(
        stores.accounts, stores.changes, stores.erasures, stores.groups, passwords, outbox, now=now
    )
    guests = Guests(
        stores.accounts,
        moderation,
        personal_data,
        usernames,
        lifetime=config.guest_ttl,
        retention=config.guest_retention,
        now=now,
    )
    board_tokens = BoardTokens(stores.board_tokens, tokens, now=now)
    service = IdentityService(
        stores.accounts,
        passwords,
        tokens,
        usernames,
        board_tokens,
        guests,
        session_ttl=config.session_ttl,
        rotation_grace=config.rotation_grace,
        now=now,
    )
    return Accounts(usernames, outbox, moderation, personal_data, guests, board_tokens, service)


async def open_erasure_propagation(
    config: IdentityConfig, stores: Stores, tokens: TokenIssuer, stack: AsyncExitStack
) -> ErasurePropagation:
    """Open channels to the services that erase players, and return what calls them."""
    quiz = await stack.enter_async_context(open_channel(config.upstream.quiz, config.tls, upstream="quiz"))
    score = await stack.enter_async_context(open_channel(config.upstream.score, config.tls, upstream="score"))
    now = stores.mongo.clock.now
    return ErasurePropagation(
        stores.erasures,
        cast("ScoreServiceAsyncStub", ScoreServiceStub(score)),
        cast("QuizServiceAsyncStub", QuizServiceStub(quiz)),
        lambda: tokens.service_token("identity", frozenset({SERVICE}), frozenset({"player:erase"}), now()),
        repeat_for=config.erasure_repeat,
        now=now,
    )


def build_server(
    config: IdentityConfig,
    stores: Stores,
    accounts: Accounts,
    tokens: TokenIssuer,
    clients: ServiceClients,
    verifier: TokenVerifier,
) -> GrpcServer:
    """Return the server of all contracts of identity; it listens once it is started."""
    now = stores.mongo.clock.now
    players = ExternalPlayers(
        stores.accounts,
        ExternalPlayerStore(stores.mongo.database),
        accounts.moderation,
        accounts.usernames,
        now=now,
    )
    servicer = IdentityServicer(
        accounts.service,
        players,
        accounts.moderation,
        PlayerDirectory(stores.accounts, stores.changes, now=now),
        accounts.personal_data,
        RecordRestoration(stores.changes, stores.erasures, accounts.outbox, now=now),
        clients,
        accounts.usernames,
        tokens.board_head,
        accounts.board_tokens,
        now,
    )
    # Where score keeps the definitions of boards.
    boards = BoardDefinitions(stores.mongo.client[f"{config.mongo.database}_{DATABASE}"])
    groups = GroupServicer(Groups(stores.groups, boards, stores.accounts, now=now))
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

"""The leaderboard process: configuration → stores → service → servers."""

from __future__ import annotations

import services.runtime.process.quick_start  # noqa: F401  # first: it makes the imports below cheap

# isort: split
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, cast

from topten.group.v1.group_service_pb2_grpc import GroupServiceStub
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from topten.leaderboard.v1.leaderboard_service_pb2_grpc import add_LeaderboardServiceServicer_to_server

from services.boards.caller_groups import CallerGroups
from services.boards.group_members import GroupMembers
from services.boards.periods.closed import DATABASE
from services.boards.visibility import sees_team_of
from services.leaderboard.config import LeaderboardConfig
from services.leaderboard.reading.archive import Archive
from services.leaderboard.reading.boards import Boards
from services.leaderboard.reading.definitions import Definitions
from services.leaderboard.reading.frames import Frames
from services.leaderboard.reading.names import Names
from services.leaderboard.reading.proofs import Proofs
from services.leaderboard.reading.rosters import Rosters
from services.leaderboard.rpc import LeaderboardServicer
from services.leaderboard.service import LeaderboardService
from services.leaderboard.watching.player_ranks import PlayerRanks
from services.leaderboard.watching.updates import Updates
from services.leaderboard.watching.watch import WatchLimits
from services.leaderboard.watching.watches import Watches
from services.runtime.auth.verification import open_service_token, open_verifier
from services.runtime.config.loading import from_command_line
from services.runtime.grpc.call_context import caller
from services.runtime.grpc.client import open_channel
from services.runtime.grpc.server import GrpcServer
from services.runtime.process.lifecycle import execute, run
from services.runtime.process.ops_server import OpsServer
from services.runtime.stores.mongo import open_mongo
from services.runtime.stores.redis import open_redis
from services.runtime.stores.watch import StoreWatch
from services.runtime.telemetry.logging import configure

if TYPE_CHECKING:
    from topten.group.v1.group_service_pb2_grpc import GroupServiceAsyncStub
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub


async def main(config: LeaderboardConfig) -> None:
    """Build the process and run it until it is stopped."""
    async with AsyncExitStack() as stack:
        ops = await stack.enter_async_context(OpsServer(config.ops_address, config))
        redis = await stack.enter_async_context(open_redis(config.redis, "leaderboard"))
        verifier = await stack.enter_async_context(open_verifier(config.auth))
        token = await stack.enter_async_context(open_service_token(config.auth))
        channel = await stack.enter_async_context(
            open_channel(config.upstream.identity, config.tls, upstream="identity")
        )
        identity = cast("IdentityServiceAsyncStub", IdentityServiceStub(channel))
        groups = cast("GroupServiceAsyncStub", GroupServiceStub(channel))
        catalog = config.boards.catalog
        # The process starts without MongoDB, which only closed periods need.
        mongo = await stack.enter_async_context(open_mongo(config.mongo, DATABASE, wait=False))
        archive = Archive(mongo.database, timeout=config.read_timeout)
        boards = Boards(
            redis,
            archive,
            catalog,
            Rosters(groups, token),
            sees_team_of=lambda user_id: sees_team_of(user_id, caller()),
            timeout=config.read_timeout,
            now=mongo.clock.now,
        )
        names = Names(identity, token, ttl=config.names_ttl, wait=config.names_wait, size=config.names_cached)
        frames = Frames(boards, names, catalog, now=mongo.clock.now)
        limits = WatchLimits(
            frame_size=config.frame_size,
            tick=config.tick,
            reread=config.reread,
            linger=config.linger,
            closing=config.closing,
            max_watched=config.max_watched,
        )
        watches = Watches(frames, limits, catalog, now=mongo.clock.now)
        ranks = PlayerRanks(boards, catalog, tick=config.tick, reread=config.reread, now=mongo.clock.now)
        service = LeaderboardService(
            boards,
            archive,
            Proofs(mongo.database, archive),
            frames,
            names,
            GroupMembers(groups, token),
            watches,
            catalog,
            CallerGroups(groups, token),
            now=mongo.clock.now,
        )
        servicer = LeaderboardServicer(service, watches, ranks, now=mongo.clock.now)
        server = GrpcServer(
            config.grpc_address,
            [partial(add_LeaderboardServiceServicer_to_server, servicer)],
            verifier=verifier,
            tls=config.tls,
            max_calls=config.process.max_calls,
            max_connection_age=config.grpc.connection_age,
            reflection=not config.process.production,
        )
        # Without Redis the last frames are served, without MongoDB everything but closed periods.
        watch = StoreWatch(redis=redis.ping, mongo=mongo.ping)
        updates = Updates(redis, watches, ranks, names)
        # A board may show something else now, or be filled.
        definitions = Definitions(mongo.database, catalog, updates.mark_all, timeout=config.read_timeout)
        followers = (definitions.server(), updates.server())
        await run(ops, *followers, watches, ranks, watch, server, grace=config.process.shutdown_grace)


if __name__ == "__main__":
    settings = from_command_line(LeaderboardConfig)
    configure(settings.process, "leaderboard")
    execute(main, settings, startup=settings.process.startup_timeout)

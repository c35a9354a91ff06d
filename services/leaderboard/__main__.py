"""The leaderboard process: configuration → stores → service → servers."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, cast

from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from topten.leaderboard.v1.leaderboard_service_pb2_grpc import add_LeaderboardServiceServicer_to_server

from services.leaderboard.boards import Boards
from services.leaderboard.closed import ClosedBoards
from services.leaderboard.config import LeaderboardConfig
from services.leaderboard.frames import Frames
from services.leaderboard.names import Names
from services.leaderboard.ranks import RankWatches
from services.leaderboard.rpc import ACCESS, LeaderboardServicer
from services.leaderboard.service import LeaderboardService
from services.leaderboard.shelf import Shelf
from services.leaderboard.updates import Updates
from services.leaderboard.watches import Watches, WatchLimits
from services.runtime import closed
from services.runtime.auth import open_service_token, open_verifier
from services.runtime.clock import utc_now
from services.runtime.config import from_command_line
from services.runtime.grpc_client import open_channel
from services.runtime.grpc_server import GrpcServer
from services.runtime.lifecycle import execute, run
from services.runtime.mongo_client import open_mongo
from services.runtime.ops_server import OpsServer
from services.runtime.redis_client import open_redis
from services.runtime.store_watch import StoreWatch
from services.runtime.telemetry import configure

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub


async def main(config: LeaderboardConfig) -> None:
    """Put the process together and run it until it is told to stop."""
    async with AsyncExitStack() as stack:
        ops = await stack.enter_async_context(OpsServer(config.ops_address))
        redis = await stack.enter_async_context(open_redis(config.redis, "leaderboard"))
        verifier = await stack.enter_async_context(open_verifier(config.auth))
        token = await stack.enter_async_context(open_service_token(config.auth))
        get_users = "/topten.identity.v1.IdentityService/GetUsers"
        channel = await stack.enter_async_context(
            open_channel(config.upstream.identity, config.tls, upstream="identity", idempotent=[get_users])
        )
        identity = cast("IdentityServiceAsyncStub", IdentityServiceStub(channel))
        catalog = config.boards.catalog
        boards = Boards(redis, timeout=config.read_timeout, split=catalog.split)
        # Not waited for: only closed periods need it.
        mongo = await stack.enter_async_context(open_mongo(config.mongo, closed.DATABASE, wait=False))
        closed_boards = ClosedBoards(mongo.database, timeout=config.read_timeout)
        shelf = Shelf(boards, closed_boards, now=utc_now)
        names = Names(identity, token, ttl=config.names_ttl, wait=config.names_wait, size=config.names_cached)
        frames = Frames(shelf, names, now=utc_now)
        limits = WatchLimits(
            frame_size=config.frame_size,
            tick=config.tick,
            reread=config.reread,
            linger=config.linger,
            closing=config.closing,
            max_watched=config.max_watched,
        )
        watches = Watches(frames.read, limits, catalog)
        ranks = RankWatches(boards, catalog, tick=config.tick, reread=config.reread)
        service = LeaderboardService(shelf, closed_boards, frames, names, watches, catalog, now=utc_now)
        server = GrpcServer(
            config.grpc_address,
            [partial(add_LeaderboardServiceServicer_to_server, LeaderboardServicer(service, ranks, now=utc_now))],
            verifier=verifier,
            access=ACCESS,
            tls=config.tls,
            max_calls=config.process.max_calls,
            max_connection_age=config.grpc.connection_age,
            reflection=not config.process.production,
        )
        # Without Redis what was read last is served on, without MongoDB all but closed periods.
        watch = StoreWatch(redis=redis.ping, mongo=mongo.ping)
        updates = Updates(redis, watches, ranks, names)
        await run(ops, updates, watches, ranks, watch, server, grace=config.process.shutdown_grace)


if __name__ == "__main__":
    settings = from_command_line(LeaderboardConfig)
    configure(settings.process, "leaderboard")
    execute(main, settings)

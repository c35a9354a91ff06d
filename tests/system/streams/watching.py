"""Watches on a real Redis, in this process, with a clock that is set."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, cast

from prometheus_client import REGISTRY
from redis.asyncio import Redis
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from topten.leaderboard.v1.leaderboard_pb2 import Frame

from services.boards.catalog import Catalog
from services.leaderboard.reading.frames import Frames
from services.leaderboard.reading.names import Names
from services.leaderboard.watching.player_ranks import PlayerRanks
from services.leaderboard.watching.updates import Updates
from services.leaderboard.watching.watch import WatchLimits
from services.leaderboard.watching.watches import Watches
from services.runtime.auth.service_token import ServiceToken
from services.runtime.clock import utc_now
from services.runtime.config.settings import MongoConfig
from services.runtime.grpc.client import open_channel
from services.runtime.stores.channel import SILENCE
from services.runtime.stores.mongo import open_mongo
from tests.deadline import deadline, eventually
from tests.servers import HOST, free_port, unique
from tests.system.boards.seeded import BoardSeeder, reader

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

SECOND = timedelta(seconds=1)
TICK = SECOND / 20
LONG = timedelta(minutes=1)


class SetClock:
    """A time of day that the test sets."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


class Watching(NamedTuple):
    """Watches of boards and of players on them, with the subscription that wakes them."""

    watches: Watches
    ranks: PlayerRanks
    frames: Frames


@asynccontextmanager
async def watching(
    redis: Redis,
    mongo_url: str,
    *,
    now: Callable[[], datetime] = utc_now,
    reread: timedelta = LONG,
    max_watched: int = 10,
    subscription: Redis | None = None,
    silence: timedelta = SILENCE,
) -> AsyncIterator[Watching]:
    """Watch without identity: a board is shown without names rather than not at all."""
    nobody = f"{HOST}:{free_port()}"
    limits = WatchLimits(
        frame_size=10, tick=TICK, reread=reread, linger=SECOND, closing=SECOND * 10, max_watched=max_watched
    )
    async with AsyncExitStack() as stack:
        mongo = await stack.enter_async_context(open_mongo(MongoConfig(url=mongo_url, database="none"), "boards"))
        channel = await stack.enter_async_context(open_channel(nobody))
        token = await stack.enter_async_context(ServiceToken(f"http://{nobody}/oauth/token", "test", "secret"))
        identity = cast("IdentityServiceAsyncStub", IdentityServiceStub(channel))
        names = Names(identity, token, ttl=SECOND, wait=SECOND, size=1000)
        boards = reader(redis, mongo.database, timeout=SECOND)
        frames = Frames(boards, names, Catalog(), now=now)
        watches = Watches(frames, limits, Catalog(), now=now)
        stack.push_async_callback(watches.stop)
        ranks = PlayerRanks(boards, Catalog(), tick=TICK, reread=SECOND / 5, now=now)
        stack.push_async_callback(ranks.stop)
        updates = Updates(subscription or redis, watches, ranks, names, silence=silence).server()
        before = subscriptions()
        await updates.start()
        stack.push_async_callback(updates.stop)

        async def subscribed() -> bool:
            return subscriptions() > before

        await eventually(subscribed, "the subscription is open")
        yield Watching(watches, ranks, frames)


def subscriptions() -> float:
    return REGISTRY.get_sample_value("topten_leaderboard_subscriptions_total") or 0.0


def reads() -> float:
    name, results = "topten_leaderboard_reads_total", ("sent", "same", "failed")
    return sum(REGISTRY.get_sample_value(name, {"result": result}) or 0.0 for result in results)


async def until(frames: AsyncGenerator[Frame, None], holds: Callable[[Frame], bool]) -> Frame:
    async with deadline("a frame of the stream"):
        async for frame in frames:
            if holds(frame):
                return frame
    raise AssertionError("the stream ended")


def is_empty(frame: Frame) -> bool:
    return not frame.entries


def shows(points: int) -> Callable[[Frame], bool]:
    return lambda frame: [entry.score for entry in frame.entries] == [points]


async def new_board(redis: Redis) -> tuple[BoardSeeder, str]:
    seeder = BoardSeeder(redis)
    await seeder.complete(1)
    return seeder, f"quiz:{unique('q')}"

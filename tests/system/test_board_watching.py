"""Watches on a real Redis, in this process: with a clock that is set, and a connection that goes silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from topten.leaderboard.v1.leaderboard_pb2 import Frame

from services.leaderboard.boards import Boards
from services.leaderboard.frames import Frames
from services.leaderboard.names import Names
from services.leaderboard.ranks import Changes, RankWatches
from services.leaderboard.updates import Updates
from services.leaderboard.watch import Clock
from services.leaderboard.watches import Watches, WatchLimits
from services.runtime.boards import SCORE_CHANNEL, points_of
from services.runtime.catalog import Catalog
from services.runtime.grpc_client import open_channel
from services.runtime.redis_client import open_redis
from services.runtime.service_token import ServiceToken
from services.runtime.settings import RedisConfig
from tests.servers import HOST, RunningCluster, RunningServer, free_port, running, unique
from tests.system.boards import Pen

if TYPE_CHECKING:
    from topten.identity.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub

PATIENCE = 20
SECOND = timedelta(seconds=1)


class SetClock(Clock):
    """A time of day that the test sets."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


class Proxy:
    """Passes bytes on to a server; from `silence` on nothing comes back on the connections that subscribed."""

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self._server_port = port
        self._subscribed: set[asyncio.StreamWriter] = set()
        self._silent: set[asyncio.StreamWriter] = set()

    def silence(self) -> None:
        assert self._subscribed
        self._silent |= self._subscribed

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection(HOST, self._server_port)

        async def request() -> None:
            while data := await reader.read(65536):
                if b"SUBSCRIBE" in data:
                    self._subscribed.add(writer)
                downstream.write(data)
                await downstream.drain()
            downstream.close()

        async def answer() -> None:
            while data := await upstream.read(65536):
                if writer not in self._silent:
                    writer.write(data)
                    await writer.drain()
            writer.close()

        await asyncio.gather(request(), answer(), return_exceptions=True)


@asynccontextmanager
async def proxied(server: RunningServer) -> AsyncIterator[tuple[Proxy, Redis]]:
    proxy = Proxy(server.port)
    listener = await asyncio.start_server(proxy.serve, HOST, proxy.port)
    try:
        url = server.url.replace(f":{server.port}", f":{proxy.port}")
        async with open_redis(RedisConfig(url=url), "proxied") as redis:
            yield proxy, redis
    finally:
        listener.close()


@pytest_asyncio.fixture(scope="module")
async def server() -> AsyncIterator[RunningServer]:
    async with running("redis") as started:
        yield started


@pytest_asyncio.fixture(scope="module")
async def redis(server: RunningServer) -> AsyncIterator[Redis]:
    async with open_redis(RedisConfig(url=server.url), "test") as client:
        yield client


@asynccontextmanager
async def nameless() -> AsyncIterator[Names]:
    """Names without an identity: a board is shown without names rather than not at all."""
    nobody = f"{HOST}:{free_port()}"
    async with open_channel(nobody) as channel, ServiceToken(f"http://{nobody}/oauth/token", "test", "secret") as token:
        stub = cast("IdentityServiceAsyncStub", IdentityServiceStub(channel))
        yield Names(stub, token, ttl=SECOND, wait=SECOND, size=1000)


@asynccontextmanager
async def watching(redis: Redis, clock: Clock, *, reread: timedelta) -> AsyncIterator[Watches]:
    async with nameless() as names:
        frames = Frames(Boards(redis, timeout=SECOND), names, now=clock.now)
        limits = WatchLimits(
            frame_size=10, tick=SECOND / 20, reread=reread, linger=SECOND, closing=SECOND * 10, max_watched=10
        )
        watches = Watches(frames.read, limits, Catalog(), clock)
        try:
            yield watches
        finally:
            await watches.stop()


def ranks_of(redis: Redis, clock: Clock | None = None, *, reread: timedelta = SECOND / 5) -> RankWatches:
    return RankWatches(Boards(redis, timeout=SECOND), Catalog(), tick=SECOND / 20, reread=reread, clock=clock)


async def until(frames: AsyncGenerator[Frame, None], holds: Callable[[Frame], bool]) -> Frame:
    async with asyncio.timeout(PATIENCE):
        async for frame in frames:
            if holds(frame):
                return frame
    raise AssertionError("the stream ended")


async def test_a_week_turns_at_its_boundary_and_a_named_one_ends(redis: Redis) -> None:
    pen = Pen(redis)
    await pen.complete(1)
    # The last moment of an ISO week 53.
    clock = SetClock(datetime(2026, 12, 31, 23, 59, 59, 999_000, UTC))
    await pen.score({"ada": 7}, ["weekly:2026-53", "monthly:2026-12"], at=clock.at)
    async with (
        watching(redis, clock, reread=SECOND / 10) as watches,
        aclosing(watches.frames("weekly")) as week,
        aclosing(watches.frames("monthly")) as month,
        aclosing(watches.frames("monthly:2026-12")) as december,
    ):
        shown = [await until(frames, lambda frame: len(frame.entries) == 1) for frames in (week, month, december)]
        assert [frame.board for frame in shown] == ["weekly:2026-53", "monthly:2026-12", "monthly:2026-12"]
        assert shown[0].entries[0].username == "#ada"
        clock.at += timedelta(milliseconds=1)
        turned = await until(month, lambda frame: frame.board != "monthly:2026-12")
        assert (turned.board, len(turned.entries)) == ("monthly:2027-01", 0)
        # What was under way at midnight still counts, and the board closes only then.
        await pen.score({"ada": 9}, ["monthly:2026-12"], at=shown[1].timestamp.ToDatetime(UTC))
        assert (await until(december, lambda frame: frame.entries[0].score == 9)).board == "monthly:2026-12"
        clock.at += timedelta(seconds=10)
        assert [frame async for frame in december] == []
        clock.at = datetime(2027, 1, 4, tzinfo=UTC)
        assert (await until(week, lambda frame: frame.board != "weekly:2026-53")).board == "weekly:2027-01"


def subscriptions() -> float:
    return REGISTRY.get_sample_value("topten_leaderboard_subscriptions_total") or 0.0


@asynccontextmanager
async def listening(updates: Updates) -> AsyncIterator[None]:
    """From the moment at which the subscription is there."""
    before = subscriptions()
    await updates.start()
    try:
        async with asyncio.timeout(PATIENCE):
            while subscriptions() == before:
                await asyncio.sleep(0.01)
        yield
    finally:
        await updates.stop()


async def test_a_subscription_that_went_silent_is_opened_again(server: RunningServer, redis: Redis) -> None:
    """Nothing tells that the connection is dead; only the subscription itself can heal this, for nothing is reread."""
    if isinstance(server, RunningCluster):
        pytest.skip("nothing can stand before a cluster, whose nodes tell clients of one another")
    pen, board = Pen(redis), f"quiz:{unique('q')}"
    await pen.complete(1)
    async with (
        proxied(server) as (proxy, through_proxy),
        watching(redis, Clock(), reread=timedelta(minutes=1)) as watches,
        nameless() as names,
        listening(Updates(through_proxy, watches, ranks_of(redis), names, silence=SECOND / 5)),
        aclosing(watches.frames(board)) as frames,
    ):
        await until(frames, lambda frame: not frame.entries)
        proxy.silence()
        await pen.score({"ada": 1}, [board])
        await until(frames, lambda frame: len(frame.entries) == 1)


async def test_a_message_is_enough_to_be_shown(redis: Redis) -> None:
    pen, board = Pen(redis), f"quiz:{unique('q')}"
    await pen.complete(1)
    async with (
        watching(redis, Clock(), reread=timedelta(minutes=1)) as watches,
        nameless() as names,
        listening(Updates(redis, watches, ranks_of(redis), names)),
        aclosing(watches.frames(board)) as frames,
    ):
        await until(frames, lambda frame: not frame.entries)
        await pen.score({"ada": 1}, [board])
        await until(frames, lambda frame: len(frame.entries) == 1)


async def test_an_unreadable_message_makes_every_board_be_read(redis: Redis) -> None:
    pen, board = Pen(redis), f"quiz:{unique('q')}"
    await pen.complete(1)
    async with (
        watching(redis, Clock(), reread=timedelta(minutes=1)) as watches,
        nameless() as names,
        listening(Updates(redis, watches, ranks_of(redis), names)),
        aclosing(watches.frames(board)) as frames,
    ):
        await until(frames, lambda frame: not frame.entries)
        await pen.score({"ada": 1}, [board], told=False)
        await redis.publish(SCORE_CHANNEL, b"\xff\xff not a message")
        await until(frames, lambda frame: len(frame.entries) == 1)


async def told(changes: AsyncGenerator[Changes, None]) -> dict[str, tuple[int, int] | None]:
    """Who stands otherwise than before: rank and points."""
    async with asyncio.timeout(PATIENCE):
        places = (await anext(changes)).places
    return {
        user_id: None if place is None else (place.rank, points_of(place.value)) for user_id, place in places.items()
    }


async def test_a_player_is_told_where_he_stands_after_his_own_and_others_changes(redis: Redis) -> None:
    pen, board = Pen(redis), f"quiz:{unique('q')}"
    await pen.complete(1)
    ranks = ranks_of(redis)
    async with (
        watching(redis, Clock(), reread=timedelta(minutes=1)) as watches,
        nameless() as names,
        listening(Updates(redis, watches, ranks, names)),
        aclosing(ranks.changes(board, ["ada", "bob"])) as changes,
    ):
        assert await told(changes) == {"ada": None, "bob": None}
        await pen.score({"ada": 5}, [board])
        assert await told(changes) == {"ada": (1, 5)}
        await pen.score({"eve": 9}, [board])  # nobody who is watched, so it is seen when all are read again
        assert await told(changes) == {"ada": (2, 5)}
        await pen.score({"bob": 7}, [board])
        assert (await told(changes)).items() >= {"bob": (2, 7)}.items()


async def test_places_that_can_not_be_read_are_told_later(redis: Redis) -> None:
    pen, board = Pen(redis), f"quiz:{unique('q')}"
    await pen.complete(1)
    await pen.score({"ada": 5}, [board])
    await pen.withdraw()
    async with aclosing(ranks_of(redis).changes(board, ["ada"])) as changes:
        telling = asyncio.create_task(told(changes))
        await asyncio.sleep(0)
        await pen.complete(1)
        assert await telling == {"ada": (1, 5)}


async def test_who_watches_players_of_this_week_moves_on_with_the_calendar(redis: Redis) -> None:
    pen, clock = Pen(redis), SetClock(datetime(2026, 11, 22, 23, 59, 59, 900_000, tzinfo=UTC))
    await pen.complete(1)
    await pen.score({"ada": 5}, ["weekly:2026-47"])
    await pen.score({"ada": 3}, ["weekly:2026-48"])
    async with (
        aclosing(ranks_of(redis, clock).changes("weekly", ["ada"])) as follows,
        aclosing(ranks_of(redis, clock).changes("weekly:2026-47", ["ada"])) as stays,
    ):
        assert await told(follows) == await told(stays) == {"ada": (1, 5)}
        clock.at = datetime(2026, 11, 23, tzinfo=UTC)
        assert await told(follows) == {"ada": (1, 3)}
        async with asyncio.timeout(PATIENCE):
            assert [change async for change in stays] == []

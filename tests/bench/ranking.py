"""Reads of one board at several sizes: the adapter beside raw commands, gRPC beside an empty call, and memory.

    python -m tests.bench ranking [PLAYERS …]

The board is written as the score service writes it, by its own writer, over `KEYS` keys as well. Adapter and raw commands take
turns, one question at a time; the figure is the median. A raw question is what redis-py needs for the same answer: `ZREVRANK`;
`ZREVRANK`, then `ZREVRANGE`; `ZREVRANGE` by place for a page and the top. The empty call is the health check of the same
process over the same channel. Memory is `MEMORY USAGE` of everything that the board is, after a thousand players have come
into its head, and of the same members in a plain sorted set; ids are UUIDs.
"""

from __future__ import annotations

import gc
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from statistics import median
from typing import Any, NamedTuple

from grpc_health.v1 import health_pb2, health_pb2_grpc
from pymongo import AsyncMongoClient
from redis.asyncio import Redis
from topten.leaderboard.v1 import leaderboard_service_pb2 as pb
from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceStub

from services.boards.board import GENERATION_KEY, Board
from services.boards.catalog import Catalog
from services.boards.encoding import encode_us
from services.boards.sharding import SHARDING_KEY, Sharding
from services.leaderboard.reading.archive import Archive
from services.leaderboard.reading.boards import Boards
from services.runtime.clock import utc_now
from services.runtime.config.settings import RedisConfig
from services.runtime.grpc.client import call, open_channel
from services.runtime.stores.redis import open_redis
from services.score.projection.board_writer import BoardWriter, by_board
from services.score.projection.standings import Placement, Standing
from tests.no_metadata import no_metadata
from tests.servers import RunningServer, running
from tests.system.boards.seeded import FixedRosters
from tests.system.processes import running_identity, running_service

SIZES = (10_000, 100_000, 1_000_000)
KEYS = 4
BATCH = 500
RISEN = 1000
ROUNDS, QUESTIONS = 15, 200
RADIUS, PAGE, TOP = 5, 20, 10
BOARD = Board("all")
Question = Callable[[str], Awaitable[Any]]


class Cost(NamedTuple):
    """Microseconds of a read, by raw commands and by the adapter."""

    raw: float
    ours: float


def players(size: int) -> list[tuple[str, float]]:
    """Return IDs and values, which depend on the size only."""
    chance = random.Random(size)
    begun = int(utc_now().timestamp()) * 1_000_000
    return [
        (str(uuid.UUID(int=chance.getrandbits(128))), encode_us(chance.randrange(1, 100_000), begun + n))
        for n in range(size)
    ]


async def used(redis: Redis) -> int:
    """Return the bytes of all keys, estimated from a sample of members."""
    return sum([await redis.memory_usage(key, samples=1000) or 0 async for key in redis.scan_iter("*")])


async def write(redis: Redis, members: Sequence[tuple[str, float]], sharding: Sharding) -> None:
    """Write the board as the score service does."""
    writer = BoardWriter(
        redis,
        Placement(Catalog((), sharding)),
        no_metadata,
        fence_ttl=timedelta(hours=1),
        period_retention=timedelta(days=35),
        now=utc_now,
    )
    await redis.set(GENERATION_KEY, 1)
    await redis.set(SHARDING_KEY, str(sharding))
    for start in range(0, len(members), BATCH):
        batch = [
            Standing(BOARD, who, int(value), value, 1, lowered=False) for who, value in members[start : start + BATCH]
        ]
        seconds, _ = await redis.time()
        await writer.write(by_board(batch), started_at=int(seconds) * 1000, generation=1)


async def memory(redis: Redis, members: Sequence[tuple[str, float]]) -> tuple[float, float]:
    """Return the bytes per player of a plain sorted set and of the board, which stays."""
    for start in range(0, len(members), BATCH):
        await redis.zadd("plain", dict(members[start : start + BATCH]))
    plain = await used(redis)
    await redis.flushall(asynchronous=True)
    await write(redis, members, Sharding())
    # Players in the head have a previous rank.
    await write(redis, [(user_id, value + 200_000) for user_id, value in members[:RISEN]], Sharding())
    return plain / len(members), await used(redis) / len(members)


def raw_questions(redis: Redis) -> Mapping[str, Question]:
    """The same reads by plain commands."""
    key = BOARD.key

    async def around(user_id: str) -> Any:
        rank: Any = await redis.zrevrank(key, user_id)
        start = max(0, int(rank or 0) - RADIUS)
        return await redis.zrevrange(key, start, start + 2 * RADIUS, withscores=True)

    async def page(user_id: str) -> Any:
        start = hash(user_id) % 10_000
        return await redis.zrevrange(key, start, start + PAGE - 1, withscores=True)

    return {
        "rank": lambda user_id: redis.zrevrank(key, user_id, withscore=True),
        "around": around,
        "page": page,
        "top": lambda _: redis.zrevrange(key, 0, TOP - 1, withscores=True),
    }


def our_questions(boards: Boards, values: Mapping[str, float]) -> Mapping[str, Question]:
    """The reads of the adapter."""
    return {
        "rank": lambda user_id: boards.read(BOARD, lambda view: view.standings([user_id])),
        "around": lambda user_id: boards.read(BOARD, lambda view: view.around(user_id, RADIUS)),
        "page": lambda user_id: boards.read(BOARD, lambda view: view.page(PAGE, (user_id, values[user_id]))),
        "top": lambda _: boards.read(BOARD, lambda view: view.head(TOP)),
    }


async def took(question: Question, user_id: str) -> float:
    begun = time.perf_counter()
    await question(user_id)
    return (time.perf_counter() - begun) * 1e6


async def compared(raw: Mapping[str, Question], ours: Mapping[str, Question], ids: Sequence[str]) -> dict[str, Cost]:
    """Return medians of reads that alternate, so that other load affects both."""
    found = {}
    for name, question in raw.items():
        pairs = [(await took(question, who), await took(ours[name], who)) for _ in range(ROUNDS) for who in ids]
        found[name] = Cost(median(one for one, _ in pairs), median(other for _, other in pairs))
    return found


async def over_grpc(server: RunningServer, mongo_url: str, ids: Sequence[str]) -> dict[str, float]:
    """Return the microseconds of calls to the leaderboard service, including an empty one."""
    async with AsyncExitStack() as stack:
        identity = await stack.enter_async_context(running_identity(mongo_url))
        environ = {"TOPTEN_REDIS_URL": server.url, "TOPTEN_MONGO_URL": mongo_url, "TOPTEN_LEADERBOARD_NAMES_TTL": "1h"}
        service = await stack.enter_async_context(running_service("leaderboard", identity.environ | environ))
        channel = await stack.enter_async_context(open_channel(service.grpc))
        tokens = await stack.enter_async_context(identity.token())
        token = await tokens.get()
        stub: Any = LeaderboardServiceStub(channel)
        health: Any = health_pb2_grpc.HealthStub(channel)
        questions: dict[str, Question] = {
            "empty": lambda _: health.Check(health_pb2.HealthCheckRequest()),
            "rank": lambda who: call(stub.GetRanks, pb.GetRanksRequest(user_ids=[who]), token=token),
            "around": lambda who: call(stub.GetAround, pb.GetAroundRequest(user_id=who, radius=RADIUS), token=token),
            "page": lambda _: call(stub.ListEntries, pb.ListEntriesRequest(page_size=PAGE), token=token),
            "top": lambda _: call(stub.GetLeaderboard, pb.GetLeaderboardRequest(limit=TOP), token=token),
        }
        # The first round requests the names from identity.
        for question in questions.values():
            for user_id in ids:
                await question(user_id)
        return {
            name: median([await took(question, who) for _ in range(ROUNDS) for who in ids])
            for name, question in questions.items()
        }


async def measure(size: int, mongo_url: str) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running("redis"))
        redis = await stack.enter_async_context(open_redis(RedisConfig(url=server.url), "bench"))
        members = players(size)
        plain, whole = await memory(redis, members)
        chosen = random.Random(7).sample(members, QUESTIONS)
        ids, values = [user_id for user_id, _ in chosen], dict(chosen)
        del members
        gc.collect()
        second = timedelta(seconds=1)
        mongo: AsyncMongoClient[dict[str, Any]] = await stack.enter_async_context(AsyncMongoClient(mongo_url))
        archive = Archive(mongo["boards"], timeout=second)
        boards = Boards(
            redis, archive, Catalog(), FixedRosters(), sees_team_of=lambda _: True, timeout=second, now=utc_now
        )
        one = await compared(raw_questions(redis), our_questions(boards, values), ids)
        calls = await over_grpc(server, mongo_url, ids[:50])
        await redis.flushall(asynchronous=True)
        await write(redis, players(size), Sharding(f"all={KEYS}"))
        sharded = {
            name: median([await took(question, user_id) for user_id in ids])
            for name, question in our_questions(boards, values).items()
        }
    for name, cost in one.items():
        print(
            f"| {size:,} | {name} | {cost.raw:.0f} | {cost.ours:.0f} | {cost.ours / cost.raw:.2f} | {sharded[name]:.0f} "
            f"| {calls[name]:.0f} | {calls['empty']:.0f} |",
            flush=True,
        )
    print(f"| {size:,} | bytes a player | {plain:.1f} | {whole:.1f} | {whole / plain:.3f} | | | |", flush=True)


async def main(sizes: Sequence[int]) -> None:
    """Measure, and print the result."""
    print(f"| players | question | raw, µs | adapter, µs | × | over {KEYS} keys, µs | gRPC, µs | empty call, µs |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    async with running("mongo") as mongo:
        for size in sizes or SIZES:
            await measure(size, mongo.url)

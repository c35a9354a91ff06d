"""A board of teams at its largest: 100 teams of 500 members, among 100 000 players.

    python -m tests.bench teams

`changed` is a read of the top 10 after a write to the board, `same` one without, and `Redis` what the server says that its
scripts of a changed read took. `20 readers` is the time until 20 concurrent reads are done after a write. `members` is how
long it takes to read the teams from identity's message, which happens after a change of members alone.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from operator import methodcaller
from statistics import median
from typing import Final

from pymongo import AsyncMongoClient
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table
from topten.group.v1.group_pb2 import Team as TeamMessage
from topten.group.v1.group_service_pb2 import ListTeamsResponse

from services.boards.board import GENERATION_KEY, Board
from services.boards.catalog import Catalog
from services.boards.definition import Definition
from services.boards.encoding import encode
from services.leaderboard.reading.archive import Archive
from services.leaderboard.reading.boards import Boards
from services.leaderboard.reading.rosters import Roster, roster_of
from services.runtime.clock import utc_now
from services.runtime.config.settings import RedisConfig
from services.runtime.stores.redis import open_redis
from tests.servers import running
from tests.system.boards.seeded import FixedRosters

PLAYERS, TEAMS, MEMBERS, ROUNDS, READERS = 100_000, 100, 500, 30, 20
BOARD: Final = Board("custom", "cup")


async def measure() -> Table:
    """Return the table."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running("redis"))
        redis = await stack.enter_async_context(open_redis(RedisConfig(url=server.url), "bench"))
        user_ids = [str(uuid.uuid4()) for _ in range(PLAYERS)]
        await fill(redis, user_ids)
        rosters, message = FixedRosters(), encoded(user_ids)
        rosters.rosters["cup"], parsed = read(message)
        archive = Archive(
            AsyncMongoClient("mongodb://127.0.0.1:1/?replicaSet=none")["boards"], timeout=timedelta(seconds=1)
        )
        catalog = Catalog(defined=[Definition("cup", segment="teams:best:50")])
        boards = Boards(
            redis, archive, catalog, rosters, sees_team_of=lambda _: True, timeout=timedelta(seconds=30), now=utc_now
        )

        async def head() -> None:
            await boards.read(BOARD, methodcaller("head", 10))

        async def changed() -> None:
            await redis.hincrby("{leaderboard:custom:cup}:meta", "version", 1)
            await head()

        async def crowd() -> None:
            await redis.hincrby("{leaderboard:custom:cup}:meta", "version", 1)
            await asyncio.gather(*(head() for _ in range(READERS)))

        await head()
        before = await script_seconds(redis)
        figures = [await timed(changed)]
        inside = (await script_seconds(redis) - before) / ROUNDS
        figures += [await timed(head), inside, await timed(crowd), parsed]
        table = Table("teams × members", "changed", "same", "Redis", f"{READERS} readers", "members")
        table.add_row(f"{TEAMS} × {MEMBERS}", *(f"{1000 * seconds:.1f} ms" for seconds in figures))
        return table


async def fill(redis: Redis, user_ids: list[str]) -> None:
    """Write the board of all players."""
    await redis.set(GENERATION_KEY, 1)
    await redis.hset("{leaderboard:custom:cup}:meta", mapping={"generation": 1, "version": 1})
    chance = random.Random(7)
    for start in range(0, PLAYERS, 1000):
        part = user_ids[start : start + 1000]
        await redis.zadd(BOARD.key, {user_id: encode(chance.randint(1, 10_000), utc_now()) for user_id in part})


def encoded(user_ids: list[str]) -> bytes:
    """Return the message with all teams."""
    response = ListTeamsResponse(edition=1)
    for number in range(TEAMS):
        members = user_ids[number * MEMBERS : (number + 1) * MEMBERS]
        team = TeamMessage(group_id=str(uuid.uuid4()), title=f"Team {number}", user_ids=members)
        team.counts_since_ms.extend([1_700_000_000_000] * MEMBERS)
        response.teams.append(team)
    return response.SerializeToString()


def read(message: bytes) -> tuple[Roster, float]:
    """Return the teams in a message, and the seconds that this took."""
    begun = time.perf_counter()
    roster = roster_of(ListTeamsResponse.FromString(message))
    roster.until(utc_now())
    assert len(roster.teams_of) == TEAMS * MEMBERS
    return roster, time.perf_counter() - begun


async def timed(read_once: Callable[[], Awaitable[None]]) -> float:
    """Return the median seconds of a read."""
    seconds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        await read_once()
        seconds.append(time.perf_counter() - begun)
    return median(seconds)


async def script_seconds(redis: Redis) -> float:
    """Return the seconds that the server has spent in scripts."""
    stats = await redis.info("commandstats")
    return float(sum(each["usec"] for name, each in stats.items() if name.startswith("cmdstat_evalsha"))) / 1e6


def main() -> None:
    """Measure and print the table."""
    Console().print(asyncio.run(measure()))

"""The watched ranks of single players."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis

from services.boards.encoding import points_of
from services.leaderboard.watching.player_ranks import MAX_PER_PLAYER, RankChanges
from services.runtime.errors import Reason, ServiceError
from tests.deadline import deadline
from tests.system.boards.seeded import BoardSeeder
from tests.system.streams.watching import SetClock, new_board, watching


async def standings_in(changes: AsyncGenerator[RankChanges, None]) -> dict[str, tuple[int, int] | None]:
    """The next changes, as rank and points."""
    async with deadline("changed standings"):
        standings = (await anext(changes)).standings
    return {
        user_id: None if each is None else (each.rank, points_of(each.value)) for user_id, each in standings.items()
    }


async def test_player_ranks_follow_their_own_and_others_changes(redis: Redis, mongo_url: str) -> None:
    seeder, board = await new_board(redis)
    async with watching(redis, mongo_url) as world, aclosing(world.ranks.changes(board, ["ada", "bob"])) as changes:
        assert await standings_in(changes) == {"ada": None, "bob": None}
        await seeder.score({"ada": 5}, [board])
        assert await standings_in(changes) == {"ada": (1, 5)}
        await seeder.score({"eve": 9}, [board])  # not a watched player, so the periodic read finds it
        assert await standings_in(changes) == {"ada": (2, 5)}
        await seeder.score({"bob": 7}, [board])
        assert (await standings_in(changes)).items() >= {"bob": (2, 7)}.items()


async def test_a_player_has_a_share_of_the_streams_of_ranks(redis: Redis, mongo_url: str) -> None:
    _, board = await new_board(redis)
    async with watching(redis, mongo_url) as world, AsyncExitStack() as stack:

        async def opened(caller: str) -> AsyncGenerator[RankChanges, None]:
            changes = await stack.enter_async_context(aclosing(world.ranks.changes(board, ["ada"], caller)))
            await standings_in(changes)
            return changes

        streams = [await opened("eve") for _ in range(MAX_PER_PLAYER)]
        with pytest.raises(ServiceError) as caught:
            await opened("eve")
        assert caught.value.reason is Reason.RATE_LIMITED
        for caller in ("bob", ""):  # another player, and a service
            await opened(caller)
        await streams[0].aclose()
        await opened("eve")


async def test_player_ranks_are_sent_once_the_board_is_readable(redis: Redis, mongo_url: str) -> None:
    seeder, board = await new_board(redis)
    await seeder.score({"ada": 5}, [board])
    await seeder.withdraw()
    async with watching(redis, mongo_url) as world, aclosing(world.ranks.changes(board, ["ada"])) as changes:
        waiting = asyncio.create_task(standings_in(changes))
        await asyncio.sleep(0)
        await seeder.complete(1)
        assert await waiting == {"ada": (1, 5)}


async def test_player_ranks_of_this_week_follow_the_calendar(redis: Redis, mongo_url: str) -> None:
    seeder, clock = BoardSeeder(redis), SetClock(datetime(2026, 11, 22, 23, 59, 59, 900_000, tzinfo=UTC))
    await seeder.complete(1)
    await seeder.score({"ada": 5}, ["weekly:2026-47"])
    await seeder.score({"ada": 3}, ["weekly:2026-48"])
    async with (
        watching(redis, mongo_url, now=clock.now) as world,
        aclosing(world.ranks.changes("weekly", ["ada"])) as follows,
        aclosing(world.ranks.changes("weekly:2026-47", ["ada"])) as stays,
    ):
        assert await standings_in(follows) == await standings_in(stays) == {"ada": (1, 5)}
        clock.at = datetime(2026, 11, 23, tzinfo=UTC)
        assert await standings_in(follows) == {"ada": (1, 3)}
        async with deadline("the end of the stream"):
            assert [change async for change in stays] == []

"""Frames of watched boards: through the calendar, shared by streams, and within limits."""

from __future__ import annotations

from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis

from services.boards.board import Board
from services.countries import COUNTRIES
from services.leaderboard.reading.frames import MAX_FRAMES
from services.leaderboard.watching.watches import MAX_PER_PLAYER
from services.runtime.errors import Reason, ServiceError
from tests.deadline import deadline
from tests.system.boards.seeded import BoardSeeder
from tests.system.streams.watching import SECOND, SetClock, is_empty, new_board, reads, shows, until, watching


async def test_week_turns_at_its_boundary_and_a_named_one_ends(redis: Redis, mongo_url: str) -> None:
    seeder = BoardSeeder(redis)
    await seeder.complete(1)
    # The last moment of 2026, in an ISO week 53 that ends in the next year.
    clock = SetClock(datetime(2026, 12, 31, 23, 59, 59, 999_000, UTC))
    await seeder.score({"ada": 7}, ["weekly:2026-53", "monthly:2026-12"], at=clock.at)
    async with (
        watching(redis, mongo_url, now=clock.now, reread=SECOND / 10) as world,
        aclosing(world.watches.frames("weekly")) as week,
        aclosing(world.watches.frames("monthly")) as month,
        aclosing(world.watches.frames("monthly:2026-12")) as december,
    ):
        shown = [await until(frames, lambda frame: len(frame.entries) == 1) for frames in (week, month, december)]
        assert [frame.board for frame in shown] == ["weekly:2026-53", "monthly:2026-12", "monthly:2026-12"]
        assert shown[0].entries[0].username == "#ada"
        clock.at += timedelta(milliseconds=1)
        turned = await until(month, lambda frame: frame.board != "monthly:2026-12")
        assert (turned.board, len(turned.entries)) == ("monthly:2027-01", 0)
        # Events that were under way at midnight still count; the board closes later.
        await seeder.score({"ada": 9}, ["monthly:2026-12"], at=shown[1].timestamp.ToDatetime(UTC))
        assert (await until(december, shows(9))).board == "monthly:2026-12"
        clock.at += timedelta(seconds=10)
        assert [frame async for frame in december] == []
        clock.at = datetime(2027, 1, 4, tzinfo=UTC)
        assert (await until(week, lambda frame: frame.board != "weekly:2026-53")).board == "weekly:2027-01"


async def test_streams_of_one_board_share_its_reads_and_frames(redis: Redis, mongo_url: str) -> None:
    seeder, board = await new_board(redis)
    async with watching(redis, mongo_url) as world, AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(aclosing(world.watches.frames(board))) for _ in range(20)]
        for frames in streams:
            await until(frames, is_empty)
        before = reads()
        await seeder.score({"ada": 1}, [board])
        shown = [await until(frames, shows(1)) for frames in streams]
        assert all(frame is shown[0] for frame in shown)
        assert reads() - before < len(streams)


async def test_slow_stream_is_sent_only_the_newest_frame(redis: Redis, mongo_url: str) -> None:
    seeder, board = await new_board(redis)
    async with (
        watching(redis, mongo_url) as world,
        aclosing(world.watches.frames(board)) as slow,
        aclosing(world.watches.frames(board)) as fast,
    ):
        await until(slow, is_empty)
        for points in range(1, 6):
            await seeder.score({"ada": points}, [board])
            await until(fast, shows(points))
        async with deadline("the next frame"):
            assert shows(5)(await anext(slow))


async def test_no_more_boards_are_watched_than_the_limit(redis: Redis, mongo_url: str) -> None:
    _, board = await new_board(redis)
    async with (
        watching(redis, mongo_url, max_watched=1) as world,
        aclosing(world.watches.frames(board)) as first,
        aclosing(world.watches.frames(board)) as again,
        aclosing(world.watches.frames("country:FR")) as other,
    ):
        await until(first, is_empty)
        await until(again, is_empty)
        with pytest.raises(ServiceError) as refused:
            await anext(other)
        assert refused.value.reason is Reason.UNAVAILABLE


async def test_boards_of_quizzes_that_do_not_exist_replace_no_last_frame(redis: Redis, mongo_url: str) -> None:
    await new_board(redis)
    async with watching(redis, mongo_url) as world:
        await world.frames.read(Board("all"), 10)
        for number in range(MAX_FRAMES + 1):
            await world.frames.read(Board("quiz", f"never-{number}"), 10)
        assert world.frames.last(Board("all")) is not None


async def test_one_player_cannot_watch_all_boards(redis: Redis, mongo_url: str) -> None:
    await new_board(redis)
    countries = sorted(COUNTRIES)
    async with watching(redis, mongo_url, max_watched=MAX_PER_PLAYER + 2) as world, AsyncExitStack() as stack:
        for country in countries[:MAX_PER_PLAYER]:
            frames = await stack.enter_async_context(aclosing(world.watches.frames(f"country:{country}", "eve")))
            await until(frames, is_empty)
        again = await stack.enter_async_context(aclosing(world.watches.frames(f"country:{countries[0]}", "eve")))
        await until(again, is_empty)
        beyond = f"country:{countries[MAX_PER_PLAYER]}"
        with pytest.raises(ServiceError) as refused:
            await anext(world.watches.frames(beyond, "eve"))
        assert refused.value.reason is Reason.RATE_LIMITED
        for other in ("ada", ""):
            frames = await stack.enter_async_context(aclosing(world.watches.frames(beyond, other)))
            await until(frames, is_empty)
        await stack.pop_all().aclose()
        async with aclosing(world.watches.frames("all", "eve")) as frames:
            await until(frames, is_empty)


async def test_stopping_sends_streams_to_another_instance(redis: Redis, mongo_url: str) -> None:
    await new_board(redis)
    async with watching(redis, mongo_url) as world, AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(aclosing(world.watches.frames(name))) for name in ("all", "weekly")]
        for frames in streams:
            async with deadline("the first frame"):
                await anext(frames)
        await world.watches.stop()
        for frames in [*streams, world.watches.frames("all")]:
            with pytest.raises(ServiceError) as ended:
                await until(frames, lambda _: False)
            assert ended.value.reason is Reason.UNAVAILABLE, "an end without an error means that a period has closed"


async def test_head_of_a_watched_board_is_current_until_a_change_is_known(redis: Redis, mongo_url: str) -> None:
    seeder, name = await new_board(redis)
    board = Board("quiz", name.partition(":")[2])
    async with watching(redis, mongo_url) as world:
        assert world.watches.current(board, 10) is None, "the board is not watched"
        async with aclosing(world.watches.frames(name)) as frames:
            await until(frames, is_empty)
            assert world.watches.current(board, 10) is not None
            assert world.watches.current(board, 11) is None, "the frame has fewer entries"
            world.watches.notice(name, "ada", 1.5, lowered=False)
            assert world.watches.current(board, 10) is None, "a change is known that the frame does not show"
            await seeder.score({"ada": 1}, [name])
            await until(frames, shows(1))

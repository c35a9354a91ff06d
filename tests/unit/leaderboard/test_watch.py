"""Watches with a clock that is turned by hand: bursts, ticks, periods, and time that never runs backwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import REGISTRY

from services.runtime.errors import Reason
from tests.unit.leaderboard.world import ALL, CLOSING, LINGER, REREAD, TICK, Screen, World, opened, settle


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with opened() as made:
        yield made


def stale_boards() -> float:
    return REGISTRY.get_sample_value("topten_board_stale") or 0.0


async def test_a_new_reader_gets_the_board_as_it_is_even_if_nobody_is_on_it(world: World) -> None:
    screen = await world.look()
    assert screen.scores == [{}]
    assert (screen.frames[0].generation, screen.frames[0].version, screen.frames[0].stale) == (1, 0, False)


async def test_the_first_change_leaves_at_once_and_a_burst_becomes_one_frame_with_its_last_state(world: World) -> None:
    screen = await world.look()
    await world.clock.turn(TICK)
    world.score(ada=1)
    await settle()
    assert screen.scores == [{}, {"ada": 1}], "the leading edge"
    for points in range(2, 1001):
        world.score(ada=points)
        await settle() if points % 100 == 0 else None
    assert len(screen.frames) == 2, "the tick is not over"
    await world.clock.turn(TICK)
    assert screen.scores == [{}, {"ada": 1}, {"ada": 1000}]
    await world.clock.turn(10 * TICK)
    assert len(screen.frames) == 3, "nothing new, no frame"


async def test_a_thousand_changes_over_ten_ticks_are_at_most_eleven_frames(world: World) -> None:
    screen = await world.look()
    await world.clock.turn(TICK)
    for points in range(1, 1001):
        world.score(ada=points)
        await world.clock.turn(10 * TICK / 1000)
    await world.clock.turn(TICK)
    assert 10 <= len(screen.frames) - 1 <= 11
    assert screen.scores[-1] == {"ada": 1000}


async def test_what_happens_below_the_head_is_not_read(world: World) -> None:
    world.table.put(a=30, b=20, c=10)
    await world.look()
    await world.clock.turn(TICK)
    reads = world.table.reads
    for points in range(1, 10):
        world.score(d=points)
        await settle()
    assert world.table.reads == reads
    world.score(d=10)
    await settle()
    assert world.table.reads == reads + 1


async def test_a_change_that_is_told_while_the_board_is_being_read_is_not_missed(world: World) -> None:
    """It was read before the change, and judged by the head before that the change could not be seen."""
    world.table.put(a=30, b=20, c=10)
    screen = await world.look()
    await world.clock.turn(TICK)
    world.table.hold = asyncio.Event()
    world.table.values["all"].pop("c")
    world.score(a=30, lowered=True)
    await settle()
    world.score(d=5)
    world.table.hold.set()
    await world.clock.turn(2 * TICK)
    assert screen.scores[-1] == {"a": 30, "b": 20, "d": 5}


async def test_a_lost_message_is_made_good_by_the_next_reread(world: World) -> None:
    screen = await world.look()
    await world.clock.turn(TICK)
    world.table.put(ada=7)
    await world.clock.turn(REREAD)
    assert screen.scores[-1] == {"ada": 7}


async def test_a_new_subscription_reads_every_board(world: World) -> None:
    screens = [await world.look(), await world.look("country:VN")]
    await world.clock.turn(TICK)
    world.table.put(ada=7)
    world.table.put("country:VN", ada=7)
    world.watches.mark_all()
    await settle()
    assert [screen.scores[-1] for screen in screens] == [{"ada": 7}, {"ada": 7}]


async def test_readers_of_one_board_share_its_reads_and_its_frames(world: World) -> None:
    screens = [await world.look() for _ in range(20)]
    await world.clock.turn(TICK)
    reads = world.table.reads
    world.score(ada=1)
    await settle()
    assert world.table.reads == reads + 1
    assert all(screen.frames[-1] is screens[0].frames[-1] for screen in screens)
    assert screens[0].scores[-1] == {"ada": 1}


async def test_a_reader_who_sleeps_is_sent_the_newest_frame_alone(world: World) -> None:
    frames = world.watches.frames("all")
    try:
        assert not (await anext(frames)).entries
        for points in range(1, 100):
            world.score(ada=points)
            await world.clock.turn(TICK)
        assert [entry.score for entry in (await anext(frames)).entries] == [99]
    finally:
        await frames.aclose()


async def test_while_the_board_cannot_be_read_its_last_frame_is_stale_once_and_then_fresh_again(world: World) -> None:
    world.table.put(ada=7)
    screen = await world.look()
    before = stale_boards()
    world.table.readable = False
    await world.clock.turn(10 * REREAD)
    assert [(frame.stale, frame.version) for frame in screen.frames] == [(False, 1), (True, 1)]
    assert stale_boards() == before + 1
    world.table.readable = True
    await world.clock.turn(1)
    assert [frame.stale for frame in screen.frames] == [False, True, False]
    assert screen.scores == [{"ada": 7}] * 3
    assert stale_boards() == before


async def test_before_the_boards_can_be_read_nothing_is_sent(world: World) -> None:
    world.table.readable = False
    screen = await world.look()
    await world.clock.turn(REREAD)
    assert screen.frames == []
    world.table.readable = True
    await world.clock.turn(1)
    assert screen.scores == [{}]


async def test_a_state_that_is_older_than_what_was_shown_is_not_shown(world: World) -> None:
    world.table.put(ada=7)
    world.table.put(ada=9)
    screen = await world.look()
    world.table.version, world.table.values = 1, {"all": {"ada": 7}}
    await world.clock.turn(REREAD)
    assert [(frame.version, frame.stale) for frame in screen.frames] == [(2, False), (2, True)]
    world.table.generation, world.table.version, world.table.values = 2, 1, {"all": {"ada": 8}}
    await world.clock.turn(1)
    assert [(frame.generation, frame.version, frame.stale) for frame in screen.frames[2:]] == [(2, 1, False)]
    assert screen.scores[-1] == {"ada": 8}


async def test_a_bare_week_goes_on_with_the_next_one_at_its_boundary(world: World) -> None:
    world.table.put("weekly:2026-47", ada=7)
    screen = await world.look("weekly")
    await world.clock.turn(3599.9)
    assert [frame.board for frame in screen.frames] == ["weekly:2026-47"]
    await world.clock.turn(0.1)
    assert [(frame.board, len(frame.entries)) for frame in screen.frames] == [
        ("weekly:2026-47", 1),
        ("weekly:2026-48", 0),
    ]
    world.score("weekly:2026-48", bob=1)
    await world.clock.turn(TICK)
    assert screen.scores[-1] == {"bob": 1}
    assert not screen.task.done()


async def test_a_named_week_ends_after_it_took_in_what_was_under_way(world: World) -> None:
    await world.clock.turn(1.3)  # so that no reread falls on the moment
    world.table.put("weekly:2026-47", ada=7)
    screen = await world.look("weekly:2026-47")
    await world.clock.turn(3600 - 1.3)
    assert not screen.task.done()
    world.table.put("weekly:2026-47", ada=9)
    await world.clock.turn(CLOSING)
    assert screen.task.done()
    assert screen.error is None
    assert screen.scores == [{"ada": 7}, {"ada": 9}]


async def test_a_week_that_has_long_closed_is_shown_once(world: World) -> None:
    world.table.put("weekly:2026-40", ada=7)
    screen = await world.look("weekly:2026-40")
    assert (screen.scores, screen.task.done(), screen.error) == ([{"ada": 7}], True, None)


async def test_a_named_week_does_not_end_before_its_last_frame_could_be_read(world: World) -> None:
    world.table.readable = False
    screen = await world.look("weekly:2026-40")
    await world.clock.turn(60)
    assert not screen.task.done()
    world.table.readable = True
    await world.clock.turn(1)
    assert (screen.scores, screen.task.done()) == ([{}], True)


async def test_a_board_is_read_no_more_some_seconds_after_its_last_reader_left(world: World) -> None:
    screen = await world.look()
    await screen.close()
    await world.clock.turn(LINGER - 0.1)
    again = await world.look()
    await world.clock.turn(2 * LINGER)
    assert not again.task.done()
    await again.close()
    await world.clock.turn(LINGER)
    reads = world.table.reads
    world.score(ada=1)
    await world.clock.turn(10 * REREAD)
    assert world.table.reads == reads


async def test_no_more_boards_are_watched_than_allowed(world: World) -> None:
    for board in ("all", "country:VN", "country:DE"):
        await world.look(board)
    refused = await world.look("country:FR")
    assert refused.error is not None
    assert refused.error.reason is Reason.UNAVAILABLE
    assert not (await world.look("country:VN")).task.done()


@pytest.mark.parametrize("text", ["", "daily", "weekly:2026-54", "country:vn", "quiz:"])
async def test_a_name_that_no_board_can_have_is_refused(world: World, text: str) -> None:
    refused = await world.look(text)
    assert refused.error is not None
    assert refused.error.reason is Reason.BOARD_NOT_FOUND


async def test_stopping_sends_readers_to_another_instance(world: World) -> None:
    screens = [await world.look(), await world.look("weekly:2026-47")]
    fresh = Screen(world.watches.frames("monthly"))
    await asyncio.sleep(0)
    await world.watches.stop()
    await settle()
    for screen in [*screens, fresh]:
        assert screen.task.done()
        assert screen.error is not None, "an end without an error says that a period has closed"
        assert screen.error.reason is Reason.UNAVAILABLE
    late = await world.look()
    assert late.error is not None


async def test_a_frame_at_hand_is_current_only_while_nothing_newer_is_known(world: World) -> None:
    world.table.put(a=30, b=20, c=10)
    assert world.watches.current(ALL, 3) is None, "nobody watches it"
    await world.look()
    frame = world.watches.current(ALL, 3)
    assert frame is not None
    assert world.watches.current(ALL, 4) is None, "it has not as many places"
    await world.clock.turn(0.1)
    world.score(a=31)
    assert world.watches.current(ALL, 3) is None, "a change is known that it does not show"
    await world.clock.turn(TICK)
    assert world.watches.current(ALL, 3) is not None
    world.table.readable = False
    await world.clock.turn(REREAD)
    assert world.watches.current(ALL, 3) is None, "it is stale"

"""Two leaderboard processes over gRPC, with a real Redis that the score service's own writer writes, and a real identity."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC
from typing import Any

import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient
from topten.leaderboard.v1.leaderboard_pb2 import Frame

from services.leaderboard.frames import position
from services.runtime.boards import Board, period
from services.runtime.clock import utc_now
from services.runtime.errors import Reason, ServiceError
from services.runtime.redis_client import open_redis
from services.runtime.settings import RedisConfig
from tests.servers import running, unique
from tests.system.boards import EVENT, drop_subscriptions
from tests.system.instances import PATIENCE, TICK, Instance, World
from tests.system.processes import running_identity


@pytest_asyncio.fixture(scope="module")
async def world(mongo_url: str) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running("redis"))
        identity = await stack.enter_async_context(running_identity(mongo_url))
        redis = await stack.enter_async_context(open_redis(RedisConfig(url=server.url), "test"))
        tokens = await stack.enter_async_context(identity.token())
        made = World(server, redis, mongo_url, identity, await tokens.get())
        await made.pen.complete(1)
        yield made


@pytest_asyncio.fixture(scope="module")
async def instances(world: World) -> AsyncIterator[tuple[Instance, Instance]]:
    async with world.instance() as one, world.instance() as other:
        yield one, other


@pytest.fixture
def one(instances: tuple[Instance, Instance]) -> Instance:
    return instances[0]


@pytest.fixture
def quiz() -> str:
    """A board of this test's own."""
    return f"quiz:{unique('q')}"


def shows(**scores: int) -> Callable[[Frame], bool]:
    return lambda frame: not frame.stale and {entry.user_id: entry.score for entry in frame.entries} == scores


def scores(frame: Frame) -> list[tuple[int, str, int]]:
    return [(entry.rank, entry.user_id, entry.score) for entry in frame.entries]


async def test_two_instances_send_the_same_states_under_the_same_ids(
    world: World, instances: tuple[Instance, Instance], quiz: str
) -> None:
    one, other = instances
    async with one.watch(quiz) as here, other.watch(quiz) as there:
        for points in range(1, 11):
            await world.pen.score({"ada": points, "bob": 10 + points}, [quiz])
            seen_here = await here.until(shows(ada=points, bob=10 + points))
            seen_there = await there.until(shows(ada=points, bob=10 + points))
            assert position(seen_here) == position(seen_there)
            assert seen_here.entries == seen_there.entries
        assert here.never_went_back()
        assert there.never_went_back()


async def test_a_burst_of_a_thousand_updates_is_few_frames_and_ends_with_the_last_state(
    world: World, instances: tuple[Instance, Instance], quiz: str
) -> None:
    one, other = instances
    async with one.watch(quiz) as here, other.watch(quiz) as there:
        for screen in (here, there):
            await screen.until(lambda frame: True)
        for points in range(1, 1001):
            await world.pen.score({"ada": points}, [quiz])
        ends = [await screen.until(shows(ada=1000)) for screen in (here, there)]
        assert position(ends[0]) == position(ends[1])
        for screen in (here, there):
            assert screen.never_went_back()
            span = screen.frames[-1].timestamp.ToDatetime() - screen.frames[0].timestamp.ToDatetime()
            # The clock of the timestamps is not that of the ticks: one frame more for that.
            assert len(screen.frames) <= span / TICK + 2


async def test_names_and_countries_come_from_identity_and_nobody_is_taken_for_another(
    world: World, one: Instance, quiz: str
) -> None:
    session = await world.identity.register("DE")
    nobody = secrets.token_hex(16)
    await world.pen.score({session.user.user_id: 20, nobody: 10}, [quiz])
    frame = (await one.get(quiz)).frame
    assert [(entry.username, entry.country) for entry in frame.entries] == [
        (session.user.username, "DE"),
        (f"#{nobody[-6:]}", ""),
    ]


async def test_a_new_name_is_shown_when_the_old_one_has_had_its_time(
    world: World, one: Instance, quiz: str, mongo_url: str
) -> None:
    session = await world.identity.register()
    await world.pen.score({session.user.user_id: 5}, [quiz])
    async with one.watch(quiz) as screen, AsyncMongoClient[dict[str, Any]](mongo_url) as mongo:
        await screen.until(lambda frame: frame.entries[0].username == session.user.username)
        users = mongo[world.identity.database]["users"]
        renamed = await users.update_one({"_id": session.user.user_id}, {"$set": {"username": "renamed"}})
        assert renamed.modified_count == 1
        await screen.until(lambda frame: frame.entries[0].username == "renamed")


async def test_a_watch_outlives_the_deadline_of_its_first_reader(world: World, one: Instance, quiz: str) -> None:
    async with one.watch(quiz, timeout=0.5) as first, one.watch(quiz) as second:
        for screen in (first, second):
            await screen.until(lambda frame: True)
        with pytest.raises(ServiceError):
            await first.until(lambda frame: bool(frame.entries))
        session = await world.identity.register()
        await world.pen.score({session.user.user_id: 5}, [quiz])
        frame = await second.until(lambda frame: bool(frame.entries))
        assert frame.entries[0].username == session.user.username


async def test_frames_go_on_without_identity_and_get_their_names_when_it_is_back(world: World, quiz: str) -> None:
    known, late = await world.identity.register(), await world.identity.register()
    known_id, late_id = known.user.user_id, late.user.user_id
    async with world.instance() as instance, instance.watch(quiz) as screen:
        await world.pen.score({known_id: 5}, [quiz])
        await screen.until(lambda frame: [entry.username for entry in frame.entries] == [known.user.username])
        world.identity.service.kill()
        try:
            await world.pen.score({late_id: 3, known_id: 7}, [quiz])
            await screen.until(
                lambda frame: (
                    [(entry.username, entry.score) for entry in frame.entries]
                    == [(known.user.username, 7), (f"#{late_id[-6:]}", 3)]
                )
            )
        finally:
            await world.identity.service.start()
        await screen.until(
            lambda frame: [entry.username for entry in frame.entries] == [known.user.username, late.user.username]
        )


async def test_ranks_of_players_and_who_is_not_ranked(world: World, one: Instance, quiz: str) -> None:
    await world.pen.score({"ada": 10, "bob": 30, "eve": 20}, [quiz])
    await world.pen.score({"ada": 25}, [quiz])
    answer = await one.ranks(quiz, ["nobody", "eve", "ada", "noone"])
    assert [(entry.rank, entry.user_id, entry.score) for entry in answer.entries] == [(2, "ada", 25), (3, "eve", 20)]
    assert answer.entries[0].previous_rank == 3
    assert not answer.entries[1].HasField("previous_rank")
    assert answer.not_found == ["nobody", "noone"]


async def test_the_head_of_a_board_with_its_limit_its_order_and_its_period(
    world: World, one: Instance, quiz: str
) -> None:
    players = {f"player-{number:03}": 1000 - number // 2 for number in range(120)}
    await world.pen.score(players, [quiz])
    by_hand = sorted(sorted(players.items(), reverse=True), key=lambda player: -player[1])
    for limit, expected in ((0, 10), (1, 1), (10, 10), (100, 100)):
        answer = await one.get(quiz, limit)
        assert scores(answer.frame) == [
            (rank, user_id, points) for rank, (user_id, points) in enumerate(by_hand[:expected], start=1)
        ]
        assert not answer.HasField("period")
    week = (await one.get("weekly:2026-47")).period
    counted = period(Board.parse("weekly:2026-47", EVENT))
    assert counted is not None
    assert (week.starts_at.ToDatetime(UTC), week.ends_at.ToDatetime(UTC)) == (counted.starts_at, counted.ends_at)
    assert (await one.get("weekly")).frame.board == Board.parse("weekly", utc_now()).text


async def test_a_watched_board_is_answered_without_redis_and_never_with_less_than_is_known(
    world: World, one: Instance, quiz: str
) -> None:
    async with one.watch(quiz) as screen:
        for points in range(1, 21):
            await world.pen.score({"ada": points}, [quiz])
            shown = await screen.until(shows(ada=points))
            assert position((await one.get(quiz)).frame) >= position(shown)
            assert scores((await one.get(quiz, 1)).frame) == [(1, "ada", points)]


async def test_a_board_that_exists_nowhere_is_empty_and_fresh_and_a_name_that_cannot_be_is_refused(
    one: Instance,
) -> None:
    for board in ("country:XX", "quiz:never-played", "monthly:2031-01"):
        frame = (await one.get(board)).frame
        assert (frame.board, frame.version, frame.stale, len(frame.entries)) == (board, 0, False, 0)
    for board in ("daily", "weekly:2026-60", "country:vn", "quiz:", "custom:x"):
        with pytest.raises(ServiceError) as got:
            await one.get(board)
        assert got.value.reason is Reason.BOARD_NOT_FOUND
        with pytest.raises(ServiceError) as watched:
            async with one.watch(board) as screen:
                await screen.until(lambda frame: True)
        assert watched.value.reason is Reason.BOARD_NOT_FOUND
        with pytest.raises(ServiceError) as ranked:
            await one.ranks(board, ["ada"])
        assert ranked.value.reason is Reason.BOARD_NOT_FOUND


async def test_a_player_may_read_and_nobody_may_without_a_token(world: World, one: Instance) -> None:
    session = await world.identity.register()
    assert (await one.get("all", token=session.access_token)).frame.board == "all"
    with pytest.raises(ServiceError) as refused:
        await one.get("all", token="no.such.token")
    assert refused.value.reason is Reason.UNAUTHENTICATED
    with pytest.raises(ServiceError) as streamed:
        await one.get("all", token=session.stream_token)
    assert streamed.value.reason is Reason.UNAUTHENTICATED


async def test_what_leaves_the_top_is_seen_and_so_is_who_moves_up(world: World, one: Instance, quiz: str) -> None:
    await world.pen.score({f"p{number:02}": 100 - number for number in range(12)}, [quiz])
    async with one.watch(quiz) as screen:
        await screen.until(lambda frame: len(frame.entries) == 10)
        await world.pen.score({"p00": 0}, [quiz], lowered=True)
        frame = await screen.until(lambda frame: "p00" not in {entry.user_id for entry in frame.entries})
        assert [entry.user_id for entry in frame.entries] == [f"p{number:02}" for number in range(1, 11)]


async def test_a_lost_connection_to_pubsub_is_opened_again_and_nothing_stays_missed(
    world: World, one: Instance, quiz: str
) -> None:
    async with one.watch(quiz) as screen:
        await screen.until(lambda frame: True)
        listening = await one.metric("topten_leaderboard_subscriptions_total")
        for points in range(1, 6):
            await drop_subscriptions(world.redis)
            # Nobody is told of this one, as if the message had been lost with the connection.
            await world.pen.score({"ada": points}, [quiz], told=False)
            await screen.until(shows(ada=points))
        async with asyncio.timeout(PATIENCE):
            while await one.metric("topten_leaderboard_subscriptions_total") <= listening:
                await asyncio.sleep(0.02)


async def test_while_the_boards_are_being_made_anew_the_last_frame_is_shown_stale(
    world: World, one: Instance, quiz: str
) -> None:
    await world.pen.score({"ada": 5}, [quiz])
    await one.get("country:FR")
    async with one.watch(quiz) as screen:
        fresh = await screen.until(shows(ada=5))
        await world.pen.withdraw()
        stale = await screen.until(lambda frame: frame.stale)
        assert stale.entries == fresh.entries
        assert (position(stale), stale.timestamp) == (position(fresh), fresh.timestamp)
        assert await one.metric("topten_board_stale") >= 1
        answer = (await one.get(quiz)).frame
        assert (answer.stale, scores(answer)) == (True, [(1, "ada", 5)])
        assert (await one.get("country:FR")).frame.stale, "it was read before, though nobody watches it"
        with pytest.raises(ServiceError) as never_read:
            await one.get("country:ES")
        assert never_read.value.reason is Reason.UNAVAILABLE
        with pytest.raises(ServiceError) as ranks:
            await one.ranks(quiz, ["ada"])
        assert ranks.value.reason is Reason.UNAVAILABLE
        async with one.watch("country:ES") as waiting:
            await world.pen.complete(2)
            assert not (await waiting.until(lambda frame: True)).stale
        again = await screen.until(shows(ada=5))
        assert position(again) > position(fresh)
        assert [frame.stale for frame in screen.frames] == [False, True, False]


async def test_a_redis_that_dies_and_comes_back_empty_is_shown_as_stale_and_then_right_again(
    world: World, instances: tuple[Instance, Instance], quiz: str
) -> None:
    one, other = instances
    await world.pen.score({"ada": 5, "bob": 3}, [quiz])
    async with one.watch(quiz) as here, other.watch(quiz) as there:
        for screen in (here, there):
            await screen.until(shows(ada=5, bob=3))
        world.server.kill()
        for screen in (here, there):
            assert {entry.user_id: entry.score for entry in (await screen.until(lambda f: f.stale)).entries} == {
                "ada": 5,
                "bob": 3,
            }
        assert (await one.get(quiz)).frame.stale
        await world.server.start()
        await world.pen.complete(3)
        await world.pen.score({"ada": 5, "bob": 9}, [quiz])
        for screen in (here, there):
            await screen.until(shows(ada=5, bob=9))
        await world.pen.score({"ada": 20}, [quiz])
        for screen in (here, there):
            await screen.until(shows(ada=20, bob=9))
            assert screen.never_went_back()


async def test_a_redis_that_hangs_makes_boards_stale_within_the_time_of_a_read(
    world: World, one: Instance, quiz: str
) -> None:
    await world.pen.score({"ada": 5}, [quiz])
    async with one.watch(quiz) as screen:
        await screen.until(shows(ada=5))
        world.server.signal(signal.SIGSTOP)
        try:
            await screen.until(lambda frame: frame.stale)
            assert (await one.get(quiz)).frame.stale
        finally:
            world.server.signal(signal.SIGCONT)
        await world.pen.score({"ada": 7}, [quiz])
        await screen.until(shows(ada=7))


async def test_a_closed_week_is_sent_once_and_the_stream_ends(world: World, one: Instance) -> None:
    closed = "weekly:2026-40"
    async with one.watch(closed) as screen:
        frame = await screen.until(lambda frame: True)
        assert (frame.board, frame.stale) == (closed, False)
        with pytest.raises(AssertionError, match="the stream ended"):
            await screen.until(lambda frame: False)


async def test_sigterm_ends_streams_with_unavailable_so_that_clients_move_on(world: World, quiz: str) -> None:
    async with world.instance() as instance, instance.watch(quiz) as screen, instance.watch("all") as other:
        for each in (screen, other):
            await each.until(lambda frame: True)
        stopping = asyncio.create_task(instance.service.stop())
        for each in (screen, other):
            with pytest.raises(ServiceError) as ended:
                await each.until(lambda frame: False)
            assert ended.value.reason is Reason.UNAVAILABLE
        assert await stopping == 0


async def test_without_mongo_open_boards_are_read_and_closed_ones_are_unavailable(world: World) -> None:
    """Not an empty board: who was ranked there can't be told at this moment."""
    async with world.instance(TOPTEN_MONGO_URL="mongodb://127.0.0.1:1/?replicaSet=none") as one:
        assert (await one.get("all")).frame.board == "all"
        with pytest.raises(ServiceError) as refused:
            await one.get("weekly:2024-10")
        assert refused.value.reason is Reason.UNAVAILABLE

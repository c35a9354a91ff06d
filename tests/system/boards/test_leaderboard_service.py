"""Two leaderboard processes over gRPC, on a real Redis written by the writer of score, and a real identity."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, timedelta
from typing import Any

import pytest
import pytest_asyncio
from google.rpc.status_pb2 import Status
from pymongo import AsyncMongoClient
from topten.leaderboard.v1 import leaderboard_service_pb2 as pb
from topten.leaderboard.v1.leaderboard_pb2 import Frame

from services.boards.board import Board, period_of
from services.boards.periods.period import week_of
from services.leaderboard.reading.frames import position
from services.runtime.clock import utc_now
from services.runtime.config.settings import RedisConfig
from services.runtime.errors import Reason, ServiceError, from_rpc_status
from services.runtime.stores.redis import open_redis
from tests.deadline import deadline
from tests.servers import running, unique
from tests.system.boards.seeded import EVENT, drop_subscriptions
from tests.system.instances import TICK, Instance, LeaderboardSystem
from tests.system.processes import running_identity


@pytest_asyncio.fixture(scope="module")
async def system(mongo_url: str) -> AsyncIterator[LeaderboardSystem]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running("redis"))
        identity = await stack.enter_async_context(running_identity(mongo_url))
        redis = await stack.enter_async_context(open_redis(RedisConfig(url=server.url), "test"))
        tokens = await stack.enter_async_context(identity.token())
        started = LeaderboardSystem(server, redis, mongo_url, identity, await tokens.get())
        await started.seeder.complete(1)
        yield started


@pytest_asyncio.fixture(scope="module")
async def instances(system: LeaderboardSystem) -> AsyncIterator[tuple[Instance, Instance]]:
    async with system.instance() as one, system.instance() as other:
        yield one, other


@pytest.fixture
def one(instances: tuple[Instance, Instance]) -> Instance:
    return instances[0]


@pytest.fixture
def quiz() -> str:
    """The name of a new board."""
    return f"quiz:{unique('q')}"


def shows(**scores: int) -> Callable[[Frame], bool]:
    return lambda frame: not frame.stale and {entry.user_id: entry.score for entry in frame.entries} == scores


def scores(frame: Frame) -> list[tuple[int, str, int]]:
    return [(entry.rank, entry.user_id, entry.score) for entry in frame.entries]


async def test_two_instances_send_the_same_states_under_the_same_ids(
    system: LeaderboardSystem, instances: tuple[Instance, Instance], quiz: str
) -> None:
    one, other = instances
    async with one.watch(quiz) as here, other.watch(quiz) as there:
        for points in range(1, 11):
            await system.seeder.score({"ada": points, "bob": 10 + points}, [quiz])
            seen_here = await here.until(shows(ada=points, bob=10 + points))
            seen_there = await there.until(shows(ada=points, bob=10 + points))
            assert position(seen_here) == position(seen_there)
            assert seen_here.entries == seen_there.entries
        assert here.never_goes_back()
        assert there.never_goes_back()


async def test_burst_of_a_thousand_updates_is_few_frames_and_ends_with_the_last_state(
    system: LeaderboardSystem, instances: tuple[Instance, Instance], quiz: str
) -> None:
    one, other = instances
    async with one.watch(quiz) as here, other.watch(quiz) as there:
        for screen in (here, there):
            await screen.until(lambda frame: True)
        for points in range(1, 1001):
            await system.seeder.score({"ada": points}, [quiz])
        ends = [await screen.until(shows(ada=1000)) for screen in (here, there)]
        assert position(ends[0]) == position(ends[1])
        for screen in (here, there):
            assert screen.never_goes_back()
            span = screen.frames[-1].timestamp.ToDatetime() - screen.frames[0].timestamp.ToDatetime()
            # Timestamps and ticks are of different clocks, so there may be one more frame.
            assert len(screen.frames) <= span / TICK + 2


async def test_names_and_countries_come_from_identity(system: LeaderboardSystem, one: Instance, quiz: str) -> None:
    session = await system.identity.register("DE")
    nobody = secrets.token_hex(16)
    await system.seeder.score({session.user.user_id: 20, nobody: 10}, [quiz])
    frame = (await one.get(quiz)).frame
    assert [(entry.username, entry.country) for entry in frame.entries] == [
        (session.user.username, "DE"),
        (f"#{nobody[-6:]}", ""),
    ]


async def test_new_name_is_shown_when_the_cached_one_expires(
    system: LeaderboardSystem, one: Instance, quiz: str, mongo_url: str
) -> None:
    session = await system.identity.register()
    await system.seeder.score({session.user.user_id: 5}, [quiz])
    async with one.watch(quiz) as screen, AsyncMongoClient[dict[str, Any]](mongo_url) as mongo:
        await screen.until(lambda frame: frame.entries[0].username == session.user.username)
        users = mongo[system.identity.database]["users"]
        renamed = await users.update_one({"_id": session.user.user_id}, {"$set": {"username": "renamed"}})
        assert renamed.modified_count == 1
        await screen.until(lambda frame: frame.entries[0].username == "renamed")


async def test_watch_outlives_the_deadline_of_its_first_stream(
    system: LeaderboardSystem, one: Instance, quiz: str
) -> None:
    async with one.watch(quiz, timeout=2) as first, one.watch(quiz) as second:
        for screen in (first, second):
            await screen.until(lambda frame: True)
        with pytest.raises(ServiceError):
            await first.until(lambda frame: bool(frame.entries))
        session = await system.identity.register()
        await system.seeder.score({session.user.user_id: 5}, [quiz])
        frame = await second.until(lambda frame: bool(frame.entries))
        assert frame.entries[0].username == session.user.username


async def test_frames_are_sent_without_identity_and_get_names_when_it_is_back(
    system: LeaderboardSystem, quiz: str
) -> None:
    known, late = await system.identity.register(), await system.identity.register()
    known_id, late_id = known.user.user_id, late.user.user_id
    async with system.instance() as instance, instance.watch(quiz) as screen:
        await system.seeder.score({known_id: 5}, [quiz])
        await screen.until(lambda frame: [entry.username for entry in frame.entries] == [known.user.username])
        system.identity.service.kill()
        try:
            await system.seeder.score({late_id: 3, known_id: 7}, [quiz])
            await screen.until(
                lambda frame: (
                    [(entry.username, entry.score) for entry in frame.entries]
                    == [(known.user.username, 7), (f"#{late_id[-6:]}", 3)]
                )
            )
        finally:
            await system.identity.service.start()
        await screen.until(
            lambda frame: [entry.username for entry in frame.entries] == [known.user.username, late.user.username]
        )


async def test_ranks_are_those_of_the_requested_players(system: LeaderboardSystem, one: Instance, quiz: str) -> None:
    await system.seeder.score({"ada": 10, "bob": 30, "eve": 20}, [quiz])
    await system.seeder.score({"ada": 25}, [quiz])
    response = await one.ranks(quiz, ["nobody", "eve", "ada", "stranger"])
    assert [(entry.rank, entry.user_id, entry.score) for entry in response.entries] == [(2, "ada", 25), (3, "eve", 20)]
    assert response.entries[0].previous_rank == 3
    assert not response.entries[1].HasField("previous_rank")
    assert response.not_found == ["nobody", "stranger"]


async def test_head_of_a_board_has_its_limit_order_and_period(
    system: LeaderboardSystem, one: Instance, quiz: str
) -> None:
    players = {f"player-{number:03}": 1000 - number // 2 for number in range(120)}
    await system.seeder.score(players, [quiz])
    expected_order = sorted(sorted(players.items(), reverse=True), key=lambda player: -player[1])
    for limit, expected in ((0, 10), (1, 1), (10, 10), (100, 100)):
        response = await one.get(quiz, limit)
        assert scores(response.frame) == [
            (rank, user_id, points) for rank, (user_id, points) in enumerate(expected_order[:expected], start=1)
        ]
        assert not response.HasField("period")
    week = (await one.get("weekly:2026-47")).period
    period = period_of(Board.parse("weekly:2026-47", EVENT))
    assert period is not None
    assert (week.starts_at.ToDatetime(UTC), week.ends_at.ToDatetime(UTC)) == (period.starts_at, period.ends_at)
    assert (await one.get("weekly")).frame.board == Board.parse("weekly", utc_now()).name


async def test_read_of_a_watched_board_is_never_older_than_its_stream(
    system: LeaderboardSystem, one: Instance, quiz: str
) -> None:
    async with one.watch(quiz) as screen:
        for points in range(1, 21):
            await system.seeder.score({"ada": points}, [quiz])
            shown = await screen.until(shows(ada=points))
            assert position((await one.get(quiz)).frame) >= position(shown)
            assert scores((await one.get(quiz, 1)).frame) == [(1, "ada", points)]


async def test_unwritten_board_is_empty_and_impossible_name_is_refused(
    one: Instance,
) -> None:
    for board in ("country:AQ", "quiz:never-played", "monthly:2020-01"):
        frame = (await one.get(board)).frame
        assert (frame.board, frame.version, frame.stale, len(frame.entries)) == (board, 0, False, 0)
    for board in (
        "daily",
        "ALL",
        "weekly:2026-60",
        "weekly:2031-01",
        "monthly:2031-01",
        "country:vn",
        "country:XX",
        "quiz:",
        "quiz:A",
        "custom:x",
    ):
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


async def test_player_may_read_and_nobody_may_without_a_token(system: LeaderboardSystem, one: Instance) -> None:
    session = await system.identity.register()
    assert (await one.get("all", token=session.access_token)).frame.board == "all"
    with pytest.raises(ServiceError) as refused:
        await one.get("all", token="no.such.token")
    assert refused.value.reason is Reason.UNAUTHENTICATED
    with pytest.raises(ServiceError) as streamed:
        await one.get("all", token=session.stream_token)
    assert streamed.value.reason is Reason.UNAUTHENTICATED


async def test_player_who_leaves_the_top_is_replaced_by_the_next(
    system: LeaderboardSystem, one: Instance, quiz: str
) -> None:
    await system.seeder.score({f"p{number:02}": 100 - number for number in range(12)}, [quiz])
    async with one.watch(quiz) as screen:
        await screen.until(lambda frame: len(frame.entries) == 10)
        await system.seeder.score({"p00": 0}, [quiz], lowered=True)
        frame = await screen.until(lambda frame: "p00" not in {entry.user_id for entry in frame.entries})
        assert [entry.user_id for entry in frame.entries] == [f"p{number:02}" for number in range(1, 11)]


async def test_lost_subscription_is_opened_again_and_loses_no_change(
    system: LeaderboardSystem, one: Instance, quiz: str
) -> None:
    async with one.watch(quiz) as screen:
        await screen.until(lambda frame: True)
        listening = await one.metric("topten_leaderboard_subscriptions_total")
        for points in range(1, 6):
            await drop_subscriptions(system.redis)
            # Not published, as if the message had been lost with the connection.
            await system.seeder.score({"ada": points}, [quiz], publish=False)
            await screen.until(shows(ada=points))
        async with deadline():
            while await one.metric("topten_leaderboard_subscriptions_total") <= listening:
                await asyncio.sleep(0.02)


async def test_last_frame_is_shown_stale_while_boards_are_rebuilt(
    system: LeaderboardSystem, one: Instance, quiz: str
) -> None:
    await system.seeder.score({"ada": 5}, [quiz])
    await one.get("country:FR")
    async with one.watch(quiz) as screen:
        fresh = await screen.until(shows(ada=5))
        await system.seeder.withdraw()
        stale = await screen.until(lambda frame: frame.stale)
        assert stale.entries == fresh.entries
        assert (position(stale), stale.timestamp) == (position(fresh), fresh.timestamp)
        assert await one.metric("topten_board_stale") >= 1
        response = (await one.get(quiz)).frame
        assert (response.stale, scores(response)) == (True, [(1, "ada", 5)])
        assert (await one.get("country:FR")).frame.stale, "it was read before, although it is not watched"
        with pytest.raises(ServiceError) as never_read:
            await one.get("country:ES")
        assert never_read.value.reason is Reason.UNAVAILABLE
        with pytest.raises(ServiceError) as ranks:
            await one.ranks(quiz, ["ada"])
        assert ranks.value.reason is Reason.UNAVAILABLE
        async with one.watch("country:ES") as waiting:
            await system.seeder.complete(2)
            assert not (await waiting.until(lambda frame: True)).stale
        again = await screen.until(shows(ada=5))
        assert position(again) > position(fresh)
        assert [frame.stale for frame in screen.frames] == [False, True, False]


async def test_redis_that_returns_empty_is_shown_as_stale_until_boards_are_back(
    system: LeaderboardSystem, instances: tuple[Instance, Instance], quiz: str
) -> None:
    one, other = instances
    await system.seeder.score({"ada": 5, "bob": 3}, [quiz])
    async with one.watch(quiz) as here, other.watch(quiz) as there:
        for screen in (here, there):
            await screen.until(shows(ada=5, bob=3))
        system.server.kill()
        for screen in (here, there):
            assert {entry.user_id: entry.score for entry in (await screen.until(lambda f: f.stale)).entries} == {
                "ada": 5,
                "bob": 3,
            }
        assert (await one.get(quiz)).frame.stale
        await system.server.start()
        await system.seeder.complete(3)
        await system.seeder.score({"ada": 5, "bob": 9}, [quiz])
        for screen in (here, there):
            await screen.until(shows(ada=5, bob=9))
        await system.seeder.score({"ada": 20}, [quiz])
        for screen in (here, there):
            await screen.until(shows(ada=20, bob=9))
            assert screen.never_goes_back()


async def test_reads_in_one_call_are_those_of_their_own_calls_and_a_refusal_is_alone(
    system: LeaderboardSystem, one: Instance, quiz: str
) -> None:
    await system.seeder.score({"ada": 5, "bob": 9, "eve": 1}, [quiz])
    head, around, ranks, *refused = await one.read(
        pb.BoardRead(leaderboard=pb.GetLeaderboardRequest(board=quiz, limit=2)),
        pb.BoardRead(around=pb.GetAroundRequest(board=quiz, user_id="ada")),
        pb.BoardRead(ranks=pb.GetRanksRequest(board=quiz, user_ids=["eve", "nobody"])),
        pb.BoardRead(leaderboard=pb.GetLeaderboardRequest(board=quiz, limit=1000)),
        pb.BoardRead(ranks=pb.GetRanksRequest(board="custom:none", user_ids=["eve"])),
    )
    alone = await one.get(quiz, 2), await one.around(quiz, "ada"), await one.ranks(quiz, ["eve", "nobody"])
    alone[0].frame.timestamp.CopyFrom(head.leaderboard.frame.timestamp)
    assert (head.leaderboard, around.around, ranks.ranks) == alone
    assert (len(around.around.entries), list(ranks.ranks.not_found)) == (3, ["nobody"])
    errors = [from_rpc_status(Status.FromString(each.error)) for each in refused]
    assert [each.reason for each in errors] == [Reason.INVALID_ARGUMENT, Reason.BOARD_NOT_FOUND]
    assert [field for field, _ in errors[0].violations] == ["limit"]


async def test_boards_are_stale_while_redis_hangs(system: LeaderboardSystem, one: Instance, quiz: str) -> None:
    await system.seeder.score({"ada": 5}, [quiz])
    async with one.watch(quiz) as screen:
        await screen.until(shows(ada=5))
        system.server.signal(signal.SIGSTOP)
        try:
            await screen.until(lambda frame: frame.stale)
            assert (await one.get(quiz)).frame.stale
        finally:
            system.server.signal(signal.SIGCONT)
        await system.seeder.score({"ada": 7}, [quiz])
        await screen.until(shows(ada=7))


async def test_closed_week_is_sent_once_and_the_stream_ends(system: LeaderboardSystem, one: Instance) -> None:
    closed, long_ago = (f"weekly:{week_of(utc_now() - timedelta(days=days))}" for days in (7, 300))
    await system.seeder.score({"ada": 7}, [closed])
    async with one.watch(closed) as screen:
        frame = await screen.until(lambda frame: True)
        assert (frame.board, frame.stale, scores(frame)) == (closed, False, [(1, "ada", 7)])
        with pytest.raises(AssertionError, match="the stream ended"):
            await screen.until(lambda frame: False)
    with pytest.raises(ServiceError) as refused:
        async with one.watch(long_ago) as screen:
            await screen.until(lambda frame: True)
    assert refused.value.reason is Reason.BOARD_NOT_FOUND, "nobody was ranked in that week"


async def test_sigterm_ends_streams_with_unavailable(system: LeaderboardSystem, quiz: str) -> None:
    async with system.instance() as instance, instance.watch(quiz) as screen, instance.watch("all") as other:
        for each in (screen, other):
            await each.until(lambda frame: True)
        stopping = asyncio.create_task(instance.service.stop())
        for each in (screen, other):
            with pytest.raises(ServiceError) as ended:
                await each.until(lambda frame: False)
            assert ended.value.reason is Reason.UNAVAILABLE
        assert await stopping == 0


async def test_without_mongo_live_boards_are_read_and_closed_ones_are_unavailable(system: LeaderboardSystem) -> None:
    """An empty board would be wrong: its members are unknown at the moment."""
    async with system.instance(TOPTEN_MONGO_URL="mongodb://127.0.0.1:1/?replicaSet=none") as one:
        assert (await one.get("all")).frame.board == "all"
        with pytest.raises(ServiceError) as refused:
            await one.get("weekly:2024-10")
        assert refused.value.reason is Reason.UNAVAILABLE

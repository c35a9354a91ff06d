"""Boards as they stand in Redis: every read path gives what a plain sort gives."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from services.leaderboard.boards import Boards
from services.leaderboard.head import UnreadableError
from services.leaderboard.ranking import order
from services.runtime.boards import GENERATION_KEY, Board
from services.runtime.redis_client import open_redis
from services.runtime.settings import RedisConfig
from services.runtime.split import Split
from tests.servers import RunningServer, running, unique
from tests.system.boards import Pen

TIMEOUT = timedelta(seconds=1)
ONE_KEY = Split()
# Few values, so that many are equal; ids of several lengths and scripts, so that bytes and letters could differ.
values = st.sampled_from([1.0, 1.5, 2.0, 2.25, 1000.000000001])
user_ids = st.text(st.sampled_from("abZ0-éЖ漢😀"), min_size=1, max_size=4)


@pytest_asyncio.fixture(scope="module", params=["redis", "valkey", "cluster"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[RunningServer]:
    async with running(request.param) as started:
        yield started


@pytest_asyncio.fixture(scope="module")
async def redis(server: RunningServer) -> AsyncIterator[Redis]:
    async with open_redis(RedisConfig(url=server.url), "test") as client:
        await client.set(GENERATION_KEY, 1)
        yield client


@pytest.fixture(scope="module")
def boards(redis: Redis) -> Boards:
    return Boards(redis, timeout=TIMEOUT)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(user_ids, values, max_size=30), st.integers(1, 12))
async def test_head_and_places_are_those_of_a_plain_sort(
    redis: Redis, boards: Boards, members: dict[str, float], size: int
) -> None:
    board = Board("quiz", unique("q"))
    if members:
        await redis.zadd(board.key, members)
    by_hand = order(members.items())
    assert (await boards.head(board, size)).members == by_hand[:size]
    places = await boards.places(board, [*members, "nobody"])
    assert {user_id: (place.rank, place.value) for user_id, place in places.items()} == {
        user_id: (rank, value) for rank, (user_id, value) in enumerate(by_hand, start=1)
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(user_ids, values, max_size=30),
    st.integers(1, 12),
    st.tuples(user_ids, values),
    st.floats(0.1, 100),
)
async def test_pages_neighbours_and_numbers_are_those_of_a_plain_sort(
    redis: Redis, boards: Boards, members: dict[str, float], size: int, stranger: tuple[str, float], percentile: float
) -> None:
    board = Board("quiz", unique("q"))
    if members:
        await redis.zadd(board.key, members)
    by_hand = order(members.items())
    pages: list[tuple[str, float]] = []
    after = None
    while (window := await boards.page(board, size, after, stranger[0])).members:
        assert (window.total, window.first) == (len(by_hand), len(pages) + 1)
        assert (window.own is None) == (stranger[0] not in members)
        pages += window.members
        after = window.members[-1]
    assert pages == by_hand
    behind = [member for member in by_hand if (member[1], member[0]) < (stranger[1], stranger[0])]
    assert (await boards.page(board, 100, stranger, "")).members == behind, "also behind who is not there any more"
    for index, (user_id, _) in enumerate(by_hand):
        window = await boards.around(board, user_id, size)
        start = max(0, min(index - size, len(by_hand) - 2 * size - 1))
        assert (window.first, window.members) == (start + 1, by_hand[start : start + 2 * size + 1])
    ahead = sum(value >= stranger[1] for user_id, value in by_hand if user_id != stranger[0])
    assert await boards.ahead(board, stranger[1], stranger[0]) == (ahead, len(by_hand))
    value, total = await boards.quantile(board, percentile)
    good = [v for rank, (_, v) in enumerate(by_hand, 1) if 100 * (total - rank + 1) / total >= percentile - 1e-7]
    assert (value, total) == (good[-1] if good else None, len(by_hand))


async def test_who_is_on_no_board_has_no_neighbours(boards: Boards) -> None:
    window = await boards.around(Board("country", "XX"), "ada", 5)
    assert (window.total, list(window.members)) == (0, [])


async def test_a_board_that_nobody_wrote_is_empty_and_has_version_0(boards: Boards) -> None:
    head = await boards.head(Board("country", "XX"), 10)
    assert (head.generation, head.version, list(head.members), dict(head.previous)) == (1, 0, [], {})


async def test_each_write_that_changes_a_board_raises_its_version(redis: Redis, boards: Boards) -> None:
    pen, text = Pen(redis), f"quiz:{unique('q')}"
    board = Board("quiz", text.partition(":")[2])
    await pen.complete(1)
    seen = []
    for points in (5, 7, 7, 9):
        await pen.score({"ada": points}, [text])
        head = await boards.head(board, 10)
        seen.append((head.version, [user_id for user_id, _ in head.members]))
    assert seen == [(1, ["ada"]), (2, ["ada"]), (2, ["ada"]), (3, ["ada"])]


async def test_the_place_before_the_last_action_comes_along(redis: Redis, boards: Boards) -> None:
    pen, text = Pen(redis), f"quiz:{unique('q')}"
    board = Board("quiz", text.partition(":")[2])
    await pen.score({"ada": 10, "bob": 5, "eve": 1}, [text])
    await pen.score({"eve": 20}, [text])
    assert (await boards.head(board, 10)).previous == {"eve": 3}
    places = await boards.places(board, ["eve", "ada"])
    assert {user_id: (place.rank, place.previous) for user_id, place in places.items()} == {
        "eve": (1, 3),
        "ada": (2, None),
    }


async def test_without_a_complete_generation_nothing_is_read(redis: Redis, boards: Boards) -> None:
    board = Board("quiz", unique("q"))
    await redis.hset(ONE_KEY.parts(board)[0].meta_key, mapping={"generation": 3, "version": 9})
    with pytest.raises(UnreadableError):  # it is being made
        await boards.head(board, 10)
    await redis.set(GENERATION_KEY, 3)
    assert (await boards.head(board, 10)).version == 9
    await redis.delete(GENERATION_KEY)
    with pytest.raises(UnreadableError):
        await boards.head(board, 10)
    with pytest.raises(UnreadableError):
        await boards.places(board, ["ada"])
    # A board that was last written before the newest generation was complete is as complete as the others.
    await redis.set(GENERATION_KEY, 4)
    head = await boards.head(board, 10)
    assert (head.generation, head.version) == (4, 9)
    await redis.set(GENERATION_KEY, 1)


async def test_a_key_that_is_no_board_is_not_read_as_one(redis: Redis, boards: Boards) -> None:
    board = Board("quiz", unique("q"))
    await redis.set(board.key, "text")
    with pytest.raises(UnreadableError):
        await boards.head(board, 10)
    await redis.hset(ONE_KEY.parts(Board("quiz", "x"))[0].meta_key, mapping={"generation": "one"})
    with pytest.raises(UnreadableError):
        await boards.head(Board("quiz", "x"), 10)


async def test_reads_end_in_time_when_redis_hangs_and_go_on_when_it_comes_back(
    server: RunningServer, boards: Boards
) -> None:
    board = Board("all")
    await boards.head(board, 10)
    server.signal(signal.SIGSTOP)
    try:
        outcomes = await asyncio.gather(*(boards.head(board, 10) for _ in range(100)), return_exceptions=True)
    finally:
        server.signal(signal.SIGCONT)
    assert all(isinstance(outcome, UnreadableError) for outcome in outcomes)
    assert (await boards.head(board, 10)).generation == 1


async def test_a_flood_of_reads_is_answered_by_few_connections(redis: Redis, boards: Boards) -> None:
    before = int((await redis.info("clients"))["connected_clients"])
    heads = await asyncio.gather(*(boards.head(Board("all"), 10) for _ in range(500)))
    assert {head.generation for head in heads} == {1}
    assert int((await redis.info("clients"))["connected_clients"]) <= max(before, 40)

"""Boards in Redis: every read path gives what a plain sort gives."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from operator import methodcaller
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from services.boards.board import GENERATION_KEY, Board
from services.boards.sharding import Sharding
from services.leaderboard.ranking import order
from services.leaderboard.reading.boards import Boards
from services.leaderboard.reading.results import Head, UnreadableError
from services.runtime.config.settings import MongoConfig, RedisConfig
from services.runtime.stores.mongo import Mongo, open_mongo
from services.runtime.stores.redis import is_cluster, open_redis
from tests.servers import RunningServer, running, unique
from tests.system.boards.seeded import BoardSeeder, reader

ONE_KEY = Sharding()
NO_MONGO = MongoConfig(url="mongodb://127.0.0.1:1/?replicaSet=none")
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


@pytest_asyncio.fixture(scope="module")
async def mongo() -> AsyncIterator[Mongo]:
    """No MongoDB: boards of current periods do not need it."""
    async with open_mongo(NO_MONGO, "boards", wait=False) as unreachable:
        yield unreachable


@pytest.fixture(scope="module")
def boards(redis: Redis, mongo: Mongo) -> Boards:
    return reader(redis, mongo.database)


def head_of(boards: Boards, board: Board) -> Awaitable[Head]:
    return boards.read(board, lambda view: view.head(10))


def new_board() -> Board:
    return Board("quiz", unique("q"))


async def test_concurrent_reads_share_a_round_trip_and_no_error(redis: Redis, boards: Boards) -> None:
    sound, broken = new_board(), new_board()
    await redis.zadd(sound.key, {"ada": 1.0})
    await redis.set(broken.key, "not a sorted set")
    await head_of(boards, sound)  # the script is known

    async def reads() -> int:
        return 0 if is_cluster(redis) else int((await redis.info("stats"))["total_reads_processed"])

    before = await reads()
    heads = await asyncio.gather(*(head_of(boards, each) for each in [sound, broken] * 10), return_exceptions=True)
    assert await reads() - before <= 5, "on a server alone"
    assert [each.members for each in heads[::2] if isinstance(each, Head)] == [[("ada", 1.0)]] * 10
    assert {type(each) for each in heads[1::2]} == {UnreadableError}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(user_ids, values, max_size=30),
    st.integers(1, 12),
    st.tuples(user_ids, values),
    st.floats(0.1, 100),
)
async def test_every_question_is_answered_as_by_a_plain_sort(
    redis: Redis, boards: Boards, members: dict[str, float], size: int, stranger: tuple[str, float], percentile: float
) -> None:
    board = new_board()

    async def ask(question: str, *arguments: Any) -> Any:
        return await boards.read(board, methodcaller(question, *arguments))

    if members:
        await redis.zadd(board.key, members)
    expected = order(members.items())
    assert (await ask("head", size)).members == expected[:size]
    assert await ask("total") == len(expected)
    standings = await ask("standings", [*members, "nobody"])
    assert {user_id: (each.rank, each.value) for user_id, each in standings.items()} == {
        user_id: (rank, value) for rank, (user_id, value) in enumerate(expected, start=1)
    }
    pages: list[tuple[str, float]] = []
    while (window := await ask("page", size, pages[-1] if pages else None)).members:
        assert (window.total, window.first) == (len(expected), len(pages) + 1)
        pages += window.members
    assert pages == expected
    following = [member for member in expected if (member[1], member[0]) < (stranger[1], stranger[0])]
    assert (await ask("page", 100, stranger)).members == following, "also after a member who has left the board"
    for index, (user_id, _) in enumerate(expected):
        window = await ask("around", user_id, size)
        start = max(0, min(index - size, len(expected) - 2 * size - 1))
        assert (window.first, window.members) == (start + 1, expected[start : start + 2 * size + 1])
    ahead = sum(value >= stranger[1] for user_id, value in expected if user_id != stranger[0])
    assert await ask("ahead", stranger[1], stranger[0]) == (ahead, len(expected))
    value, total = await ask("quantile", percentile)
    enough = [v for rank, (_, v) in enumerate(expected, 1) if 100 * (total - rank + 1) / total >= percentile - 1e-7]
    assert (value, total) == (enough[-1] if enough else None, len(expected))


async def test_player_who_is_not_ranked_has_no_neighbors(boards: Boards) -> None:
    window = await boards.read(Board("country", "XX"), lambda view: view.around("ada", 5))
    assert (window.total, list(window.members)) == (0, [])


async def test_unwritten_board_is_empty_and_has_version_0(boards: Boards) -> None:
    head = await head_of(boards, Board("country", "XX"))
    assert (head.generation, head.version, list(head.members), dict(head.previous_ranks)) == (1, 0, [], {})


async def test_each_write_that_changes_a_board_raises_its_version(redis: Redis, boards: Boards) -> None:
    seeder, board = BoardSeeder(redis), new_board()
    await seeder.complete(1)
    heads = []
    for points in (5, 7, 7, 9):
        await seeder.score({"ada": points}, [board.name])
        heads.append(await head_of(boards, board))
    assert [head.version for head in heads] == [1, 2, 2, 3]


async def test_previous_rank_is_the_one_before_the_last_action(redis: Redis, boards: Boards) -> None:
    seeder, board = BoardSeeder(redis), new_board()
    await seeder.score({"ada": 10, "bob": 5, "eve": 1}, [board.name])
    await seeder.score({"eve": 20}, [board.name])
    assert (await head_of(boards, board)).previous_ranks == {"eve": 3}
    standings = await boards.read(board, lambda view: view.standings(["eve", "ada"]))
    assert {user_id: (each.rank, each.previous_rank) for user_id, each in standings.items()} == {
        "eve": (1, 3),
        "ada": (2, None),
    }


async def test_boards_are_unreadable_without_a_complete_generation(redis: Redis, boards: Boards) -> None:
    board = new_board()
    await redis.hset(ONE_KEY.shards(board)[0].meta_key, mapping={"generation": 3, "version": 9})
    with pytest.raises(UnreadableError):  # it is being rebuilt
        await head_of(boards, board)
    await redis.set(GENERATION_KEY, 3)
    assert (await head_of(boards, board)).version == 9
    await redis.delete(GENERATION_KEY)
    with pytest.raises(UnreadableError):
        await head_of(boards, board)
    with pytest.raises(UnreadableError):
        await boards.read(board, lambda view: view.standings(["ada"]))
    # A board that was last written under an older generation belongs to the complete one, too.
    await redis.set(GENERATION_KEY, 4)
    head = await head_of(boards, board)
    assert (head.generation, head.version) == (4, 9)
    await redis.set(GENERATION_KEY, 1)


async def test_answers_of_one_question_are_of_one_state(redis: Redis, boards: Boards) -> None:
    """A board that is written between two reads of a question is read again."""
    seeder, board = BoardSeeder(redis), new_board()
    await seeder.complete(1)
    await seeder.score({"ada": 5}, [board.name])
    attempts = 0

    async def question(view: Any) -> tuple[int, float]:
        nonlocal attempts
        attempts += 1
        version = (await view.head(1)).version
        if attempts == 1:
            await seeder.score({"ada": 9}, [board.name])
        return version, (await view.standings(["ada"]))["ada"].value // 1

    assert await boards.read(board, question) == (2, 9)
    assert attempts == 2


async def test_unexpected_data_is_unreadable(redis: Redis, boards: Boards) -> None:
    board = new_board()
    await redis.set(board.key, "text")
    with pytest.raises(UnreadableError):
        await head_of(boards, board)
    await redis.hset(ONE_KEY.shards(Board("quiz", "x"))[0].meta_key, mapping={"generation": "one"})
    with pytest.raises(UnreadableError):
        await head_of(boards, Board("quiz", "x"))


async def test_reads_end_when_redis_hangs_and_work_when_it_is_back(
    server: RunningServer, redis: Redis, mongo: Mongo, boards: Boards
) -> None:
    board = Board("all")
    impatient = reader(redis, mongo.database, timeout=timedelta(seconds=1))
    await head_of(boards, board)
    server.signal(signal.SIGSTOP)
    try:
        outcomes = await asyncio.gather(*(head_of(impatient, board) for _ in range(100)), return_exceptions=True)
    finally:
        server.signal(signal.SIGCONT)
    assert all(isinstance(outcome, UnreadableError) for outcome in outcomes)
    assert (await head_of(boards, board)).generation == 1


async def test_flood_of_reads_uses_few_connections(redis: Redis, boards: Boards) -> None:
    before = int((await redis.info("clients"))["connected_clients"])
    heads = await asyncio.gather(*(head_of(boards, Board("all")) for _ in range(500)))
    assert {head.generation for head in heads} == {1}
    assert int((await redis.info("clients"))["connected_clients"]) <= max(before, 40)

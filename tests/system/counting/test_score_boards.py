"""Writes to boards on real Redis servers: absolute, idempotent, fenced, with previous ranks for the head."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from services.boards.board import Board
from services.boards.catalog import Catalog
from services.boards.sharding import Sharding, shown_metadata
from services.runtime.clock import utc_now
from services.runtime.config.settings import RedisConfig
from services.runtime.stores.redis import is_cluster, open_redis
from services.score.projection.board_writer import HEAD, MAX_PREVIOUS, BoardWriter, TooOldError, by_board
from services.score.projection.rebuild import server_time
from services.score.projection.shown_metadata import Shown
from services.score.projection.standings import Placement, Standing
from tests.servers import RunningServer, running, unique

FENCE_TTL = timedelta(minutes=10)


class BoardUnderTest:
    """One board that belongs to the test."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.board = Board("quiz", unique("b"))
        self.shard = Sharding().shards(self.board)[0]
        self.texts: dict[tuple[str, int], str] = {}
        self.writer = BoardWriter(
            redis,
            Placement(Catalog()),
            self._metadata,
            fence_ttl=FENCE_TTL,
            period_retention=timedelta(days=35),
            now=utc_now,
        )

    def standing(self, user_id: str, points: int, order: int = 1, *, lowered: bool = False) -> Standing:
        return Standing(self.board, user_id, points, points + 0.5 if points > 0 else 0.0, order, lowered)

    def with_metadata(self, user_id: str, points: int, order: int, text: str, *, lowered: bool = False) -> Standing:
        """Return a standing of a player of whom boards show metadata, here this text."""
        self.texts[user_id, order] = text
        return self.standing(user_id, points, order, lowered=lowered)._replace(reached_at=order)

    async def shown(self) -> dict[str, str]:
        texts: Any = await self.redis.hgetall(self.shard.shown_key)
        return {member.decode(): text for member, stored in texts.items() if (text := shown_metadata(stored))}

    async def _metadata(self, standings: Iterable[Standing]) -> Shown:
        return {
            (each.board, each.user_id): self.texts[each.user_id, each.revision]
            for each in standings
            if each.reached_at is not None
        }

    async def write(self, *standings: Standing, generation: int = 1) -> int:
        return await self.writer.write(
            by_board(standings), started_at=await server_time(self.redis), generation=generation
        )

    async def points(self) -> dict[str, int]:
        members: Any = await self.redis.zrange(self.board.key, 0, -1, withscores=True)
        return {member.decode(): int(value) for member, value in members}

    async def previous(self) -> dict[str, int]:
        ranks: Any = await self.redis.hgetall(self.shard.previous_key)
        return {member.decode(): int(rank) for member, rank in ranks.items()}

    async def meta(self) -> dict[str, int]:
        fields: Any = await self.redis.hgetall(self.shard.meta_key)
        return {name.decode(): int(value) for name, value in fields.items()}


@pytest_asyncio.fixture(scope="module", params=["redis", "valkey", "cluster"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[RunningServer]:
    async with running(request.param) as started:
        yield started


@pytest_asyncio.fixture
async def writes(server: RunningServer) -> AsyncIterator[BoardUnderTest]:
    async with open_redis(RedisConfig(url=server.url), "test") as redis:
        board = BoardUnderTest(redis)
        yield board
        shard = board.shard
        await redis.delete(shard.key, shard.fence_key, shard.meta_key, shard.previous_key, shard.shown_key)


async def test_lower_value_changes_neither_board_nor_version(writes: BoardUnderTest) -> None:
    assert await writes.write(writes.standing("ada", 20, 2)) == 1
    assert await writes.write(writes.standing("ada", 10, 1)) == 0
    assert await writes.points() == {"ada": 20}
    assert await writes.meta() == {"generation": 1, "version": 1}


async def test_repeated_write_changes_nothing(writes: BoardUnderTest) -> None:
    batch = [writes.standing("ada", 20), writes.standing("ben", 30)]
    assert await writes.write(*batch) == 2
    assert await writes.write(*batch) == 0
    assert (await writes.meta())["version"] == 1


async def test_player_without_points_is_not_on_the_board(writes: BoardUnderTest) -> None:
    assert await writes.write(writes.standing("ada", 0), writes.standing("ben", -3)) == 0
    assert await writes.points() == {}


async def test_older_write_does_not_raise_a_lowered_player(writes: BoardUnderTest) -> None:
    await writes.write(writes.standing("ada", 100, 1), writes.standing("ben", 50, 1))
    await writes.write(writes.standing("ada", 70, 3, lowered=True))
    await writes.write(writes.standing("ada", 100, 2), writes.standing("ben", 60, 2))
    assert await writes.points() == {"ada": 70, "ben": 60}
    await writes.write(writes.standing("ada", 80, 4))
    assert await writes.points() == {"ada": 80, "ben": 60}


async def test_older_lowering_does_not_undo_a_later_one(writes: BoardUnderTest) -> None:
    await writes.write(writes.standing("ada", 40, 5, lowered=True))
    await writes.write(writes.standing("ada", 70, 3, lowered=True))
    assert await writes.points() == {"ada": 40}


async def test_player_lowered_to_zero_leaves_and_may_return(writes: BoardUnderTest) -> None:
    await writes.write(writes.standing("ada", 100, 1))
    await writes.write(writes.standing("ada", 0, 2, lowered=True))
    await writes.write(writes.standing("ada", 100, 1))
    assert await writes.points() == {}
    await writes.write(writes.standing("ada", 30, 3))
    assert await writes.points() == {"ada": 30}


async def test_fence_expires_after_the_last_lowering(writes: BoardUnderTest) -> None:
    await writes.write(writes.standing("ada", 10, 2, lowered=True))
    left = await writes.redis.pttl(writes.shard.fence_key)
    assert 0 < left <= FENCE_TTL.total_seconds() * 1000


async def test_batch_older_than_half_the_fence_life_is_refused(writes: BoardUnderTest) -> None:
    begun = await server_time(writes.redis) - int(FENCE_TTL.total_seconds() * 500) - 1
    with pytest.raises(TooOldError):
        await writes.writer.write(by_board([writes.standing("ada", 10)]), started_at=begun, generation=1)
    assert await writes.points() == {}


async def test_previous_rank_is_the_one_before_the_last_change(writes: BoardUnderTest) -> None:
    await writes.write(writes.standing("ada", 30), writes.standing("ben", 20), writes.standing("cat", 10))
    assert await writes.previous() == {}
    await writes.write(writes.standing("cat", 40, 2))
    assert await writes.previous() == {"cat": 3}
    await writes.write(writes.standing("cat", 40, 2))
    assert await writes.previous() == {"cat": 3}
    await writes.write(writes.standing("cat", 50, 3), writes.standing("ben", 45, 2))
    assert await writes.previous() == {"cat": 1, "ben": 3}
    await writes.write(writes.standing("cat", 5, 4, lowered=True))
    assert await writes.previous() == {"cat": 1, "ben": 3}


async def test_returning_player_has_no_previous_rank(writes: BoardUnderTest) -> None:
    await writes.write(writes.standing("ada", 30), writes.standing("ben", 20))
    await writes.write(writes.standing("ben", 40, 2))
    await writes.write(writes.standing("ben", 0, 3, lowered=True))
    await writes.write(writes.standing("ben", 50, 4))
    assert await writes.previous() == {}


async def test_previous_ranks_are_kept_for_the_head_and_stay_bounded(writes: BoardUnderTest) -> None:
    players = [f"p{n}" for n in range(3 * HEAD)]
    await writes.write(*(writes.standing(player, n + 1) for n, player in enumerate(players)))
    await writes.write(writes.standing("p0", 2, 2))
    assert await writes.previous() == {}
    points = 10_000
    for turn in range(2, 6 + MAX_PREVIOUS // len(players)):
        for player in players:
            points += 1
            await writes.write(writes.standing(player, points, turn))
    previous = await writes.previous()
    head: Any = await writes.redis.zrevrange(writes.board.key, 0, HEAD - 1)
    assert {member.decode() for member in head} <= set(previous)
    assert len(previous) <= MAX_PREVIOUS


async def test_writes_in_any_order_produce_the_same_board(writes: BoardUnderTest) -> None:
    chance = random.Random(1)
    standings = []
    expected = {}
    for player in (f"p{n}" for n in range(30)):
        total = 0
        for order in range(1, 9):
            delta = chance.randrange(-20, 40)
            total += delta
            standings.append(writes.standing(player, total, order, lowered=delta < 0))
        # The last write always lowers, so that its fence decides over every earlier write.
        total -= 1
        standings.append(writes.standing(player, total, 9, lowered=True))
        if total > 0:
            expected[player] = total
    chance.shuffle(standings)
    for start in range(0, len(standings), 7):
        # One standing per player and write, as in a batch.
        for standing in standings[start : start + 7]:
            await writes.write(standing)
    assert await writes.points() == expected


async def test_board_larger_than_one_command_is_written_completely(writes: BoardUnderTest) -> None:
    assert await writes.write(*(writes.standing(f"p{n}", n + 1) for n in range(5000))) == 5000
    assert await writes.redis.zcard(writes.board.key) == 5000


async def test_script_is_loaded_again_after_redis_lost_it(writes: BoardUnderTest) -> None:
    await writes.write(writes.standing("ada", 10))
    await writes.redis.script_flush()
    await writes.write(writes.standing("ada", 20, 2))
    assert await writes.points() == {"ada": 20}


async def test_generation_of_a_board_never_decreases(writes: BoardUnderTest) -> None:
    for generation in (3, 2, 0):
        await writes.write(writes.standing("ada", 10 - generation), generation=generation)
    assert (await writes.meta())["generation"] == 3


async def test_metadata_is_that_of_the_standing_in_whatever_order_they_are_written(writes: BoardUnderTest) -> None:
    chance = random.Random(3)
    standings: list[Standing] = []
    expected: dict[str, str] = {}
    for player in (f"p{n}" for n in range(30)):
        total = 0
        for order in range(1, 9):
            # Equal values are of actions at the same time, as far as a value tells.
            delta = chance.choice([-5, 0, 0, 10])
            total += delta
            text = chance.choice(["", f'{{"order":"{order}"}}'])
            standings.append(writes.with_metadata(player, total, order, text, lowered=delta < 0))
        text = chance.choice(["", '{"order":"9"}'])
        standings.append(writes.with_metadata(player, total + 1, 9, text))
        if total + 1 > 0 and text:
            expected[player] = text
    for _ in range(2):
        chance.shuffle(standings)
        for standing in standings:
            await writes.write(standing)
        # A worker that lowers a player reads them again behind the fence.
        await writes.write(*(each._replace(lowered=True) for each in standings if each.revision == 9))
        assert await writes.shown() == expected


async def test_of_equal_values_the_later_metadata_stays(writes: BoardUnderTest) -> None:
    await writes.write(writes.with_metadata("ada", 20, 5, '{"n":"5"}'), writes.with_metadata("ben", 20, 5, ""))
    await writes.write(writes.with_metadata("ada", 20, 4, '{"n":"4"}'), writes.with_metadata("ben", 10, 4, "{}"))
    assert await writes.shown() == {"ada": '{"n":"5"}'}
    version = (await writes.meta())["version"]
    assert await writes.write(writes.with_metadata("ada", 20, 6, "")) == 0
    assert await writes.shown() == {}
    assert (await writes.meta())["version"] == version + 1, "frames follow a change of metadata alone"
    await writes.write(writes.with_metadata("ada", 20, 5, '{"n":"5"}'))
    assert await writes.shown() == {}


async def test_metadata_leaves_with_its_player_and_expires_with_the_board(writes: BoardUnderTest) -> None:
    await writes.write(writes.with_metadata("ada", 20, 1, "{}"), writes.with_metadata("ben", 10, 1, "{}"))
    await writes.write(writes.with_metadata("ada", 0, 2, "", lowered=True))
    await writes.write(writes.with_metadata("ada", 20, 1, "{}"))
    assert await writes.shown() == {"ben": "{}"}
    writes.board = Board.parse("weekly", utc_now())
    (writes.shard,) = Sharding().shards(writes.board)
    await writes.write(writes.with_metadata("eve", 10, 1, "{}"))
    assert await writes.shown() == {"eve": "{}"}
    assert await writes.redis.ttl(writes.shard.shown_key) == await writes.redis.ttl(writes.shard.key) > 0
    await writes.writer.empty(writes.shard, 1, 1)
    assert (await writes.shown(), "shown" in await writes.meta()) == ({}, False)


async def test_board_without_metadata_costs_no_command_and_no_key_for_it(writes: BoardUnderTest) -> None:
    """The commands that scripts run are counted, too: they are those of a board before boards showed metadata."""
    if is_cluster(writes.redis):
        pytest.skip("the statistics are those of one server")
    await writes.write(writes.standing("ada", 30), writes.standing("ben", 20))
    await writes.redis.config_resetstat()
    await writes.write(writes.standing("ben", 40, 2))
    await writes.write(writes.standing("ada", 0, 3, lowered=True))
    calls: Any = await writes.redis.info("commandstats")
    counted = {name: calls.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("hget", "hset", "hdel", "zscore")}
    assert counted == {"hget": 3, "hset": 2, "hdel": 1, "zscore": 1}
    assert not await writes.redis.exists(writes.shard.shown_key)
    assert "shown" not in await writes.meta()

"""Ties and sums under real workers: what counts decides, in whatever order and however often events arrive."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest_asyncio

from services.boards.board import GENERATION_KEY, Board
from services.boards.catalog import Catalog, parse_declarations
from services.boards.encoding import ENCODING, MAX_POINTS, encode_us
from services.boards.former_encoding import FORMER_ENCODING
from services.boards.sharding import Sharding
from services.leaderboard.reading.shown_board import BoardView
from services.runtime.clock import milliseconds_of
from services.score.ledger.totals import Total
from services.score.projection.standings import Agreement, shown_value
from tests.deadline import deadline
from tests.servers import RunningServer
from tests.system.boards.seeded import reader
from tests.system.score import QuizCompleted, ScoreSystem, completed, score_system

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)


@pytest_asyncio.fixture
async def system(servers: dict[str, RunningServer]) -> AsyncIterator[ScoreSystem]:
    async with score_system(servers) as fresh:
        yield fresh


def practice(user_id: str, results: list[int], seconds: list[int]) -> list[QuizCompleted]:
    """Return the events of a player who repeats a quiz of which the latest result counts."""
    events, before = [], 0
    for attempt, (points, second) in enumerate(zip(results, seconds, strict=True), 1):
        at = NOW + timedelta(seconds=second)
        events.append(completed(user_id, points - before, attempt=attempt, total=points, at=at))
        before = points
    return events


async def test_equal_scores_are_ordered_by_the_moment_since_which_they_stand(system: ScoreSystem) -> None:
    source = random.Random(7)
    events: list[QuizCompleted] = []
    reached: dict[str, int] = {}
    for number in range(12):
        results = [100, *(source.randrange(0, 200) for _ in range(60)), 100]
        seconds = sorted(source.sample(range(500), len(results)))
        user_id = f"player-{number}"
        events += practice(user_id, results, seconds)
        since = max((n for n, points in enumerate(results) if points < 100), default=-1) + 1
        reached[user_id] = milliseconds_of(NOW) + 1000 * seconds[since]
    source.shuffle(events)
    async with system.worker(TOPTEN_SCORE_BATCH="20"), system.worker(TOPTEN_SCORE_BATCH="20"):
        await system.publish(*events, copies=2)
        await system.until_drained()
        for name in ("all", "quiz:capitals"):
            board = Board.parse(name, NOW)
            expected = {user_id: encode_us(100, 1000 * at) for user_id, at in reached.items()}
            members: Any = await system.redis.zrange(board.key, 0, -1, withscores=True)
            assert {user_id.decode(): value for user_id, value in members} == expected
        assert await system.verify() == []


async def test_sum_beyond_32_bits_is_shown_clamped_and_comes_back_exactly(system: ScoreSystem) -> None:
    up = [completed("ada", 10**9, quiz_id=f"q{n}", total=10**9, at=NOW + timedelta(seconds=n)) for n in range(3)]
    down = [
        completed("ada", -(10**9), quiz_id=f"q{n}", attempt=2, total=0, at=NOW + timedelta(seconds=10 + n))
        for n in range(3)
    ]
    async with system.worker():
        await system.publish(completed("ada", 5, quiz_id="first", at=NOW - timedelta(seconds=1)), *up)
        await system.until_drained()
        assert await system.board("all") == [("ada", MAX_POINTS)]
        assert (await system.store.last_total("ada"))[1].points == 3 * 10**9 + 5
        assert await system.verify() == []
        await system.publish(*down)
        await system.until_drained()
        assert await system.board("all") == [("ada", 5)]
        assert await system.verify() == []


DECLARED, KEYS = "home=weekly,VN; ever=all", "all=3; custom:home=2"
CATALOG = Catalog(parse_declarations(DECLARED), Sharding(KEYS))


async def ids_by_rank(system: ScoreSystem) -> dict[str, list[str]]:
    """Return the players of every board in order of rank, as each read path has them: they must agree."""
    orders: dict[str, list[str]] = {}
    names = ("all", "weekly", "monthly", "country:VN", "quiz:capitals", "custom:home", "custom:ever")
    for board in (CATALOG.parse(name, NOW) for name in names):

        async def read(view: BoardView) -> list[list[str]]:
            head = [user_id for user_id, _ in (await view.head(500)).members]
            standings = await view.standings(head)
            ranked = sorted(standings, key=lambda user_id: standings[user_id].rank)
            around = (await view.around(head[0], 250)).members
            walked: list[tuple[str, float]] = []
            while page := (await view.page(7, walked[-1] if walked else None)).members:
                walked += page
            return [head, ranked, [user_id for user_id, _ in around], [user_id for user_id, _ in walked]]

        first, *others = await reader(system.redis, system.mongo.database).read(board, read)
        assert others == [first] * 3, board.name
        orders[board.name] = first
    return orders


async def test_ties_fall_the_same_way_on_every_board(system: ScoreSystem) -> None:
    """Players of one second, counted live, then rebuilt, then read by every path."""
    source = random.Random(11)
    reached = {f"player-{n}": (source.choice((7, 300, 60_000)), 20 * source.randrange(60)) for n in range(40)}
    events = [
        completed(user_id, points, at=NOW + timedelta(milliseconds=after))
        for user_id, (points, after) in reached.items()
    ]
    source.shuffle(events)
    # 20 ms are more than the resolution below 65 536 points.
    expected = sorted(reached, key=lambda user_id: (reached[user_id][0], -reached[user_id][1], user_id), reverse=True)
    system.placement.adopt(Agreement(CATALOG, 0))
    async with system.worker(TOPTEN_BOARDS_DECLARED=DECLARED, TOPTEN_BOARDS_KEYS=KEYS, TOPTEN_SCORE_BATCH="7"):
        await system.publish(*events)
        await system.until_drained()
        orders = await ids_by_rank(system)
        assert orders == dict.fromkeys(orders, expected)
        assert await system.verify() == []
        former = await system.until_complete()
        await system.redis.flushall()
        await system.until_complete(after=former)
        assert await ids_by_rank(system) == orders
        assert await system.verify() == []


async def values_in_force(system: ScoreSystem) -> dict[str, float]:
    """Return the values of this week's board, of one generation in force."""
    while True:
        before = await system.until_complete()
        members: Any = await system.redis.zrange(Board.parse("weekly", NOW).key, 0, -1, withscores=True)
        if await system.redis.get(GENERATION_KEY) == str(before).encode():
            return {user_id.decode(): value for user_id, value in members}


async def test_boards_of_the_former_encoding_are_rebuilt_and_never_mixed(system: ScoreSystem) -> None:
    """As in a rollout: a worker of the former version is still there, and ends while events are counted."""
    week = Board.parse("weekly", NOW)
    events = [completed(f"player-{n}", 100 + n, at=NOW + timedelta(milliseconds=n)) for n in range(400)]
    of_encoding: dict[int, dict[str, float]] = {}
    for encoding in (FORMER_ENCODING, ENCODING):
        of_encoding[encoding] = {
            event.payload.user_id: shown_value(
                Total((event.payload.score_delta, milliseconds_of(NOW) + n)), week, encoding
            )
            for n, event in enumerate(events)
        }
    assert not of_encoding[FORMER_ENCODING].items() & of_encoding[ENCODING].items()
    await system.add_former_worker()
    async with system.worker(TOPTEN_SCORE_BATCH="10"), system.worker(TOPTEN_SCORE_BATCH="10"):
        await system.publish(*events[:100])
        await system.until_drained()
        values = await values_in_force(system)
        assert len(values) == 100
        assert values.items() <= of_encoding[FORMER_ENCODING].items()
        assert await system.is_built_in(FORMER_ENCODING)

        publishing = asyncio.create_task(system.publish(*events[100:]))
        await system.remove_former_worker()
        seen = {FORMER_ENCODING}
        async with deadline("every board is in this version's encoding"):
            while len(values) < len(events) or ENCODING not in seen:
                values = await values_in_force(system)
                (encoding,) = (n for n, known in of_encoding.items() if values.items() <= known.items())
                seen.add(encoding)
        await publishing
        await system.until_drained()
        assert values == of_encoding[ENCODING]
        assert await system.verify() == []
        # The former version comes back, and goes.
        await system.add_former_worker()
        async with deadline("the former encoding is back"):
            while await values_in_force(system) != of_encoding[FORMER_ENCODING]:
                await asyncio.sleep(0.02)

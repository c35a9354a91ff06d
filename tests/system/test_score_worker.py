"""Two workers at the same player, step by step: what one does between two steps of the other."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from topten.identity.v1 import identity_events_pb2

from services.runtime.catalog import Catalog
from services.runtime.clock import utc_now
from services.runtime.erased import pseudonym_of
from services.score.answers import NeverError
from services.score.board_writer import BoardWriter, Standings
from services.score.events import decode
from services.score.fold import Folds
from services.score.generation import Generation
from services.score.ledger import PLAYER_ERASED, Event
from services.score.meta import Meta
from services.score.publisher import ScorePublisher
from services.score.rebuild import Rebuild
from services.score.seals import Seals
from services.score.standings import Placing, milliseconds_of
from services.score.worker import Worker
from tests.servers import RunningServer, unique
from tests.system.score import RETENTION, ScoreSystem, completed, referee, score_system

Step = Callable[[], Coroutine[Any, Any, None]]


class SteppedWriter(BoardWriter):
    """Does something of the test's before its next write."""

    before: Step | None = None

    async def write(self, places: Standings, *, begun_at: int, generation: int) -> int:
        before, self.before = self.before, None
        if before is not None:
            await before()
        return await super().write(places, begun_at=begun_at, generation=generation)


class Side:
    """One worker of two, in this process, on real stores."""

    def __init__(self, system: ScoreSystem) -> None:
        placing = Placing(Catalog())
        name, meta = unique("w"), Meta(system.database)
        self.writer = SteppedWriter(
            system.redis, placing, fence_ttl=timedelta(hours=1), period_retention=RETENTION, now=utc_now
        )
        self.folds = Folds(system.store, meta, name, limit=100, now=now_ms)
        self.rebuild = Rebuild(
            system.redis, system.store, self.folds, meta, self.writer, placing, period_retention=RETENTION, now=utc_now
        )
        generation = Generation(system.redis, meta, self.rebuild, placing, name, timedelta(seconds=2))
        self.worker = Worker(
            system.store,
            self.folds,
            self.writer,
            ScorePublisher(system.redis),
            generation,
            referee(system.database),
            placing,
            now_ms,
        )

    async def count(self, *events: Event) -> None:
        assert await self.worker.count(events) == {}


def now_ms() -> int:
    return milliseconds_of(utc_now())


def event(user_id: str, delta: int, attempt: int, total: int) -> Event:
    message = completed(user_id, delta, attempt=attempt, total=total)
    return decode(message.SerializeToString(), sequence=attempt, partition=0, seals=Seals(b"s" * 32))


@pytest_asyncio.fixture
async def system(servers: dict[str, RunningServer]) -> AsyncIterator[ScoreSystem]:
    async with score_system(servers) as fresh:
        await fresh.store.prepare(timedelta(days=1))
        yield fresh


async def test_who_rises_in_one_worker_while_another_lowers_him_ends_where_the_ledger_says(system: ScoreSystem) -> None:
    one, two = Side(system), Side(system)
    await one.count(event("ada", 100, 1, 100))

    async def rise() -> None:
        # On a board that still shows 100, a rise to 90 changes nothing: the fence does not stand yet.
        await two.count(event("ada", 20, 3, 90))
        assert await system.board("all") == [("ada", 100)]

    one.writer.before = rise
    await one.count(event("ada", -30, 2, 70))
    for board in ("all", "weekly", "country:VN", "quiz:capitals"):
        assert await system.board(board) == [("ada", 90)], board


async def test_an_old_view_of_a_player_is_mended_by_the_conflict(system: ScoreSystem) -> None:
    one, two = Side(system), Side(system)
    for side, attempt in ((one, 1), (two, 2), (one, 3), (two, 4), (one, 5)):
        await side.count(event("ada", 10, attempt, 10 * attempt))
    assert await system.chain("ada") == [1, 2, 3, 4, 5]
    assert await system.board("all") == [("ada", 50)]


async def test_the_same_event_in_two_workers_at_once_is_one_row(system: ScoreSystem) -> None:
    one, two = Side(system), Side(system)
    events = [event(f"p{n % 3}", 10, n + 1, 10) for n in range(30)]
    await asyncio.gather(one.count(*events), two.count(*reversed(events)))
    assert len([row async for row in system.store.chains()]) == 30
    assert dict(await system.board("all")) == {"p0": 100, "p1": 100, "p2": 100}


async def test_a_fold_is_never_written_backwards(system: ScoreSystem) -> None:
    one, two = Side(system), Side(system)
    await one.count(event("ada", 10, 1, 10))
    await two.count(event("ada", 10, 2, 20))
    await two.folds.flush()
    await one.folds.flush()
    fold = (await system.store.folds(["ada"]))["ada"]
    assert (fold.revision, fold.total.points) == (2, 20)
    assert fold == (await system.store.exact_folds(["ada"]))["ada"]


async def test_a_fold_takes_in_the_rows_of_another_worker(system: ScoreSystem) -> None:
    one, two = Side(system), Side(system)
    await one.count(event("ada", 10, 1, 10))
    await two.count(event("ada", 10, 2, 20))
    await one.count(event("ada", 10, 3, 30))
    for side in (one, two):
        await side.folds.flush()
    assert (await system.store.folds(["ada"]))["ada"] == (await system.store.exact_folds(["ada"]))["ada"]


async def test_more_players_than_are_kept_are_all_written(system: ScoreSystem) -> None:
    one = Side(system)
    for start in range(0, 600, 150):
        await one.count(*(event(f"p{n}", 10, 1, 10) for n in range(start, start + 150)))
    await one.folds.flush()
    assert len(await system.store.folds([f"p{n}" for n in range(600)])) == 600


@pytest.mark.parametrize("too_large", [2**63, 2**70])
async def test_a_row_that_can_not_be_encoded_is_found_among_the_others(system: ScoreSystem, too_large: int) -> None:
    one = Side(system)
    good = [event(f"p{n}", 10, 1, 10) for n in range(9)]
    bad = event("eve", 10, 1, 10)._replace(sequence=too_large)
    refused = await one.worker.count([*good[:4], bad, *good[4:]])
    assert list(refused) == [bad.event_id]
    assert len(await system.board("all")) == 9
    assert await system.chain("eve") == []


async def test_what_no_board_can_have_is_refused_alone(system: ScoreSystem) -> None:
    one = Side(system)
    bad = event("eve", 10, 1, 10)._replace(quiz_id="No Such/Quiz")
    refused = await one.worker.count([event("ada", 10, 1, 10), bad])
    assert isinstance(refused[bad.event_id], NeverError | ValueError)
    assert await system.board("all") == [("ada", 10)]


async def test_nothing_goes_to_redis_while_the_outcome_of_the_insert_is_unknown(system: ScoreSystem) -> None:
    one = Side(system)
    await one.count(event("ada", 10, 1, 10))
    mongo = system.servers["mongo"]
    mongo.signal(signal.SIGSTOP)
    counting = asyncio.create_task(one.count(event("ada", 10, 2, 20)))
    try:
        done, _ = await asyncio.wait({counting}, timeout=1)
        assert not done
        assert await system.board("all") == [("ada", 10)]
    finally:
        mongo.signal(signal.SIGCONT)
    await counting
    assert await system.board("all") == [("ada", 20)]
    assert await system.chain("ada") == [1, 2]


async def test_a_rebuild_that_loses_its_mark_leaves_the_boards_stale(system: ScoreSystem) -> None:
    one = Side(system)
    await one.count(event("ada", 10, 1, 10))
    await one.folds.flush()

    def empty(stage: str, _done: int, _total: int) -> None:
        if stage == "folding players":
            emptied.append(asyncio.ensure_future(system.redis.flushall()))

    emptied: list[asyncio.Future[Any]] = []
    with pytest.raises(RuntimeError, match=r"."):
        await one.rebuild.run(unique("t"), empty)
    assert emptied
    assert not await system.redis.exists("leaderboard:generation")


async def test_a_rebuild_takes_in_what_is_counted_at_any_of_its_steps(system: ScoreSystem) -> None:
    one, two = Side(system), Side(system)
    await one.count(*(event(f"p{n}", 100, 1, 100) for n in range(20)))
    attempts = iter(range(2, 100))
    counted: list[asyncio.Task[None]] = []

    def meanwhile(_stage: str, _done: int, _total: int) -> None:
        attempt = next(attempts)
        delta = -40 if attempt % 2 else 15
        events = [event(f"p{n}", delta, attempt, 100) for n in range(20)]
        counted.append(asyncio.create_task(two.count(*events)))

    await one.rebuild.run(unique("t"), meanwhile)
    await asyncio.gather(*counted)
    for side in (one, two):
        await side.folds.flush()
    assert len(counted) >= 4
    folds = await system.store.exact_folds([f"p{n}" for n in range(20)])
    assert dict(await system.board("all")) == {
        user: fold.total.points for user, fold in folds.items() if fold.total.points > 0
    }
    assert await system.verified() == []


async def test_an_old_view_of_an_erased_player_brings_nothing_back(system: ScoreSystem) -> None:
    """Nothing in the ledger has his id any more, and a worker still knows him as he was."""
    one, two = Side(system), Side(system)
    first = event("ada", 10, 1, 10)
    for side in (one, two):
        await side.count(first)
    erasure = identity_events_pb2.PlayerChangedEvent(event_id="erasure", event_type=PLAYER_ERASED)
    erasure.payload.user_id, erasure.payload.version, erasure.payload.blocked = "ada", 1, True
    erasure.payload.timestamp.FromDatetime(utc_now())
    erased = decode(erasure.SerializeToString(), sequence=2, partition=0, seals=system.store.seals)
    await one.count(erased)
    await one.folds.flush()
    await system.store.rename("ada", pseudonym_of(system.store.seals.chain("ada")))
    await system.redis.delete(*[key async for key in system.redis.scan_iter(match="*:fence")])

    for late in (first, event("ada", 20, 3, 30), erased):
        await two.count(late)
        assert await system.board("all") == []
    await two.folds.flush()
    rows = [row async for row in system.store.chains()]
    assert [(row.revision, row.kind, row.hidden) for row in rows] == [
        (1, "QUIZ_COMPLETED", False),
        (2, PLAYER_ERASED, True),
        (3, "QUIZ_COMPLETED", True),
    ]
    assert {row.user_id for row in rows} == {pseudonym_of(rows[0].chain)}
    assert [fold.user_id async for fold in system.store.all_folds()] == [pseudonym_of(rows[0].chain)]
    assert not [key async for key in system.redis.scan_iter(match="*:fence")]
    assert await system.database["audit"].count_documents({"_id": {"$ne": first.event_id}}) == 0
    await two.rebuild.run("a rebuild", lambda *_: None)
    assert await system.board("all") == []
    assert await system.verified() == []

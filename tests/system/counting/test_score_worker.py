"""Two workers that count the same player, step by step."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from topten.identity.v1 import identity_events_pb2

from services.boards.proofs.pseudonyms import pseudonym_of
from services.runtime.clock import utc_now
from services.score.coordination_store import CoordinationStore
from services.score.errors import UnprocessableError
from services.score.ingest.decoding import decode
from services.streams import PLAYER_ERASED
from tests.deadline import eventually
from tests.servers import RunningServer, unique
from tests.system.counting.local_worker import event, local_worker
from tests.system.score import ScoreSystem, score_system


@pytest_asyncio.fixture
async def system(servers: dict[str, RunningServer]) -> AsyncIterator[ScoreSystem]:
    async with score_system(servers) as fresh:
        await fresh.store.prepare(timedelta(days=1))
        yield fresh


async def test_concurrent_rise_and_fall_end_at_the_ledgers_total(system: ScoreSystem) -> None:
    one, two = await local_worker(system), await local_worker(system)
    await one.count(event("ada", 100, 1, 100))

    async def rise() -> None:
        # On a board that still shows 100, a rise to 90 changes nothing: there is no fence yet.
        await two.count(event("ada", 20, 3, 90))
        assert await system.board("all") == [("ada", 100)]

    one.writer.before = rise
    await one.count(event("ada", -30, 2, 70))
    for board in ("all", "weekly", "country:VN", "quiz:capitals"):
        assert await system.board(board) == [("ada", 90)], board


async def test_outdated_fold_is_refreshed_by_a_conflict(system: ScoreSystem) -> None:
    one, two = await local_worker(system), await local_worker(system)
    for side, attempt in ((one, 1), (two, 2), (one, 3), (two, 4), (one, 5)):
        await side.count(event("ada", 10, attempt, 10 * attempt))
    assert await system.chain("ada") == [1, 2, 3, 4, 5]
    assert await system.board("all") == [("ada", 50)]


async def test_same_event_in_two_workers_at_once_is_one_row(system: ScoreSystem) -> None:
    one, two = await local_worker(system), await local_worker(system)
    events = [event(f"p{n % 3}", 10, n + 1, 10) for n in range(30)]
    await asyncio.gather(one.count(*events), two.count(*reversed(events)))
    assert len([row async for row in system.store.chains()]) == 30
    assert dict(await system.board("all")) == {"p0": 100, "p1": 100, "p2": 100}


async def test_event_that_was_counted_before_its_boards_were_written_is_on_them_after_its_redelivery(
    system: ScoreSystem,
) -> None:
    """As if the worker had died between the two; that the row is there already says nothing about the boards."""
    one, two = await local_worker(system), await local_worker(system)
    boards = ("all", "weekly", "monthly", "country:VN", "quiz:capitals")
    same = event("ada", 10, 1, 10)
    await one.count(same)
    await system.redis.flushall()
    await two.count(same)
    for board in boards:
        assert await system.board(board) == [("ada", 10)], board
    assert await system.chain("ada") == [1]


async def test_stored_fold_is_never_replaced_by_an_older_one(system: ScoreSystem) -> None:
    one, two = await local_worker(system), await local_worker(system)
    await one.count(event("ada", 10, 1, 10))
    await two.count(event("ada", 10, 2, 20))
    await two.folds.flush()
    await one.folds.flush()
    fold = (await system.store.folds(["ada"]))["ada"]
    assert (fold.revision, fold.total.points) == (2, 20)
    assert fold == (await system.store.current_folds(["ada"]))["ada"]


async def test_fold_includes_rows_of_another_worker(system: ScoreSystem) -> None:
    one, two = await local_worker(system), await local_worker(system)
    await one.count(event("ada", 10, 1, 10))
    await two.count(event("ada", 10, 2, 20))
    await one.count(event("ada", 10, 3, 30))
    for side in (one, two):
        await side.folds.flush()
    assert (await system.store.folds(["ada"]))["ada"] == (await system.store.current_folds(["ada"]))["ada"]


async def test_more_players_than_the_cache_holds_are_all_stored(system: ScoreSystem) -> None:
    one = await local_worker(system)
    for start in range(0, 600, 150):
        await one.count(*(event(f"p{n}", 10, 1, 10) for n in range(start, start + 150)))
    await one.folds.flush()
    assert len(await system.store.folds([f"p{n}" for n in range(600)])) == 600


@pytest.mark.parametrize("too_large", [2**63, 2**70])
async def test_row_that_cannot_be_encoded_is_refused_alone(system: ScoreSystem, too_large: int) -> None:
    one = await local_worker(system)
    good = [event(f"p{n}", 10, 1, 10) for n in range(9)]
    bad = event("eve", 10, 1, 10)._replace(sequence=too_large)
    refused = await one.worker.count([*good[:4], bad, *good[4:]])
    assert list(refused) == [bad.event_id]
    assert len(await system.board("all")) == 9
    assert await system.chain("eve") == []


async def test_event_with_an_invalid_quiz_id_is_refused_alone(system: ScoreSystem) -> None:
    one = await local_worker(system)
    bad = event("eve", 10, 1, 10)._replace(quiz_id="No Such/Quiz")
    refused = await one.worker.count([event("ada", 10, 1, 10), bad])
    assert isinstance(refused[bad.event_id], UnprocessableError | ValueError)
    assert await system.board("all") == [("ada", 10)]


async def test_nothing_goes_to_redis_while_the_outcome_of_the_insert_is_unknown(system: ScoreSystem) -> None:
    one = await local_worker(system)
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


async def test_rebuild_that_loses_its_token_leaves_the_boards_stale(system: ScoreSystem) -> None:
    one = await local_worker(system)
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


async def test_rebuild_includes_events_counted_during_any_step(system: ScoreSystem) -> None:
    one, two = await local_worker(system), await local_worker(system)
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
    folds = await system.store.current_folds([f"p{n}" for n in range(20)])
    assert dict(await system.board("all")) == {
        user: fold.total.points for user, fold in folds.items() if fold.total.points > 0
    }
    assert await system.verify() == []


async def test_rebuild_that_ends_once_its_boards_are_in_force_leaves_no_player_behind(
    system: ScoreSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody stops the process, or kills it, while it writes players once more with what they had a moment before."""
    one, two = await local_worker(system), await local_worker(system)
    await one.count(event("ada", 10, 1, 10))
    record_rebuild = CoordinationStore.record_rebuild

    async def record_and_count(*arguments: Any) -> None:
        await record_rebuild(*arguments)
        await two.count(event("ada", 10, 2, 20))
        one.writer.before = count_meanwhile

    async def count_meanwhile() -> None:
        await two.count(event("ada", 10, 3, 30))
        one.writer.before = die

    async def die() -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(CoordinationStore, "record_rebuild", record_and_count)
    with contextlib.suppress(asyncio.CancelledError):
        await one.rebuild.run(unique("t"), lambda *_: None)
    assert await system.redis.exists("leaderboard:generation")
    assert await system.chain("ada") == [1, 2, 3], "what happens meanwhile has happened"
    assert await system.verify() == []


async def test_a_board_created_while_a_rebuild_is_killed_in_its_last_step_is_in_force(
    system: ScoreSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await local_worker(system), await local_worker(system)
    await one.count(event("ada", 10, 1, 10))
    record_rebuild = CoordinationStore.record_rebuild

    async def record_and_count(*arguments: Any) -> None:
        await record_rebuild(*arguments)
        await two.count(event("bea", 10, 1, 10)._replace(quiz_id="rivers"))
        one.writer.before = die

    async def die() -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(CoordinationStore, "record_rebuild", record_and_count)
    with contextlib.suppress(asyncio.CancelledError):
        await one.rebuild.run(unique("t"), lambda *_: None)
    (meta,) = [key async for key in system.redis.scan_iter(match="*quiz:rivers*meta*")]
    assert await system.redis.hget(meta, "generation") is None, "the step was not reached"
    in_force = await system.redis.get("leaderboard:generation")
    assert in_force

    async def has_it() -> bool:
        return await system.redis.hget(meta, "generation") == in_force

    three = await local_worker(system)  # which knows of no rebuild
    await three.detector.start()
    try:
        await eventually(has_it)
    finally:
        await three.detector.stop()
    assert (await system.redis.get("leaderboard:generation"), await system.verify()) == (in_force, [])


async def test_a_rebuild_ends_however_fast_players_are_counted(
    system: ScoreSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.runtime.stores.mongo._PAGE", 1)
    one = await local_worker(system)
    await one.count(*(event(f"p{n}", 10, 1, 10) for n in range(3)))
    seen = 0
    async for _ in one.store.rows_since(0):
        seen += 1
        assert seen < 20  # those of the same millisecond may be among them
        await one.count(event(f"p{seen + 2}", 10, 1, 10))
    assert seen >= 3


async def test_rebuild_includes_an_overtaken_attempt_that_moves_only_the_time_of_a_total(system: ScoreSystem) -> None:
    """Counted after the totals were corrected, so its fence is removed: the new board has the value of an earlier time."""
    one, two = await local_worker(system), await local_worker(system)
    start = utc_now() - timedelta(minutes=1)
    await one.count(event("ada", 100, 1, 100, start), event("ada", 20, 3, 140, start + timedelta(seconds=10)))
    overtaken = event("ada", 20, 2, 120, start + timedelta(seconds=40))

    async def count_overtaken() -> None:
        await two.count(overtaken)

    one.writer.before_fences = count_overtaken
    await one.rebuild.run(unique("t"), lambda *_: None, of_other_data=True)
    for side in (one, two):
        await side.folds.flush()
    assert await system.chain("ada") == [1, 2, 3]
    assert await system.verify() == []


@pytest.mark.parametrize("again", [(20, 1, 39), (5, 2, 10)], ids=["same number", "smaller total"])
async def test_attempts_that_are_numbered_again_lower_no_value_in_silence(
    system: ScoreSystem, again: tuple[int, int, int]
) -> None:
    """The quiz's records were lost in between, so that numbers and totals begin from the start."""
    worker, start = await local_worker(system), utc_now() - timedelta(minutes=1)
    await worker.count(event("ada", 39, 1, 39, start))
    await worker.count(event("ada", *again, start + timedelta(seconds=1)))
    await worker.folds.flush()
    assert await system.board("quiz:capitals") == [("ada", again[2])]
    assert await system.verify() == []


async def test_outdated_fold_of_an_erased_player_restores_nothing(system: ScoreSystem) -> None:
    """The ledger no longer contains their id, but a worker has their fold from before the erasure."""
    one, two = await local_worker(system), await local_worker(system)
    first = event("ada", 10, 1, 10)
    for side in (one, two):
        await side.count(first)
    erasure = identity_events_pb2.PlayerChangedEvent(event_id="erasure", event_type=PLAYER_ERASED)
    erasure.payload.user_id, erasure.payload.version, erasure.payload.blocked = "ada", 1, True
    erasure.payload.timestamp.FromDatetime(utc_now())
    erased = decode(erasure.SerializeToString(), sequence=2, partition=0, digests=system.store.digests)
    await one.count(erased)
    await one.folds.flush()
    await system.store.erase_names("ada", pseudonym_of(system.store.digests.chain("ada")))
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
    assert await system.verify() == []

"""Players get the counter of a board that is defined late: while they act, and if the worker dies between its two writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from random import Random

import pytest

from services.boards.board import GENERATION_KEY
from services.boards.definition import Definition
from services.score.coordination_store import BUILDING_LEASE, CoordinationStore
from services.streams import COUNTERS_ADDED
from tests.system.boards.test_defined_boards import definitions_of, shown, until_ready
from tests.system.counting.local_worker import LocalWorker, event, local_worker
from tests.system.score import ScoreSystem, completed

COUNT = Definition("count", aggregate="count")
PLAYERS = [f"player-{number}" for number in range(40)]


async def assert_complete(system: ScoreSystem, actions: Mapping[str, int]) -> None:
    """Assert the board, one row with the counter for each player who lacked it, and stored folds that are the ledger's."""
    assert await shown(system, COUNT) == {"custom:count": dict(actions)}
    rows = [row async for row in system.store.chains()]
    lacked = [row.user_id for row in rows if row.revision == 1 and not row.counters_known]
    assert sorted(row.user_id for row in rows if row.kind == COUNTERS_ADDED) == sorted(lacked)
    assert [user_id async for user_id, _ in system.store.players_without_counters(1)] == []
    assert await system.verify() == []


@pytest.mark.parametrize("seed", range(4))
async def test_actions_between_the_reads_and_writes_of_a_backfill_count(system: ScoreSystem, seed: int) -> None:
    random_source = Random(seed)
    await system.store.prepare(timedelta(days=1))
    await system.redis.set(GENERATION_KEY, 1)
    builder, *others = [await local_worker(system) for _ in range(3)]
    acted: Counter[str] = Counter()
    steps: list[str] = []

    async def act(players: list[str]) -> None:
        for other in others:
            for player in random_source.sample(players, len(players) // 2):
                acted[player] += 1
                await other.count(event(player, 5, acted[player], 5 * acted[player]))

    async def before_rows() -> None:
        steps.append("rows")
        await random_source.choice(others).folds.flush()
        if len(steps) < 4:  # else the next insert is the last: nobody acts before it
            await act(random_source.sample(PLAYERS, 20))
            builder.store.before = before_rows

    async def before_folds() -> None:
        steps.append("folds")
        await act(random_source.sample(PLAYERS, 10))
        await random_source.choice(others).folds.flush()

    await act(PLAYERS[:30])  # the last ten come while the board is built, or never
    await others[0].folds.flush()
    await act(PLAYERS[:30])
    await definitions_of(system).put(COUNT, actor="test")
    for worker in (builder, *others):
        await worker.adopt()
    builder.store.before, builder.store.before_folds = before_rows, before_folds
    await builder.builder.step()
    assert steps[:2] == ["rows", "rows"], "somebody acted before their row was inserted"
    assert "folds" in steps
    for worker in others:
        await worker.folds.close()
    system.placement.adopt(builder.placement.agreement)
    await assert_complete(system, acted)


async def test_players_who_got_a_counter_are_read_before_their_next_action(system: ScoreSystem) -> None:
    """Their cached folds end before the row with it, so the insert of the next one would be refused."""
    await system.store.prepare(timedelta(days=1))
    await system.redis.set(GENERATION_KEY, 1)
    workers = [await local_worker(system) for _ in range(2)]

    async def act(attempt: int) -> None:
        for worker, players in zip(workers, (PLAYERS[:20], PLAYERS[20:]), strict=True):
            await worker.count(*(event(player, 5, attempt, 5 * attempt) for player in players))

    await act(1)
    await workers[1].folds.flush()
    await definitions_of(system).put(COUNT, actor="test")
    for worker in workers:
        await worker.adopt()
    await workers[0].builder.step()
    for worker in workers:
        await worker.adopt()
    inserts: list[LocalWorker] = []

    async def note(worker: LocalWorker) -> None:
        inserts.append(worker)
        worker.store.before = partial(note, worker)

    for worker in workers:
        worker.store.before = partial(note, worker)
    await act(2)
    assert inserts == workers, "one insert each"
    for worker in workers:
        await worker.folds.close()
    system.placement.adopt(workers[0].placement.agreement)
    await assert_complete(system, Counter(dict.fromkeys(PLAYERS, 2)))


async def test_backfill_that_died_between_rows_and_folds_is_continued(system: ScoreSystem) -> None:
    """In its second page: the players of the first are complete, and the last have neither."""
    events = [completed(f"player-{number}", 5) for number in range(1200)]
    async with system.worker():
        await system.publish(*events)
        await system.until_drained()
    await definitions_of(system).put(COUNT, actor="test")
    with system.crashing("score.building-after-rows-before-folds", {}, nth=2) as worker:
        worker.launch()
        await worker.died()
    assert await system.database["ledger"].count_documents({"kind": COUNTERS_ADDED}) == 1000
    assert len([user_id async for user_id, _ in system.store.players_without_counters(1)]) == 700
    lease = await system.database["meta"].find_one({"_id": BUILDING_LEASE})
    assert lease is not None
    await CoordinationStore(system.database).release_lease(lease["holder"], BUILDING_LEASE)
    async with system.worker():
        await until_ready(system)
        await assert_complete(system, {each.payload.user_id: 1 for each in events})

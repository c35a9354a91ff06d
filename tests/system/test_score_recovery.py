"""Stores that go away, come back empty or come back old: every board is right again, by what MongoDB has."""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta

from services.runtime.boards import boards_of
from services.runtime.clock import utc_now
from tests.system.score import ScoreSystem, assert_counted_once, completed, many, totals_of


async def test_an_unknown_outcome_heals_when_the_database_comes_back(system: ScoreSystem) -> None:
    events = many(900, players=20, seed=7)
    mongo = system.servers["mongo"]
    async with system.worker(TOPTEN_SCORE_BATCH="20"):
        await system.whole()
        publishing = asyncio.create_task(system.publish(*events[:600]))
        await system.until_counted(50)
        # Longer than the driver waits: what was sent may be written after all, and nobody hears of it.
        mongo.signal(signal.SIGSTOP)
        await asyncio.sleep(2.5)
        mongo.signal(signal.SIGCONT)
        await publishing
        await system.until_counted(400)
        mongo.kill()
        await mongo.start()
        await system.publish(*events[600:])
        await system.settled()
        await assert_counted_once(system, events)


async def test_an_emptied_redis_is_noticed_and_right_again(system: ScoreSystem) -> None:
    events = many(900, players=40, seed=8, lowest=-20)
    async with system.worker(TOPTEN_SCORE_BATCH="20"), system.worker(TOPTEN_SCORE_BATCH="20"):
        await system.publish(*events[:300])
        await system.settled()
        before = await system.whole()
        publishing = asyncio.create_task(system.publish(*events[300:]))
        await system.until_counted(350)
        await system.redis.flushall()
        await system.whole(than=before)
        await publishing
        await system.settled()
        await assert_counted_once(system, events)


async def test_a_redis_that_forgot_everything_in_a_restart_is_right_again(system: ScoreSystem) -> None:
    events = many(600, players=40, seed=9)
    redis = system.servers["redis"]
    async with system.worker(TOPTEN_SCORE_BATCH="20"):
        await system.publish(*events[:300])
        before = await system.whole()
        redis.kill()
        publishing = asyncio.create_task(system.publish(*events[300:]))
        await redis.start()
        await publishing
        await system.settled()
        await system.whole(than=before)
        await assert_counted_once(system, events)


async def test_boards_that_redis_evicted_are_made_anew(system: ScoreSystem) -> None:
    """A server that was told to forget after the start; only the head count says that it did."""
    events = many(200, players=40, seed=19)
    async with system.worker():
        await system.publish(*events)
        await system.settled()
        before = await system.whole()
        used = (await system.redis.info("memory"))["used_memory"]
        await system.redis.config_set("maxmemory-policy", "allkeys-random")
        await system.redis.config_set("maxmemory", used // 2)
        while not (await system.redis.info("stats"))["evicted_keys"]:
            await system.redis.ping()
        await system.redis.config_set("maxmemory", 0)
        await system.redis.config_set("maxmemory-policy", "noeviction")
        await system.whole(than=before)
        await assert_counted_once(system, events)


async def test_an_old_snapshot_is_noticed_though_it_looks_whole(system: ScoreSystem) -> None:
    events = many(200, players=10, seed=10)
    async with system.worker():
        await system.publish(*events[:100])
        await system.settled()
        before = await system.whole()
        keys = [key async for key in system.redis.scan_iter("*")]
        snapshot = {key: await system.redis.dump(key) for key in keys}
        await system.publish(*events[100:])
        await system.settled()
        # Not in one step, which a cluster has none for; what the snapshot does not have goes first.
        async with system.redis.pipeline(transaction=False) as restore:
            for key in [key async for key in system.redis.scan_iter("*") if key not in snapshot]:
                restore.delete(key)
            for key, value in snapshot.items():
                assert value is not None
                restore.restore(key, 0, value, replace=True)
            await restore.execute()
        await system.whole(than=before)
        await assert_counted_once(system, events)


async def test_folds_that_a_dead_worker_never_wrote_are_no_loss(system: ScoreSystem) -> None:
    events = many(200, players=20, seed=11)
    async with system.worker(TOPTEN_SCORE_FOLD_INTERVAL="30s") as worker:
        await system.publish(*events)
        await system.settled()
        before = await system.whole()
        worker.kill()
    assert await system.database["players"].count_documents({"revision": {"$gt": 1}}) < 20
    await system.redis.flushall()
    async with system.worker():
        await system.whole(than=before)
        assert dict(await system.board("all")) == {
            user: total for user, total in totals_of(events).items() if total > 0
        }


async def test_boards_of_periods_that_are_over_are_made_anew_as_well(system: ScoreSystem) -> None:
    now = utc_now()
    async with system.worker():
        for weeks in (3, 2, 1, 0):
            at = now - timedelta(days=7 * weeks)
            await system.publish(completed("ada", 10 + weeks, quiz_id=f"quiz-{weeks}", at=at))
            await system.settled()
        before = await system.whole()
        await system.redis.flushall()
        await system.whole(than=before)
        for weeks in (3, 2, 1, 0):
            board = boards_of(now - timedelta(days=7 * weeks), "", "")[1]
            assert await system.board(board.text) == [("ada", 10 + weeks)], board
            assert await system.redis.ttl(board.key) > 0
        assert await system.board("all") == [("ada", 46)]
        assert await system.verified() == []


async def test_a_period_that_is_over_for_long_is_not_made_again(system: ScoreSystem) -> None:
    long_ago = utc_now() - timedelta(days=100)
    async with system.worker():
        await system.publish(completed("ada", 10, at=long_ago))
        await system.settled()
        assert await system.board("all") == [("ada", 10)]
        assert not await system.redis.exists(boards_of(long_ago, "", "")[1].key)
        assert await system.verified() == []

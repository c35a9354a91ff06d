"""Stores that fail, restart empty or return to an old state: every board is rebuilt from MongoDB."""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta

from services.boards.board import boards_of
from services.runtime.clock import utc_now
from services.runtime.stores.incarnation import IncarnationStore
from tests.deadline import eventually
from tests.system.score import ScoreSystem, assert_counted_once, completed, random_events, totals_of


async def test_unknown_outcome_is_resolved_when_the_database_returns(system: ScoreSystem) -> None:
    events = random_events(900, players=20, seed=7)
    mongo = system.servers["mongo"]
    async with system.worker(TOPTEN_SCORE_BATCH="20"):
        await system.until_complete()
        publishing = asyncio.create_task(system.publish(*events[:600]))
        await system.until_counted(50)
        # Longer than the driver's time-out: what was sent may be written without an acknowledgement.
        mongo.signal(signal.SIGSTOP)
        await asyncio.sleep(2.5)
        mongo.signal(signal.SIGCONT)
        await publishing
        await system.until_counted(400)
        mongo.kill()
        await mongo.start()
        await system.publish(*events[600:])
        await system.until_drained()
        await assert_counted_once(system, events)


async def test_boards_are_rebuilt_after_redis_was_flushed(system: ScoreSystem) -> None:
    events = random_events(900, players=40, seed=8, lowest=-20)
    async with system.worker(TOPTEN_SCORE_BATCH="20"), system.worker(TOPTEN_SCORE_BATCH="20"):
        await system.publish(*events[:300])
        await system.until_drained()
        before = await system.until_complete()
        publishing = asyncio.create_task(system.publish(*events[300:]))
        await system.until_counted(350)
        await system.redis.flushall()
        await system.until_complete(after=before)
        await publishing
        await system.until_drained()
        await assert_counted_once(system, events)


async def test_boards_are_rebuilt_after_redis_restarts_empty(system: ScoreSystem) -> None:
    events = random_events(600, players=40, seed=9)
    redis = system.servers["redis"]
    async with system.worker(TOPTEN_SCORE_BATCH="20"):
        await system.publish(*events[:300])
        before = await system.until_complete()
        redis.kill()
        publishing = asyncio.create_task(system.publish(*events[300:]))
        await redis.start()
        await publishing
        await system.until_drained()
        await system.until_complete(after=before)
        await assert_counted_once(system, events)


async def test_evicted_boards_are_rebuilt(system: ScoreSystem) -> None:
    """Eviction is configured after the start, so that only the number of evicted keys shows it."""
    events = random_events(200, players=40, seed=19)
    async with system.worker():
        await system.publish(*events)
        await system.until_drained()
        before = await system.until_complete()
        used = (await system.redis.info("memory"))["used_memory"]
        await system.redis.config_set("maxmemory-policy", "allkeys-random")
        await system.redis.config_set("maxmemory", used // 2)
        while not (await system.redis.info("stats"))["evicted_keys"]:
            await system.redis.ping()
        await system.redis.config_set("maxmemory", 0)
        await system.redis.config_set("maxmemory-policy", "noeviction")
        await system.until_complete(after=before)
        await assert_counted_once(system, events)


async def test_old_redis_snapshot_is_detected(system: ScoreSystem) -> None:
    events = random_events(200, players=10, seed=10)
    async with system.worker():
        await system.publish(*events[:100])
        await system.until_drained()
        before = await system.until_complete()
        keys = [key async for key in system.redis.scan_iter("*")]
        snapshot = {key: await system.redis.dump(key) for key in keys}
        await system.publish(*events[100:])
        await system.until_drained()
        # Not in one transaction, which a cluster lacks. Keys that the snapshot does not have are deleted first.
        async with system.redis.pipeline(transaction=False) as restore:
            for key in [key async for key in system.redis.scan_iter("*") if key not in snapshot]:
                restore.delete(key)
            for key, value in snapshot.items():
                assert value is not None
                restore.restore(key, 0, value, replace=True)
            await restore.execute()
        await system.until_complete(after=before)
        await assert_counted_once(system, events)


async def test_folds_that_a_dead_worker_never_stored_are_recovered(system: ScoreSystem) -> None:
    events = random_events(200, players=20, seed=11)
    async with system.worker() as worker:
        before = await system.until_complete()
        await system.database.command("collMod", "players", validator={"revision": {"$exists": False}})
        await system.publish(*events)
        await system.until_drained()
        worker.kill()
    await system.database.command("collMod", "players", validator={})
    assert await system.database["players"].count_documents({}) == 0, "no fold was stored"
    await system.redis.flushall()
    async with system.worker():
        await system.until_complete(after=before)
        assert dict(await system.board("all")) == {
            user: total for user, total in totals_of(events).items() if total > 0
        }


async def test_boards_of_past_periods_are_rebuilt(system: ScoreSystem) -> None:
    now = utc_now()
    async with system.worker():
        for weeks in (3, 2, 1, 0):
            at = now - timedelta(days=7 * weeks)
            await system.publish(completed("ada", 10 + weeks, quiz_id=f"quiz-{weeks}", at=at))
            await system.until_drained()
        before = await system.until_complete()
        await system.redis.flushall()
        await system.until_complete(after=before)
        for weeks in (3, 2, 1, 0):
            board = boards_of(now - timedelta(days=7 * weeks), "", "")[1]
            assert await system.board(board.name) == [("ada", 10 + weeks)], board
            assert await system.redis.ttl(board.key) > 0
        assert await system.board("all") == [("ada", 46)]
        assert await system.verify() == []


async def test_period_past_its_retention_is_not_rebuilt(system: ScoreSystem) -> None:
    long_ago = utc_now() - timedelta(days=100)
    async with system.worker():
        await system.publish(completed("ada", 10, at=long_ago))
        await system.until_drained()
        assert await system.board("all") == [("ada", 10)]
        assert not await system.redis.exists(boards_of(long_ago, "", "")[1].key)
        assert await system.verify() == []


async def test_player_lowered_before_mongodb_went_back_is_raised_after_it(system: ScoreSystem) -> None:
    async with system.worker():
        await system.publish(completed("ada", 10))
        await system.until_drained()
        names = ("ledger", "players", "meta")
        earlier = {name: [document async for document in system.mongo.database[name].find()] for name in names}
        await system.publish(*(completed("ada", 10, quiz_id=f"q{number}") for number in range(5)))
        await system.publish(completed("ada", -5, quiz_id="q0", attempt=2, total=5))
        await system.until_drained()
        before = await system.until_complete()
        for name, documents in earlier.items():
            collection = system.mongo.database[name]
            await collection.delete_many({"_id": {"$nin": [document["_id"] for document in documents]}})
            for document in documents:
                await collection.replace_one({"_id": document["_id"]}, document, upsert=True)
        incarnations = IncarnationStore(system.mongo.client, system.prefix)
        await incarnations.replace(await incarnations.current(), "the test put MongoDB back")
        await system.until_complete(after=before)
        await system.publish(completed("ada", 10, quiz_id="later"))
        await system.until_drained()

        async def is_right() -> bool:
            return await system.board("all") == [("ada", 20)] and await system.verify() == []

        await eventually(is_right, "the board follows the ledger")


async def test_a_heartbeat_that_finds_nothing_new_writes_nothing_to_mongodb(system: ScoreSystem) -> None:
    meta, profile = system.database["meta"], system.database["system.profile"]
    async with system.worker():
        await eventually(lambda: meta.find_one({"_id": {"$regex": "^worker:"}, "boards": {"$ne": None}}), "it adopted")
        built = {"_id": "boards", "built.generation": {"$exists": True}, "built.new_since": {"$exists": False}}
        await eventually(lambda: meta.find_one(built), "its first rebuild ended")
        await system.database.command("profile", 2)

        async def three_heartbeats() -> bool:
            return await profile.count_documents({"op": "query", "command.filter._id": "boards"}) >= 3

        await eventually(three_heartbeats, "three heartbeats")
        await system.database.command("profile", 0)
    written = [each["command"] async for each in profile.find({"op": "update", "ns": meta.full_name})]
    assert written, "folds are reported"
    assert [each for each in written if each["q"]["_id"] == "boards" or "boards" in str(each["u"])] == []

"""An event counts exactly once, on every board, whatever dies: real events, a real stream, real processes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from datetime import timedelta

import aiohttp
import pytest_asyncio
from nats.js.api import RetentionPolicy

from services.quiz.publisher import STREAM, QuizPublisher
from services.runtime.boards import GENERATION_KEY, Board, boards_of
from services.runtime.clock import utc_now
from services.score.layout import durables
from tests.servers import RunningServer
from tests.system.score import (
    PARTITIONS,
    PATIENCE_SECONDS,
    ScoreSystem,
    assert_counted_once,
    completed,
    many,
    score_servers,
    score_system,
    totals_of,
)


@pytest_asyncio.fixture(scope="module")
async def servers() -> AsyncIterator[dict[str, RunningServer]]:
    async with score_servers() as running:
        yield running


@pytest_asyncio.fixture
async def system(servers: dict[str, RunningServer]) -> AsyncIterator[ScoreSystem]:
    async with score_system(servers) as fresh:
        yield fresh


async def test_every_event_is_in_the_ledger_and_on_all_its_boards(system: ScoreSystem) -> None:
    events = many(300, players=30, seed=1)
    async with system.worker():
        await system.publish(*events)
        await system.settled()
        await assert_counted_once(system, events)
        totals = totals_of(events)
        assert [points for _, points in await system.board("all")] == sorted(
            (total for total in totals.values() if total > 0), reverse=True
        )
        assert (
            dict(await system.board("weekly")) == dict(await system.board("monthly")) == dict(await system.board("all"))
        )
        countries = {event.payload.user_id: event.payload.country for event in events}
        assert dict(await system.board("country:VN")) == {
            user: total for user, total in totals.items() if total > 0 and countries[user] == "VN"
        }
        of_quiz = totals_of(event for event in events if event.payload.quiz_id == "quiz-2")
        assert dict(await system.board("quiz:quiz-2")) == {user: total for user, total in of_quiz.items() if total > 0}


async def test_the_keys_of_a_period_expire_and_those_of_all_time_do_not(system: ScoreSystem) -> None:
    async with system.worker():
        await system.publish(completed("ada", 10))
        await system.settled()
        await system.publish(completed("ben", 20), completed("ada", 30, quiz_id="rivers"))
        await system.settled()
        for board in boards_of(utc_now(), "VN", "capitals"):
            (part,) = system.placing.catalog.split.parts(board)
            for key in (part.key, part.meta_key, part.previous_key):
                if await system.redis.exists(key):
                    assert (await system.redis.ttl(key) > 0) == (board.kind in ("weekly", "monthly")), key


async def test_a_duplicate_scores_once(system: ScoreSystem) -> None:
    events = many(40, players=5, seed=2)
    async with system.worker():
        await system.publish(*events, copies=10)
        await system.settled()
        await assert_counted_once(system, events)


async def test_an_event_delivered_ten_times_scores_once(system: ScoreSystem) -> None:
    events = many(40, players=5, seed=3)
    async with system.worker(TOPTEN_SCORE_ACK_WAIT="3s") as worker:
        await system.publish(*events)
        await system.settled()
        assert await worker.stop() == 0
    await system.publish(*events)
    jetstream = system.nats.jetstream
    for partition in range(PARTITIONS):
        durable = await jetstream.pull_subscribe_bind(f"score-{partition}", STREAM)
        waiting = (await durable.consumer_info()).num_pending
        for _ in range(10):
            for message in await durable.fetch(waiting, timeout=5) if waiting else []:
                await message.nak()
        await durable.unsubscribe()
    async with system.worker():
        await system.settled()
        await assert_counted_once(system, events)


async def test_two_workers_on_the_same_players_leave_no_gap(system: ScoreSystem) -> None:
    events = many(1500, players=12, seed=4)
    async with system.worker(TOPTEN_SCORE_BATCH="20"), system.worker(TOPTEN_SCORE_BATCH="20"):
        await system.publish(*events)
        await system.settled()
        await assert_counted_once(system, events)


async def test_two_workers_on_players_who_fall_and_rise_agree(system: ScoreSystem) -> None:
    events = many(1000, players=6, seed=5, lowest=-40)
    async with system.worker(TOPTEN_SCORE_BATCH="10"), system.worker(TOPTEN_SCORE_BATCH="10"):
        await system.publish(*events)
        await system.settled()
        await assert_counted_once(system, events)


async def test_workers_killed_at_any_moment_lose_nothing(system: ScoreSystem) -> None:
    events = many(900, players=20, seed=6)
    for part in range(3):
        async with system.worker(TOPTEN_SCORE_ACK_WAIT="3s", TOPTEN_SCORE_BATCH="20") as worker:
            await system.publish(*events[part * 300 : part * 300 + 300])
            await system.until_counted(part * 200 + 50)
            worker.kill()
    async with system.worker(TOPTEN_SCORE_ACK_WAIT="3s"):
        await system.settled()
        await assert_counted_once(system, events)


async def test_a_worker_that_is_stopped_gives_back_what_it_holds(system: ScoreSystem) -> None:
    # Nothing may be left to the wait for an acknowledgement, which is longer than this test may take.
    events = many(2000, players=20, seed=17)
    settings = {"TOPTEN_SCORE_ACK_WAIT": "10m", "TOPTEN_SCORE_BATCH": "20"}
    publishing = asyncio.create_task(system.publish(*events))
    for part in range(4):
        async with system.worker(**settings) as worker:
            await system.until_counted(part * 300 + 50)
            assert await worker.stop() == 0, worker.log
    async with system.worker(**settings):
        await publishing
        await system.settled()
        await assert_counted_once(system, events)


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


async def test_a_total_that_falls_is_lowered_and_one_without_points_leaves(system: ScoreSystem) -> None:
    async with system.worker():
        await system.publish(completed("ada", 100), completed("ben", 80))
        await system.settled()
        await system.publish(completed("ada", -30, attempt=2, total=70))
        await system.settled()
        for board in ("all", "weekly", "monthly", "country:VN", "quiz:capitals"):
            assert await system.board(board) == [("ben", 80), ("ada", 70)], board
        await system.publish(completed("ada", -70, attempt=3, total=0))
        await system.settled()
        for board in ("all", "weekly", "monthly", "country:VN", "quiz:capitals"):
            assert await system.board(board) == [("ben", 80)], board
        await system.publish(completed("ada", 90, attempt=4, total=90))
        await system.settled()
        assert await system.board("quiz:capitals") == [("ada", 90), ("ben", 80)]
        assert await system.verified() == []


async def test_poison_goes_to_the_dead_letters_and_the_rest_flows(system: ScoreSystem) -> None:
    events = many(60, players=5, seed=12)
    other = completed("ada", 10)
    other.event_type = "SOMETHING_ELSE"
    async with system.worker():
        await system.publish(*events[:30])
        await system.publish_bytes("player-0", b"\xff\xff\xff no event")
        await system.publish(other, completed("ada", 10, quiz_id="No Such/Quiz"))
        await system.publish(*events[30:])
        await system.settled()
        await assert_counted_once(system, events)
    letters = [letter async for letter in system.database["dead_letters"].find()]
    assert len(letters) == 3
    assert {letter["state"] for letter in letters} == {"dead"}
    named = {letter["_id"]: letter for letter in letters}
    assert bytes(named[other.event_id]["payload"]) == other.SerializeToString()
    assert any(letter_id.startswith(f"{STREAM}:") for letter_id in named)


async def test_a_late_event_counts_in_its_own_period(system: ScoreSystem) -> None:
    last_week = utc_now() - timedelta(days=7)
    board = boards_of(last_week, "", "")[1]
    async with system.worker():
        await system.publish(completed("ada", 10))
        await system.settled()
        await system.publish(completed("ada", 5, quiz_id="rivers", at=last_week))
        await system.settled()
        assert await system.board(board.text) == [("ada", 5)]
        assert await system.board("weekly") == [("ada", 10)]
        assert await system.board("all") == [("ada", 15)]


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


async def test_what_a_worker_did_is_on_its_metrics(system: ScoreSystem) -> None:
    events = many(30, players=3, seed=16)
    async with system.worker() as worker, aiohttp.ClientSession() as session:
        await system.publish(*events)
        await system.publish_bytes("player-0", b"\xff\xff\xff")
        await system.settled()
        await system.publish(*events)
        await system.settled()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:  # how much waits is asked once a second
                async with session.get(f"{worker.ops}/metrics") as answer:
                    lines = [line for line in (await answer.text()).splitlines() if not line.startswith("#")]
                metrics = dict(line.rsplit(" ", 1) for line in lines)
                waiting = [float(metrics[name]) for name in metrics if name.startswith("topten_consumer_pending")]
                if len(waiting) == PARTITIONS and not any(waiting):
                    break
                await asyncio.sleep(0.05)
    assert float(metrics['topten_events_counted_total{event="new"}']) == 30
    assert float(metrics['topten_events_counted_total{event="again"}']) == 30
    assert float(metrics["topten_dead_letters_total"]) == 1
    assert float(metrics["topten_board_rebuild_seconds_count"]) == 1
    for name in ("topten_redeliveries_total", "topten_ledger_conflicts_total"):
        assert name in metrics


async def test_a_period_that_is_over_for_long_is_not_made_again(system: ScoreSystem) -> None:
    long_ago = utc_now() - timedelta(days=100)
    async with system.worker():
        await system.publish(completed("ada", 10, at=long_ago))
        await system.settled()
        assert await system.board("all") == [("ada", 10)]
        assert not await system.redis.exists(boards_of(long_ago, "", "")[1].key)
        assert await system.verified() == []


async def test_the_stream_may_go_away_and_come_back_many_times(system: ScoreSystem) -> None:
    """Fifty times; of ten, nine come so soon that hardly anybody has connected again."""
    events = many(500, players=10, seed=13)
    nats = system.servers["nats"]
    # What was on its way when the server died comes again when the wait for its acknowledgement is over.
    async with system.worker(TOPTEN_SCORE_BATCH="20", TOPTEN_SCORE_ACK_WAIT="3s") as worker:
        await system.whole()
        publishing = [asyncio.create_task(system.publish(*events[start : start + 100])) for start in range(0, 500, 100)]
        for restarts in range(50):
            if restarts % 10 == 0:
                await system.until_counted(restarts * 5)
            nats.kill()
            await nats.start()
        await asyncio.gather(*publishing)
        await system.settled()
        await assert_counted_once(system, events)
        assert worker.exit_code is None


async def test_a_durable_that_was_deleted_is_made_again(system: ScoreSystem) -> None:
    events = many(80, players=10, seed=14)
    async with system.worker():
        await system.publish(*events[:40])
        await system.settled()
        for partition in range(PARTITIONS):
            await system.nats.jetstream.delete_consumer(STREAM, f"score-{partition}")
        await system.publish(*events[40:])
        await system.settled()
        await assert_counted_once(system, events)


async def test_a_worker_waits_for_the_stream_and_has_one_durable_without_partitions(system: ScoreSystem) -> None:
    jetstream = system.nats.jetstream
    await jetstream.delete_stream(STREAM)
    events = many(40, players=5, seed=15)

    async def make_stream() -> None:
        while not await system.redis.exists(GENERATION_KEY):
            await asyncio.sleep(0.02)
        await jetstream.add_stream(name=STREAM, subjects=["quiz.events.>"], retention=RetentionPolicy.WORK_QUEUE)

    # The worker is not ready before there is a stream, and it runs before that: it has made the boards.
    making = asyncio.create_task(make_stream())
    async with system.worker():
        await making
        await system.publish(*events)
        await system.settled()
        assert [consumer.name for consumer in await jetstream.consumers_info(STREAM)] == ["score"]
        await system.whole()
        await assert_counted_once(system, events)


async def test_the_number_of_partitions_may_change_while_events_flow_and_each_counts_once(system: ScoreSystem) -> None:
    """Fewer, none and more again; two workers share what there is, and no durable is left over."""
    events = many(1600, players=60, seed=33, lowest=-20)
    publisher = QuizPublisher(system.nats.jetstream)
    async with system.worker(TOPTEN_SCORE_ACK_WAIT="3s"), system.worker(TOPTEN_SCORE_ACK_WAIT="3s"):
        for number, partitions in enumerate((2, 0, 3, 4)):
            part = events[400 * number : 400 * number + 400]
            publishing = asyncio.create_task(system.publish(*part))
            await publisher.prepare(partitions=partitions, replicas=1, max_bytes=1 << 28)
            await publishing
            wanted = set(durables(partitions))
            async with asyncio.timeout(30):
                while {info.name for info in await system.nats.jetstream.consumers_info(STREAM)} != wanted:
                    await asyncio.sleep(0.05)
        await system.settled()
        await assert_counted_once(system, events)


async def test_where_an_action_came_from_is_kept_beside_the_ledger_only(system: ScoreSystem) -> None:
    event = completed("ada", 10)
    async with system.worker(TOPTEN_SCORE_AUDIT_TTL="7d"):
        await system.publish(event)
        await system.settled()
    row = await system.database["ledger"].find_one({"_id": event.event_id})
    beside = await system.database["audit"].find_one({"_id": event.event_id})
    assert row is not None
    assert beside is not None
    assert (beside["ip"], beside["user_agent"]) == ("192.0.2.7", "Browser/1")
    assert "192.0.2.7" not in str(row)
    assert "Browser" not in str(row)
    assert len(row["client"]) == 16
    indexes = await system.database["audit"].index_information()
    assert indexes["at_1"]["expireAfterSeconds"] == 7 * 86_400
    # A worker with another setting changes what is kept.
    async with system.worker(TOPTEN_SCORE_AUDIT_TTL="8d"):
        indexes = await system.database["audit"].index_information()
        assert indexes["at_1"]["expireAfterSeconds"] == 8 * 86_400


async def test_a_check_names_what_was_tampered_with(system: ScoreSystem) -> None:
    events = [completed(f"p{n}", 10 + n) for n in range(8)]
    more = [completed(f"p{n}", 5, quiz_id="rivers") for n in range(8)]
    async with system.worker():
        for part in (events, more):
            await system.publish(*part)
            await system.settled()
        await system.until_counted(16)
    assert await system.verified() == []
    week = Board.parse("weekly", utc_now())
    await system.redis.zadd("leaderboard:all", {"p0": 9000})
    await system.redis.zrem(week.key, "p1")
    await system.redis.zadd("leaderboard:country:VN", {"stranger": 77})
    await system.redis.zadd("leaderboard:quiz:never-was", {"p2": 3})
    await system.database["players"].update_one({"user_id": "p3"}, {"$set": {"total.0": 1}})
    await system.database["players"].delete_one({"user_id": "p4"})
    await system.database["ledger"].delete_one({"user_id": "p5", "revision": 1})
    await system.database["ledger"].delete_one({"user_id": "p6", "revision": 2})
    await system.database["ledger"].update_one({"user_id": "p7", "revision": 2}, {"$set": {"delta": 6}})
    found = {(finding.kind, finding.subject) for finding in await system.verified()}
    assert {
        ("board", "all"),
        ("board", week.text),
        ("board", "country:VN"),
        ("board", "quiz:never-was"),
        ("total", "p3"),
        ("total", "p4"),
        ("chain", "p5"),
        ("chain", "p6"),
        ("event", more[7].event_id),
    } <= found

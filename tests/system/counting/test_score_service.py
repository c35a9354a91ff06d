"""An event counts exactly once on every board, whichever process dies: real events, stream and processes."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import aiohttp

from services.boards.board import Board, boards_of
from services.runtime.clock import utc_now
from services.streams import QUIZ_STREAM
from tests.deadline import deadline
from tests.system.score import (
    PARTITIONS,
    ScoreSystem,
    assert_counted_once,
    completed,
    random_events,
    totals_of,
)


async def test_every_event_is_in_the_ledger_and_on_all_its_boards(system: ScoreSystem) -> None:
    events = random_events(300, players=30, seed=1)
    async with system.worker():
        await system.publish(*events)
        await system.until_drained()
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


async def test_only_keys_of_periods_expire(system: ScoreSystem) -> None:
    async with system.worker():
        await system.publish(completed("ada", 10))
        await system.until_drained()
        await system.publish(completed("ben", 20), completed("ada", 30, quiz_id="rivers"))
        await system.until_drained()
        for board in boards_of(utc_now(), "VN", "capitals"):
            (shard,) = system.placement.catalog.sharding.shards(board)
            for key in (shard.key, shard.meta_key, shard.previous_key):
                if await system.redis.exists(key):
                    assert (await system.redis.ttl(key) > 0) == (board.kind in ("weekly", "monthly")), key


async def test_duplicate_event_scores_once(system: ScoreSystem) -> None:
    events = random_events(40, players=5, seed=2)
    async with system.worker():
        await system.publish(*events, copies=10)
        await system.until_drained()
        await assert_counted_once(system, events)


async def test_event_delivered_ten_times_scores_once(system: ScoreSystem) -> None:
    events = random_events(40, players=5, seed=3)
    async with system.worker(TOPTEN_SCORE_ACK_WAIT="3s") as worker:
        await system.publish(*events)
        await system.until_drained()
        assert await worker.stop() == 0
    await system.publish(*events)
    jetstream = system.nats.jetstream
    for partition in range(PARTITIONS):
        durable = await jetstream.pull_subscribe_bind(f"score-{partition}", QUIZ_STREAM)
        waiting = (await durable.consumer_info()).num_pending
        for _ in range(10):
            for message in await durable.fetch(waiting, timeout=5) if waiting else []:
                await message.nak()
        await durable.unsubscribe()
    async with system.worker():
        await system.until_drained()
        await assert_counted_once(system, events)


async def test_two_workers_on_the_same_players_leave_no_gap(system: ScoreSystem) -> None:
    events = random_events(1500, players=12, seed=4)
    async with system.worker(TOPTEN_SCORE_BATCH="20"), system.worker(TOPTEN_SCORE_BATCH="20"):
        await system.publish(*events)
        await system.until_drained()
        await assert_counted_once(system, events)


async def test_two_workers_agree_on_players_who_fall_and_rise(system: ScoreSystem) -> None:
    events = random_events(1000, players=6, seed=5, lowest=-40)
    async with system.worker(TOPTEN_SCORE_BATCH="10"), system.worker(TOPTEN_SCORE_BATCH="10"):
        await system.publish(*events)
        await system.until_drained()
        await assert_counted_once(system, events)


async def test_workers_killed_at_any_moment_lose_nothing(system: ScoreSystem) -> None:
    events = random_events(900, players=20, seed=6)
    for part in range(3):
        async with system.worker(TOPTEN_SCORE_ACK_WAIT="3s", TOPTEN_SCORE_BATCH="20") as worker:
            await system.publish(*events[part * 300 : part * 300 + 300])
            await system.until_counted(part * 200 + 50)
            worker.kill()
    async with system.worker(TOPTEN_SCORE_ACK_WAIT="3s"):
        await system.until_drained()
        await assert_counted_once(system, events)


async def test_stopped_worker_gives_back_its_messages(system: ScoreSystem) -> None:
    # The ack wait is longer than the test: no message may be left to it.
    events = random_events(900, players=20, seed=17)
    settings = {"TOPTEN_SCORE_ACK_WAIT": "10m", "TOPTEN_SCORE_BATCH": "20"}
    publishing = asyncio.create_task(system.publish(*events))
    for part in range(3):
        async with system.worker(**settings) as worker:
            await system.until_counted(part * 200 + 50)
            assert await worker.stop() == 0, worker.log
    async with system.worker(**settings):
        await publishing
        await system.until_drained()
        await assert_counted_once(system, events)


async def test_falling_total_is_lowered_and_leaves_the_board_without_points(system: ScoreSystem) -> None:
    async with system.worker():
        await system.publish(completed("ada", 100), completed("ben", 80))
        await system.until_drained()
        await system.publish(completed("ada", -30, attempt=2, total=70))
        await system.until_drained()
        for board in ("all", "weekly", "monthly", "country:VN", "quiz:capitals"):
            assert await system.board(board) == [("ben", 80), ("ada", 70)], board
        await system.publish(completed("ada", -70, attempt=3, total=0))
        await system.until_drained()
        for board in ("all", "weekly", "monthly", "country:VN", "quiz:capitals"):
            assert await system.board(board) == [("ben", 80)], board
        await system.publish(completed("ada", 90, attempt=4, total=90))
        await system.until_drained()
        assert await system.board("quiz:capitals") == [("ada", 90), ("ben", 80)]
        assert await system.verify() == []


async def test_poison_message_becomes_a_dead_letter_and_the_rest_is_counted(system: ScoreSystem) -> None:
    events = random_events(60, players=5, seed=12)
    other = completed("ada", 10)
    other.event_type = "SOMETHING_ELSE"
    async with system.worker():
        await system.publish(*events[:30])
        await system.publish_bytes("player-0", b"\xff\xff\xff no event")
        await system.publish(other, completed("ada", 10, quiz_id="No Such/Quiz"))
        await system.publish(*events[30:])
        await system.until_drained()
        await assert_counted_once(system, events)
    dead_letters = [document async for document in system.database["dead_letters"].find()]
    assert len(dead_letters) == 3
    assert {document["state"] for document in dead_letters} == {"dead"}
    by_id = {document["_id"]: document for document in dead_letters}
    assert bytes(by_id[other.event_id]["payload"]) == other.SerializeToString()
    assert any(letter_id.startswith(f"{QUIZ_STREAM}:") for letter_id in by_id)


async def test_events_of_a_group_count_once_and_fail_alone(system: ScoreSystem) -> None:
    events = random_events(60, players=5, seed=13)
    bad = completed("ada", 10, quiz_id="No Such/Quiz")
    async with system.worker():
        await system.publish_groups(*events[:30], bad)
        await system.publish(*events[20:40])
        await system.publish_groups(*events[10:])
        await system.until_drained()
        await assert_counted_once(system, events)
    dead_letters = {document["_id"]: document async for document in system.database["dead_letters"].find()}
    assert dead_letters.keys() == {bad.event_id}
    dead_letter = dead_letters[bad.event_id]
    assert bytes(dead_letter["payload"]) == bad.SerializeToString()
    assert dead_letter["subject"].endswith(".ada"), "an erasure finds it by its player"


async def test_late_event_counts_in_its_own_period(system: ScoreSystem) -> None:
    last_week = utc_now() - timedelta(days=7)
    board = boards_of(last_week, "", "")[1]
    async with system.worker():
        await system.publish(completed("ada", 10))
        await system.until_drained()
        await system.publish(completed("ada", 5, quiz_id="rivers", at=last_week))
        await system.until_drained()
        assert await system.board(board.name) == [("ada", 5)]
        assert await system.board("weekly") == [("ada", 10)]
        assert await system.board("all") == [("ada", 15)]


async def test_metrics_count_events_redeliveries_and_dead_letters(system: ScoreSystem) -> None:
    events = random_events(30, players=3, seed=16)
    async with system.worker() as worker, aiohttp.ClientSession() as session:
        await system.publish(*events)
        await system.publish_bytes("player-0", b"\xff\xff\xff")
        await system.until_drained()
        await system.publish(*events)
        await system.until_drained()
        async with deadline():
            while True:  # the gauge is updated once a second
                async with session.get(f"{worker.ops}/metrics") as response:
                    lines = [line for line in (await response.text()).splitlines() if not line.startswith("#")]
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


async def test_origin_of_an_action_is_stored_outside_the_ledger(system: ScoreSystem) -> None:
    event = completed("ada", 10)
    async with system.worker(TOPTEN_SCORE_AUDIT_TTL="7d"):
        await system.publish(event)
        await system.until_drained()
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
    # A worker with another setting changes the TTL.
    async with system.worker(TOPTEN_SCORE_AUDIT_TTL="8d"):
        indexes = await system.database["audit"].index_information()
        assert indexes["at_1"]["expireAfterSeconds"] == 8 * 86_400


async def test_verification_reports_tampered_data(system: ScoreSystem) -> None:
    events = [completed(f"p{n}", 10 + n) for n in range(8)]
    more = [completed(f"p{n}", 5, quiz_id="rivers") for n in range(8)]
    async with system.worker():
        for part in (events, more):
            await system.publish(*part)
            await system.until_drained()
        await system.until_counted(16)
    assert await system.verify() == []
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
    findings = {(finding.kind, finding.subject) for finding in await system.verify()}
    assert {
        ("board", "all"),
        ("board", week.name),
        ("board", "country:VN"),
        ("board", "quiz:never-was"),
        ("total", "p3"),
        ("total", "p4"),
        ("chain", "p5"),
        ("chain", "p6"),
        ("event", more[7].event_id),
    } <= findings

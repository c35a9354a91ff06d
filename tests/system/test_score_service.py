"""An event counts exactly once, on every board, whatever dies: real events, a real stream, real processes."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import aiohttp

from services.quiz.publisher import STREAM
from services.runtime.boards import Board, boards_of
from services.runtime.clock import utc_now
from tests.system.score import (
    PARTITIONS,
    PATIENCE_SECONDS,
    ScoreSystem,
    assert_counted_once,
    completed,
    many,
    totals_of,
)


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

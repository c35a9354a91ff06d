"""The stream and its consumers: gone and back, deleted, late, and as many as wanted."""

from __future__ import annotations

import asyncio

from nats.js.api import RetentionPolicy

from services.quiz.publisher import STREAM, QuizPublisher
from services.runtime.boards import GENERATION_KEY
from services.score.layout import durables
from tests.system.score import PARTITIONS, ScoreSystem, assert_counted_once, many


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

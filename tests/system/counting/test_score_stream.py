"""The stream and its consumers: restarted, deleted, missing at the start, and with changing partitions."""

from __future__ import annotations

import asyncio

from nats.js.api import RetentionPolicy

from services.boards.board import GENERATION_KEY
from services.quiz.publisher import QuizPublisher
from services.score.ingest.durables import durables_of
from services.streams import QUIZ_STREAM
from tests.deadline import deadline
from tests.system.score import PARTITIONS, ScoreSystem, assert_counted_once, random_events


async def test_fifty_restarts_of_the_stream_lose_and_double_nothing(system: ScoreSystem) -> None:
    """Nine of ten restarts come before the clients have reconnected."""
    events = random_events(500, players=10, seed=13)
    nats = system.servers["nats"]
    # Messages in flight when the server died are delivered again after the ack wait.
    async with system.worker(TOPTEN_SCORE_BATCH="20", TOPTEN_SCORE_ACK_WAIT="3s") as worker:
        await system.until_complete()
        publishing = [asyncio.create_task(system.publish(*events[start : start + 100])) for start in range(0, 500, 100)]
        for restarts in range(50):
            if restarts % 10 == 0:
                await system.until_counted(restarts * 5)
            nats.kill()
            await nats.start()
        await asyncio.gather(*publishing)
        await system.until_drained()
        await assert_counted_once(system, events)
        assert worker.exit_code is None


async def test_deleted_durable_is_created_again(system: ScoreSystem) -> None:
    events = random_events(80, players=10, seed=14)
    async with system.worker():
        await system.publish(*events[:40])
        await system.until_drained()
        for partition in range(PARTITIONS):
            await system.nats.jetstream.delete_consumer(QUIZ_STREAM, f"score-{partition}")
        await system.publish(*events[40:])
        await system.until_drained()
        await assert_counted_once(system, events)


async def test_worker_waits_for_an_unpartitioned_stream_and_uses_one_durable(system: ScoreSystem) -> None:
    jetstream = system.nats.jetstream
    await jetstream.delete_stream(QUIZ_STREAM)
    events = random_events(40, players=5, seed=15)

    async def make_stream() -> None:
        while not await system.redis.exists(GENERATION_KEY):
            await asyncio.sleep(0.02)
        await jetstream.add_stream(name=QUIZ_STREAM, subjects=["quiz.events.>"], retention=RetentionPolicy.WORK_QUEUE)

    # The worker is not ready before the stream exists, but it already runs: it has rebuilt the boards.
    making = asyncio.create_task(make_stream())
    async with system.worker():
        await making
        await system.publish(*events)
        await system.until_drained()
        assert [consumer.name for consumer in await jetstream.consumers_info(QUIZ_STREAM)] == ["score"]
        await system.until_complete()
        await assert_counted_once(system, events)


async def test_changing_the_number_of_partitions_counts_each_event_once(system: ScoreSystem) -> None:
    """Fewer, none, then more; two workers divide the partitions, and no outdated durable remains."""
    events = random_events(1600, players=60, seed=33, lowest=-20)
    async with system.worker(TOPTEN_SCORE_ACK_WAIT="3s"), system.worker(TOPTEN_SCORE_ACK_WAIT="3s"):
        for number, partitions in enumerate((2, 0, 3, 4)):
            part = events[400 * number : 400 * number + 400]
            publishing = asyncio.create_task(system.publish(*part))
            publisher = QuizPublisher(system.nats.jetstream, partitions=partitions, replicas=1, max_bytes=1 << 28)
            await publisher.prepare()
            await publishing
            wanted = set(durables_of(partitions))
            async with deadline():
                while {info.name for info in await system.nats.jetstream.consumers_info(QUIZ_STREAM)} != wanted:
                    await asyncio.sleep(0.05)
        await system.until_drained()
        await assert_counted_once(system, events)

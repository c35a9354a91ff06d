"""Messages per second of our pull loop beside nats-py's `fetch(500)`, from the same preloaded stream.

    python -m tests.bench pull_loop

Both acknowledge every message and do nothing else. With NATS' default the stream is synced behind; with `always`, as the
embedded server runs, the removal of each acknowledged message from the work queue waits for the disk.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from statistics import median

from nats.errors import TimeoutError as NothingCame
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy

from services.runtime.config.settings import NatsConfig
from services.runtime.stores.jetstream import Nats, open_jetstream
from services.score.ingest.pull_loop import ACK, Delivery, PullLoop
from tests.bench.stream_server import stream_server

MESSAGES = 60_000
BATCH = 500
RUNS = 3
STREAM = "BENCH"


async def preload(nats: Nats) -> None:
    """Create a stream with so many messages of the size of an event."""
    await nats.jetstream.add_stream(name=STREAM, subjects=["bench.>"], retention=RetentionPolicy.WORK_QUEUE)
    turns = asyncio.Semaphore(500)

    async def send(number: int) -> None:
        async with turns:
            await nats.jetstream.publish(f"bench.{number % 100}", b"x" * 300, timeout=60)

    async with asyncio.TaskGroup() as sending:
        for number in range(MESSAGES):
            sending.create_task(send(number))


async def ours(nats: Nats) -> float:
    """Measure the loop of the score service, in messages per second."""
    done = 0

    async def attach() -> None:
        config = ConsumerConfig(durable_name="d", ack_policy=AckPolicy.EXPLICIT, max_ack_pending=10_000)
        await nats.jetstream.add_consumer(STREAM, config)

    async def handle(batch: Sequence[Delivery]) -> Sequence[bytes]:
        nonlocal done
        done += len(batch)
        if done >= MESSAGES:
            loop.stop()
        return [ACK] * len(batch)

    loop = PullLoop(nats.client, STREAM, "d", create=attach, handle=handle, batch=BATCH, ack_wait=30)
    begun = time.perf_counter()
    await loop.run()
    await nats.client.flush()
    return MESSAGES / (time.perf_counter() - begun)


async def stock(nats: Nats) -> float:
    """Measure `fetch` and `ack` of nats-py, in messages per second."""
    subscription = await nats.jetstream.pull_subscribe("bench.>", durable="d", stream=STREAM)
    done = 0
    begun = time.perf_counter()
    while done < MESSAGES:
        try:
            batch = await subscription.fetch(BATCH, timeout=5)
        except NothingCame:
            continue
        for message in batch:
            await message.ack()
        done += len(batch)
    await nats.client.flush()
    return MESSAGES / (time.perf_counter() - begun)


async def main() -> None:
    print("| stream on disk | our loop, messages/s | fetch(500), messages/s | × |")
    print("| --- | --- | --- | --- |")
    for always in (False, True):
        figures: dict[str, list[float]] = {"ours": [], "stock": []}
        for _ in range(RUNS):
            for name, drain in (("ours", ours), ("stock", stock)):
                async with (
                    stream_server(always=always) as url,
                    open_jetstream(NatsConfig(url=url), "bench") as nats,
                ):
                    await preload(nats)
                    figures[name].append(await drain(nats))
        mine, theirs = median(figures["ours"]), median(figures["stock"])
        print(
            f"| {'at once' if always else 'behind'} | {mine:,.0f} | {theirs:,.0f} | {mine / theirs:.1f} |", flush=True
        )

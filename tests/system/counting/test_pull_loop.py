"""The pull loop on a real stream: how much it holds ahead of what it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nats.js.api import AckPolicy, ConsumerConfig

from services.runtime.config.settings import NatsConfig
from services.runtime.stores.jetstream import open_jetstream
from services.score.ingest.pull_loop import ACK, HELD_BYTES, Delivery, PullLoop
from tests.deadline import deadline, eventually
from tests.servers import unique

SIZE = 512 * 1024
MESSAGES = 6 * HELD_BYTES // SIZE


async def test_large_messages_are_held_by_their_size_and_all_are_handled(nats_url: str) -> None:
    stream, handled = unique("LARGE"), 0
    may_go_on, is_waiting = asyncio.Event(), asyncio.Event()
    async with open_jetstream(NatsConfig(url=nats_url), "test") as nats:
        await nats.jetstream.add_stream(name=stream, subjects=[f"{stream}.>"])

        async def create() -> None:
            config = ConsumerConfig(durable_name="d", ack_policy=AckPolicy.EXPLICIT)
            await nats.jetstream.add_consumer(stream, config)

        async def handle(batch: Sequence[Delivery]) -> Sequence[bytes]:
            nonlocal handled
            handled += len(batch)
            if handled > 3:
                is_waiting.set()
                await may_go_on.wait()
            if handled == MESSAGES:
                loop.stop()
            return [ACK] * len(batch)

        loop = PullLoop(nats.client, stream, "d", create=create, handle=handle, batch=500, ack_wait=30)
        running = asyncio.create_task(loop.run())
        for _ in range(MESSAGES):
            await nats.jetstream.publish(f"{stream}.x", bytes(SIZE))
        async with deadline("a batch that waits"):
            await is_waiting.wait()

        async def all_requests_ended() -> bool:
            return not (await nats.jetstream.consumer_info(stream, "d")).num_waiting

        await eventually(all_requests_ended)
        state = await nats.jetstream.consumer_info(stream, "d")
        assert 0 < (state.num_ack_pending or 0) * SIZE <= 3 * HELD_BYTES
        assert state.num_pending
        may_go_on.set()
        async with deadline("all messages"):
            await running
        assert handled == MESSAGES
        await nats.jetstream.delete_stream(stream)

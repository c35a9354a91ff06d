"""The bulk client on a real NATS: the same messages in the same order, and every other subscription unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.runtime.stores.bulk_client import BulkClient
from tests.deadline import deadline, deadline_seconds
from tests.servers import RunningServer, running, unique


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[RunningServer]:
    async with running("nats") as started:
        yield started


async def test_bulk_messages_arrive_in_order_and_others_as_usual(server: RunningServer) -> None:
    subject, received, rest = unique("bulk."), [], []
    client, other, seconds = BulkClient(), Client(), round(deadline_seconds())
    for each in (client, other):
        await each.connect(server.url, connect_timeout=seconds)

    async def others(message: Msg) -> None:
        rest.append((message.data, message.headers))

    subscription = await client.subscribe_bulk(subject, lambda *message: received.append(message), others)
    await client.flush(seconds)
    for number in range(200):
        headers = {"Nats-Msg-Id": str(number)} if number % 2 else None
        await other.publish(subject, str(number).encode(), reply=f"answer.{number}", headers=headers)
    await other.publish(subject, b"without a reply")
    await other.flush(seconds)
    async with deadline("all messages arrive"):
        while len(received) < 200 or not rest:
            await asyncio.sleep(0.01)
    assert received == [
        (
            subject,
            f"answer.{number}",
            b"%d" % number,
            b"NATS/1.0\r\nNats-Msg-Id: %d\r\n\r\n" % number if number % 2 else b"",
        )
        for number in range(200)
    ]
    assert rest == [(b"without a reply", None)]
    assert client.stats["in_msgs"] >= 201
    await subscription.unsubscribe()
    await client.flush(seconds)
    async with deadline("no message arrives"):  # the server may still send what reaches it at the same moment
        before = 0
        while before < len(received):
            before = len(received)
            await other.publish(subject, b"too late", reply="answer.x")
            await other.flush(seconds)
            await client.flush(seconds)
    await client.close()
    await other.close()

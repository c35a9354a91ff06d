"""The writer of deliveries: it waits for something to write, and keeps what it could not write."""

from __future__ import annotations

import asyncio
from typing import Any

from pymongo import AsyncMongoClient

from services.quiz.quizzes.delivery_store import DeliveryStore
from services.runtime.clock import utc_now
from services.runtime.process.lifecycle import cancel
from tests.deadline import deadline_seconds
from tests.servers import HOST, free_port, unique


async def test_the_writer_waits_until_there_is_a_delivery(mongo_url: str) -> None:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url, tz_aware=True)
    async with client:
        database = client[unique("deliveries")]
        store = DeliveryStore(database)
        for player in ("ada", "linus"):
            writing = asyncio.create_task(store.flush_when_any())
            await asyncio.sleep(0)
            assert not writing.done()
            store.add(player, ["rivers"], utc_now())
            async with asyncio.timeout(deadline_seconds()):
                await writing
        assert {each["_id"] async for each in database["deliveries"].find()} == {"ada/rivers", "linus/rivers"}
        idle = asyncio.create_task(store.flush_when_any())
        await asyncio.sleep(0)
        assert not idle.done()
        await cancel(idle)
        await client.drop_database(database.name)


async def test_a_delivery_that_could_not_be_written_is_tried_again_without_a_new_one() -> None:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(HOST, free_port(), serverSelectionTimeoutMS=50)
    async with client:
        store = DeliveryStore(client["nowhere"])
        store.add("ada", ["rivers"], utc_now())
        async with asyncio.timeout(deadline_seconds()):
            await store.flush_when_any()
            await store.flush_when_any()

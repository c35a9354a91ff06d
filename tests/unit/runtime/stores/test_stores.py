"""The clients of the stores against real servers: waited for at the start, found again after a crash."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import pytest
from nats.errors import Error as NatsError
from pymongo.errors import OperationFailure, PyMongoError
from redis import exceptions
from structlog.testing import capture_logs

from services.runtime.config.settings import MongoConfig, NatsConfig, RedisConfig
from services.runtime.errors import Reason, ServiceError
from services.runtime.stores.jetstream import open_jetstream
from services.runtime.stores.mongo import every_document, open_mongo, unavailable_on_failure
from services.runtime.stores.redis import open_redis
from tests.deadline import deadline, deadline_seconds
from tests.servers import RunningServer, unique

T = TypeVar("T")


async def until(attempt: Callable[[], Awaitable[T]], *failures: type[Exception]) -> T:
    """The first success of `attempt`, within the deadline."""
    async with deadline():
        while True:
            try:
                return await attempt()
            except failures:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def own(name: str) -> AsyncIterator[RunningServer]:
    """A server that is not started yet."""
    with tempfile.TemporaryDirectory(prefix="topten-", ignore_cleanup_errors=True) as folder:
        server = RunningServer(name, Path(folder))
        try:
            yield server
        finally:
            server.kill()


@asynccontextmanager
async def opened_before_its_server(
    server: RunningServer, client: AbstractAsyncContextManager[T], sign: str
) -> AsyncIterator[T]:
    """The client, whose server is started only after the client has said `sign`: that it found none."""
    async with AsyncExitStack() as stack:
        with capture_logs() as logs:
            opening = asyncio.create_task(stack.enter_async_context(client))

            async def said() -> None:
                assert any(record["event"] == sign for record in logs), logs

            await until(said, AssertionError)
            assert not opening.done()
            await server.start()
            yield await opening


async def test_a_read_of_everything_may_take_longer_than_one_operation(
    mongo_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.runtime.stores.mongo._PAGE", 50)  # a page takes a twentieth of a second
    config = MongoConfig(url=mongo_url, timeout=timedelta(seconds=1), database=unique("t"))
    async with open_mongo(config, "sample") as mongo:
        things = mongo.database["things"]
        await things.insert_many([{"_id": number} for number in range(1500)])
        slow = {"$expr": {"$function": {"body": "function() { sleep(1); return true }", "args": [], "lang": "js"}}}
        with pytest.raises(PyMongoError):
            [each async for each in things.find(slow, batch_size=50)]
        assert [each["_id"] async for each in every_document(things.find(slow).sort("_id"))] == [*range(1500)]


async def test_mongo_is_awaited_and_reconnected() -> None:
    async with own("mongo") as server:
        config = MongoConfig(url=server.url, timeout=timedelta(seconds=1))
        async with opened_before_its_server(server, open_mongo(config, "sample"), "waiting") as mongo:
            await mongo.ping()
            collection = mongo.database["things"]
            await collection.insert_one({"_id": 1})
            server.signal(signal.SIGSTOP)
            with pytest.raises(ServiceError) as caught:
                async with unavailable_on_failure():
                    await collection.insert_one({"_id": 2})
            assert caught.value.reason is Reason.UNAVAILABLE
            with pytest.raises(PyMongoError) as slow:
                await mongo.ping()
            assert slow.value.timeout
            with pytest.raises(PyMongoError) as late:
                [each async for each in every_document(collection.find({}))]
            assert late.value.timeout, "what may take long in total waits no longer for one page"
            server.signal(signal.SIGCONT)
            assert await until(lambda: collection.find_one({"_id": 1}), PyMongoError) == {"_id": 1}
            server.kill()
            await server.start()
            await until(mongo.ping, PyMongoError)
            assert await until(lambda: collection.find_one({"_id": 1}), PyMongoError) == {"_id": 1}


async def test_what_mongo_acknowledges_is_safe_and_times_are_aware(mongo_url: str) -> None:
    async with open_mongo(MongoConfig(url=mongo_url, database=unique("t")), "sample") as mongo:
        things = mongo.database["things"]
        assert things.write_concern.document == {"w": "majority", "j": True}
        assert things.read_concern.level == "majority"
        assert mongo.database.name.endswith("_sample")
        now = datetime(2026, 11, 23, 12, 0, 0, 1000, tzinfo=UTC)
        await things.insert_one({"_id": 1, "at": now})
        assert await things.find_one({}) == {"_id": 1, "at": now}
        await mongo.client.drop_database(mongo.database)


async def test_another_run_of_mongo_is_known_at_once_whatever_the_url_says(mongo_url: str) -> None:
    """A client that polled took rows of older data for those it had read, for up to ten seconds."""
    async with open_mongo(MongoConfig(url=f"{mongo_url}&serverMonitoringMode=poll"), "sample") as mongo:
        assert mongo.client.options.server_monitoring_mode == "stream"


async def test_other_driver_errors_pass_unchanged(mongo_url: str) -> None:
    async with open_mongo(MongoConfig(url=mongo_url, database=unique("t")), "sample") as mongo:
        with pytest.raises(OperationFailure):
            async with unavailable_on_failure():
                await mongo.database.command("noSuchCommand")


async def test_server_with_older_data_that_lacks_the_key_of_the_clock_is_unavailable() -> None:
    with pytest.raises(ServiceError, match="Retry"):
        async with unavailable_on_failure():
            raise OperationFailure("No keys found for HMAC that is valid for time", 211)


async def test_redis_is_awaited_and_reconnected() -> None:
    async with own("redis") as server:
        config = RedisConfig(url=server.url)
        async with opened_before_its_server(server, open_redis(config, "sample"), "waiting") as redis:
            await redis.set("key", "value")
            assert await redis.get("key") == b"value"
            server.kill()
            with pytest.raises(exceptions.ConnectionError):
                await redis.ping()
            await server.start()
            assert await redis.ping()


async def test_a_wrong_password_fails_at_once(redis_url: str) -> None:
    wrong = urlsplit(redis_url)._replace(netloc=f":wrong@{urlsplit(redis_url).hostname}:{urlsplit(redis_url).port}")
    with capture_logs() as logs, pytest.raises(exceptions.RedisError):
        async with open_redis(RedisConfig(url=wrong.geturl()), "sample"):
            pytest.fail("it is open")
    assert not any(record["event"] == "waiting" for record in logs)


async def test_a_redis_connection_is_known_by_its_name(redis_url: str) -> None:
    name = unique("sample")
    async with open_redis(RedisConfig(url=redis_url), name) as redis:
        assert name in {client["name"] for client in await redis.client_list()}


async def test_a_subscription_to_redis_outlives_the_socket_timeout(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.runtime.stores.redis.SOCKET_SECONDS", 0.1)
    channel = unique("channel")
    async with open_redis(RedisConfig(url=redis_url), "sample") as redis, redis.pubsub() as pubsub:
        await pubsub.subscribe(channel)
        assert (await anext(pubsub.listen()))["type"] == "subscribe"
        listening = asyncio.create_task(anext(pubsub.listen()))
        done, _ = await asyncio.wait({listening}, timeout=0.5)
        assert not done
        await redis.publish(channel, b"late")
        assert (await listening)["data"] == b"late"


async def test_nats_is_awaited_and_reconnected() -> None:
    async with own("nats") as server:
        config = NatsConfig(url=server.url)
        async with opened_before_its_server(server, open_jetstream(config, "sample"), "nats connection error") as nats:
            await nats.ping()
            await nats.jetstream.add_stream(name="S", subjects=["s.>"])
            assert (await nats.jetstream.publish("s.1", b"one")).seq == 1
            server.kill()
            await server.start()
            acknowledged = await until(lambda: nats.jetstream.publish("s.1", b"two"), NatsError, TimeoutError)
            assert acknowledged.seq >= 2
            await until(nats.ping, NatsError, TimeoutError)


async def test_a_first_ping_waits_for_the_connection_that_is_being_made(nats_url: str) -> None:
    async with open_jetstream(NatsConfig(url=nats_url), "sample", wait=False) as nats:
        assert not nats.client.is_connected
        await nats.ping()


async def test_what_was_published_is_delivered_before_the_connection_closes(nats_url: str) -> None:
    subject = unique("s")
    async with open_jetstream(NatsConfig(url=nats_url), "reader") as reader:
        subscription = await reader.client.subscribe(subject)
        await reader.client.flush()
        async with open_jetstream(NatsConfig(url=nats_url), "writer") as writer:
            for number in range(1000):
                await writer.client.publish(subject, str(number).encode())
        received = [await subscription.next_msg(timeout=deadline_seconds()) for _ in range(1000)]
        assert [int(message.data) for message in received] == list(range(1000))
        assert writer.client.is_closed


async def test_a_missing_nats_server_does_not_delay_the_stop() -> None:
    async with own("nats") as server:
        await server.start()
        async with open_jetstream(NatsConfig(url=server.url), "sample") as nats:
            server.kill()
        assert nats.client.is_closed

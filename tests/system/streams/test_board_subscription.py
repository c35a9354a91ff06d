"""The subscription that wakes watches: messages that are lost, silent connections, and what is no message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest
from redis.asyncio import Redis

from services.runtime.config.settings import RedisConfig
from services.runtime.stores.redis import open_redis
from services.streams import SCORE_CHANNEL
from tests.servers import HOST, RunningCluster, RunningServer, free_port
from tests.system.streams.watching import SECOND, is_empty, new_board, shows, until, watching


class Proxy:
    """Forwards bytes to a server; after `silence`, connections that subscribed receive nothing."""

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self._server_port = port
        self._subscribed: set[asyncio.StreamWriter] = set()
        self._silent: set[asyncio.StreamWriter] = set()

    def silence(self) -> None:
        assert self._subscribed
        self._silent |= self._subscribed

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection(HOST, self._server_port)

        async def request() -> None:
            while data := await reader.read(65536):
                if b"SUBSCRIBE" in data:
                    self._subscribed.add(writer)
                downstream.write(data)
                await downstream.drain()
            downstream.close()

        async def answer() -> None:
            while data := await upstream.read(65536):
                if writer not in self._silent:
                    writer.write(data)
                    await writer.drain()
            writer.close()

        await asyncio.gather(request(), answer(), return_exceptions=True)


@asynccontextmanager
async def proxied(server: RunningServer) -> AsyncIterator[tuple[Proxy, Redis]]:
    proxy = Proxy(server.port)
    listener = await asyncio.start_server(proxy.serve, HOST, proxy.port)
    try:
        url = server.url.replace(f":{server.port}", f":{proxy.port}")
        async with open_redis(RedisConfig(url=url), "proxied") as redis:
            yield proxy, redis
    finally:
        listener.close()


async def test_silent_subscription_is_opened_again(server: RunningServer, redis: Redis, mongo_url: str) -> None:
    """Nothing announces that the connection is dead, and no periodic read comes: only the subscription can notice."""
    if isinstance(server, RunningCluster):
        pytest.skip("clients of a cluster connect to the nodes that it names, which a proxy cannot replace")
    seeder, board = await new_board(redis)
    async with (
        proxied(server) as (proxy, through_proxy),
        watching(redis, mongo_url, subscription=through_proxy, silence=SECOND / 5) as world,
        aclosing(world.watches.frames(board)) as frames,
    ):
        await until(frames, is_empty)
        proxy.silence()
        await seeder.score({"ada": 1}, [board])
        await until(frames, shows(1))


async def test_message_is_enough_to_show_a_change(redis: Redis, mongo_url: str) -> None:
    seeder, board = await new_board(redis)
    async with watching(redis, mongo_url) as world, aclosing(world.watches.frames(board)) as frames:
        await until(frames, is_empty)
        await seeder.score({"ada": 1}, [board])
        await until(frames, shows(1))


async def test_unreadable_message_makes_every_board_be_read(redis: Redis, mongo_url: str) -> None:
    seeder, board = await new_board(redis)
    async with watching(redis, mongo_url) as world, aclosing(world.watches.frames(board)) as frames:
        await until(frames, is_empty)
        await seeder.score({"ada": 1}, [board], publish=False)
        await redis.publish(SCORE_CHANNEL, b"\xff\xff not a message")
        await until(frames, shows(1))

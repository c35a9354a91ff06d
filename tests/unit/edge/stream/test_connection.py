"""The takeover of a connection from aiohttp: a new version of aiohttp that it does not work with fails here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from edge.stream.connection import take_over
from tests.deadline import deadline, eventually
from tests.servers import HOST

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Taken(asyncio.Protocol):
    """A protocol that holds a connection and notices its end."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


class Server:
    """A server of aiohttp whose handler starts a response and gives its connection away."""

    def __init__(self) -> None:
        self.taken = Taken()
        self.done = asyncio.Event()
        self.handlers: set[web.RequestHandler] = set()
        app = web.Application()
        app.router.add_get("/", self._handle)
        self.runner = web.AppRunner(app, access_log=None, handler_cancellation=True)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        response.force_close()
        await response.prepare(request)
        await response.write(b"first\n")
        self.handlers.add(request.protocol)
        assert take_over(request, self.taken)
        self.done.set()
        return response


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client whose connection has been taken over."""
    await server.runner.setup()
    await web.TCPSite(server.runner, HOST, 0).start()
    try:
        reader, writer = await asyncio.open_connection(HOST, server.runner.addresses[0][1])
        writer.write(REQUEST)
        async with deadline("the connection is taken over"):
            await server.done.wait()
            await reader.readuntil(b"first\n\r\n")
        yield reader, writer
        writer.transport.abort()
    finally:
        await server.runner.cleanup()


def test_aiohttp_has_what_the_takeover_relies_on() -> None:
    missing = [
        name
        for owner, name in (
            (web.BaseRequest, "protocol"),
            (web.BaseRequest, "transport"),
            (web.RequestHandler, "transport"),
            (web.RequestHandler, "connection_lost"),
        )
        if not hasattr(owner, name)
    ]
    assert not missing, f"aiohttp {aiohttp.__version__} has no {missing}: adapt edge/stream/connection.py"


async def test_only_the_new_protocol_writes_to_a_connection_that_was_taken_over() -> None:
    server = Server()
    async with connected(server) as (reader, writer), deadline("what was written arrives"):
        server.taken.transport.write(b"direct\n")
        assert await reader.readline() == b"direct\n", "neither the end of the response nor anything else of aiohttp's"
        writer.write(REQUEST)  # nobody parses it
        await server.runner.cleanup()
        server.taken.transport.write(b"after the server has stopped\n")
        assert await reader.readline() == b"after the server has stopped\n"
        server.taken.transport.close()
        assert await reader.read() == b""


async def test_aiohttp_keeps_nothing_of_a_connection_that_was_taken_over() -> None:
    server = Server()
    before = len(asyncio.all_tasks())
    async with connected(server):
        assert server.runner.server is not None

        async def is_released() -> bool:
            assert server.runner.server is not None
            return not server.runner.server.connections and len(asyncio.all_tasks()) == before

        await eventually(is_released, "aiohttp has ended its tasks and forgotten the connection")
        (handler,) = server.handlers
        assert handler.transport is None


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_the_new_protocol_notices_that_the_client_left(how: str) -> None:
    server = Server()
    async with connected(server) as (_, writer):
        writer.close() if how == "close" else writer.transport.abort()
        async with deadline("the disconnect is noticed"):
            await server.taken.lost.wait()

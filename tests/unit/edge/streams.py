"""A stream as a client of the edge reads it, also one that sends its bytes by itself."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.players import Event
from tests.unit.edge.announcer import EdgeProcess

HEARTBEAT = "200ms"
PATH = "/api/v1/leaderboard/stream"


async def following(events: AsyncIterator[Event]) -> Event:
    async with asyncio.timeout(10):
        return await anext(events)


async def answer(edge: EdgeProcess, path: str, **headers: str) -> tuple[int, str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{edge.http}{path}", headers=headers) as response:
        body = await response.json(content_type=None) if response.status != 204 else None
        return response.status, response.headers.get("Content-Type", ""), body


@asynccontextmanager
async def raw(edge: EdgeProcess, request: str, **options: Any) -> AsyncIterator[tuple[Any, Any]]:
    host, _, port = edge.http.removeprefix("http://").partition(":")
    connection = socket.socket()
    for option, value in options.items():
        connection.setsockopt(socket.SOL_SOCKET, getattr(socket, option), value)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=connection, limit=4096)
    writer.write(request.encode())
    try:
        yield reader, writer
    finally:
        writer.transport.abort()

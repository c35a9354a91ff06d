"""Clients of an edge's stream, also one that works on bare bytes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.deadline import deadline
from tests.players import Event
from tests.unit.edge.edge_process import EdgeProcess

PATH = "/api/v1/leaderboard/stream"


async def next_event(events: AsyncIterator[Event]) -> Event:
    """Return the next event of a stream."""
    async with deadline("the stream has another event"):
        return await anext(events)


async def next_update(events: AsyncIterator[Event], event_id: str) -> Event:
    """Skip events until the one with this id."""
    async with deadline(f"the stream has the event {event_id}"):
        while (event := await anext(events)).id != event_id:
            pass
    return event


async def get(edge: EdgeProcess, path: str, **headers: str) -> tuple[int, str, Any]:
    """Return status, content type and JSON body of a response."""
    async with aiohttp.ClientSession() as session, session.get(f"{edge.http}{path}", headers=headers) as response:
        body = await response.json(content_type=None) if response.status != 204 else None
        return response.status, response.headers.get("Content-Type", ""), body


@asynccontextmanager
async def raw_stream(
    edge: EdgeProcess, board: str, token: str, *, version: str = "1.1", receive_buffer: int | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Request a stream over a bare connection, which is aborted at the end."""
    host, _, port = edge.http.removeprefix("http://").partition(":")
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=connection, limit=4096)
    request = f"GET {PATH}?board={board} HTTP/{version}\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    writer.write(request.encode())
    try:
        yield reader, writer
    finally:
        writer.transport.abort()

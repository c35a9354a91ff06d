"""The servers of the suite: no two tests get the same address."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.servers import HOST, free_port


async def test_free_port_is_reserved_for_the_server_that_asked_for_it() -> None:
    port = free_port()
    with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind((HOST, port))
    async with await asyncio.start_server(lambda _, writer: writer.close(), HOST, port, reuse_port=True):
        reader, writer = await asyncio.open_connection(HOST, port)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

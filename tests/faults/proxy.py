"""A proxy before a server, with faults on request: latency, cut connections, and silent ones that stay open."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

from tests.servers import HOST

_READ = 65_536


class Proxy:
    """Passes bytes on to `port`. `delay` is in seconds each way; while `silent` nothing is passed on."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.delay = 0.0
        self._target = port
        self._open = asyncio.Event()
        self._open.set()
        self._connections: set[asyncio.StreamWriter] = set()

    def url(self, url: str) -> str:
        """The URL of the server through this proxy."""
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{self._target}", f":{self.port}")))

    def cut(self) -> int:
        """Reset every connection; returns how many there were."""
        connections, self._connections = self._connections, set()
        for writer in connections:
            with suppress(OSError):  # it may have ended by itself
                # No time to linger is a reset.
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return len(connections)

    def silence(self) -> None:
        """Leave the connections half open: bytes are accepted and go nowhere."""
        self._open.clear()

    def strand(self) -> None:
        """Leave the existing connections half open permanently; new ones work."""
        self._open.clear()
        self._open = asyncio.Event()
        self._open.set()

    def resume(self) -> None:
        """Pass on what was held back."""
        self._open.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            back, forth = await asyncio.open_connection(HOST, self._target)
            ends = {writer, forth}
            self._connections |= ends
            gate = self._open
            await asyncio.gather(
                self._pass(reader, forth, gate), self._pass(back, writer, gate), return_exceptions=True
            )
            self._connections -= ends

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        try:
            while data := await reader.read(_READ):
                await gate.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def proxied(port: int) -> AsyncIterator[Proxy]:
    """A proxy before a server on this host."""
    proxy = Proxy(port)
    listener = await asyncio.start_server(proxy.serve, HOST, 0)
    proxy.port = listener.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        proxy.resume()
        proxy.cut()
        listener.close()

"""An HTTP client that costs little, so that a load generator leaves the machine to what it measures.

It posts JSON over kept connections and reads responses with a length. Nothing else of HTTP is understood.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any
from urllib.parse import urlsplit


class _Connection(asyncio.Protocol):
    """A connection with at most one request on its way."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._received = b""
        self._end = -1
        self._body = 0
        self._response: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._end < 0:
            head, separator, _ = self._received.partition(b"\r\n\r\n")
            if not separator:
                return
            _, _, rest = head.lower().partition(b"content-length:")
            self._body = len(head) + len(separator)
            self._end = self._body + int(rest.partition(b"\r\n")[0])
        if len(self._received) >= self._end and self._response is not None and not self._response.done():
            body, self._received, self._end = self._received[self._body : self._end], b"", -1
            self._response.set_result(body)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        if self._response is not None and not self._response.done():
            self._response.set_exception(error or ConnectionResetError())

    async def send(self, request: bytes) -> bytes:
        """Send a request and return the body of its response. Raises OSError."""
        if self.transport is None:
            raise ConnectionResetError
        self._response = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self._response


class RawClient:
    """Posts JSON to one address over at most `limit` connections, which it opens when they are needed."""

    def __init__(self, url: str, *, limit: int) -> None:
        self._target = urlsplit(url)
        self._head = (
            f"POST {self._target.path} HTTP/1.1\r\nHost: {self._target.netloc}\r\nContent-Type: application/json\r\n"
        )
        self._idle: deque[_Connection] = deque()
        self._turns = asyncio.Semaphore(limit)

    async def post(self, body: Any, *, token: str | None) -> Any:
        """Return the JSON of a response, whatever its status. Raises OSError."""
        content = json.dumps(body).encode()
        authorization = "" if token is None else f"Authorization: Bearer {token}\r\n"
        head = f"{self._head}{authorization}Content-Length: {len(content)}\r\n\r\n"
        async with self._turns:
            connection = self._kept() or await self._open()
            response = await connection.send(head.encode() + content)
            self._idle.append(connection)
        return json.loads(response)

    def close(self) -> None:
        """Close the connections."""
        for connection in self._idle:
            if connection.transport is not None:
                connection.transport.close()

    def _kept(self) -> _Connection | None:
        """Return a connection that the server has not closed since it was used last."""
        while self._idle:
            if (connection := self._idle.pop()).transport is not None:
                return connection
        return None

    async def _open(self) -> _Connection:
        host, port = self._target.hostname or "", self._target.port or 80
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, host, port)
        return connection

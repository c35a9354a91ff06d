"""One open stream: the connection that it has taken over from the HTTP server, and the way out."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from edge.stream.frames import Message, Position, encode_retry

if TYPE_CHECKING:
    from services.runtime.claims import Claims

_LAST_CHUNK = b"0\r\n\r\n"


def come_back(retry: timedelta) -> Message:
    """When to come back: spread out, so that the readers of a process that stops do not arrive as one."""
    milliseconds = retry.total_seconds() * 1000
    return Message.of(encode_retry(round(random.uniform(milliseconds, 2 * milliseconds))))  # noqa: S311  # it spreads load


class Subscriber(asyncio.Protocol):
    """The protocol of a connection on which only the server speaks any more; what the reader still sends is dropped.

    A stream lasts for hours and needs neither a task nor a parser nor its request; so it holds this object and its
    transport alone. `on_left` is called once, however the connection ends. `floor` is where the reader was when he came,
    until this process is as far.
    """

    __slots__ = (
        "_chunked",
        "_expires_at",
        "_retry",
        "_transport",
        "floor",
        "is_open",
        "on_left",
        "session_id",
        "user_id",
    )

    def __init__(self, transport: asyncio.WriteTransport, claims: Claims, *, chunked: bool, retry: timedelta) -> None:
        self.user_id = claims.user_id
        self.session_id = claims.session_id
        self.is_open = True
        self.on_left: Callable[[], None] | None = None
        self.floor: Position | None = None
        self._transport = transport
        self._chunked = chunked
        self._retry = retry
        self._expires_at = claims.expires_at

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's
        """The connection is gone, by whoever's wish."""
        self.is_open = False
        on_left, self.on_left = self.on_left, None
        if on_left is not None:
            on_left()

    def write(self, message: Message) -> None:
        """Hands bytes to the connection; never waits."""
        self._transport.write(message.chunk if self._chunked else message.plain)

    def may_see(self, position: Position) -> bool:
        """Whether a frame there is not behind what the reader has seen; asked before each that is written."""
        if self.floor is not None:
            if position < self.floor:
                return False
            self.floor = None
        return True

    def waiting(self) -> int:
        """Bytes that the reader has not taken yet."""
        return self._transport.get_write_buffer_size()

    def has_expired(self, now: float) -> bool:
        """Whether the session that opened the stream is over; `now` in seconds since 1970."""
        return self._expires_at <= now

    def end(self) -> None:
        """Ends the stream in order, and says when to come back."""
        if self.is_open:
            self.is_open = False
            self.write(come_back(self._retry))
            if self._chunked:
                self._transport.write(_LAST_CHUNK)
            self._transport.close()

    def cut(self) -> None:
        """Ends the connection at once, with whatever waits in it."""
        self.is_open = False
        self._transport.abort()

"""A subscriber: one open stream, as the protocol of a connection that was taken over from aiohttp."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from prometheus_client import Counter

from edge.stream.frames import Message, Position, encode_retry

if TYPE_CHECKING:
    from services.runtime.auth.claims import Claims

dropped_total = Counter("topten_sse_dropped_total", "Streams that the server ended early", ["reason"])
_LAST_CHUNK = b"0\r\n\r\n"


def retry_after(retry: timedelta) -> Message:
    """Return when to reconnect, between `retry` and twice that, so that clients of a stopped process spread out.

    A client waits as long again after each refused connection, and proxies send half of them to a dead process of two until
    they notice that it is gone, about a second later.
    """
    milliseconds = retry.total_seconds() * 1000
    return Message.of(encode_retry(round(random.uniform(milliseconds, 2 * milliseconds))))  # noqa: S311  # jitter


class Subscriber(asyncio.Protocol):
    """The connection of a stream, on which only the server writes; what the client still sends is dropped.

    It keeps nothing but what a stream needs, because an edge has tens of thousands. `on_disconnect` is called once, however
    the connection ends. `last_seen` is the position that the client resumes from, until it has been sent a frame.
    `board_version` is that of the board's definition by which the client may read it, 0 if everybody may; `group_id` is the
    group as whose member alone they may, else empty.
    """

    __slots__ = (
        "_chunked",
        "_expires_at",
        "_retry",
        "_transport",
        "board_version",
        "group_id",
        "is_open",
        "last_seen",
        "on_disconnect",
        "session_id",
        "user_id",
    )

    _transport: asyncio.WriteTransport

    def __init__(
        self, claims: Claims, *, chunked: bool, retry: timedelta, board_version: int = 0, group_id: str = ""
    ) -> None:
        self.board_version = board_version
        self.group_id = group_id
        self.user_id = claims.user_id
        self.session_id = claims.session_id
        self.is_open = True
        self.on_disconnect: Callable[[], None] | None = None
        self.last_seen: Position | None = None
        self._chunked = chunked
        self._retry = retry
        self._expires_at = claims.expires_at

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport to write to."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Leave the feed."""
        self.is_open = False
        on_disconnect, self.on_disconnect = self.on_disconnect, None
        if on_disconnect is not None:
            on_disconnect()

    def write(self, message: Message) -> None:
        """Pass bytes to the transport; never waits."""
        self._transport.write(message.chunk if self._chunked else message.plain)

    def accepts(self, position: Position) -> bool:
        """Return whether a frame is at least as recent as the one that the client resumes from."""
        return self.last_seen is None or position >= self.last_seen

    def buffered_bytes(self) -> int:
        """Return how many bytes the transport buffers because the client has not read them."""
        return self._transport.get_write_buffer_size()

    def has_expired(self, now: float) -> bool:
        """Return whether the token that opened the stream has expired; `now` in seconds since 1970."""
        return self._expires_at <= now

    def end(self) -> None:
        """End the response in order, and tell the client when to reconnect."""
        if self.is_open:
            self.is_open = False
            self.write(retry_after(self._retry))
            if self._chunked:
                self._transport.write(_LAST_CHUNK)
            self._transport.close()

    def drop(self, reason: str) -> None:
        """End the response early, counted by `reason`."""
        dropped_total.labels(reason).inc()
        self.end()

    def abort(self) -> None:
        """Close the connection at once and discard what it buffers."""
        self.is_open = False
        self._transport.abort()

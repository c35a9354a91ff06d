"""Responses that are the same for all callers: heads of boards of which this process holds the frame being shown.

A response is kept as bytes, by the bytes of the request, with the frames it was made of; it is valid as long as each of them
is the one held. So a request for it is neither parsed nor executed. The caller's access and rates are checked before it is
returned, as for any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from cachetools import LRUCache
from topten.leaderboard.v1.leaderboard_pb2 import Frame

from edge.graphql.execution.prepared import Operation

MAX_ENTRIES: Final = 1000
MAX_BYTES: Final = 32 * 1024


class BoardRead(NamedTuple):
    """A frame that a response was made from: the requested board and number of entries, and the frame held then."""

    board: str
    limit: int
    frame: Frame


class CachedResponse(NamedTuple):
    """The body of a response to an operation, and all that it was made of."""

    body: bytes
    operation: Operation
    reads: Sequence[BoardRead]


class ResponseCache:
    """The cached responses of one process. `held` returns the frame of a board with at least so many entries, or None."""

    def __init__(self, held: Callable[[str, int], Frame | None]) -> None:
        self._held = held
        self._entries: LRUCache[bytes, CachedResponse] = LRUCache(MAX_ENTRIES)

    def get(self, source: bytes) -> CachedResponse | None:
        """Return the response to a request with these bytes, if it would be the same now."""
        cached = self._entries.get(source)
        if cached is None:
            return None
        for board, limit, frame in cached.reads:
            if self._held(board, limit) is not frame:
                del self._entries[source]
                return None
        return cached

    def put(self, source: bytes, response: CachedResponse) -> None:
        """Keep a response that was made of its reads and of nothing else, unless it is longer than 32 KiB."""
        if len(response.body) + len(source) <= MAX_BYTES:
            self._entries[source] = response

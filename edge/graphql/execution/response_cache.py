"""Responses that are the same for all callers: heads of boards of which this process holds the frame being shown.

A response is kept as bytes with the frames it was made of, and is valid as long as each of them is the one held. The caller's
access and rates are checked before it is returned, as for any other. Executing the top 10 takes 300 µs, which the cache saves
for every client, whatever else differs between their requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson
from cachetools import LRUCache
from topten.leaderboard.v1.leaderboard_pb2 import Frame

MAX_ENTRIES: Final = 1000
MAX_BYTES: Final = 32 * 1024
# Digest of the document, name of the operation, variables.
Key = tuple[str, str | None, bytes]


class BoardRead(NamedTuple):
    """A frame that a response was made of: what was requested, and what was held then."""

    board: str
    limit: int
    frame: Frame


class ResponseCache:
    """The cached responses of one process. `held` returns the frame of a board with at least so many entries, or None."""

    def __init__(self, held: Callable[[str, int], Frame | None]) -> None:
        self._held = held
        self._entries: LRUCache[Key, tuple[bytes, Sequence[BoardRead]]] = LRUCache(MAX_ENTRIES)

    def get(self, key: Key) -> bytes | None:
        """Return the body of the response, if it would be the same now."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        body, reads = entry
        if any(self._held(read.board, read.limit) is not read.frame for read in reads):
            del self._entries[key]
            return None
        return body

    def put(self, key: Key, body: bytes, reads: Sequence[BoardRead]) -> None:
        """Keep a response that was made of `reads` and of nothing else, unless it is longer than 32 KiB."""
        if len(body) + len(key[2]) <= MAX_BYTES:
            self._entries[key] = body, reads


def key_of(digest: str, operation: str | None, variables: Mapping[str, Any] | None) -> Key | None:
    """Return what requests with the same response have in common; None for variables nested too deep for a key."""
    try:
        return digest, operation, orjson.dumps(variables or {}, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return None

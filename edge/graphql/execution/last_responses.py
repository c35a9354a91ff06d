"""The last responses of the leaderboard service, for when it is away: a board marked as stale is better than none.

Kept in memory, bounded, and for an hour at most, so that an erased player disappears from it. Only responses that are the
same for all callers.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from cachetools import LRUCache, TTLCache

from services.runtime.errors import Reason, ServiceError

# Boards, by kind of request, and sizes of each: all sizes of one board displace no other board.
MAX_SUBJECTS: Final = 250
MAX_SIZES: Final = 4
MAX_AGE_SECONDS: Final = 3600.0
Key = tuple[str | int, ...]
Response = TypeVar("Response")


class LastResponses:
    """The last responses about the latest boards. A key is the kind of request, the board, and the size asked for."""

    def __init__(self, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._subjects: LRUCache[Key, TTLCache[Key, Any]] = LRUCache(MAX_SUBJECTS)

    async def get(self, key: Key, call: Awaitable[Response]) -> tuple[Response, bool]:
        """Return the response of `call` and False; if it fails with UNAVAILABLE, the last one for `key` and True.

        Raises what the call raises, UNAVAILABLE if there is no last response.
        """
        try:
            response = await call
        except ServiceError as error:
            sizes = self._subjects.get(key[:2])
            last: Response | None = None if sizes is None else sizes.get(key[2:])
            if error.reason is not Reason.UNAVAILABLE or last is None:
                raise
            return last, True
        self.put(key, response)
        return response, False

    def put(self, key: Key, response: object) -> None:
        """Keep a response that came another way."""
        sizes = self._subjects.get(key[:2])
        if sizes is None:
            sizes = self._subjects[key[:2]] = TTLCache(MAX_SIZES, MAX_AGE_SECONDS, timer=self._timer)
        sizes[key[2:]] = response

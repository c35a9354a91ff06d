"""Heads of boards that this process does not watch, read from the leaderboard service by calls that requests share.

A request waits for the next call about its board, not for one that is under way, so it learns nothing older than a call of its
own would tell. Must be asked only about boards that everybody may read: the calls carry the edge's own token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from cachetools import LRUCache
from topten.leaderboard.v1.leaderboard_pb2 import Frame
from topten.leaderboard.v1.leaderboard_service_pb2 import GetLeaderboardRequest

from services.runtime.batcher import Batcher
from services.runtime.grpc.call_context import time_left
from services.runtime.grpc.client import DEFAULT_TIMEOUT_SECONDS, call, late

if TYPE_CHECKING:
    from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceAsyncStub

# Boards, each in several sizes, whose calls are shared at a time; a call of another one is made all the same.
MAX_HEADS: Final = 1000
MAX_SIZE: Final = 10_000
# A call that hangs holds up those who come after it for so long.
PATIENCE_SECONDS: Final = 0.1
MAX_CALLS: Final = 2


class BoardHeads:
    """Reads heads of boards. Use from one event loop."""

    def __init__(self, leaderboard: LeaderboardServiceAsyncStub, own_token: Callable[[], Awaitable[str]]) -> None:
        self._leaderboard = leaderboard
        self._own_token = own_token
        self._calls: LRUCache[tuple[str, int], Batcher[None, Frame]] = LRUCache(MAX_HEADS)

    async def read(self, board: str, limit: int) -> Frame:
        """Return the head of a board, which others get too and must not be modified. Raises ServiceError."""
        calls = self._calls.get((board, limit))
        if calls is None:
            calls = self._calls[board, limit] = Batcher(
                "board heads",
                partial(self._read, board, limit),
                max_size=MAX_SIZE,
                max_concurrent=MAX_CALLS,
                patience=PATIENCE_SECONDS,
            )
        left = time_left()
        try:
            async with asyncio.timeout(DEFAULT_TIMEOUT_SECONDS if left is None else min(left, DEFAULT_TIMEOUT_SECONDS)):
                return await calls(None)
        except TimeoutError:
            raise late() from None

    async def _read(self, board: str, limit: int, group: Sequence[None]) -> Sequence[Frame]:
        request = GetLeaderboardRequest(board=board, limit=limit)
        response = await call(self._leaderboard.GetLeaderboard, request, token=await self._own_token())
        return [response.frame] * len(group)

"""The groups of callers, from identity: they decide about boards that only the members of a group may read.

A response of identity is cached for a second, so that a player who leaves a group reads its board no longer than that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Final

from cachetools import TTLCache
from topten.group.v1.group_service_pb2 import ListGroupsRequest

from services.boards.visibility import is_decided_by_groups, may_read
from services.runtime.grpc.client import call

if TYPE_CHECKING:
    from topten.group.v1.group_service_pb2_grpc import GroupServiceAsyncStub

    from services.boards.board import Board
    from services.boards.catalog import Catalog
    from services.boards.definition import Definition
    from services.runtime.auth.claims import Claims
    from services.runtime.auth.service_token import ServiceToken

FRESH_SECONDS: Final = 1.0
MAX_CALLERS: Final = 10_000
_CALL_SECONDS: Final = 2.0
_NONE: Final[frozenset[str]] = frozenset()


class CallerGroups:
    """Reads groups of players, those of one player by one call at a time. Use from one event loop."""

    def __init__(
        self, groups: GroupServiceAsyncStub, token: ServiceToken, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._groups = groups
        self._token = token
        self._fresh: TTLCache[str, frozenset[str]] = TTLCache(MAX_CALLERS, FRESH_SECONDS, timer=clock)
        self._reads: dict[str, asyncio.Task[frozenset[str]]] = {}

    async def readable(self, catalog: Catalog, boards: Collection[Board], caller: Claims) -> list[Board]:
        """Return those of the boards that the caller may read. Raises UNAVAILABLE if identity decides and does not respond."""
        groups = await self.deciding(map(catalog.definition_of, boards), caller)
        return [board for board in boards if may_read(catalog, board, caller, groups)]

    async def deciding(self, definitions: Iterable[Definition | None], caller: Claims) -> frozenset[str]:
        """Return the caller's groups if they decide whether the caller may read one of these boards; else none.

        Raises UNAVAILABLE if identity does not respond: then nobody reads the board.
        """
        if any(each is not None and is_decided_by_groups(each, caller) for each in definitions):
            return await self._of(caller.user_id)
        return _NONE

    async def _of(self, user_id: str) -> frozenset[str]:
        fresh = self._fresh.get(user_id)
        if fresh is not None:
            return fresh
        task = self._reads.get(user_id)
        if task is None:
            task = self._reads[user_id] = asyncio.ensure_future(self._read(user_id))
            task.add_done_callback(lambda done: self._end(user_id, done))
        return await asyncio.shield(task)

    async def _read(self, user_id: str) -> frozenset[str]:
        request, token = ListGroupsRequest(user_id=user_id), await self._token.get()
        response = await call(self._groups.ListGroups, request, token=token, timeout=_CALL_SECONDS)
        groups = self._fresh[user_id] = frozenset(group.group_id for group in response.groups)
        return groups

    def _end(self, user_id: str, task: asyncio.Task[frozenset[str]]) -> None:
        del self._reads[user_id]
        if not task.cancelled():
            task.exception()  # seen, also if every caller has left

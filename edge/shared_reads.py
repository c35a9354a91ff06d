"""Reads of boards that tell everybody the same, by calls of the leaderboard service that requests share.

A group is what arrives in one turn of the event loop, while calls are under way, and shortly after one that several shared.
A request waits for the next call, not for one that is under way, so it learns nothing older than a call of its own would
tell. Must be asked only about boards that everybody may read, and about players only where everybody learns the same of
them: the calls carry the edge's own token.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
import structlog
from google.rpc.status_pb2 import Status
from topten.leaderboard.v1 import leaderboard_service_pb2 as messages

from services.runtime.batcher import Batcher
from services.runtime.errors import ServiceError, from_rpc_status
from services.runtime.grpc.call_context import time_left
from services.runtime.grpc.client import DEFAULT_TIMEOUT_SECONDS, call, late

if TYPE_CHECKING:
    from topten.leaderboard.v1.leaderboard_pb2 import Frame
    from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceAsyncStub

# As many as the contract admits: with entries of the greatest size, they stay below the 4 MiB of a message.
MAX_SIZE: Final = 20
MAX_CALLS: Final = 4
# A call that hangs holds up those who come after it for so long.
PATIENCE_SECONDS: Final = 0.1
# After a call that so many shared, the next waits a little for those who have just had their response.
MANY: Final = 2
# How long groups are not tried after a leaderboard process of an earlier version did not know them.
PAUSE_SECONDS: Final = 5.0
_Outcome: TypeAlias = messages.BoardReadResult | Exception
_log = structlog.get_logger("shared_reads")


class SharedReads:
    """Reads boards; `own_token` returns the token of this process. Responses are shared: they must not be modified.

    Use from one event loop.
    """

    def __init__(self, leaderboard: LeaderboardServiceAsyncStub, own_token: Callable[[], Awaitable[str]]) -> None:
        self._leaderboard = leaderboard
        self._own_token = own_token
        self._methods: Mapping[str, Any] = {
            "leaderboard": leaderboard.GetLeaderboard,
            "around": leaderboard.GetAround,
            "ranks": leaderboard.GetRanks,
        }
        self._one_by_one_until = float("-inf")
        self._reads: Batcher[messages.BoardRead, messages.BoardReadResult] = Batcher(
            "board reads",
            self._read,
            max_size=MAX_SIZE,
            max_concurrent=MAX_CALLS,
            patience=PATIENCE_SECONDS,
            many=MANY,
        )

    async def head(self, board: str, limit: int) -> Frame:
        """Return the head of a board. Raises ServiceError."""
        request = messages.GetLeaderboardRequest(board=board, limit=limit)
        return (await self._result(messages.BoardRead(leaderboard=request))).leaderboard.frame

    async def around(self, request: messages.GetAroundRequest) -> messages.GetAroundResponse:
        """Return a player among their neighbors. Raises ServiceError."""
        return (await self._result(messages.BoardRead(around=request))).around

    async def ranks(self, request: messages.GetRanksRequest) -> messages.GetRanksResponse:
        """Return the entries of certain players. Raises ServiceError."""
        return (await self._result(messages.BoardRead(ranks=request))).ranks

    async def _result(self, read: messages.BoardRead) -> messages.BoardReadResult:
        left = time_left()
        seconds = DEFAULT_TIMEOUT_SECONDS if left is None else min(left, DEFAULT_TIMEOUT_SECONDS)
        try:
            return await self._reads(read, timeout=seconds)
        except TimeoutError:
            raise late() from None

    async def _read(self, group: Sequence[messages.BoardRead]) -> Sequence[_Outcome]:
        """Return the result of each read of a group; equal ones are read once. Raises ServiceError."""
        keys = [read.SerializeToString() for read in group]
        reads = dict(zip(keys, group, strict=True))
        token = await self._own_token()
        results = await self._called(list(reads.values()), token)
        by_key = dict(zip(reads, results, strict=True))
        return [by_key[key] for key in keys]

    async def _called(self, reads: Sequence[messages.BoardRead], token: str) -> Sequence[_Outcome]:
        if time.monotonic() >= self._one_by_one_until:
            try:
                request = messages.ReadBoardsRequest(reads=reads)
                results = (await call(self._leaderboard.ReadBoards, request, token=token)).results
            except ServiceError as error:
                cause = error.__cause__
                if not isinstance(cause, grpc.aio.AioRpcError) or cause.code() is not grpc.StatusCode.UNIMPLEMENTED:
                    raise
                self._one_by_one_until = time.monotonic() + PAUSE_SECONDS
                _log.warning("boards are read one by one", reason=error.reason)
            else:
                return [
                    from_rpc_status(Status.FromString(each.error)) if each.HasField("error") else each
                    for each in results
                ]
        return await asyncio.gather(*(self._one(read, token) for read in reads))

    async def _one(self, read: messages.BoardRead, token: str) -> _Outcome:
        """Read by a call of its own."""
        kind: Any = read.WhichOneof("request")
        try:
            response = await call(self._methods[kind], getattr(read, kind), token=token)
        except ServiceError as error:
            return error
        return messages.BoardReadResult(**{kind: response})

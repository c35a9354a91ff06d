"""The results for a caller that waits: totals from score's signals, standings from leaderboard."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

import structlog
from topten.leaderboard.v1.leaderboard_service_pb2 import GetRanksRequest, GetRanksResponse
from topten.score.v1.confirmation_pb2 import BoardStanding

from services.confirmation.signals import CountedSignals, Listener
from services.runtime.auth.service_token import ServiceToken
from services.runtime.errors import Reason, ServiceError
from services.runtime.grpc.call_context import time_left
from services.runtime.grpc.client import call

if TYPE_CHECKING:
    from topten.leaderboard.v1.leaderboard_service_pb2_grpc import LeaderboardServiceAsyncStub

MAX_PLAYERS_A_CALL: Final = 100
# Without a deadline a caller waits this long.
MAX_SECONDS: Final = 10.0
# Kept of a caller's deadline for the standings and the response, at most a quarter of it.
RESERVED_SECONDS: Final = 0.5
_log = structlog.get_logger("confirmation")


class Confirmations:
    """Totals and standings after an action is counted. Use from one event loop."""

    def __init__(self, signals: CountedSignals, leaderboard: LeaderboardServiceAsyncStub, token: ServiceToken) -> None:
        self._signals = signals
        self._leaderboard = leaderboard
        self._token = token

    def listening(self, user_ids: Collection[str]) -> AbstractContextManager[Listener]:
        """Listen for events of these players; see `CountedSignals.listening`."""
        return self._signals.listening(user_ids)

    async def check(self, boards: Sequence[str], user_id: str) -> None:
        """Raise BOARD_NOT_FOUND if one of the boards does not exist or is not public.

        Call it before the action that names the boards is recorded. While leaderboard does not respond it raises nothing.
        """
        for number, outcome in enumerate(await self._ranks(boards, [user_id])):
            if isinstance(outcome, ServiceError) and outcome.reason == Reason.BOARD_NOT_FOUND:
                violation = (f"boards[{number}]", outcome.message)
                raise ServiceError(Reason.BOARD_NOT_FOUND, outcome.message, violations=[violation])

    async def standings(self, user_ids: Sequence[str], boards: Sequence[str]) -> Mapping[str, Sequence[BoardStanding]]:
        """Return the standings of different players on the boards, in this order.

        Empty if a board cannot be read, or if that takes more than half of the time left.
        """
        left = time_left()
        try:
            async with asyncio.timeout(None if left is None else left / 2):
                return await self._read(user_ids, boards)
        except TimeoutError:
            _log.warning("standings late", players=len(user_ids), boards=len(boards))
            return {}

    async def _read(self, user_ids: Sequence[str], boards: Sequence[str]) -> Mapping[str, Sequence[BoardStanding]]:
        standings: defaultdict[str, list[BoardStanding]] = defaultdict(list)
        pages = [user_ids[start : start + MAX_PLAYERS_A_CALL] for start in range(0, len(user_ids), MAX_PLAYERS_A_CALL)]
        for page in pages:
            for board, outcome in zip(boards, await self._ranks(boards, page), strict=True):
                if isinstance(outcome, ServiceError) or outcome.stale:
                    reason = outcome.reason if isinstance(outcome, ServiceError) else "the board is being filled"
                    _log.warning("standings unknown", reason=reason)
                    return {}
                entries = {entry.user_id: entry for entry in outcome.entries}
                for user_id in page:
                    entry = entries.get(user_id)
                    standing = BoardStanding(board=board)
                    if entry is not None:
                        standing.rank, standing.score = entry.rank, entry.score
                    standings[user_id].append(standing)
        return standings

    async def _ranks(self, boards: Sequence[str], user_ids: Sequence[str]) -> list[GetRanksResponse | ServiceError]:
        async def read(board: str) -> GetRanksResponse | ServiceError:
            request = GetRanksRequest(board=board, user_ids=user_ids, public_only=True)
            try:
                return await call(self._leaderboard.GetRanks, request, token=await self._token.get())
            except ServiceError as error:
                return error

        return await asyncio.gather(*map(read, boards))


def seconds_to_wait() -> float:
    """Return how long the current call may wait for signals."""
    left = time_left()
    return MAX_SECONDS if left is None else max(0.0, left - min(RESERVED_SECONDS, left / 4))

"""Where a board is read: in Redis while it is open, in MongoDB once its period is closed for good."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from services.leaderboard.boards import Place, Window
from services.leaderboard.closed import ClosedBoards
from services.leaderboard.head import Head
from services.leaderboard.ranking import Member
from services.runtime.boards import Board, period


class Reader(Protocol):
    """What can be asked of a board; see `boards.Boards`. Every method raises UnreadableError."""

    async def head(self, board: Board, size: int, /) -> Head:
        """The first places."""

    async def places(self, board: Board, user_ids: Sequence[str], /) -> Mapping[str, Place]:
        """The places of those who are ranked."""

    async def page(self, board: Board, size: int, after: Member | None, own: str, /) -> Window:
        """Places behind a member."""

    async def around(self, board: Board, user_id: str, radius: int, /) -> Window:
        """A player among others."""

    async def ahead(self, board: Board, value: float, but: str, /) -> tuple[int, int]:
        """How many have at least a value."""

    async def quantile(self, board: Board, percentile: float, /) -> tuple[float | None, int]:
        """The value of a percentile."""


class Shelf:
    """A reader of every board, wherever it is."""

    def __init__(self, live: Reader, closed: ClosedBoards, *, now: Callable[[], datetime]) -> None:
        self._live = live
        self._closed = closed
        self._now = now

    async def head(self, board: Board, size: int) -> Head:
        """See `Boards`, as of all others."""
        return await (await self._reader(board)).head(board, size)

    async def places(self, board: Board, user_ids: Sequence[str]) -> Mapping[str, Place]:
        """See `Boards`."""
        return await (await self._reader(board)).places(board, user_ids)

    async def page(self, board: Board, size: int, after: Member | None, own: str) -> Window:
        """See `Boards`."""
        return await (await self._reader(board)).page(board, size, after, own)

    async def around(self, board: Board, user_id: str, radius: int) -> Window:
        """See `Boards`."""
        return await (await self._reader(board)).around(board, user_id, radius)

    async def ahead(self, board: Board, value: float, but: str) -> tuple[int, int]:
        """See `Boards`."""
        return await (await self._reader(board)).ahead(board, value, but)

    async def quantile(self, board: Board, percentile: float) -> tuple[float | None, int]:
        """See `Boards`."""
        return await (await self._reader(board)).quantile(board, percentile)

    async def _reader(self, board: Board) -> Reader:
        counted = period(board)
        if counted is None or self._now() < counted.ends_at:
            return self._live
        return await self._closed.reader(board) or self._live

"""Boards of closed periods, as MongoDB keeps them for ever: the same questions as `Boards` answers, and the list of them.

Reads only. What is kept changes when a player is erased, and then has another version; so whether a board is kept, and
its version, are looked up again after a moment. Ranks from before a player's last action are not kept.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import pymongo
from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from services.leaderboard.boards import Place, Window
from services.leaderboard.head import Head, UnreadableError
from services.leaderboard.ranking import Member
from services.runtime.boards import Board
from services.runtime.closed import BOARDS, ENTRIES, ClosedBoard

MAX_REMEMBERED: Final = 10_000
LOOK_AGAIN_SECONDS: Final = 2.0
PAGE: Final = 500
Document = dict[str, Any]


class ClosedBoards:
    """The collections. Every method raises UnreadableError, at the latest after `timeout` for one read."""

    def __init__(self, database: AsyncDatabase[Document], *, timeout: timedelta) -> None:
        self._timeout = timeout.total_seconds()
        self._boards = database[BOARDS]
        self._entries = database[ENTRIES]
        self._kept: OrderedDict[str, tuple[ClosedBoard | None, float]] = OrderedDict()

    async def reader(self, board: Board) -> ClosedReader | None:
        """Who reads the board if it is kept."""
        kept = await self._find(board)
        return None if kept is None else ClosedReader(self._entries, kept, timeout=self._timeout)

    async def listed(self, series: str, before: datetime | None, limit: int) -> list[ClosedBoard]:
        """Up to `limit` kept boards of one name, the latest first, those that ended before `before` if that is given."""
        wanted: Document = {"series": series} if before is None else {"series": series, "ends_at": {"$lt": before}}
        async with _unreadable_on_failure(self._timeout):
            found = self._boards.find(wanted).sort("ends_at", DESCENDING).limit(limit)
            return [ClosedBoard.of(document) async for document in found]

    async def places(self, user_id: str, after: str) -> tuple[list[tuple[str, Place]], str]:
        """A player's places on up to 500 kept boards, by name from behind `after`, and the name to go on from."""
        async with _unreadable_on_failure(self._timeout):
            boards = await self._boards.find({"_id": {"$gt": after}}, {"made": 1}).sort("_id", ASCENDING).to_list(PAGE)
            names = {board["made"]: board["_id"] for board in boards}
            found = self._entries.find({"made": {"$in": list(names)}, "user_id": user_id})
            places = [(names[entry["made"]], Place(entry["rank"], entry["value"], None)) async for entry in found]
        return sorted(places), boards[-1]["_id"] if len(boards) == PAGE else ""

    async def _find(self, board: Board) -> ClosedBoard | None:
        found, asked_at = self._kept.get(board.text, (None, -math.inf))
        now = time.monotonic()
        if now - asked_at > LOOK_AGAIN_SECONDS:
            async with _unreadable_on_failure(self._timeout):
                document = await self._boards.find_one({"_id": board.text})
            found = None if document is None else ClosedBoard.of(document)
            self._kept[board.text] = found, now
        self._kept.move_to_end(board.text)
        if len(self._kept) > MAX_REMEMBERED:
            self._kept.popitem(last=False)
        return found


class ClosedReader:
    """One kept board, with the methods of `Boards`; what board is asked for is known and ignored."""

    def __init__(self, entries: AsyncCollection[Document], board: ClosedBoard, *, timeout: float) -> None:
        self._timeout = timeout
        self._entries = entries
        self._board = board

    async def head(self, _board: Board, size: int) -> Head:
        """As `Boards.head`."""
        return Head(self._board.generation, self._board.version, await self._from(1, size), {})

    async def places(self, _board: Board, user_ids: Sequence[str]) -> Mapping[str, Place]:
        """As `Boards.places`."""
        async with _unreadable_on_failure(self._timeout):
            found = self._entries.find({"made": self._board.made, "user_id": {"$in": list(user_ids)}})
            return {entry["user_id"]: Place(entry["rank"], entry["value"], None) async for entry in found}

    async def page(self, board: Board, size: int, after: Member | None, own: str) -> Window:
        """As `Boards.page`."""
        first = 1 if after is None else await self._ahead(after) + 1
        place = (await self.places(board, [own])).get(own) if own else None
        return Window(self._board.players, first, await self._from(first, size), {}, place)

    async def around(self, board: Board, user_id: str, radius: int) -> Window:
        """As `Boards.around`."""
        place = (await self.places(board, [user_id])).get(user_id)
        if place is None:
            return Window(self._board.players, 1, [], {})
        width = 2 * radius + 1
        first = max(1, min(place.rank - radius, self._board.players - width + 1))
        return Window(self._board.players, first, await self._from(first, width), {})

    async def ahead(self, board: Board, value: float, but: str) -> tuple[int, int]:
        """As `Boards.ahead`."""
        ahead = await self._ahead(("", value))
        place = (await self.places(board, [but])).get(but) if but else None
        return ahead - (place is not None and place.value >= value), self._board.players

    async def quantile(self, _board: Board, percentile: float) -> tuple[float | None, int]:
        """As `Boards.quantile`."""
        players = self._board.players
        # The share is of a whole number, so what is a hair above one is that one.
        found = await self._from(players - math.ceil(players * percentile / 100 - 1e-9) + 1, 1)
        return (found[0][1] if found else None), players

    async def _from(self, first: int, size: int) -> list[Member]:
        wanted = {"made": self._board.made, "rank": {"$gte": first, "$lt": first + size}}
        async with _unreadable_on_failure(self._timeout):
            found = self._entries.find(wanted).sort("rank", ASCENDING)
            return [(entry["user_id"], entry["value"]) async for entry in found]

    async def _ahead(self, member: Member) -> int:
        """How many stand before this member or in its place, by its value and id; it need not be on the board."""
        user_id, value = member
        low, high = 0, self._board.players
        while low < high:
            middle = (low + high) // 2
            there = (await self._from(middle + 1, 1))[0]
            if (there[1], there[0]) >= (value, user_id):
                low = middle + 1
            else:
                high = middle
        return low


@asynccontextmanager
async def _unreadable_on_failure(seconds: float) -> AsyncIterator[None]:
    try:
        with pymongo.timeout(seconds):
            yield
    except PyMongoError as error:
        raise UnreadableError(f"mongo does not answer: {type(error).__name__}") from error

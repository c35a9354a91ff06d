"""Boards of closed periods in MongoDB, with the same methods as live boards. Reads only.

An archived board changes only when a player is erased or it is resealed, which gives it another version. Previous ranks are
not archived.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import pymongo
from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from services.boards.board import Board
from services.boards.periods.closed import BOARDS, ENTRIES, ClosedBoard
from services.leaderboard.ranking import Member, quantile_index
from services.leaderboard.reading.results import Head, Standing, UnreadableError, Window

_BOARDS_A_PAGE: Final = 500
Document = dict[str, Any]
T = TypeVar("T")


class Archive:
    """The archived boards. Every method raises UnreadableError, after `timeout` at the latest."""

    def __init__(self, database: AsyncDatabase[Document], *, timeout: timedelta) -> None:
        self._timeout = timeout.total_seconds()
        self._boards = database[BOARDS]
        self._entries = database[ENTRIES]

    async def find(self, board: Board) -> ArchivedBoard | None:
        """Return the board if its period is closed."""
        document = await self.read(self._boards.find_one({"_id": board.name}))
        return None if document is None else ArchivedBoard(self._entries, ClosedBoard.from_document(document))

    async def closed(self, series: str, before: datetime | None, limit: int) -> list[ClosedBoard]:
        """Return up to `limit` boards of a series, the latest first, that ended before `before` if given."""
        query: Document = {"series": series} if before is None else {"series": series, "ends_at": {"$lt": before}}
        documents = await self.read(self._boards.find(query).sort("ends_at", DESCENDING).limit(limit).to_list())
        return [ClosedBoard.from_document(document) for document in documents]

    async def standings_of(self, user_id: str, after: str) -> tuple[list[tuple[str, Standing]], str]:
        """Return a player's standings on up to 500 boards whose names follow `after`, by name.

        `above` is None. With the name of the last of these boards, or an empty string if there are no more.
        """
        boards = await self.read(
            self._boards.find({"_id": {"$gt": after}}, {"made": 1}).sort("_id", ASCENDING).to_list(_BOARDS_A_PAGE)
        )
        names = {board["made"]: board["_id"] for board in boards}
        entries = await self.read(self._entries.find({"made": {"$in": list(names)}, "user_id": user_id}).to_list())
        standings = sorted((names[entry["made"]], _standing(entry, None)) for entry in entries)
        return standings, boards[-1]["_id"] if len(boards) == _BOARDS_A_PAGE else ""

    async def read(self, work: Awaitable[T]) -> T:
        """Await `work` within the time limit."""
        try:
            with pymongo.timeout(self._timeout):
                return await work
        except PyMongoError as error:
            raise UnreadableError(f"MongoDB failed: {type(error).__name__}") from error


class ArchivedBoard:
    """One archived board, with the methods of `LiveBoard`. Every method raises PyMongoError."""

    is_partial: Final = False
    has_metadata: Final = True

    def __init__(self, entries: AsyncCollection[Document], board: ClosedBoard) -> None:
        self._entries = entries
        self._board = board

    @property
    def name(self) -> str:
        """What distinguishes it from every other board, also from a live one."""
        return f"archived {self._board.copy_id}"

    async def head(self, size: int) -> Head:
        """Read as `LiveBoard.head`."""
        members, metadata = await self._slice(1, size)
        return Head(self._board.generation, self._board.version, members, {}, metadata=metadata)

    async def total(self) -> int:
        """Read as `LiveBoard.total`."""
        return self._board.players

    async def standings(self, user_ids: Sequence[str]) -> Mapping[str, Standing]:
        """Read as `LiveBoard.standings`."""
        made = self._board.copy_id
        entries = await self._entries.find({"made": made, "user_id": {"$in": list(user_ids)}}).to_list()
        ranks = [entry["rank"] - 1 for entry in entries]
        above = {
            entry["rank"]: entry["value"]
            async for entry in self._entries.find({"made": made, "rank": {"$in": ranks}}, {"rank": 1, "value": 1})
        }
        return {entry["user_id"]: _standing(entry, above.get(entry["rank"] - 1)) for entry in entries}

    async def values(self, user_ids: Sequence[str]) -> Mapping[str, float]:
        """Read as `LiveBoard.values`."""
        query = {"made": self._board.copy_id, "user_id": {"$in": list(user_ids)}}
        entries = self._entries.find(query, {"user_id": 1, "value": 1})
        return {entry["user_id"]: entry["value"] async for entry in entries}

    async def metadata(self, user_ids: Sequence[str], _state: tuple[int, int]) -> Mapping[str, str]:
        """Read as `LiveBoard.metadata`: it changes only by an erasure, which no later state shows less of."""
        query = {"made": self._board.copy_id, "user_id": {"$in": list(user_ids)}, "metadata": {"$exists": True}}
        entries = self._entries.find(query, {"user_id": 1, "metadata": 1})
        return {entry["user_id"]: entry["metadata"] async for entry in entries}

    async def state(self) -> tuple[int, int]:
        """Read as `LiveBoard.state`."""
        return self._board.generation, self._board.version

    async def page(self, size: int, after: Member | None) -> Window:
        """Read as `LiveBoard.page`."""
        first = 1 if after is None else await self._count_ahead(after) + 1
        return await self._window(first, size)

    async def around(self, user_id: str, radius: int) -> Window:
        """Read as `LiveBoard.around`."""
        standing = (await self.standings([user_id])).get(user_id)
        if standing is None:
            return Window(self._board.players, 1, [], {}, None)
        width = 2 * radius + 1
        first = max(1, min(standing.rank - radius, self._board.players - width + 1))
        return await self._window(first, width)

    async def ahead(self, value: float, excluded: str) -> tuple[int, int]:
        """Read as `LiveBoard.ahead`."""
        ahead = await self._count_ahead(("", value))
        standing = (await self.standings([excluded])).get(excluded) if excluded else None
        return ahead - (standing is not None and standing.value >= value), self._board.players

    async def quantile(self, percentile: float) -> tuple[float | None, int]:
        """Read as `LiveBoard.quantile`."""
        players = self._board.players
        members, _ = await self._slice(quantile_index(percentile, players) + 1, 1)
        return (members[0][1] if members else None), players

    async def _window(self, first: int, size: int) -> Window:
        """Return up to `size` members from rank `first`, and the place above them."""
        before = int(first > 1)
        members, metadata = await self._slice(first - before, size + before)
        above = members[0][1] if before else None
        return Window(self._board.players, first, members[before:], {}, above, metadata=metadata)

    async def _slice(self, first: int, size: int) -> tuple[list[Member], Mapping[str, str]]:
        """Return up to `size` members from rank `first`, and the metadata of those who have any."""
        query = {"made": self._board.copy_id, "rank": {"$gte": first, "$lt": first + size}}
        entries = self._entries.find(query).sort("rank", ASCENDING)
        members: list[Member] = []
        metadata: dict[str, str] = {}
        async for entry in entries:
            members.append((entry["user_id"], entry["value"]))
            if "metadata" in entry:
                metadata[entry["user_id"]] = entry["metadata"]
        return members, metadata

    async def _count_ahead(self, member: Member) -> int:
        """Return how many members rank at or before this value and id, which need not be on the board."""
        user_id, value = member
        low, high = 0, self._board.players
        while low < high:
            middle = (low + high) // 2
            ((other_id, other_value),), _ = await self._slice(middle + 1, 1)
            if (other_value, other_id) >= (value, user_id):
                low = middle + 1
            else:
                high = middle
        return low


def _standing(entry: Document, above: float | None) -> Standing:
    return Standing(entry["rank"], entry["value"], None, above, metadata=entry.get("metadata", ""))

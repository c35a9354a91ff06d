"""Keeping a closed period's board in MongoDB: its places as they are in Redis, once and for ever.

Owns the two collections of `closed`, and `closing`, the tries that did not come to an end: {_id, at}. Whoever keeps a
board must know that nobody writes to it any more. Several may try: each writes entries of his own, and the one whose
document of the board comes first has kept it; what others wrote is removed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from bson import ObjectId
from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError
from redis.asyncio import Redis

from services.runtime.boards import GENERATION_KEY, Board, period
from services.runtime.closed import BOARDS, ENTRIES, ClosedBoard, series_of
from services.score.reports import BoardsLostError

PAGE: Final = 2000
Document = dict[str, Any]
_log = structlog.get_logger("archive")


class Archive:
    """The collections. Errors of the drivers pass as they are."""

    def __init__(self, database: AsyncDatabase[Document], redis: Redis) -> None:
        self._boards = database[BOARDS]
        self._entries = database[ENTRIES]
        self._tries = database["closing"]
        self._redis = redis

    async def prepare(self) -> None:
        """Makes the indexes; making them again changes nothing."""
        await self._boards.create_index([("series", ASCENDING), ("ends_at", DESCENDING)])
        await self._entries.create_index([("made", ASCENDING), ("rank", ASCENDING)], unique=True)
        await self._entries.create_index([("made", ASCENDING), ("user_id", ASCENDING)], unique=True)

    async def has(self, board: Board) -> bool:
        """Whether the board is kept."""
        return await self._boards.find_one({"_id": board.text}, {"_id": 1}) is not None

    async def keep(self, board: Board, now: datetime) -> bool:
        """Keeps the board as it is in Redis; False if it is kept already.

        Raises BoardsLostError if the board changed meanwhile or the boards are not whole; nothing is kept then.
        """
        counted = period(board)
        assert counted is not None, "only boards of periods are closed"
        if await self.has(board):
            return False
        made = ObjectId()
        await self._tries.insert_one({"_id": made, "at": now})
        before = await self._state(board)
        players = 0 if before is None else await self._copy(board, made)
        if before is None or await self._state(board) != before:
            await self._forget(made)
            raise BoardsLostError(f"{board.text} changed while it was kept")
        generation, version, _ = before
        kept = ClosedBoard(
            board.text, series_of(board), made, players, generation, version, ends_at=counted.ends_at, closed_at=now
        )
        try:
            await self._boards.insert_one(kept.document())
        except DuplicateKeyError:
            await self._forget(made)
            return False
        await self._tries.delete_one({"_id": made})
        _log.info("a closed period is kept", board=board.text, players=players)
        return True

    async def sweep(self, now: datetime) -> None:
        """Removes what tries left behind that began more than a day ago."""
        async for document in self._tries.find({"at": {"$lt": now - timedelta(days=1)}}):
            made = document["_id"]
            if await self._boards.find_one({"made": made}, {"_id": 1}) is None:
                await self._forget(made)
            else:
                await self._tries.delete_one({"_id": made})

    async def _forget(self, made: ObjectId) -> None:
        await self._entries.delete_many({"made": made})
        await self._tries.delete_one({"_id": made})

    async def _state(self, board: Board) -> tuple[int, int, int] | None:
        """Generation, version and members: what changes when the board does. None while the boards are not whole."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.get(GENERATION_KEY)
            pipeline.hget(board.meta_key, "version")
            pipeline.zcard(board.key)
            generation, version, members = await pipeline.execute()
        return None if generation is None else (int(generation), int(version or 0), int(members))

    async def _copy(self, board: Board, made: ObjectId) -> int:
        rank = 0
        while True:
            found: Any = await self._redis.zrevrange(board.key, rank, rank + PAGE - 1, withscores=True)
            if not found:
                return rank
            entries = [
                {"made": made, "rank": place, "user_id": member.decode(), "value": value}
                for place, (member, value) in enumerate(found, rank + 1)
            ]
            await self._entries.insert_many(entries, ordered=False)
            rank += len(entries)

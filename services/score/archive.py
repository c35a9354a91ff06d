"""Keeping a closed period's board in MongoDB: its places as they are in Redis, once and for ever.

What is kept changes in one way: an erased player's place is given to his pseudonym.

Owns the two collections of `closed`, and `closing`, the tries that did not come to an end: {_id, at}. Whoever keeps a
board must know that nobody writes to it any more. Several may try: each writes entries of his own, and the one whose
document of the board comes first has kept it; what others wrote is removed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from bson import ObjectId
from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError
from redis.asyncio import Redis

from services.runtime.boards import GENERATION_KEY, Board, period
from services.runtime.closed import BOARDS, ENTRIES, ClosedBoard, series_of
from services.runtime.redis_scripts import together
from services.runtime.split import SPLIT_KEY, Part, Split
from services.score.reports import BoardsLostError

PAGE: Final = 2000
_BOARDS_A_QUERY: Final = 1000
Document = dict[str, Any]
_log = structlog.get_logger("archive")


class Archive:
    """The collections. Errors of the drivers pass as they are."""

    def __init__(self, database: AsyncDatabase[Document], redis: Redis) -> None:
        self._client = database.client
        self._boards = database[BOARDS]
        self._entries = database[ENTRIES]
        self._tries = database["closing"]
        self._redis = redis

    async def prepare(self) -> None:
        """Makes the indexes; making them again changes nothing."""
        await self._boards.create_index("made")
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
        generation, split = await self._split()
        made = ObjectId()
        await self._tries.insert_one({"_id": made, "at": now})
        parts = split.parts(board)
        before = await self._state(parts)
        players = await self._copy(parts, made)
        if await self._state(parts) != before or (await self._split())[0] != generation:
            await self._forget(made)
            raise BoardsLostError(f"{board.text} changed while it was kept")
        version = sum(before[: len(parts)])
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

    async def rename(self, user_id: str, pseudonym: str) -> None:
        """Gives the player's places on all boards to his pseudonym, each board with another version, so that it is read anew.

        A board that is being kept meanwhile may still have him: do it again later.
        """
        boards = [document["made"] async for document in self._boards.find({}, {"made": 1})]
        tries = [document["_id"] async for document in self._tries.find({}, {"_id": 1})]
        for start in range(0, len(boards), _BOARDS_A_QUERY):
            made = {"$in": boards[start : start + _BOARDS_A_QUERY]}
            async for entry in self._entries.find({"made": made, "user_id": user_id}, {"made": 1}):
                await self._rename_on(entry["made"], user_id, pseudonym)
        await self._entries.update_many({"made": {"$in": tries}, "user_id": user_id}, {"$set": {"user_id": pseudonym}})

    async def _rename_on(self, made: ObjectId, user_id: str, pseudonym: str) -> None:
        async def work(session: AsyncClientSession) -> None:
            place = {"made": made, "user_id": user_id}
            await self._entries.update_one(place, {"$set": {"user_id": pseudonym}}, session=session)
            await self._boards.update_one({"made": made}, {"$inc": {"version": 1}}, session=session)

        async with self._client.start_session() as session:
            await session.with_transaction(work)

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

    async def _split(self) -> tuple[int, Split]:
        """The boards' generation, and how those of it are split. Raises BoardsLostError while they are not whole."""
        found: list[Any] = await self._redis.mget(GENERATION_KEY, SPLIT_KEY)
        generation, split = found
        if generation is None:
            raise BoardsLostError("the boards are being made anew")
        return int(generation), Split((split or b"").decode())

    async def _state(self, parts: Sequence[Part]) -> list[int]:
        """The version of each key, then how many members each has: what changes when the board does."""
        versions = [("HGET", part.meta_key, "version") for part in parts]
        members = [("ZCARD", part.key) for part in parts]
        return [int(number or 0) for number in await together(self._redis, [*versions, *members])]

    async def _copy(self, parts: Sequence[Part], made: ObjectId) -> int:
        rank = 0
        page: list[Document] = []
        async for user_id, value in self._in_order(parts):
            rank += 1
            page.append({"made": made, "rank": rank, "user_id": user_id, "value": value})
            if len(page) >= PAGE:
                await self._entries.insert_many(page, ordered=False)
                page = []
        if page:
            await self._entries.insert_many(page, ordered=False)
        return rank

    async def _in_order(self, parts: Sequence[Part]) -> AsyncIterator[tuple[str, float]]:
        """Everybody on the board: the keys' own orders, merged by value and id as one key orders them."""
        heads: dict[AsyncIterator[tuple[str, float]], tuple[str, float] | None] = {}
        for part in parts:
            key = self._members(part)
            heads[key] = await anext(key, None)
        while left := {key: head for key, head in heads.items() if head is not None}:
            key = max(left, key=lambda each: (left[each][1], left[each][0]))
            yield left[key]
            heads[key] = await anext(key, None)

    async def _members(self, part: Part) -> AsyncIterator[tuple[str, float]]:
        """Everybody on one key, in order."""
        start = 0
        while True:
            found: Any = await self._redis.zrevrange(part.key, start, start + PAGE - 1, withscores=True)
            if not found:
                return
            for member, value in found:
                yield member.decode(), value
            start += len(found)

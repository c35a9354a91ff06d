"""The last known tops of the boards that webhooks watch, in MongoDB.

Owns `webhook_tops` {_id: series, board, generation, version, number, players}: the user ids by rank, of the frame that players
were last compared with. A series has a document for as long as a webhook wants it. The driver's errors are not translated.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

Document = dict[str, Any]


class Top(NamedTuple):
    """The top of a series: the board of its current period, the frame, and the user ids by rank.

    `number` counts the frames of the series that were compared, from 1.
    """

    series: str
    board: str
    generation: int
    version: int
    number: int
    players: Sequence[str]

    @property
    def position(self) -> tuple[int, int]:
        """The position of the frame among those of its board."""
        return self.generation, self.version


class TopStore:
    """The collection."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._tops = database["webhook_tops"]

    async def find(self, series: str) -> Top | None:
        """Return the last known top of a series."""
        document = await self._tops.find_one({"_id": series})
        if document is None:
            return None
        return Top(document.pop("_id"), **document)

    async def replace(self, top: Top) -> bool:
        """Replace the top with the previous number; return False if another worker has replaced that one."""
        fields = top._asdict()
        document = {"_id": fields.pop("series"), **fields}
        if top.number == 1:
            try:
                await self._tops.insert_one(document)
            except DuplicateKeyError:
                return False
            return True
        former = {"_id": top.series, "number": top.number - 1}
        return bool((await self._tops.replace_one(former, document)).matched_count)

    async def keep(self, series: Collection[str]) -> None:
        """Remove the tops of all other series."""
        await self._tops.delete_many({"_id": {"$nin": list(series)}})

    async def erase(self, user_id: str) -> None:
        """Remove a player's id from every top; the others keep their ranks."""
        removed = {"$set": {"players.$[player]": ""}}
        await self._tops.update_many({"players": user_id}, removed, array_filters=[{"player": user_id}])

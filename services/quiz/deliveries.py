"""When a player was first handed a quiz's questions, for the rules of fair play.

Owns the collection `deliveries`, for as long as a month. Written in the background, in batches. Must never hold up a quiz
or an action: what is not known is left out.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import pymongo
import structlog
from pymongo import UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from services.runtime.errors import ServiceError
from services.runtime.gathered import Gathered
from services.runtime.lifecycle import Stage, cancel, spawn
from services.runtime.mongo_client import unavailable_on_failure

KEPT: Final = timedelta(days=30)
MAX_REMEMBERED: Final = 50_000
MAX_WAITING: Final = 10_000
MAX_READ: Final = 200
# Nobody's submission waits longer for what only fair play asks for.
READ_SECONDS: Final = 0.5
WRITE_SECONDS: Final = 0.1
Delivery = tuple[str, str]
"""Player and quiz."""
_DUPLICATE = 11000
_log = structlog.get_logger("deliveries")


class Deliveries:
    """A server of the stage PUBLISHER: its last write comes when no quiz is handed out any more."""

    stage = Stage.PUBLISHER

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._deliveries = database["deliveries"]
        self._waiting: dict[Delivery, datetime] = {}
        self._known: OrderedDict[Delivery, None] = OrderedDict()
        self._read: Gathered[Delivery, datetime | None] = Gathered("deliveries read", self._read_all, most=MAX_READ)
        self._writer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Makes the index and begins to write."""
        async with unavailable_on_failure():
            await self._deliveries.create_index("at", expireAfterSeconds=int(KEPT.total_seconds()))
        self._writer = spawn("deliveries", self._write_for_ever())

    async def stop(self) -> None:
        """Writes what is left."""
        if self._writer is not None:
            await cancel(self._writer)
        await self._write()

    def delivered(self, user_id: str, quiz_ids: Iterable[str], at: datetime) -> None:
        """The player was handed these quizzes; of several times the first counts."""
        for quiz_id in quiz_ids:
            delivery = (user_id, quiz_id)
            if delivery not in self._known and len(self._waiting) < MAX_WAITING:
                self._waiting.setdefault(delivery, at)

    async def first(self, user_id: str, quiz_id: str) -> datetime | None:
        """When the player was first handed the quiz; None if that is not known."""
        waiting = self._waiting.get((user_id, quiz_id))
        try:
            return await self._read((user_id, quiz_id)) or waiting
        except ServiceError:
            return waiting

    async def _read_all(self, deliveries: Sequence[Delivery]) -> list[datetime | None]:
        ids = [_id(delivery) for delivery in deliveries]
        async with unavailable_on_failure():
            with pymongo.timeout(READ_SECONDS):
                documents = self._deliveries.find({"_id": {"$in": ids}})
                found = {document["_id"]: document["at"] async for document in documents}
        return [found.get(wanted) for wanted in ids]

    async def _write_for_ever(self) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self._write()

    async def _write(self) -> None:
        batch = dict(self._waiting)
        if not batch:
            return
        writes = [
            UpdateOne({"_id": _id(delivery)}, {"$setOnInsert": {"at": at}}, upsert=True)
            for delivery, at in batch.items()
        ]
        try:
            async with unavailable_on_failure():
                await self._deliveries.bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            # Another instance wrote the same delivery in this moment.
            if any(failure["code"] != _DUPLICATE for failure in error.details["writeErrors"]):
                raise
        except ServiceError as error:
            _log.warning("deliveries are not written yet", deliveries=len(batch), reason=error.reason)
            return
        for delivery in batch:
            del self._waiting[delivery]
            self._known[delivery] = None
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)


def _id(delivery: Delivery) -> str:
    return "/".join(delivery)

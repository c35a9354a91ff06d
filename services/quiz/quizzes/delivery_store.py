"""When each player first received a quiz's questions, for the fair-play rules.

Owns the collection `deliveries`, whose documents expire after 30 days. Written in the background, in batches. Must never
delay a quiz or an action: an unknown time is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import pymongo
import structlog
from cachetools import LRUCache, TTLCache
from pymongo import UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from services.runtime.errors import ServiceError
from services.runtime.stores.mongo import unavailable_on_failure

RETENTION: Final = timedelta(days=30)
MAX_WRITTEN: Final = 50_000
MAX_UNWRITTEN: Final = 10_000
ABSENT_SECONDS: Final = 60
# A submission waits no longer than this for a time that only the fair-play rules use.
READ_SECONDS: Final = 0.5
Delivery = tuple[str, str]
"""Player and quiz."""
_DUPLICATE: Final = 11000
_log = structlog.get_logger("deliveries")


class DeliveryStore:
    """Collects deliveries in memory until they are written. Use from one event loop."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._deliveries = database["deliveries"]
        self._unwritten: dict[Delivery, datetime] = {}
        self._any_unwritten = asyncio.Event()
        self._written: LRUCache[Delivery, bool] = LRUCache(MAX_WRITTEN)
        self._first: LRUCache[Delivery, datetime] = LRUCache(MAX_WRITTEN)
        # Another instance may deliver the quiz meanwhile.
        self._absent: TTLCache[Delivery, bool] = TTLCache(MAX_WRITTEN, ABSENT_SECONDS)

    async def prepare(self) -> None:
        """Create the index. Idempotent. Raises UNAVAILABLE."""
        async with unavailable_on_failure():
            await self._deliveries.create_index("at", expireAfterSeconds=int(RETENTION.total_seconds()))

    def add(self, user_id: str, quiz_ids: Iterable[str], at: datetime) -> None:
        """Note that the player received these quizzes. The first time counts; with too many unwritten it is left out."""
        for quiz_id in quiz_ids:
            delivery = (user_id, quiz_id)
            if delivery not in self._written and delivery not in self._first and len(self._unwritten) < MAX_UNWRITTEN:
                self._unwritten.setdefault(delivery, at)
                self._any_unwritten.set()

    async def first(self, deliveries: Iterable[Delivery]) -> dict[Delivery, datetime]:
        """Return when each was made first, as far as that is known. Reads the store once, for those not in memory."""
        wanted = list(deliveries)
        unknown = [each for each in wanted if each not in self._first and each not in self._absent]
        if unknown:
            await self._read(unknown)
        known = ((each, self._first.get(each) or self._unwritten.get(each)) for each in wanted)
        return {each: at for each, at in known if at is not None}

    async def flush_when_any(self) -> None:
        """Wait until there is something to write, then flush."""
        await self._any_unwritten.wait()
        await self.flush()
        if not self._unwritten:
            self._any_unwritten.clear()

    async def flush(self) -> None:
        """Write what was added since the last flush. While the database does not respond, deliveries stay in memory."""
        batch = dict(self._unwritten)
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
            # Another instance wrote the same delivery at the same moment.
            if any(failure["code"] != _DUPLICATE for failure in error.details["writeErrors"]):
                raise
        except ServiceError as error:
            _log.warning("deliveries not written", deliveries=len(batch), reason=error.reason)
            return
        for delivery in batch:
            del self._unwritten[delivery]
            self._written[delivery] = True
            self._absent.pop(delivery, None)

    def forget(self) -> None:
        """Write and read again what was written and read before: the database has other data."""
        self._written.clear()
        self._first.clear()
        self._absent.clear()

    async def _read(self, deliveries: Sequence[Delivery]) -> None:
        """Remember what the store knows of these. If it does not respond in time, nothing is remembered."""
        ids = {_id(delivery): delivery for delivery in deliveries}
        try:
            async with unavailable_on_failure():
                with pymongo.timeout(READ_SECONDS):
                    found = await self._deliveries.find({"_id": {"$in": list(ids)}}).to_list()
        except ServiceError:
            return
        for document in found:
            self._first[ids.pop(document["_id"])] = document["at"]
        self._absent.update(dict.fromkeys(ids.values(), True))


def _id(delivery: Delivery) -> str:
    return "/".join(delivery)

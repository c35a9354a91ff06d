"""Deliveries in MongoDB: the durable queue from facts to webhooks.

Owns `webhook_deliveries` {_id, webhook_id, kind, user_id, body, created_at, state, attempts, next_at, give_up_at, status,
error, finished_at}. A worker takes a delivery by moving `next_at` a lease ahead; if the worker dies, another one takes it
then. The driver's errors are not translated.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pymongo import ASCENDING, DESCENDING, ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from services.score.webhooks.backoff import GIVE_UP_AFTER

WAITING, DELIVERED, DEAD = "waiting", "delivered", "dead"
# Longer than an attempt takes.
LEASE: Final = timedelta(seconds=30)
KEPT_FOR: Final = timedelta(days=30)
_NEWEST_FIRST: Final = [("created_at", DESCENDING), ("_id", DESCENDING)]
_DUPLICATE: Final = 11000
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A fact on its way to one webhook. `status` is 0 without a response; `error` is empty after a success."""

    delivery_id: str
    webhook_id: str
    kind: str
    user_id: str
    body: str
    created_at: datetime
    next_at: datetime
    give_up_at: datetime
    state: str = WAITING
    attempts: int = 0
    status: int = 0
    error: str = ""
    finished_at: datetime | None = None


class DeliveryStore:
    """The collection."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._deliveries = database["webhook_deliveries"]

    async def prepare(self) -> None:
        """Create the indexes. Idempotent."""
        await self._deliveries.create_index(
            [("next_at", ASCENDING)], partialFilterExpression={"state": WAITING}, name="due"
        )
        await self._deliveries.create_index([("state", ASCENDING), ("created_at", ASCENDING)])
        await self._deliveries.create_index([("webhook_id", ASCENDING), *_NEWEST_FIRST])
        await self._deliveries.create_index("user_id", sparse=True)
        await self._deliveries.create_index("created_at", expireAfterSeconds=int(KEPT_FOR.total_seconds()))

    async def add(self, deliveries: Sequence[Delivery]) -> int:
        """Store deliveries, each once, and return how many are new."""
        if not deliveries:
            return 0
        documents = [_document(each) for each in deliveries]
        try:
            await self._deliveries.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            if any(each["code"] != _DUPLICATE for each in error.details["writeErrors"]):
                raise
            return int(error.details["nInserted"])
        return len(documents)

    async def take(self, now: datetime, busy: Collection[str]) -> Delivery | None:
        """Take the delivery that has been due for the longest, for one attempt; None if there is none.

        Webhooks in `busy` are left out.
        """
        due: Document = {"state": WAITING, "next_at": {"$lte": now}}
        if busy:
            due["webhook_id"] = {"$nin": list(busy)}
        document = await self._deliveries.find_one_and_update(
            due,
            {"$set": {"next_at": now + LEASE}, "$inc": {"attempts": 1}},
            sort=[("next_at", ASCENDING)],
            return_document=ReturnDocument.AFTER,
        )
        return None if document is None else _delivery(document)

    async def record_success(self, taken: Delivery, status: int, now: datetime) -> None:
        """Record that the receiver accepted a delivery."""
        await self._record(taken, {"state": DELIVERED, "status": status, "error": "", "finished_at": now})

    async def record_failure(self, taken: Delivery, status: int, error: str, next_at: datetime, now: datetime) -> bool:
        """Record a failed attempt, and return whether it was the last one: the next would be after `give_up_at`."""
        is_last = next_at > taken.give_up_at
        ended = {"state": DEAD, "finished_at": now} if is_last else {"next_at": next_at}
        await self._record(taken, {"status": status, "error": error, **ended})
        return is_last

    async def page(
        self, webhook_id: str, limit: int, after: tuple[datetime, str] | None, state: str | None
    ) -> list[Delivery]:
        """Return up to `limit` deliveries of a webhook, newest first, that follow the time and id in `after`."""
        query: Document = {"webhook_id": webhook_id}
        if state is not None:
            query["state"] = state
        if after is not None:
            at, delivery_id = after
            query["$or"] = [{"created_at": {"$lt": at}}, {"created_at": at, "_id": {"$lt": delivery_id}}]
        documents = self._deliveries.find(query).sort(_NEWEST_FIRST).limit(limit)
        return [_delivery(document) async for document in documents]

    async def exists(self, webhook_id: str, delivery_id: str) -> bool:
        """Return whether the webhook has this delivery."""
        return await self._deliveries.find_one({"_id": delivery_id, "webhook_id": webhook_id}, {"_id": 1}) is not None

    async def replay(self, webhook_id: str, delivery_id: str, now: datetime) -> int:
        """Make a finished delivery wait again, or every dead one if `delivery_id` is empty; return how many."""
        which: Document = {"_id": delivery_id, "state": {"$ne": WAITING}} if delivery_id else {"state": DEAD}
        waiting = {"state": WAITING, "attempts": 0, "next_at": now, "give_up_at": now + GIVE_UP_AFTER}
        result = await self._deliveries.update_many(
            {"webhook_id": webhook_id, **which}, {"$set": {**waiting, "finished_at": None}}
        )
        return int(result.modified_count)

    async def oldest_waiting(self) -> datetime | None:
        """Return when the oldest delivery that is waiting was stored."""
        oldest = await self._deliveries.find_one(
            {"state": WAITING}, {"created_at": 1}, sort=[("created_at", ASCENDING)]
        )
        return None if oldest is None else oldest["created_at"]

    async def remove(self, webhook_id: str) -> None:
        """Remove the deliveries of a webhook."""
        await self._deliveries.delete_many({"webhook_id": webhook_id})

    async def erase(self, user_id: str) -> None:
        """Remove the deliveries about a player, waiting ones included."""
        await self._deliveries.delete_many({"user_id": user_id})

    async def _record(self, taken: Delivery, fields: Document) -> None:
        # After the lease another worker may have taken the delivery; then only its outcome is recorded.
        attempt = {"_id": taken.delivery_id, "state": WAITING, "attempts": taken.attempts}
        await self._deliveries.update_one(attempt, {"$set": fields})


def _document(delivery: Delivery) -> Document:
    document: Document = {
        "_id": delivery.delivery_id,
        "webhook_id": delivery.webhook_id,
        "kind": delivery.kind,
        "body": delivery.body,
        "created_at": delivery.created_at,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "next_at": delivery.next_at,
        "give_up_at": delivery.give_up_at,
        "status": delivery.status,
        "error": delivery.error,
        "finished_at": delivery.finished_at,
    }
    return document | ({"user_id": delivery.user_id} if delivery.user_id else {})


def _delivery(document: Document) -> Delivery:
    return Delivery(
        delivery_id=document["_id"],
        webhook_id=document["webhook_id"],
        kind=document["kind"],
        user_id=document.get("user_id", ""),
        body=document["body"],
        created_at=document["created_at"],
        next_at=document["next_at"],
        give_up_at=document["give_up_at"],
        state=document["state"],
        attempts=document["attempts"],
        status=document["status"],
        error=document["error"],
        finished_at=document["finished_at"],
    )

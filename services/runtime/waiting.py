"""Events that wait in a MongoDB collection to be published, each inside the document that it is about.

A document with the field `unpublished` {event, leased_until, and its trace if it is part of one} waits; `user_id` says under
whose subject it goes, and a time field of the owner's since when it waits. Owns that field and its index.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from bson import Binary
from pymongo import ASCENDING
from pymongo.asynchronous.collection import AsyncCollection

from services.runtime import tracing
from services.runtime.mongo_client import unavailable_on_failure
from services.runtime.outbox import WaitingEvent

MAX_SWEEP: Final = 500
_WAITING: Final = {"unpublished": {"$exists": True}}


def unpublished(event: bytes, leased_until: datetime) -> dict[str, Any]:
    """What the field of a new document holds: its writer publishes it until `leased_until`, then anybody."""
    trace = tracing.cause()
    return {"event": Binary(event), "leased_until": leased_until} | ({"trace": trace} if trace else {})


def unpublished_again(event: bytes | str, now: datetime) -> dict[str, Any]:
    """What the field holds of a document whose event is to be published once more, by anybody, whenever it was before.

    `event` is the event, or the path of the document's field that has it.
    """
    return {"event": event if isinstance(event, str) else Binary(event), "leased_until": now, "again": f"/{uuid4()}"}


class WaitingEvents:
    """Records of an outbox. Every method raises UNAVAILABLE if the database does not answer."""

    def __init__(self, collection: AsyncCollection[dict[str, Any]], since: str) -> None:
        """`since` is the field with the time at which a document began to wait."""
        self._collection = collection
        self._since = since

    async def prepare(self) -> None:
        """Make the index; making it again changes nothing."""
        async with unavailable_on_failure():
            await self._collection.create_index(self._since, partialFilterExpression=_WAITING)

    async def oldest_waiting(self) -> datetime | None:
        """Since when the oldest event that waits does; None if none waits."""
        async with unavailable_on_failure():
            document = await self._collection.find_one(_WAITING, {self._since: 1}, sort=[(self._since, ASCENDING)])
        return None if document is None else document[self._since]

    async def lease_waiting(self, now: datetime, until: datetime) -> list[WaitingEvent]:
        """Up to 500 events whose lease is over, oldest first, leased until `until`.

        Two instances that ask at once may both be handed an event; the stream and the ledger count it once all the same.
        """
        overdue = {**_WAITING, "unpublished.leased_until": {"$lte": now}}
        async with unavailable_on_failure():
            cursor = self._collection.find(overdue, {"user_id": 1, "unpublished": 1})
            documents = await cursor.sort(self._since, ASCENDING).limit(MAX_SWEEP).to_list()
            if documents:
                await self._collection.update_many(
                    {"_id": {"$in": [document["_id"] for document in documents]}, **_WAITING},
                    {"$set": {"unpublished.leased_until": until}},
                )
        return [
            WaitingEvent(
                document["_id"],
                document["user_id"],
                bytes(waiting["event"]),
                waiting.get("again", ""),
                waiting.get("trace", ""),
            )
            for document in documents
            for waiting in (document["unpublished"],)
        ]

    async def mark_published(self, event_ids: Sequence[str]) -> None:
        """The stream has acknowledged these events."""
        async with unavailable_on_failure():
            await self._collection.update_many({"_id": {"$in": list(event_ids)}}, {"$unset": {"unpublished": ""}})

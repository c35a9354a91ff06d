"""Unpublished events in a MongoDB collection, each inside the document that it is about.

The field `unpublished` {event, leased_until, trace?, again?} marks a document whose event is not published yet. The
document's `user_id` completes the event's subject, and a time field of the owner tells its age. Owns the field
`unpublished` and its index.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from pymongo import ASCENDING
from pymongo.asynchronous.collection import AsyncCollection

from services.runtime.outbox.publishing import UnpublishedEvent
from services.runtime.stores.mongo import unavailable_on_failure

MAX_SWEEP: Final = 500
_UNPUBLISHED: Final = {"unpublished": {"$exists": True}}


def unpublished_field(event: bytes, leased_until: datetime, trace: str) -> dict[str, Any]:
    """The field `unpublished` of a new document: until `leased_until` its writer publishes it, then any instance.

    `trace` is the traceparent that the event belongs to; empty without one.
    """
    field: dict[str, Any] = {"event": event, "leased_until": leased_until}
    if trace:
        field["trace"] = trace
    return field


def republished_field(event: bytes | str, now: datetime) -> dict[str, Any]:
    """The field `unpublished` that has any instance publish an event again, even within the duplicate window.

    `event` is the event, or the path of the document's field that holds it.
    """
    return {"event": event, "leased_until": now, "again": f"/{uuid4()}"}


class OutboxStore:
    """The unpublished events of one collection. Every method raises UNAVAILABLE if the database does not answer."""

    def __init__(self, collection: AsyncCollection[dict[str, Any]], since: str) -> None:
        """`since` names the field with the time at which an event was recorded."""
        self._collection = collection
        self._since = since

    async def prepare(self) -> None:
        """Create the index. Creating it again changes nothing."""
        async with unavailable_on_failure():
            await self._collection.create_index(self._since, partialFilterExpression=_UNPUBLISHED)

    async def oldest_unpublished(self) -> datetime | None:
        """When the oldest unpublished event was recorded; None if there is none."""
        async with unavailable_on_failure():
            document = await self._collection.find_one(_UNPUBLISHED, {self._since: 1}, sort=[(self._since, ASCENDING)])
        return None if document is None else document[self._since]

    async def lease_unpublished(self, now: datetime, until: datetime, recorded_on: str) -> list[UnpublishedEvent]:
        """Lease up to 500 events without a running lease until `until` and return them, oldest first.

        Two instances may lease the same event at the same time; the stream and the ledger still count it once.
        """
        lease_expired = {**_UNPUBLISHED, "unpublished.leased_until": {"$lte": now}}
        async with unavailable_on_failure():
            cursor = self._collection.find(lease_expired, {"user_id": 1, "unpublished": 1})
            documents = await cursor.sort(self._since, ASCENDING).limit(MAX_SWEEP).to_list()
            if documents:
                await self._collection.update_many(
                    {"_id": {"$in": [document["_id"] for document in documents]}, **_UNPUBLISHED},
                    {"$set": {"unpublished.leased_until": until}},
                )
        return [
            UnpublishedEvent(
                document["_id"],
                document["user_id"],
                bytes(unpublished["event"]),
                recorded_on,
                unpublished.get("again", ""),
                unpublished.get("trace", ""),
            )
            for document in documents
            for unpublished in (document["unpublished"],)
        ]

    async def republish_unpublished(self, event_ids: Sequence[str], now: datetime) -> None:
        """Have any instance publish those of the events that are unpublished, even within the duplicate window.

        A stream can know an event that its record says was never published: MongoDB went back to an older moment.
        """
        again = {"unpublished.again": f"/{uuid4()}", "unpublished.leased_until": now}
        async with unavailable_on_failure():
            await self._collection.update_many({"_id": {"$in": list(event_ids)}, **_UNPUBLISHED}, {"$set": again})

    async def mark_published(self, acknowledged: Sequence[tuple[str, str]]) -> None:
        """Record that the stream acknowledged these events, each with the suffix of its message ID.

        An event that is to be published again by now, under another message ID, stays unpublished.
        """
        by_suffix: defaultdict[str, list[str]] = defaultdict(list)
        for event_id, suffix in acknowledged:
            by_suffix[suffix].append(event_id)
        async with unavailable_on_failure():
            for suffix, event_ids in by_suffix.items():
                await self._collection.update_many(
                    {"_id": {"$in": event_ids}, "unpublished.again": suffix or None}, {"$unset": {"unpublished": ""}}
                )

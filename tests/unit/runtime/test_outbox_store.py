"""Unpublished events in MongoDB: an event is published under every message ID that was asked for."""

from __future__ import annotations

from datetime import timedelta

from services.runtime.clock import utc_now
from services.runtime.config.settings import MongoConfig
from services.runtime.outbox.store import OutboxStore, republished_field, unpublished_field
from services.runtime.stores.mongo import open_mongo
from tests.servers import unique

NOW = utc_now()
LATER = NOW + timedelta(minutes=1)


async def test_acknowledgement_of_a_former_message_id_leaves_an_event_to_be_published_again(mongo_url: str) -> None:
    """The sweep has leased two events; then they are wanted again, because the stream refuses them as duplicates."""
    async with open_mongo(MongoConfig(url=mongo_url, database=unique("t")), "quiz") as mongo:
        collection = mongo.database["records"]
        store = OutboxStore(collection, since="at")
        for event_id in ("never-published", "published", "marked"):
            field = unpublished_field(b"event", NOW, "")
            await collection.insert_one({"_id": event_id, "user_id": "ada", "at": NOW, "unpublished": field})
        leased = await store.lease_unpublished(NOW, LATER, "this data")
        await store.republish_unpublished(["never-published"], NOW)
        await collection.update_one({"_id": "published"}, {"$set": {"unpublished": republished_field(b"event", NOW)}})
        await store.mark_published([(event.event_id, event.dedup_suffix) for event in leased])

        again = await store.lease_unpublished(NOW, LATER, "this data")
        assert {event.event_id for event in again} == {"never-published", "published"}
        assert all(event.dedup_suffix for event in again)
        await store.mark_published([(event.event_id, event.dedup_suffix) for event in again])
        assert await store.oldest_unpublished() is None

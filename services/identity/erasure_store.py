"""Erased accounts in MongoDB: the account gone, the event about it, and the work that is left, in one transaction.

Owns `tombstones`, by which an erased user id is known though nobody has it: {_id: digest of the id}; and `erasures`, the
players whom some service may still name: {_id: user id, at, next_at, tries}, each until every service has forgotten him.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import pymongo
from pymongo import ASCENDING, ReturnDocument, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from topten.identity.v1 import identity_events_pb2

from services.identity.change_store import change_document, change_of
from services.identity.changes import Change, erased
from services.identity.store import TRANSACTION_SECONDS, account_of
from services.runtime.mongo_client import unavailable_on_failure
from services.runtime.waiting import unpublished

Document = dict[str, Any]
MOST_CHANGES: Final = 1000


@dataclass(frozen=True, slots=True)
class Erasure:
    """A player whom not every service has forgotten yet; `at` is when his account went."""

    user_id: str
    at: datetime
    tries: int


class ErasureStore:
    """Every method raises UNAVAILABLE if the database does not answer; what it does may then be done."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._client = database.client
        self._users = database["users"]
        self._sessions = database["sessions"]
        self._changes = database["changes"]
        self._tombstones = database["tombstones"]
        self._erasures = database["erasures"]

    async def prepare(self) -> None:
        """Make the indexes; making them again changes nothing."""
        async with unavailable_on_failure():
            await self._erasures.create_index("next_at")
            await self._changes.create_index("user_id")

    async def erase(self, change: Change, publish_by: datetime) -> bytes:
        """Removes the account and its sessions; the event that tells of it, no bytes if there is no such account."""

        async def work(session: AsyncClientSession) -> bytes:
            document = await self._users.find_one_and_delete({"_id": change.user_id}, session=session)
            if document is None:
                return b""
            event = change.event(erased(account_of(document), change))
            await self._sessions.delete_many({"user_id": change.user_id}, session=session)
            await self._tombstones.insert_one({"_id": _digest(change.user_id)}, session=session)
            await self._erasures.insert_one(
                {"_id": change.user_id, "at": change.at, "next_at": change.at, "tries": 0}, session=session
            )
            await self._changes.insert_one(
                change_document(change, event, unpublished(event, publish_by)), session=session
            )
            return event

        async with unavailable_on_failure():
            with pymongo.timeout(TRANSACTION_SECONDS):
                async with self._client.start_session() as session:
                    return await session.with_transaction(work)

    async def are_erased(self, user_ids: Sequence[str]) -> list[str]:
        """Those of the ids whose accounts were erased."""
        digests = {_digest(user_id): user_id for user_id in user_ids}
        async with unavailable_on_failure():
            found = self._tombstones.find({"_id": {"$in": list(digests)}})
            return [digests[document["_id"]] async for document in found]

    async def changes(self, user_id: str) -> list[Change]:
        """What was done to an account, the oldest first; of more than 1000 the latest."""
        async with unavailable_on_failure():
            found = self._changes.find({"user_id": user_id}).sort([("at", -1), ("_id", -1)]).limit(MOST_CHANGES)
            latest = [change_of(document) async for document in found]
        return latest[::-1]

    async def due(self, now: datetime, pause: timedelta) -> Erasure | None:
        """One of the erasures whose time it is, which is not due again before `pause` is over."""
        again = [{"$set": {"next_at": now + pause, "tries": {"$add": ["$tries", 1]}}}]
        async with unavailable_on_failure():
            document = await self._erasures.find_one_and_update(
                {"next_at": {"$lte": now}},
                again,
                sort=[("next_at", ASCENDING)],
                return_document=ReturnDocument.AFTER,
            )
        return None if document is None else Erasure(document["_id"], document["at"], document["tries"])

    async def postpone(self, user_id: str, until: datetime) -> None:
        """Not every service has forgotten the player: it is looked again then."""
        async with unavailable_on_failure():
            await self._erasures.update_one({"_id": user_id}, {"$set": {"next_at": until}})

    async def finish(self, user_id: str, pseudonym: str) -> bool:
        """Forgets the player here as well, if all events about him are published; False otherwise."""
        async with unavailable_on_failure():
            of_player = {"user_id": user_id}
            if await self._changes.find_one({**of_player, "unpublished": {"$exists": True}}, {"_id": 1}) is not None:
                return False
            await self._sessions.delete_many(of_player)
            writes = [
                UpdateOne({"_id": document["_id"]}, {"$set": _nameless(bytes(document["event"]), pseudonym)})
                async for document in self._changes.find(of_player, {"event": 1})
            ]
            if writes:
                await self._changes.bulk_write(writes, ordered=False)
            await self._erasures.delete_one({"_id": user_id})
        return True


def _nameless(data: bytes, pseudonym: str) -> Document:
    """The fields of a change, and its event, without whom and what it was about."""
    event = identity_events_pb2.PlayerChangedEvent.FromString(data)
    event.payload.user_id, event.payload.actor, event.payload.reason, event.payload.country = pseudonym, "", "", ""
    return {"user_id": pseudonym, "actor": "", "reason": "", "event": event.SerializeToString()}


def _digest(user_id: str) -> bytes:
    """Plain: nobody finds a UUID with more than 70 random bits by trying.

    The id of an outside issuer's player is made of what that issuer calls him: who knows that can tell that he was erased,
    and it is how he is kept from coming back.
    """
    return hashlib.sha256(user_id.encode(errors="surrogatepass")).digest()

"""Changes of accounts in MongoDB: the account and the event that tells of it, in one transaction.

Owns the collection `changes`, which is the log of what was done to accounts and the outbox of the events about it. A
block ends the player's sessions in the same transaction.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any

import pymongo
from pymongo import ASCENDING
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from services.identity.accounts import Account
from services.identity.changes import Change
from services.identity.store import TRANSACTION_SECONDS, account_of, block_document
from services.runtime.mongo_client import unavailable_on_failure
from services.runtime.waiting import WaitingEvents, unpublished, unpublished_again

Document = dict[str, Any]


class ChangeStore:
    """Every method raises UNAVAILABLE if the database does not answer; a change may then be done."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._client = database.client
        self._users = database["users"]
        self._sessions = database["sessions"]
        self._changes = database["changes"]
        self.waiting = WaitingEvents(self._changes, since="at")

    async def prepare(self) -> None:
        """Make the indexes; making them again changes nothing."""
        await self.waiting.prepare()
        async with unavailable_on_failure():
            await self._users.create_index(
                "block.expires_at", partialFilterExpression={"block.expires_at": {"$exists": True}}
            )

    async def apply(
        self, change: Change, become: Callable[[Account], Account | None], publish_by: datetime
    ) -> tuple[Account | None, bytes]:
        """Makes the account what `become` says, and records the change with its event.

        Returns the account as it is now, None if there is none, and the event; no bytes if nothing changed: because
        `become` returned None, or because a change of this id was made before.
        """

        async def work(session: AsyncClientSession) -> tuple[Account | None, bytes]:
            document = await self._users.find_one({"_id": change.user_id}, session=session)
            if document is None:
                return None, b""
            before = account_of(document)
            if await self._changes.find_one({"_id": change.event_id}, {"_id": 1}, session=session) is not None:
                return before, b""
            after = become(before)
            if after is None:
                return before, b""
            event = change.event(after)
            await self._users.update_one({"_id": after.user_id}, _update(after), session=session)
            if after.block is not None:
                await self._sessions.delete_many({"user_id": after.user_id}, session=session)
            await self._changes.insert_one(
                change_document(change, event, unpublished(event, publish_by)), session=session
            )
            return after, event

        async with unavailable_on_failure():
            with pymongo.timeout(TRANSACTION_SECONDS):
                while True:
                    try:
                        async with self._client.start_session() as session:
                            return await session.with_transaction(work)
                    except DuplicateKeyError:
                        continue  # the same change was made in this moment, which the next look finds

    async def expired(self, now: datetime, limit: int) -> list[str]:
        """Players whose block's time is over."""
        async with unavailable_on_failure():
            found = self._users.find({"block.expires_at": {"$lte": now}}, {"_id": 1}).limit(limit)
            return [document["_id"] async for document in found]

    async def events(self) -> AsyncIterator[tuple[str, str, bool]]:
        """Id, player, and whether it is published, of every event, oldest first."""
        fields = {"user_id": 1, "unpublished.leased_until": 1}
        async with unavailable_on_failure():
            async for document in self._changes.find({}, fields).sort([("at", ASCENDING), ("_id", ASCENDING)]):
                yield document["_id"], document["user_id"], "unpublished" not in document

    async def count(self) -> int:
        """About how many events there are."""
        async with unavailable_on_failure():
            return int(await self._changes.estimated_document_count())

    async def recorded(self, event_ids: Sequence[str]) -> list[str]:
        """Those of the ids that are events of accounts."""
        async with unavailable_on_failure():
            found = self._changes.find({"_id": {"$in": list(event_ids)}}, {"_id": 1})
            return [document["_id"] async for document in found]

    async def republish(self, event_ids: Sequence[str], now: datetime) -> None:
        """These events wait to be published again."""
        again = [{"$set": {"unpublished": unpublished_again("$event", now)}}]
        async with unavailable_on_failure():
            await self._changes.update_many({"_id": {"$in": list(event_ids)}}, again)


def change_document(change: Change, event: bytes, waiting: Document) -> Document:
    """The document of a change, whose event waits to be published."""
    return {
        "_id": change.event_id,
        "user_id": change.user_id,
        "kind": change.kind,
        "at": change.at,
        "actor": change.actor,
        "reason": change.reason,
        "event": event,
        "unpublished": waiting,
    }


def change_of(document: Document) -> Change:
    """The change in a document of `changes`."""
    return Change(document["_id"], *(document[field] for field in ("user_id", "kind", "at", "actor", "reason")))


def _update(account: Account) -> Document:
    fields: Document = {"country": account.country, "version": account.version}
    if account.block is None:
        return {"$set": fields, "$unset": {"block": ""}}
    return {"$set": {**fields, "block": block_document(account.block)}}

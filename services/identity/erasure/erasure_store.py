"""Erasures in MongoDB: the account removed, its event, and the remaining work, in one transaction.

Owns `tombstones` {_id: digest of a user id}, by which an erased id is recognized, and `erasures` {_id: user id, at, next_at,
tries}, the players whom a service may still name. An erasure is removed when every service has erased its player.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from pymongo import ASCENDING, ReturnDocument, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from topten.identity.v1 import identity_events_pb2

from services.identity.account_documents import Document, account_of
from services.identity.erasure.blocked_names import BlockedNames
from services.identity.groups.group_store import GroupStore
from services.identity.moderation.change_store import change_document
from services.identity.moderation.changes import Change, erased
from services.identity.store import in_transaction
from services.runtime.stores.mongo import unavailable_on_failure


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure that is not complete; `at` is when the account was removed, `tries` counts the rounds so far."""

    user_id: str
    at: datetime
    tries: int


class ErasureStore:
    """Every method raises UNAVAILABLE if the database does not respond; its write may then have happened."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._client = database.client
        self._users = database["users"]
        self._sessions = database["sessions"]
        self._changes = database["changes"]
        self._tombstones = database["tombstones"]
        self._erasures = database["erasures"]
        self._blocked_names = BlockedNames(database)
        self._client_changes = database["service_client_changes"]
        self._board_tokens = database["board_tokens"]
        self._board_token_changes = database["board_token_changes"]
        self._groups = GroupStore(database)

    async def prepare(self) -> None:
        """Create the indexes. Idempotent."""
        async with unavailable_on_failure():
            await self._users.create_index(
                "sanctions.actor", partialFilterExpression={"sanctions.actor": {"$exists": True}}
            )
            await self._erasures.create_index("next_at")

    async def erase(
        self, change: Change, publish_by: datetime, *, without_account: bytes = b"", ended_by: datetime | None = None
    ) -> bytes:
        """Remove the account, its sessions and all names it had; return the event. That of a blocked account stays blocked.

        With `ended_by`, only a guest that ended then or earlier. If there is no such account, return an empty event, or begin
        the erasure with the event `without_account`, unless there was one before.
        """
        wanted: Document = {"_id": change.user_id} | ({} if ended_by is None else {"guest_until": {"$lte": ended_by}})

        async def work(transaction: AsyncClientSession) -> bytes:
            document = await self._users.find_one_and_delete(wanted, session=transaction)
            if document is not None:
                account = account_of(document)
                await self._blocked_names.keep(account, change.at, transaction)
                event = change.event(erased(account, change))
            else:
                is_erased = await self._tombstones.find_one({"_id": _digest(change.user_id)}, session=transaction)
                event = b"" if is_erased else without_account
            if not event:
                return b""
            await self._sessions.delete_many({"user_id": change.user_id}, session=transaction)
            await self._groups.remove_player(change.user_id, transaction)
            named = {"user_id": change.user_id, "former_username": {"$exists": True}}
            await self._changes.update_many(named, {"$unset": {"former_username": ""}}, session=transaction)
            await self._tombstones.insert_one({"_id": _digest(change.user_id)}, session=transaction)
            erasure = {"_id": change.user_id, "at": change.at, "next_at": change.at, "tries": 0}
            await self._erasures.insert_one(erasure, session=transaction)
            await self._changes.insert_one(change_document(change, event, publish_by), session=transaction)
            return event

        return await in_transaction(self._client, work)

    async def are_erased(self, user_ids: Sequence[str]) -> list[str]:
        """Return the ids whose accounts were erased."""
        async with unavailable_on_failure():
            return await erased_among(self._tombstones, user_ids)

    async def due(self, now: datetime, lease: timedelta) -> Erasure | None:
        """Return an erasure that is due, leased to this instance for `lease`."""
        update = [{"$set": {"next_at": now + lease, "tries": {"$add": ["$tries", 1]}}}]
        async with unavailable_on_failure():
            document = await self._erasures.find_one_and_update(
                {"next_at": {"$lte": now}},
                update,
                sort=[("next_at", ASCENDING)],
                return_document=ReturnDocument.AFTER,
            )
        return None if document is None else Erasure(document["_id"], document["at"], document["tries"])

    async def postpone(self, user_id: str, until: datetime) -> None:
        """Make the erasure due at `until`."""
        async with unavailable_on_failure():
            await self._erasures.update_one({"_id": user_id}, {"$set": {"next_at": until}})

    async def finish(self, user_id: str, pseudonym: str) -> bool:
        """Replace the user id by the pseudonym here too; False, with nothing done, if an event is unpublished."""
        of_player = {"user_id": user_id}
        async with unavailable_on_failure():
            if await self._changes.find_one({**of_player, "unpublished": {"$exists": True}}, {"_id": 1}) is not None:
                return False
            await self._sessions.delete_many(of_player)
            async with self._client.start_session() as session:  # a group that they joined at the moment of the erasure
                await session.with_transaction(partial(self._groups.remove_player, user_id))
            writes = [
                UpdateOne({"_id": document["_id"]}, {"$set": _anonymous(document.get("event"), pseudonym)})
                async for document in self._changes.find(of_player, {"event": 1})
            ]
            if writes:
                await self._changes.bulk_write(writes, ordered=False)
            await self._users.update_many(
                {"sanctions.actor": user_id},
                {"$set": {"sanctions.$[own].actor": pseudonym}},
                array_filters=[{"own.actor": user_id}],
            )
            for log in (self._client_changes, self._board_token_changes):
                await log.update_many({"actor": user_id}, {"$set": {"actor": pseudonym}})
            await self._board_tokens.update_many({"issued_by": user_id}, {"$set": {"issued_by": pseudonym}})
            await self._erasures.delete_one({"_id": user_id})
        return True


async def erased_among(
    tombstones: AsyncCollection[Document], user_ids: Sequence[str], transaction: AsyncClientSession | None = None
) -> list[str]:
    """Return the ids whose accounts were erased. The driver's errors are not translated."""
    digests = {_digest(user_id): user_id for user_id in user_ids}
    found = tombstones.find({"_id": {"$in": list(digests)}}, session=transaction)
    return [digests[document["_id"]] async for document in found]


def _anonymous(data: bytes | None, pseudonym: str) -> Document:
    """Return the fields of a change, and of its event if it has one, without personal data."""
    fields: Document = {"user_id": pseudonym, "actor": "", "reason": "", "former_username": ""}
    if data is None:
        return fields
    event = identity_events_pb2.PlayerChangedEvent.FromString(bytes(data))
    event.payload.user_id, event.payload.actor, event.payload.reason, event.payload.country = pseudonym, "", "", ""
    return fields | {"event": event.SerializeToString()}


def _digest(user_id: str) -> bytes:
    """Return the SHA-256 digest. Unsalted: a UUID has more than 70 random bits and cannot be guessed.

    The id of a player of another system is derived from their id there. Anyone who knows that one can tell that the player
    was erased, which is also what keeps the player from being created again.
    """
    return hashlib.sha256(user_id.encode(errors="surrogatepass")).digest()

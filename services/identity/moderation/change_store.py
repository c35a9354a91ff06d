"""Changes of accounts in MongoDB: an account's new state and its event, in one transaction.

Owns the collection `changes`, which is both the log of changes and the outbox of their events; a change that boards do not
depend on has no event. A block ends the player's sessions in the same transaction.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from services.identity.account_documents import (
    Document,
    account_of,
    is_of_username,
    profile_fields,
    sanction_document,
    username_fields,
)
from services.identity.accounts import Account
from services.identity.erasure.blocked_names import BlockedNames
from services.identity.moderation.changes import Change
from services.identity.store import in_transaction, of_epoch, username_taken
from services.runtime.outbox.store import OutboxStore, republished_field, unpublished_field
from services.runtime.pages import pages
from services.runtime.stores.mongo import every_document, unavailable_on_failure
from services.runtime.telemetry import tracing

AUDIT_PAGE: Final = 500
MAX_CHANGES: Final = 1000
# Of sanctions, and of the one block that older versions stored.
_EXPIRIES: Final = ("sanctions.expires_at", "block.expires_at")
_OF_BLOCK: Final = frozenset({"id", "reason", "blocked_at", "expires_at"})
_WITH_EVENT: Final[Document] = {"event": {"$exists": True}}


class AccountEvent(NamedTuple):
    """What an audit needs of a recorded event."""

    event_id: str
    user_id: str
    published: bool


class Applied(NamedTuple):
    """An account after a change, the event of the change, empty if it has none, and whether this call made the change."""

    account: Account
    event: bytes
    is_new: bool


class ChangeStore:
    """Every method raises UNAVAILABLE if the database does not respond; a change may then have happened."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._client = database.client
        self._users = database["users"]
        self._sessions = database["sessions"]
        self._changes = database["changes"]
        self._blocked_names = BlockedNames(database)
        self.outbox = OutboxStore(self._changes, since="at")

    async def prepare(self) -> None:
        """Create the indexes. Idempotent."""
        await self.outbox.prepare()
        async with unavailable_on_failure():
            await self._changes.create_index("user_id")
            await self._changes.create_index([("at", ASCENDING), ("_id", ASCENDING)])
            for field in _EXPIRIES:
                await self._users.create_index(field, partialFilterExpression={field: {"$exists": True}})

    async def apply(
        self, change: Change, transform: Callable[[Account], Account | None], publish_by: datetime
    ) -> Applied | None:
        """Store the account that `transform` returns, and the change, with an event if the version was raised.

        Returns None if there is no such account. Nothing changes if `transform` returned None, or if a change with this id is
        recorded already. Raises USERNAME_TAKEN.
        """

        async def work(transaction: AsyncClientSession) -> Applied | None:
            document = await self._users.find_one({"_id": change.user_id}, session=transaction)
            if document is None:
                return None
            before = account_of(document)
            recorded = await self._changes.find_one({"_id": change.event_id}, {"event": 1}, session=transaction)
            if recorded is not None:
                return Applied(before, bytes(recorded.get("event", b"")), is_new=False)
            after = transform(before)
            if after is None:
                return Applied(before, b"", is_new=False)
            is_renamed = (after.username, after.is_guest) != (before.username, before.is_guest)
            if is_renamed and await self._blocked_names.among([after.username], change.at, transaction):
                raise username_taken()
            has_event = after.version != before.version
            final = change.seen_as(before, after)
            event = final.event(after) if has_event else b""
            is_blocked = bool(after.sanctions) and after.sanctions != before.sanctions
            ends_sessions = is_blocked or after.is_guest != before.is_guest
            update = _update(before, after, ends_sessions=ends_sessions)
            await self._users.update_one({"_id": after.user_id}, update, session=transaction)
            if ends_sessions:
                # The new epoch ends the sessions that are being opened; the others are removed as well.
                await self._sessions.delete_many({"user_id": after.user_id}, session=transaction)
            await self._changes.insert_one(change_document(final, event, publish_by), session=transaction)
            return Applied(after, event, is_new=True)

        while True:
            try:
                return await in_transaction(self._client, work)
            except DuplicateKeyError as error:
                if is_of_username(error.details):
                    raise username_taken() from None
                # The same change was recorded at the same moment; the next attempt finds it.

    async def end_sessions(self, change: Change, session_id: str, check: Callable[[Account], None]) -> int | None:
        """End one session of an account, or without an id all, and record the change if there were any; return how many.

        Returns None if there is no such account. Nothing happens if `check` raises.
        """

        async def work(transaction: AsyncClientSession) -> int | None:
            document = await self._users.find_one({"_id": change.user_id}, session=transaction)
            if document is None:
                return None
            account = account_of(document)
            check(account)
            ended = {"user_id": account.user_id} | ({"_id": session_id} if session_id else {})
            # Sessions of an earlier epoch have ended already, and expired ones may not be removed yet.
            live = {**ended, **of_epoch(account.session_epoch), "expires_at": {"$gt": change.at}}
            count = await self._sessions.count_documents(live, session=transaction)
            if not session_id:  # the new epoch ends the sessions that are being opened as well
                epoch = {"$inc": {"session_epoch": 1}}
                await self._users.update_one({"_id": account.user_id}, epoch, session=transaction)
            await self._sessions.delete_many(ended, session=transaction)
            if count:
                await self._changes.insert_one(change_document(change, b"", change.at), session=transaction)
            return count

        return await in_transaction(self._client, work)

    async def with_expired_sanctions(self, now: datetime, limit: int) -> list[str]:
        """Return players of whom a sanction has expired."""
        # Without `block` an older version has lifted all sanctions.
        expired = {"block": {"$exists": True}, "$or": [{field: {"$lte": now}} for field in _EXPIRIES]}
        async with unavailable_on_failure():
            users = self._users.find(expired, {"_id": 1}).limit(limit)
            return [document["_id"] async for document in users]

    async def of_player(self, user_id: str) -> list[Change]:
        """Return the changes of an account, oldest first; only the latest 1000."""
        async with unavailable_on_failure():
            documents = self._changes.find({"user_id": user_id}).sort([("at", DESCENDING), ("_id", DESCENDING)])
            latest = [_change(document) async for document in documents.limit(MAX_CHANGES)]
        return latest[::-1]

    async def events(self, since: datetime | None) -> AsyncIterator[list[AccountEvent]]:
        """Yield all events, or those of changes at or after `since`, oldest first, up to 500 at a time."""
        query = _WITH_EVENT if since is None else {**_WITH_EVENT, "at": {"$gte": since}}
        fields = {"user_id": 1, "unpublished.leased_until": 1}
        async with unavailable_on_failure():
            found = self._changes.find(query, fields).sort([("at", ASCENDING), ("_id", ASCENDING)])
            async for page in pages(every_document(found), AUDIT_PAGE):
                yield [
                    AccountEvent(document["_id"], document["user_id"], "unpublished" not in document)
                    for document in page
                ]

    async def count(self) -> int:
        """Return an estimate of the number of events."""
        async with unavailable_on_failure():
            return int(await self._changes.estimated_document_count())

    async def recorded(self, event_ids: Sequence[str]) -> list[str]:
        """Return the ids that belong to a change."""
        async with unavailable_on_failure():
            documents = self._changes.find({"_id": {"$in": list(event_ids)}, **_WITH_EVENT}, {"_id": 1})
            return [document["_id"] async for document in documents]

    async def recorded_events(self, event_ids: Sequence[str]) -> dict[str, bytes]:
        """Return those of the events that are on record."""
        async with unavailable_on_failure():
            documents = self._changes.find({"_id": {"$in": list(event_ids)}, **_WITH_EVENT}, {"event": 1})
            return {document["_id"]: bytes(document["event"]) async for document in documents}

    async def republish(self, event_ids: Sequence[str], now: datetime) -> None:
        """Make these events wait for publication again."""
        update = [{"$set": {"unpublished": republished_field("$event", now)}}]
        async with unavailable_on_failure():
            await self._changes.update_many({"_id": {"$in": list(event_ids)}, **_WITH_EVENT}, update)


def change_document(change: Change, event: bytes, publish_by: datetime) -> Document:
    """Return the document of a change, whose event is to be published if it has one."""
    document = {
        "_id": change.event_id,
        "user_id": change.user_id,
        "kind": change.kind,
        "at": change.at,
        "actor": change.actor,
        "reason": change.reason,
    } | ({"former_username": change.former_username} if change.former_username else {})
    return (
        document | {"event": event, "unpublished": unpublished_field(event, publish_by, tracing.cause())}
        if event
        else document
    )


def _change(document: Document) -> Change:
    return Change(
        event_id=document["_id"],
        user_id=document["user_id"],
        kind=document["kind"],
        at=document["at"],
        actor=document["actor"],
        reason=document["reason"],
        former_username=document.get("former_username", ""),
    )


def _update(before: Account, account: Account, *, ends_sessions: bool) -> Document:
    """Return the update of an account. `block` is the strongest sanction, for processes of an older version."""
    fields: Document = {"country": account.country, "version": account.version, **profile_fields(account)}
    if account.username != before.username:
        fields |= username_fields(account)
    removed: Document = {}
    if before.is_guest and not account.is_guest:
        fields |= {"password_hash": account.password_hash, "roles": sorted(account.roles)} | username_fields(account)
        removed["guest_until"] = ""
    if account.block is None:
        removed |= {"block": "", "sanctions": ""}
    else:
        fields["sanctions"] = [sanction_document(each) for each in account.sanctions]
        fields["block"] = {key: value for key, value in sanction_document(account.block).items() if key in _OF_BLOCK}
    epoch = {"$inc": {"session_epoch": 1}} if ends_sessions else {}
    return {"$set": fields} | ({"$unset": removed} if removed else {}) | epoch

"""Accounts and sessions in MongoDB.

Owns the collections `users` and `sessions`. The client acknowledges every write by a majority and the journal. Must never
hold a password or a refresh token in the clear.

The name of a guest is no key: another account may have it. So a guest is found by their id alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeVar

import pymongo
from pymongo import ASCENDING, AsyncMongoClient, ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from services.identity.account_documents import (
    BEHIND_NAMES,
    Document,
    account_document,
    account_of,
    sanctions_of,
)
from services.identity.accounts import Account, Standing, strongest
from services.identity.erasure.blocked_names import BlockedNames
from services.identity.usernames import username_key
from services.runtime.errors import Reason, ServiceError
from services.runtime.stores.mongo import unavailable_on_failure

TRANSACTION_SECONDS: Final = 5.0
# The fields of an account that a Standing is made of.
_STANDING: Final = {"country": 1, "block": 1, "sanctions": 1}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SessionState:
    """What is stored of a session.

    `epoch` is the epoch of the account under which the session was opened; when the account has another, the session has
    ended. `current` and `previous` are digests of its last two refresh tokens; the current one was derived from the
    previous one with `salt`.
    """

    session_id: str
    user_id: str
    epoch: int
    current: str
    previous: str | None
    salt: bytes
    rotated_at: datetime
    expires_at: datetime

    @property
    def opened_at(self) -> datetime:
        """When the player signed in: the time in the session's id, a UUID of version 7, which is made a moment later."""
        return min(self.rotated_at, datetime.fromtimestamp((uuid.UUID(self.session_id).int >> 80) / 1000, tz=UTC))


class LiveSession(NamedTuple):
    """A session that has not ended, and its account."""

    state: SessionState
    account: Account


class IdentityStore:
    """The two collections. Every method raises UNAVAILABLE if the database does not respond."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._client = database.client
        self._users = database["users"]
        self._sessions = database["sessions"]
        self._blocked_names = BlockedNames(database)

    async def prepare(self) -> None:
        """Create the indexes. Idempotent."""
        async with unavailable_on_failure():
            await self._users.create_index("username_key", unique=True)
            await self._users.create_index("username_skeleton", unique=True, sparse=True)
            # Of few accounts, in the order of their names.
            await self._users.create_index(
                [("username_key", ASCENDING), ("block.expires_at", ASCENDING)],
                partialFilterExpression={"block": {"$exists": True}},
            )
            await self._users.create_index("guest_until", partialFilterExpression={"guest_until": {"$exists": True}})
            await self._blocked_names.prepare()
            await self._sessions.create_index("user_id")
            await self._sessions.create_index("expires_at", expireAfterSeconds=0)

    async def add_account(self, account: Account) -> None:
        """Record a new account. Raises USERNAME_TAKEN if its name equals or resembles another's, or a blocked one.

        A guest may have the name of another account.
        """

        async def work(transaction: AsyncClientSession) -> None:
            if await self._blocked_names.among([account.username], account.created_at, transaction):
                raise username_taken()
            await self._users.insert_one(account_document(account), session=transaction)

        try:
            await in_transaction(self._client, work)
        except DuplicateKeyError:
            raise username_taken() from None

    async def account_by_name(self, username: str) -> Account | None:
        """Return the account with this name, ignoring case."""
        async with unavailable_on_failure():
            document = await self._users.find_one(_of_username(username))
        return None if document is None else account_of(document)

    async def account(self, user_id: str) -> Account | None:
        """Return the account with this id."""
        return next(iter(await self.accounts([user_id])), None)

    async def accounts(self, user_ids: Sequence[str], usernames: Sequence[str] = ()) -> list[Account]:
        """Return the accounts that exist among `user_ids` and `usernames`, in one round trip."""
        selection: Document = {"_id": {"$in": list(user_ids)}}
        if usernames:
            selection = {"$or": [selection, {"username_key": {"$in": [username_key(name) for name in usernames]}}]}
        async with unavailable_on_failure():
            return [account_of(document) async for document in self._users.find(selection)]

    async def standings(self, user_ids: Sequence[str]) -> dict[str, Standing]:
        """Return the standings of players, by which they may act or not; players without an account are left out."""
        async with unavailable_on_failure():
            documents = await self._users.find({"_id": {"$in": list(user_ids)}}, _STANDING).to_list()
        return {
            document["_id"]: Standing(document["country"], strongest(sanctions_of(document))) for document in documents
        }

    async def guests_until(self, before: datetime, limit: int) -> list[str]:
        """Return the ids of up to `limit` guests that ended at `before` or earlier."""
        async with unavailable_on_failure():
            documents = self._users.find({"guest_until": {"$lte": before}}, {"_id": 1}).limit(limit)
            return [document["_id"] async for document in documents]

    async def accounts_by_name(
        self, prefix: str, after: str | None, limit: int, *, blocked_at: datetime | None
    ) -> list[Account]:
        """Return up to `limit` accounts by name: those that start with `prefix` and follow the key `after`.

        With `blocked_at` only those that are blocked at that time.
        """
        key = username_key(prefix)
        # Only a key that `prefix` starts is between it and the last code point behind it.
        names = {"$gte": key, "$lt": f"{key}{BEHIND_NAMES}"} | ({} if after is None else {"$gt": after})
        query: Document = {"username_key": names}
        if blocked_at is not None:
            ends = [{"block.expires_at": None}, {"block.expires_at": {"$gt": blocked_at}}]
            query |= {"block": {"$exists": True}, "$or": ends}
        async with unavailable_on_failure():
            documents = self._users.find(query).sort("username_key", ASCENDING).limit(limit)
            return [account_of(document) async for document in documents]

    async def set_password_hash(self, user_id: str, old: str, new: str) -> None:
        """Replace the digest, unless it has changed since `old` was read."""
        async with unavailable_on_failure():
            await self._users.update_one({"_id": user_id, "password_hash": old}, {"$set": {"password_hash": new}})

    async def change_password(self, account: Account, new: str, *, keep: str) -> bool:
        """Replace the digest and end all sessions but `keep`, both or neither; False if the digest has changed since.

        The new epoch of the account also ends sessions that are being recorded meanwhile, which no deletion would find.
        """

        async def work(transaction: AsyncClientSession) -> bool:
            document = await self._users.find_one_and_update(
                {"_id": account.user_id, "password_hash": account.password_hash},
                {"$set": {"password_hash": new}, "$inc": {"session_epoch": 1}},
                return_document=ReturnDocument.AFTER,
                session=transaction,
            )
            if document is None:
                return False
            epoch = document["session_epoch"]
            kept = {"_id": keep, "user_id": account.user_id, **of_epoch(epoch - 1)}
            await self._sessions.update_one(kept, {"$set": {"epoch": epoch}}, session=transaction)
            await self.end_earlier_sessions(account.user_id, epoch, transaction)
            return True

        return await in_transaction(self._client, work)

    async def end_earlier_sessions(self, user_id: str, epoch: int, transaction: AsyncClientSession) -> None:
        """Remove the sessions of earlier epochs, which have ended by the epoch of the account."""
        earlier = {"user_id": user_id, "epoch": {"$ne": epoch}}
        await self._sessions.delete_many(earlier, session=transaction)

    async def grant_role(self, username: str, role: str) -> Account | None:
        """Add a role; return the account after it, or None if there is none."""
        return await self._change_roles(username, {"$addToSet": {"roles": role}})

    async def revoke_role(self, username: str, role: str) -> Account | None:
        """Remove a role; return the account after it, or None if there is none."""
        return await self._change_roles(username, {"$pull": {"roles": role}})

    async def add_session(self, session: SessionState) -> None:
        """Record a new session. If its epoch is not that of its account any more, it has ended already."""
        document = {
            "_id": session.session_id,
            "user_id": session.user_id,
            "epoch": session.epoch,
            "current": session.current,
            "previous": session.previous,
            "salt": session.salt,
            "rotated_at": session.rotated_at,
            "expires_at": session.expires_at,
        }
        async with unavailable_on_failure():
            await self._sessions.insert_one(document)

    async def session(self, session_id: str) -> LiveSession | None:
        """Return a session that has not ended. It may have expired."""
        while (session := await self._recorded(session_id)) is not None:
            account = await self.account(session.user_id)
            if account is None:
                return None
            if account.session_epoch == session.epoch:
                return LiveSession(session, account)
            # A new password between the two reads may have kept this session.
            again = await self._recorded(session_id)
            if again is None or again.epoch == session.epoch:
                return None
        return None

    async def sessions(self, account: Account, limit: int) -> list[SessionState]:
        """Return up to `limit` sessions of an account that have not ended."""
        current = {"user_id": account.user_id, **of_epoch(account.session_epoch)}
        async with unavailable_on_failure():
            return [_session(document) async for document in self._sessions.find(current).limit(limit)]

    async def live_sessions(self, session_ids: Sequence[str], now: datetime) -> set[str]:
        """Return the ids of sessions that have neither ended nor expired."""
        unexpired = await self._unexpired(session_ids, now)
        epochs = await self.session_epochs({user_id for user_id, _ in unexpired.values()})
        live = {each for each, (user_id, epoch) in unexpired.items() if epoch == epochs.get(user_id)}
        if doubtful := unexpired.keys() - live:
            # A new password between the two reads may have kept some of them, and gave those the epoch that was read.
            again = await self._unexpired(list(doubtful), now)
            live |= {each for each, (user_id, epoch) in again.items() if user_id in epochs and epoch >= epochs[user_id]}
        return live

    async def session_epochs(self, user_ids: Collection[str]) -> dict[str, int]:
        """Return the epoch of each account that exists."""
        users = {"_id": {"$in": list(user_ids)}}
        async with unavailable_on_failure():
            found = await self._users.find(users, {"session_epoch": 1}).to_list()
        return {user["_id"]: user.get("session_epoch", 0) for user in found}

    async def rotate(
        self, session_id: str, used: str, successor: str, salt: bytes, now: datetime, expires_at: datetime
    ) -> bool:
        """Replace the current digest `used` by `successor`; False if it was replaced already or the session has ended."""
        rotated = {
            "current": successor,
            "previous": used,
            "salt": salt,
            "rotated_at": now,
            "expires_at": expires_at,
        }
        async with unavailable_on_failure():
            result = await self._sessions.update_one({"_id": session_id, "current": used}, {"$set": rotated})
        return result.matched_count == 1

    async def end_session(self, session_id: str) -> bool:
        """Remove a session; True if it existed."""
        async with unavailable_on_failure():
            result = await self._sessions.delete_one({"_id": session_id})
        return result.deleted_count == 1

    async def _recorded(self, session_id: str) -> SessionState | None:
        async with unavailable_on_failure():
            document = await self._sessions.find_one({"_id": session_id})
        return None if document is None else _session(document)

    async def _unexpired(self, session_ids: Sequence[str], now: datetime) -> dict[str, tuple[str, int]]:
        """Return the user and the epoch of each recorded session that has not expired."""
        unexpired = {"_id": {"$in": list(session_ids)}, "expires_at": {"$gt": now}}
        async with unavailable_on_failure():
            found = await self._sessions.find(unexpired, {"user_id": 1, "epoch": 1}).to_list()
        return {each["_id"]: (each["user_id"], each.get("epoch") or 0) for each in found}

    async def _change_roles(self, username: str, change: Document) -> Account | None:
        async with unavailable_on_failure():
            document = await self._users.find_one_and_update(
                _of_username(username), change, return_document=ReturnDocument.AFTER
            )
        return None if document is None else account_of(document)


async def in_transaction(client: AsyncMongoClient[Document], work: Callable[[AsyncClientSession], Awaitable[T]]) -> T:
    """Run `work` in a transaction, and again after each conflict with another one, for up to 5 s. Raises UNAVAILABLE."""
    async with unavailable_on_failure():
        with pymongo.timeout(TRANSACTION_SECONDS):
            async with client.start_session() as session:
                return await session.with_transaction(work)


def username_taken() -> ServiceError:
    """Return the refusal of a name that equals or resembles another's."""
    message = "This username, or one that looks like it, is taken. Choose another."
    return ServiceError(Reason.USERNAME_TAKEN, message, field="username")


def _of_username(username: str) -> Document:
    """Match the account with this name, which no guest is."""
    return {"username_key": username_key(username), "guest_until": None}


def _session(document: Document) -> SessionState:
    return SessionState(
        session_id=document["_id"],
        user_id=document["user_id"],
        epoch=document.get("epoch", 0),
        current=document["current"],
        previous=document["previous"],
        salt=document.get("salt", b""),  # missing until the first rotation of a session of an older version
        rotated_at=document["rotated_at"],
        expires_at=document["expires_at"],
    )


def of_epoch(epoch: int) -> Document:
    """Match sessions of this epoch; those of older versions have none, which is 0."""
    return {"epoch": epoch or {"$in": [0, None]}}

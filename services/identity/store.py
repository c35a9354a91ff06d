"""Accounts and sessions in MongoDB.

Owns the collections ``users`` and ``sessions`` of the identity database. Every write is acknowledged by a majority and
the journal (the client is opened so). Must never hold a plain password or refresh token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pymongo
from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from services.identity.accounts import Account, Block
from services.identity.usernames import username_key, username_skeleton
from services.runtime.errors import Reason, ServiceError
from services.runtime.mongo_client import unavailable_on_failure

Document = dict[str, Any]
# A transaction is begun again when another change of the account comes between, but not for ever.
TRANSACTION_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class SessionState:
    """What is kept of a session: who, until when, the digests of its last two refresh tokens, and the salt by which the
    one was derived from the other.
    """

    session_id: str
    user_id: str
    current: str
    previous: str | None
    salt: bytes
    rotated_at: datetime
    expires_at: datetime


class IdentityStore:
    """The two collections. Every method raises UNAVAILABLE if the database does not answer."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._client = database.client
        self._users = database["users"]
        self._sessions = database["sessions"]

    async def prepare(self) -> None:
        """Make the indexes; making them again changes nothing."""
        async with unavailable_on_failure():
            await self._users.create_index("username_key", unique=True)
            await self._users.create_index("username_skeleton", unique=True, sparse=True)
            await self._sessions.create_index("user_id")
            await self._sessions.create_index("expires_at", expireAfterSeconds=0)

    async def add_account(self, account: Account) -> None:
        """Record a new account. Raises USERNAME_TAKEN if its name is, or looks like, another's."""
        document = {
            "_id": account.user_id,
            "username": account.username,
            "username_key": username_key(account.username),
            "username_skeleton": username_skeleton(account.username),
            "password_hash": account.password_hash,
            "roles": sorted(account.roles),
            "country": account.country,
            "created_at": account.created_at,
        }
        async with unavailable_on_failure():
            try:
                await self._users.insert_one(document)
            except DuplicateKeyError:
                raise ServiceError(
                    Reason.USERNAME_TAKEN, "Somebody has this username already, or one that looks like it."
                ) from None

    async def account_by_name(self, username: str) -> Account | None:
        """The account with this name, without regard to case."""
        async with unavailable_on_failure():
            document = await self._users.find_one({"username_key": username_key(username)})
        return None if document is None else account_of(document)

    async def accounts(self, user_ids: Sequence[str]) -> list[Account]:
        """The accounts that exist among ``user_ids``, in one round trip."""
        async with unavailable_on_failure():
            return [account_of(document) async for document in self._users.find({"_id": {"$in": list(user_ids)}})]

    async def set_password_hash(self, user_id: str, old: str, new: str) -> None:
        """Replace the digest, unless it has changed since ``old`` was read."""
        async with unavailable_on_failure():
            await self._users.update_one({"_id": user_id, "password_hash": old}, {"$set": {"password_hash": new}})

    async def is_unchanged(self, account: Account) -> bool:
        """True if the account still is what was read of it, as far as signing in goes: its password and its block."""
        found = await self.accounts([account.user_id])
        return bool(found) and (found[0].password_hash, found[0].block) == (account.password_hash, account.block)

    async def change_password(self, account: Account, new: str, *, keep: str) -> bool:
        """Replace the digest and end all sessions but `keep`, both or nothing; False if the digest has changed since."""
        user_id = account.user_id

        async def work(session: AsyncClientSession) -> bool:
            old = {"_id": user_id, "password_hash": account.password_hash}
            result = await self._users.update_one(old, {"$set": {"password_hash": new}}, session=session)
            if result.matched_count == 0:
                return False
            await self._sessions.delete_many({"user_id": user_id, "_id": {"$ne": keep}}, session=session)
            return True

        async with unavailable_on_failure():
            with pymongo.timeout(TRANSACTION_SECONDS):
                async with self._client.start_session() as session:
                    return await session.with_transaction(work)

    async def grant_role(self, username: str, role: str) -> Account | None:
        """Add a role; the account as it is now, or None if there is none."""
        return await self._change_roles(username, {"$addToSet": {"roles": role}})

    async def revoke_role(self, username: str, role: str) -> Account | None:
        """Take a role away; the account as it is now, or None if there is none."""
        return await self._change_roles(username, {"$pull": {"roles": role}})

    async def add_session(self, session: SessionState) -> None:
        """Record a new session."""
        async with unavailable_on_failure():
            await self._sessions.insert_one(
                {
                    "_id": session.session_id,
                    "user_id": session.user_id,
                    "current": session.current,
                    "previous": session.previous,
                    "salt": session.salt,
                    "rotated_at": session.rotated_at,
                    "expires_at": session.expires_at,
                }
            )

    async def session(self, session_id: str) -> SessionState | None:
        """The live session with this id."""
        async with unavailable_on_failure():
            document = await self._sessions.find_one({"_id": session_id})
        if document is None:
            return None
        return _session(document)

    async def sessions(self, user_id: str, limit: int) -> list[SessionState]:
        """Up to `limit` sessions of a player that have not ended."""
        async with unavailable_on_failure():
            return [_session(document) async for document in self._sessions.find({"user_id": user_id}).limit(limit)]

    async def live_sessions(self, session_ids: Sequence[str], now: datetime) -> set[str]:
        """Those of the sessions that have not ended."""
        async with unavailable_on_failure():
            found = self._sessions.find({"_id": {"$in": list(session_ids)}, "expires_at": {"$gt": now}}, {"_id": 1})
            return {document["_id"] async for document in found}

    async def rotate(
        self, session_id: str, used: str, successor: str, salt: bytes, now: datetime, expires_at: datetime
    ) -> bool:
        """Make ``successor`` the current digest if ``used`` still is; False if somebody was faster or it has ended."""
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
        """Remove a session; True if there was one."""
        async with unavailable_on_failure():
            result = await self._sessions.delete_one({"_id": session_id})
        return result.deleted_count == 1

    async def _change_roles(self, username: str, change: Document) -> Account | None:
        async with unavailable_on_failure():
            document = await self._users.find_one_and_update(
                {"username_key": username_key(username)}, change, return_document=ReturnDocument.AFTER
            )
        return None if document is None else account_of(document)


def account_of(document: Document) -> Account:
    """The account in a document of ``users``."""
    block = document.get("block")
    return Account(
        user_id=document["_id"],
        username=document["username"],
        password_hash=document["password_hash"],
        roles=frozenset(document["roles"]),
        country=document["country"],
        created_at=document["created_at"],
        version=document.get("version", 0),
        block=None if block is None else Block(block["reason"], block["blocked_at"], block.get("expires_at")),
    )


def block_document(block: Block) -> Document:
    """A block as it stands in a document of ``users``."""
    document = {"reason": block.reason, "blocked_at": block.blocked_at}
    return document if block.expires_at is None else document | {"expires_at": block.expires_at}


def _session(document: Document) -> SessionState:
    return SessionState(
        session_id=document["_id"],
        user_id=document["user_id"],
        current=document["current"],
        previous=document["previous"],
        salt=document.get("salt", b""),  # before the first rotation of a session that an older version opened
        rotated_at=document["rotated_at"],
        expires_at=document["expires_at"],
    )

"""Usernames of accounts that were erased while they were blocked: nobody takes them while the block runs.

Otherwise a player would end a block by erasing the account and registering again under the name that everybody knows. A player
of another system is kept out longer: the digest of their id there is a tombstone (`erasure_store`).

Owns `blocked_names` {_id: digest, expires_at}; a permanent block has no `expires_at`. Must never hold a name or
a reason: a digest cannot be read, though anyone who guesses a name can tell that it is blocked, as by registering.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pymongo import UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from services.identity.accounts import Account
from services.identity.usernames import username_key
from services.runtime.confusables import skeleton


class BlockedNames:
    """Every method works in the caller's transaction, and does not translate the driver's errors."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._names = database["blocked_names"]

    async def prepare(self) -> None:
        """Create the index by which MongoDB removes expired digests. Idempotent."""
        await self._names.create_index("expires_at", expireAfterSeconds=0)

    async def keep(self, account: Account, now: datetime, transaction: AsyncClientSession) -> None:
        """Keep the name of an account that is being erased, as long as the strongest block in force runs.

        The name of a guest is not kept: it is not theirs alone.
        """
        block = account.block_at(now)
        if block is None or account.is_guest:
            return
        ends = (
            {"$unset": {"expires_at": ""}} if block.expires_at is None else {"$set": {"expires_at": block.expires_at}}
        )
        writes = [UpdateOne({"_id": digest}, ends, upsert=True) for digest in _digests(account.username)]
        await self._names.bulk_write(writes, session=transaction)

    async def among(self, usernames: Iterable[str], now: datetime, transaction: AsyncClientSession) -> set[str]:
        """Return which of the names are blocked, or look like one that is."""
        digests = {digest: name for name in usernames for digest in _digests(name)}
        running = {"_id": {"$in": list(digests)}, "$or": [{"expires_at": None}, {"expires_at": {"$gt": now}}]}
        return {digests[document["_id"]] async for document in self._names.find(running, session=transaction)}


def _digests(username: str) -> list[bytes]:
    """Return a digest for each form in which names are compared."""
    forms = (f"key {username_key(username)}", f"skeleton {skeleton(username)}")
    return [hashlib.sha256(form.encode(errors="surrogatepass")).digest() for form in forms]

"""New accounts of players of other systems in MongoDB, each with its entry in the log of changes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import Enum, auto
from typing import Final

import uuid_utils
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from services.identity.account_documents import Document, account_document, is_of_username
from services.identity.accounts import Account
from services.identity.erasure.blocked_names import BlockedNames
from services.identity.erasure.erasure_store import erased_among
from services.identity.moderation.change_store import change_document
from services.identity.moderation.changes import PLAYER_ADDED, Change
from services.identity.store import in_transaction

_DUPLICATE_KEY: Final = 11000


class Creation(Enum):
    """The outcome of creating an account."""

    CREATED = auto()
    EXISTS = auto()
    ERASED = auto()
    USERNAME_TAKEN = auto()


class ExternalPlayerStore:
    """Every method raises UNAVAILABLE if the database does not respond; accounts may then have been created."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._client = database.client
        self._users = database["users"]
        self._changes = database["changes"]
        self._tombstones = database["tombstones"]
        self._blocked_names = BlockedNames(database)

    async def create(self, accounts: Sequence[Account], *, actor: str, at: datetime) -> list[Creation]:
        """Store new accounts, independently of each other; return the outcome of each. A name goes to the first that has it.

        An erased account is not created, even if it is erased at this moment: its tombstone is read in the same transaction.
        """
        outcomes: list[Creation] = []
        while len(outcomes) < len(accounts):
            rest = accounts[len(outcomes) :]
            try:
                outcomes += await self._insert(rest, actor, at)
            except BulkWriteError as error:
                failed = error.details["writeErrors"][0]
                if failed["code"] != _DUPLICATE_KEY:
                    raise
                position = next(n for n, each in enumerate(rest) if each.user_id == failed["op"]["_id"])
                if position:
                    outcomes += await self.create(rest[:position], actor=actor, at=at)
                outcomes.append(Creation.USERNAME_TAKEN if is_of_username(failed) else Creation.EXISTS)
        return outcomes

    async def _insert(self, accounts: Sequence[Account], actor: str, at: datetime) -> list[Creation]:
        """Store all of them that are not erased and whose names are not blocked, or none. Raises BulkWriteError."""

        async def work(transaction: AsyncClientSession) -> list[Creation]:
            erased = await erased_among(self._tombstones, [each.user_id for each in accounts], transaction)
            blocked = await self._blocked_names.among((each.username for each in accounts), at, transaction)
            added = [each for each in accounts if each.user_id not in erased and each.username not in blocked]
            if added:
                await self._users.insert_many(map(account_document, added), session=transaction)
                entries = [Change(str(uuid_utils.uuid7()), each.user_id, PLAYER_ADDED, at, actor, "") for each in added]
                documents = [change_document(entry, b"", at) for entry in entries]
                await self._changes.insert_many(documents, session=transaction)
            return [_outcome(each, erased, blocked) for each in accounts]

        return await in_transaction(self._client, work)


def _outcome(account: Account, erased: Collection[str], blocked_names: Collection[str]) -> Creation:
    if account.user_id in erased:
        return Creation.ERASED
    return Creation.USERNAME_TAKEN if account.username in blocked_names else Creation.CREATED

"""Board tokens in MongoDB, and the log of their changes.

Owns `board_tokens` {_id: token id, board, issued_by, issued_at, expires_at}, of which MongoDB removes what has expired, and
`board_token_changes` {token, board, kind, actor, at, expires_at}; each change and its log entry are one transaction. Must
never hold a token.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pymongo import DESCENDING
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from services.identity.account_documents import Document
from services.identity.store import in_transaction
from services.runtime.stores.mongo import unavailable_on_failure

MAX_TOKENS: Final = 1000


@dataclass(frozen=True, slots=True)
class BoardToken:
    """What is stored of a board token; `board` is its name as text."""

    token_id: str
    board: str
    issued_by: str
    issued_at: datetime
    expires_at: datetime


class BoardTokenStore:
    """Every method raises UNAVAILABLE if the database does not respond; a change may then have happened."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._client = database.client
        self._tokens = database["board_tokens"]
        self._changes = database["board_token_changes"]

    async def prepare(self) -> None:
        """Create the indexes. Idempotent."""
        async with unavailable_on_failure():
            await self._tokens.create_index("expires_at", expireAfterSeconds=0)
            await self._tokens.create_index([("issued_at", DESCENDING)])

    async def add(self, token: BoardToken) -> bool:
        """Store a new token; False, with nothing changed, if there are MAX_TOKENS that have not expired.

        Tokens that are added at the same moment may pass the limit together, by as many as there are callers.
        """

        async def work(transaction: AsyncClientSession) -> bool:
            unexpired = {"expires_at": {"$gt": token.issued_at}}
            if await self._tokens.count_documents(unexpired, session=transaction, limit=MAX_TOKENS) >= MAX_TOKENS:
                return False
            await self._tokens.insert_one(_document(token), session=transaction)
            await self._log(token, "ISSUED", token.issued_by, token.issued_at, transaction)
            return True

        return await in_transaction(self._client, work)

    async def all(self, now: datetime) -> list[BoardToken]:
        """Return the tokens that have not expired, latest first, at most MAX_TOKENS."""
        found = self._tokens.find({"expires_at": {"$gt": now}}, sort=[("issued_at", DESCENDING)], limit=MAX_TOKENS)
        async with unavailable_on_failure():
            return [_token(each) async for each in found]

    async def remove(self, token_id: str, *, actor: str, at: datetime) -> bool:
        """Remove the token; False if there is none that has not expired."""

        async def work(transaction: AsyncClientSession) -> bool:
            unexpired = {"_id": token_id, "expires_at": {"$gt": at}}
            removed = await self._tokens.find_one_and_delete(unexpired, session=transaction)
            if removed is None:
                return False
            await self._log(_token(removed), "REVOKED", actor, at, transaction)
            return True

        return await in_transaction(self._client, work)

    async def live(self, token_ids: Collection[str], now: datetime) -> set[str]:
        """Return the ids of tokens that have neither expired nor been removed."""
        unexpired = {"_id": {"$in": list(token_ids)}, "expires_at": {"$gt": now}}
        async with unavailable_on_failure():
            return {each["_id"] async for each in self._tokens.find(unexpired, {"_id": 1})}

    async def _log(
        self, token: BoardToken, kind: str, actor: str, at: datetime, transaction: AsyncClientSession
    ) -> None:
        entry = {"token": token.token_id, "board": token.board, "kind": kind, "actor": actor, "at": at}
        await self._changes.insert_one({**entry, "expires_at": token.expires_at}, session=transaction)


def _document(token: BoardToken) -> Document:
    return {
        "_id": token.token_id,
        "board": token.board,
        "issued_by": token.issued_by,
        "issued_at": token.issued_at,
        "expires_at": token.expires_at,
    }


def _token(document: Document) -> BoardToken:
    return BoardToken(
        token_id=document["_id"],
        board=document["board"],
        issued_by=document["issued_by"],
        issued_at=document["issued_at"],
        expires_at=document["expires_at"],
    )

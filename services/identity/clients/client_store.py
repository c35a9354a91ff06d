"""Service clients in MongoDB, added at runtime, and the log of their changes.

Owns `service_clients` {_id: name, digest, scopes, added_at, rotated_at, previous, previous_until, issuer} and
`service_client_changes` {client, kind, actor, at, scopes, issuer}; each change and its log entry are one transaction. Must
never hold a secret in the clear.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from pymongo import ASCENDING
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from services.identity.account_documents import Document
from services.identity.store import in_transaction
from services.runtime.stores.mongo import unavailable_on_failure

MAX_CLIENTS: Final = 1000


@dataclass(frozen=True, slots=True)
class StoredClient:
    """A client that was added at runtime. Digests stand for its secret and the one before."""

    name: str
    digest: str
    scopes: frozenset[str]
    added_at: datetime
    rotated_at: datetime | None = None
    previous: str = ""
    previous_until: datetime | None = None
    issuer: str = ""


class ClientStore:
    """Every method raises UNAVAILABLE if the database does not respond; a change may then have happened."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._client = database.client
        self._clients = database["service_clients"]
        self._changes = database["service_client_changes"]

    async def find(self, name: str) -> StoredClient | None:
        """Return the client."""
        async with unavailable_on_failure():
            document = await self._clients.find_one({"_id": name})
        return None if document is None else _client(document)

    async def all(self) -> list[StoredClient]:
        """Return the clients by name, at most MAX_CLIENTS."""
        async with unavailable_on_failure():
            return [_client(each) async for each in self._clients.find(sort=[("_id", ASCENDING)], limit=MAX_CLIENTS)]

    async def add(self, client: StoredClient, *, actor: str) -> bool:
        """Store a new client; False, with nothing changed, if the name is taken or there are MAX_CLIENTS."""

        async def work(transaction: AsyncClientSession) -> bool:
            if await self._clients.count_documents({}, session=transaction, limit=MAX_CLIENTS) >= MAX_CLIENTS:
                return False
            await self._clients.insert_one(_document(client), session=transaction)
            await self._log(client, "ADDED", actor, client.added_at, transaction)
            return True

        try:
            return await in_transaction(self._client, work)
        except DuplicateKeyError:
            return False

    async def rotate(
        self, name: str, digest: str, *, previous_until: datetime, actor: str, at: datetime
    ) -> StoredClient | None:
        """Replace the digest and keep the previous one until `previous_until`; None if there is no such client."""

        async def work(transaction: AsyncClientSession) -> StoredClient | None:
            stored = await self._clients.find_one({"_id": name}, session=transaction)
            if stored is None:
                return None
            client = replace(
                _client(stored), digest=digest, rotated_at=at, previous=stored["digest"], previous_until=previous_until
            )
            await self._clients.replace_one({"_id": name}, _document(client), session=transaction)
            await self._log(client, "ROTATED", actor, at, transaction)
            return client

        return await in_transaction(self._client, work)

    async def remove(self, name: str, *, actor: str, at: datetime) -> bool:
        """Remove the client; False if there is none."""

        async def work(transaction: AsyncClientSession) -> bool:
            removed = await self._clients.find_one_and_delete({"_id": name}, session=transaction)
            if removed is None:
                return False
            await self._log(_client(removed), "REMOVED", actor, at, transaction)
            return True

        return await in_transaction(self._client, work)

    async def _log(
        self, client: StoredClient, kind: str, actor: str, at: datetime, transaction: AsyncClientSession
    ) -> None:
        entry = {"client": client.name, "kind": kind, "actor": actor, "at": at}
        entry |= {"scopes": sorted(client.scopes), "issuer": client.issuer}
        await self._changes.insert_one(entry, session=transaction)


def _document(client: StoredClient) -> Document:
    return {
        "_id": client.name,
        "digest": client.digest,
        "scopes": sorted(client.scopes),
        "added_at": client.added_at,
        "rotated_at": client.rotated_at,
        "previous": client.previous,
        "previous_until": client.previous_until,
        "issuer": client.issuer,
    }


def _client(document: Document) -> StoredClient:
    return StoredClient(
        name=document["_id"],
        digest=document["digest"],
        scopes=frozenset(document["scopes"]),
        added_at=document["added_at"],
        rotated_at=document["rotated_at"],
        previous=document["previous"],
        previous_until=document["previous_until"],
        issuer=document.get("issuer", ""),
    )

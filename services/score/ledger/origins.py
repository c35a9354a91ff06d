"""The origins of actions, address and program of the client, in the collection `audit`. They expire."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from services.runtime.stores.same_data import SameData
from services.score.errors import RetryableError
from services.score.ledger.documents import Document
from services.score.ledger.events import Event, Origin
from services.score.ledger.times import time_of

_DUPLICATE: Final = 11000
_INDEX_OPTIONS_CONFLICT: Final = 85


class Origins:
    """The collection. Nothing is based on what it holds. The driver's errors are not translated."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._database = database
        self._audit = database["audit"]
        self._same_data = SameData(database)

    async def prepare(self, ttl: timedelta) -> None:
        """Create the indexes. Idempotent; a different `ttl` changes how long origins are kept."""
        await self._audit.create_index("user_id")
        seconds = int(ttl.total_seconds())
        try:
            await self._audit.create_index("at", expireAfterSeconds=seconds)
        except OperationFailure as error:
            if error.code != _INDEX_OPTIONS_CONFLICT:
                raise
            index: dict[str, Any] = {"keyPattern": {"at": 1}, "expireAfterSeconds": seconds}
            await self._database.command({"collMod": "audit", "index": index})

    async def of(self, event_ids: Sequence[str]) -> dict[str, Origin]:
        """Return the origins of these actions that have not expired."""
        documents = self._audit.find({"_id": {"$in": list(event_ids)}}, {"ip": 1, "user_agent": 1})
        return {document["_id"]: Origin(document["ip"], document["user_agent"]) async for document in documents}

    async def add(self, events: Iterable[Event]) -> None:
        """Record the origins of actions. Idempotent; they expire after the TTL given to `prepare`."""
        documents = [
            {
                "_id": event.event_id,
                "user_id": event.user_id,
                "ip": event.ip,
                "user_agent": event.user_agent,
                "at": time_of(event.at),
            }
            for event in events
            if event.ip or event.user_agent
        ]
        if not documents:
            return
        # Uses the command directly: `insert_many` inspects every document several times, and its one advantage, retrying
        # after a lost connection, is provided by the worker, which counts the batch again.
        same = self._same_data
        reply = await same.write("insert", "audit", same.identity, documents=documents, ordered=False)
        if any(failure["code"] != _DUPLICATE for failure in reply.get("writeErrors", ())):
            raise RetryableError("The audit collection refused an entry.")

    async def delete(self, user_id: str) -> None:
        """Delete every recorded origin of a player's actions."""
        await self._audit.delete_many({"user_id": user_id})

"""Dead letters: events that could not be counted, in the collection `dead_letters`. No accepted event is ever dropped.

The driver's errors are not translated; `ack_policy` decides what they mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from bson.datetime_ms import DatetimeMS
from pymongo import DESCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from services.score.ledger.documents import MS_DATES, Document

DEAD = "dead"
REPLAYED = "replayed"
ERASED = "the player is erased"


class DeadLetter(NamedTuple):
    """An event that cannot be counted as it is. `letter_id` is the event's id, or stream and sequence if unreadable.

    `at` is when it was stored, in milliseconds; `payload` is empty on pages.
    """

    letter_id: str
    reason: str
    subject: str
    sequence: int
    payload: bytes
    at: int
    state: str = DEAD


class DeadLetterStore:
    """The collection."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._collection = database["dead_letters"].with_options(MS_DATES)

    async def prepare(self) -> None:
        """Create the index. Idempotent."""
        await self._collection.create_index([("at", DESCENDING), ("_id", DESCENDING)])

    async def add(self, dead_letter: DeadLetter) -> None:
        """Store a dead letter. One with the same id stays as it is."""
        document = {
            "_id": dead_letter.letter_id,
            "reason": dead_letter.reason,
            "subject": dead_letter.subject,
            "sequence": dead_letter.sequence,
            "payload": dead_letter.payload,
            "state": dead_letter.state,
            "at": DatetimeMS(dead_letter.at),
        }
        with suppress(DuplicateKeyError):
            await self._collection.insert_one(document)

    async def page(self, limit: int, after: tuple[int, str] | None, state: str | None) -> list[DeadLetter]:
        """Return up to `limit` dead letters without payload, newest first, that follow the time and id in `after`."""
        query: dict[str, Any] = {} if state is None else {"state": state}
        if after is not None:
            at, letter_id = DatetimeMS(after[0]), after[1]
            query["$or"] = [{"at": {"$lt": at}}, {"at": at, "_id": {"$lt": letter_id}}]
        documents = self._collection.find(query, {"payload": 0})
        documents = documents.sort([("at", DESCENDING), ("_id", DESCENDING)]).limit(limit)
        return [_dead_letter(document) async for document in documents]

    async def by_id(self, letter_ids: Sequence[str]) -> dict[str, DeadLetter]:
        """Return those of the dead letters that exist, with payload."""
        documents = self._collection.find({"_id": {"$in": list(letter_ids)}})
        return {document["_id"]: _dead_letter(document) async for document in documents}

    async def existing(self, letter_ids: Sequence[str]) -> set[str]:
        """Return the ids of those of the dead letters that exist."""
        documents = self._collection.find({"_id": {"$in": list(letter_ids)}}, {"_id": 1})
        return {document["_id"] async for document in documents}

    async def record_replay(self, letter_id: str) -> None:
        """Record that the event was counted by a replay."""
        await self._collection.update_one({"_id": letter_id}, {"$set": {"state": REPLAYED}})

    async def erase(self, user_id: str, pseudonym: str) -> None:
        """Remove the content of dead letters about the player. None of them can be replayed any more."""
        erased = {"subject": pseudonym, "payload": b"", "reason": ERASED, "state": DEAD}
        of_player = {"subject": {"$regex": rf"\.{re.escape(user_id)}$"}}
        await self._collection.update_many(of_player, {"$set": erased})


def _dead_letter(document: Mapping[str, Any]) -> DeadLetter:
    return DeadLetter(
        letter_id=document["_id"],
        reason=document["reason"],
        subject=document["subject"],
        sequence=document["sequence"],
        payload=bytes(document.get("payload", b"")),
        at=int(document["at"]),
        state=document["state"],
    )

"""Suspicions in the collection `flags`, each open until the policy or a moderator has decided.

A flag's id names rule, player and minute, so the same suspicion is stored once. The driver's errors are not translated.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from bson.datetime_ms import DatetimeMS
from pymongo import ASCENDING, DESCENDING, ReturnDocument, UpdateOne
from pymongo.asynchronous.database import AsyncDatabase

from services.score.fairplay.rules import Suspicion
from services.score.ledger.documents import MS_DATES, Document

OPEN, BLOCKED, CLOSED = "open", "blocked", "closed"
_BLOCK_PENDING = {"block": "wanted"}
_UNANNOUNCED = {"announce": True}
_NEWEST_FIRST = [("at", DESCENDING), ("_id", DESCENDING)]


class Flag(NamedTuple):
    """A suspicion and the decision about it. `at` is in milliseconds."""

    flag_id: str
    user_id: str
    rule: str
    reason: str
    evidence: Mapping[str, int]
    event_id: str
    at: int
    state: str
    closed_by: str
    note: str


class FlagStore:
    """The collection."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._flags = database["flags"].with_options(MS_DATES)

    async def prepare(self) -> None:
        """Create the indexes. Idempotent."""
        await self._flags.create_index(_NEWEST_FIRST)
        await self._flags.create_index([("state", ASCENDING), *_NEWEST_FIRST])
        await self._flags.create_index([("user_id", ASCENDING), *_NEWEST_FIRST])
        await self._flags.create_index("block", partialFilterExpression=_BLOCK_PENDING)
        await self._flags.create_index("announce", partialFilterExpression=_UNANNOUNCED)

    async def add(self, suspicions: Sequence[Suspicion], blocking: Collection[str]) -> list[Suspicion]:
        """Store suspicions, each once, and return the new ones. A block is pending for those of a rule in `blocking`."""
        writes = [
            UpdateOne(
                {"_id": suspicion.flag_id},
                {
                    "$setOnInsert": {
                        "user_id": suspicion.user_id,
                        "rule": suspicion.rule,
                        "reason": suspicion.reason,
                        "evidence": dict(suspicion.evidence),
                        "event_id": suspicion.event_id,
                        "at": DatetimeMS(suspicion.at),
                        "state": OPEN,
                        "closed_by": "",
                        "note": "",
                        **_UNANNOUNCED,
                        **(_BLOCK_PENDING if suspicion.rule in blocking else {}),
                    }
                },
                upsert=True,
            )
            for suspicion in suspicions
        ]
        result = await self._flags.bulk_write(writes, ordered=False)
        return [suspicions[index] for index in result.upserted_ids or ()]

    async def of_player(self, user_id: str, limit: int) -> list[Flag]:
        """Return up to `limit` flags of a player, newest first."""
        documents = self._flags.find({"user_id": user_id}).sort(_NEWEST_FIRST).limit(limit)
        return [_flag(document) async for document in documents]

    async def page(self, limit: int, after: tuple[int, str] | None, state: str | None, user_id: str = "") -> list[Flag]:
        """Return up to `limit` flags, newest first, that follow the time and id in `after`; with `user_id` that player's."""
        query: dict[str, Any] = {} if state is None else {"state": state}
        if user_id:
            query["user_id"] = user_id
        if after is not None:
            at, flag_id = DatetimeMS(after[0]), after[1]
            query["$or"] = [{"at": {"$lt": at}}, {"at": at, "_id": {"$lt": flag_id}}]
        documents = self._flags.find(query).sort(_NEWEST_FIRST).limit(limit)
        return [_flag(document) async for document in documents]

    async def close(self, flag_id: str, *, by: str, note: str) -> Flag | None:
        """Record a moderator's decision, cancel a pending block, and return the flag; None if it does not exist."""
        document = await self._flags.find_one_and_update(
            {"_id": flag_id},
            {"$set": {"state": CLOSED, "closed_by": by, "note": note}, "$unset": {"block": ""}},
            return_document=ReturnDocument.AFTER,
        )
        return None if document is None else _flag(document)

    async def pending_blocks(self, limit: int) -> list[Flag]:
        """Return up to `limit` flags with a pending block."""
        return [_flag(document) async for document in self._flags.find(_BLOCK_PENDING).limit(limit)]

    async def record_block(self, flag_id: str, *, refused: str) -> None:
        """Record that the player was blocked or, if `refused` is not empty, why not. A flag closed meanwhile stays closed."""
        decided: list[dict[str, Any]] = [
            {
                "$set": {
                    "state": {"$cond": [{"$eq": ["$state", OPEN]}, OPEN if refused else BLOCKED, "$state"]},
                    "note": {"$cond": [{"$eq": ["$state", OPEN]}, {"$literal": refused}, "$note"]},
                }
            },
            {"$unset": "block"},
        ]
        await self._flags.update_one({"_id": flag_id}, decided)

    async def unannounced(self, limit: int) -> list[Flag]:
        """Return up to `limit` flags that webhooks have not been told of."""
        return [_flag(document) async for document in self._flags.find(_UNANNOUNCED).limit(limit)]

    async def mark_announced(self, flag_ids: Sequence[str]) -> None:
        """Record that the deliveries of these flags are stored."""
        await self._flags.update_many({"_id": {"$in": list(flag_ids)}}, {"$unset": {"announce": ""}})

    async def erase(self, user_id: str) -> None:
        """Delete the flags of a player."""
        await self._flags.delete_many({"user_id": user_id})


def _flag(document: Mapping[str, Any]) -> Flag:
    return Flag(
        flag_id=document["_id"],
        user_id=document["user_id"],
        rule=document["rule"],
        reason=document["reason"],
        evidence=document["evidence"],
        event_id=document["event_id"],
        at=int(document["at"]),
        state=document["state"],
        closed_by=document["closed_by"],
        note=document["note"],
    )

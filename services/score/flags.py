"""What the rules have seen, in the collection `flags`: open until the policy or a moderator has decided.

A flag's id names rule, player and minute, so that the same suspicion again changes nothing. Errors of the driver pass as
they are: `answers` tells what they mean.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from pymongo import ASCENDING, DESCENDING, ReturnDocument, UpdateOne
from pymongo.asynchronous.database import AsyncDatabase

from services.score.documents import Document
from services.score.paging import Place
from services.score.rules import Suspicion

OPEN, BLOCKED, CLOSED = "open", "blocked", "closed"
_WANTED = {"block": "wanted"}


class Flag(NamedTuple):
    """A suspicion and what became of it. `at` is in milliseconds."""

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


class Flags:
    """The collection."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        options: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
        self._flags = database["flags"].with_options(options)

    async def prepare(self) -> None:
        """Makes the indexes; making them again changes nothing."""
        await self._flags.create_index([("at", DESCENDING), ("_id", DESCENDING)])
        await self._flags.create_index([("state", ASCENDING), ("at", DESCENDING), ("_id", DESCENDING)])
        await self._flags.create_index([("user_id", ASCENDING), ("at", DESCENDING), ("_id", DESCENDING)])
        await self._flags.create_index("block", partialFilterExpression=_WANTED)

    async def keep(self, found: Sequence[Suspicion], blocking: Collection[str]) -> list[Suspicion]:
        """Keeps suspicions, once each; those that are new. Who broke a rule of `blocking` is to be blocked."""
        writes = [
            UpdateOne(
                {"_id": seen.flag_id},
                {
                    "$setOnInsert": {
                        "user_id": seen.user_id,
                        "rule": seen.rule,
                        "reason": seen.reason,
                        "evidence": dict(seen.evidence),
                        "event_id": seen.event_id,
                        "at": DatetimeMS(seen.at),
                        "state": OPEN,
                        "closed_by": "",
                        "note": "",
                        **(_WANTED if seen.rule in blocking else {}),
                    }
                },
                upsert=True,
            )
            for seen in found
        ]
        result = await self._flags.bulk_write(writes, ordered=False)
        return [found[index] for index in result.upserted_ids or ()]

    async def of_player(self, user_id: str, limit: int) -> list[Flag]:
        """Up to `limit` flags about a player, the newest first."""
        found = self._flags.find({"user_id": user_id}).sort([("at", DESCENDING), ("_id", DESCENDING)]).limit(limit)
        return [_flag(document) async for document in found]

    async def forget(self, user_id: str) -> None:
        """Nothing is about the player any more."""
        await self._flags.delete_many({"user_id": user_id})

    async def page(self, limit: int, after: Place | None, state: str | None) -> list[Flag]:
        """Up to `limit` flags, the newest first, from the one behind `after` on."""
        query: dict[str, Any] = {} if state is None else {"state": state}
        if after is not None:
            at, flag_id = DatetimeMS(after[0]), after[1]
            query["$or"] = [{"at": {"$lt": at}}, {"at": at, "_id": {"$lt": flag_id}}]
        found = self._flags.find(query).sort([("at", DESCENDING), ("_id", DESCENDING)]).limit(limit)
        return [_flag(document) async for document in found]

    async def close(self, flag_id: str, *, by: str, note: str) -> Flag | None:
        """Records a moderator's decision; the flag as it is now, None if there is none. No block follows any more."""
        document = await self._flags.find_one_and_update(
            {"_id": flag_id},
            {"$set": {"state": CLOSED, "closed_by": by, "note": note}, "$unset": {"block": ""}},
            return_document=ReturnDocument.AFTER,
        )
        return None if document is None else _flag(document)

    async def to_block(self, limit: int) -> list[Flag]:
        """Flags whose player is to be blocked."""
        return [_flag(document) async for document in self._flags.find(_WANTED).limit(limit)]

    async def blocked(self, flag_id: str, *, refused: str = "") -> None:
        """The player is blocked, or can't be, for the reason given; a flag that was closed meanwhile stays so."""
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

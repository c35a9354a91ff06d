"""Events that could not be counted, in the collection `dead_letters`: nothing that was accepted is ever thrown away.

Errors of the driver pass as they are: `answers` tells what they mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from pymongo import DESCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from services.score.documents import Document
from services.score.paging import Place

DEAD = "dead"
REPLAYED = "replayed"
ERASED = "the player is erased"


class DeadLetter(NamedTuple):
    """An event that can't be counted as it is. `letter_id` is the event's, or stream and sequence if unreadable.

    `at` is when it was set aside, in milliseconds; `payload` is empty where it was not asked for.
    """

    letter_id: str
    reason: str
    subject: str
    sequence: int
    payload: bytes
    at: int
    state: str = DEAD


class DeadLetters:
    """The collection."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        options: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
        self._letters = database["dead_letters"].with_options(options)

    async def prepare(self) -> None:
        """Makes the index; making it again changes nothing."""
        await self._letters.create_index([("at", DESCENDING), ("_id", DESCENDING)])

    async def bury(self, letter: DeadLetter) -> None:
        """Keeps a letter. The same one again changes nothing."""
        document = {
            "_id": letter.letter_id,
            "reason": letter.reason,
            "subject": letter.subject,
            "sequence": letter.sequence,
            "payload": letter.payload,
            "state": letter.state,
            "at": DatetimeMS(letter.at),
        }
        try:
            await self._letters.insert_one(document)
        except DuplicateKeyError:
            return

    async def page(self, limit: int, after: Place | None, state: str | None) -> list[DeadLetter]:
        """Up to `limit` letters without their payload, the newest first, from the one behind `after` on."""
        query: dict[str, Any] = {} if state is None else {"state": state}
        if after is not None:
            at, letter_id = DatetimeMS(after[0]), after[1]
            query["$or"] = [{"at": {"$lt": at}}, {"at": at, "_id": {"$lt": letter_id}}]
        found = self._letters.find(query, {"payload": 0}).sort([("at", DESCENDING), ("_id", DESCENDING)]).limit(limit)
        return [_letter(document) async for document in found]

    async def letters(self, letter_ids: Sequence[str]) -> dict[str, DeadLetter]:
        """Those of the letters that there are, with their payload."""
        found = self._letters.find({"_id": {"$in": list(letter_ids)}})
        return {document["_id"]: _letter(document) async for document in found}

    async def existing(self, letter_ids: Sequence[str]) -> set[str]:
        """Those of the letters that there are."""
        found = self._letters.find({"_id": {"$in": list(letter_ids)}}, {"_id": 1})
        return {document["_id"] async for document in found}

    async def forget(self, user_id: str, pseudonym: str) -> None:
        """Letters about the player stay, without what they said: none of them can be counted any more."""
        nameless = {"subject": pseudonym, "payload": b"", "reason": ERASED, "state": DEAD}
        of_player = {"subject": {"$regex": rf"\.{re.escape(user_id)}$"}}
        await self._letters.update_many(of_player, {"$set": nameless})

    async def settle(self, letter_id: str, *, state: str, reason: str) -> None:
        """What became of a replay."""
        await self._letters.update_one({"_id": letter_id}, {"$set": {"state": state, "reason": reason}})


def _letter(document: Mapping[str, Any]) -> DeadLetter:
    return DeadLetter(
        letter_id=document["_id"],
        reason=document["reason"],
        subject=document["subject"],
        sequence=document["sequence"],
        payload=bytes(document.get("payload", b"")),
        at=int(document["at"]),
        state=document["state"],
    )

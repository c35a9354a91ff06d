"""What is on record of one player: told to himself, or made nobody's.

Works on the collections of `store` and `deliveries`. What is erased keeps its event id, its numbers and its place in the
player's chain, so that every event still adds up; who he was and what he answered are gone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from pymongo import ASCENDING, DESCENDING, UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError

from services.quiz.scoring import Answer
from services.quiz.store import event_of
from services.quiz.submission import QUIZ_COMPLETED
from services.runtime.mongo_client import unavailable_on_failure
from services.runtime.waiting import unpublished_again

PAGE: Final = 200
MOST_DELIVERIES: Final = 1000
_DUPLICATE: Final = 11000
_RACES: Final = 20
Document = dict[str, Any]


class Record(NamedTuple):
    """A submission, or an amendment to one; `reason` is of an amendment alone, `client_time` and answers of a submission."""

    event_id: str
    kind: str
    action_id: str
    quiz_id: str
    answers: Sequence[Answer]
    points: int
    correct: int
    delta: int
    country: str
    client_time: datetime | None
    received_at: datetime
    reason: str


class PersonalRecords:
    """Every method raises UNAVAILABLE if the database does not answer; doing the same again is safe."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._submissions = database["submissions"]
        self._deliveries = database["deliveries"]

    async def page(self, user_id: str, after: str) -> tuple[list[Record], str]:
        """Up to 200 records with ids above `after`, and the id to go on from, empty at the end."""
        async with unavailable_on_failure():
            found = self._submissions.find({"user_id": user_id, "_id": {"$gt": after}}).sort("_id", ASCENDING)
            documents = await found.limit(PAGE + 1).to_list()
        page = [_record(document) for document in documents[:PAGE]]
        return page, page[-1].event_id if len(documents) > PAGE else ""

    async def deliveries(self, user_id: str) -> Mapping[str, datetime]:
        """When each quiz was first handed to the player, of up to 1000."""
        async with unavailable_on_failure():
            found = self._deliveries.find(_of_player(user_id)).limit(MOST_DELIVERIES)
            return {document["_id"].partition("/")[2]: document["at"] async for document in found}

    async def erase(self, user_id: str, pseudonym: str, now: datetime) -> int:
        """Gives everything of the player to his pseudonym; how many records changed.

        What still waits to be published is published as of the pseudonym, without where it came from.
        """
        erased = 0
        async with unavailable_on_failure():
            while documents := await self._submissions.find({"user_id": user_id}).limit(PAGE).to_list():
                writes = [
                    UpdateOne({"_id": document["_id"], "user_id": user_id}, _nameless(document, pseudonym, now))
                    for document in documents
                ]
                try:
                    await self._submissions.bulk_write(writes, ordered=False)
                except BulkWriteError as error:
                    failures = error.details["writeErrors"]
                    if error.details["writeConcernErrors"] or any(each["code"] != _DUPLICATE for each in failures):
                        raise
                    for failure in failures:
                        await self._append(documents[failure["index"]], pseudonym, now)
                erased += len(documents)
            await self._deliveries.delete_many(_of_player(user_id))
        return erased

    async def _append(self, document: Document, pseudonym: str, now: datetime) -> None:
        """A record that came after the others had been given away: under an id and a place that nobody has."""
        for _ in range(_RACES):
            taken = await self._submissions.find_one(
                {"user_id": pseudonym, "quiz_id": document["quiz_id"]}, {"attempt": 1}, sort=[("attempt", DESCENDING)]
            )
            place = 1 if taken is None else taken["attempt"] + 1
            moved = document | {"action_id": document["_id"], "attempt": place}
            try:
                await self._submissions.update_one({"_id": document["_id"]}, _nameless(moved, pseudonym, now))
            except DuplicateKeyError:
                continue
            return


def _nameless(document: Document, pseudonym: str, now: datetime) -> Document:
    """The update that takes from a record what is personal."""
    gone: Document = {
        "user_id": pseudonym,
        "country": "",
        "payload_digest": "",
        "answers": [],
        "actor": "",
        "reason": "",
    }
    changed = {name: value for name, value in gone.items() if name in document}
    changed |= {"action_id": document["action_id"], "attempt": document["attempt"]}
    if "unpublished" in document:
        changed["unpublished"] = unpublished_again(event_of(document | changed), now)
    return {"$set": changed}


def _of_player(user_id: str) -> Document:
    return {"_id": {"$regex": f"^{re.escape(user_id)}/"}}


def _record(document: Document) -> Record:
    return Record(
        event_id=document["_id"],
        kind=document.get("kind", QUIZ_COMPLETED),
        action_id=document["action_id"],
        quiz_id=document["quiz_id"],
        answers=[(question, option) for question, option in document.get("answers", ())],
        points=document.get("points", 0),
        correct=document.get("correct", 0),
        delta=document["delta"],
        country=document.get("country", ""),
        client_time=document.get("client_time"),
        received_at=document["received_at"],
        reason=document.get("reason", ""),
    )

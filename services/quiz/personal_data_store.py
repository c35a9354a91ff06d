"""What is recorded about one player, for export and for erasure.

Works on the collections of `submissions.store` and `quizzes.delivery_store`. An erased record keeps its event id, its numbers
and its place in the player's sequence, so that all events still add up; the player's identity and what they submitted are
removed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from pymongo import ASCENDING, DESCENDING, UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError

from services.quiz.action_types.rule import Happened
from services.quiz.questions.answers import Answer, answer_in
from services.quiz.submissions.documents import Document, event_of, happened_in, quiz_in
from services.runtime.outbox.store import republished_field
from services.runtime.page_tokens import list_of, page_token, read_page_token
from services.runtime.stores.mongo import unavailable_on_failure
from services.streams import ACTION_COMPLETED, QUIZ_COMPLETED

PAGE: Final = 200
MAX_DELIVERIES: Final = 1000
LISTING: Final = "records"
_DUPLICATE: Final = 11000
_MAX_CONFLICTS: Final = 20


class Record(NamedTuple):
    """A submission, or an amendment, which alone has a `reason` and no `client_time` or answers."""

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
    action_type_id: str
    happened: Happened
    metadata: str
    submitted_by: str


class PersonalDataStore:
    """Every method raises UNAVAILABLE if the database does not respond, and is safe to repeat."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._submissions = database["submissions"]
        self._deliveries = database["deliveries"]

    async def records(self, user_id: str, token: str) -> tuple[list[Record], str]:
        """Return a page of up to 200 records, oldest first, and the token of the next page, empty after the last.

        Raises INVALID_ARGUMENT, CURSOR_EXPIRED for a wrong token.
        """
        listing = list_of(LISTING, user_id)
        (after,) = read_page_token(token, listing, str) or ("",)
        async with unavailable_on_failure():
            later = self._submissions.find({"user_id": user_id, "_id": {"$gt": after}})
            documents = await later.sort("_id", ASCENDING).limit(PAGE + 1).to_list()
        page = [_record(document) for document in documents[:PAGE]]
        return page, page_token(listing, page[-1].event_id) if len(documents) > PAGE else ""

    async def deliveries(self, user_id: str) -> Mapping[str, datetime]:
        """Return when the player first received each quiz, for at most 1000 quizzes."""
        async with unavailable_on_failure():
            documents = self._deliveries.find(_of_player(user_id)).limit(MAX_DELIVERIES)
            return {document["_id"].partition("/")[2]: document["at"] async for document in documents}

    async def erase(self, user_id: str, pseudonym: str, now: datetime) -> int:
        """Move all records of the player to the pseudonym; return how many.

        Unpublished events are published under the pseudonym, without the client's address and program.
        """
        erased = 0
        async with unavailable_on_failure():
            while documents := await self._submissions.find({"user_id": user_id}).limit(PAGE).to_list():
                writes = [
                    UpdateOne({"_id": document["_id"], "user_id": user_id}, _erasure(document, pseudonym, now))
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
        """Move a record made after the first erasure: its action id and number may be taken, so it gets new ones."""
        for _ in range(_MAX_CONFLICTS):
            last = await self._submissions.find_one(
                {"user_id": pseudonym, "quiz_id": document["quiz_id"]}, {"attempt": 1}, sort=[("attempt", DESCENDING)]
            )
            number = 1 if last is None else last["attempt"] + 1
            renumbered = document | {"action_id": document["_id"], "attempt": number}
            try:
                await self._submissions.update_one({"_id": document["_id"]}, _erasure(renumbered, pseudonym, now))
            except DuplicateKeyError:
                continue
            return


def _erasure(document: Document, pseudonym: str, now: datetime) -> Document:
    """Return the update that removes the personal data of a record."""
    emptied: Document = {
        "user_id": pseudonym,
        "country": "",
        "payload_digest": "",
        "answers": [],
        "happened": [],
        "metadata": "",
        "actor": "",
        "reason": "",
    }
    fields = {name: value for name, value in emptied.items() if name in document}
    fields |= {"action_id": document["action_id"], "attempt": document["attempt"]}
    if "unpublished" in document:
        fields["unpublished"] = republished_field(event_of(document | fields), now)
    return {"$set": fields}


def _of_player(user_id: str) -> Document:
    return {"_id": {"$regex": f"^{re.escape(user_id)}/"}}


def _record(document: Document) -> Record:
    return Record(
        event_id=document["_id"],
        kind=document.get("kind", ACTION_COMPLETED if "action_type_id" in document else QUIZ_COMPLETED),
        action_id=document["action_id"],
        quiz_id=quiz_in(document),
        answers=[answer_in(answer) for answer in document.get("answers", ())],
        points=document.get("points") or 0,
        correct=document.get("correct", 0),
        delta=document["delta"],
        country=document.get("country", ""),
        client_time=document.get("client_time"),
        received_at=document["received_at"],
        reason=document.get("reason", ""),
        action_type_id=document.get("action_type_id", ""),
        happened=happened_in(document),
        metadata=document.get("metadata", ""),
        # The actor of an amendment is a moderator, whom the player is not told.
        submitted_by="" if "kind" in document else document.get("actor", ""),
    )

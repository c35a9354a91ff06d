"""Quizzes and submissions in MongoDB.

Owns the collections `quizzes` and `submissions`. A submission is written once, with its event, and so is an amendment;
two unique indexes decide every race: (user_id, action_id), and (user_id, quiz_id, attempt), the place in the chain.
Writes that come together are one write; they share no failure. Must never hold what can only be in a key's place.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pymongo
from bson import Binary
from pymongo import ASCENDING, DESCENDING, ReturnDocument, UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError, WriteConcernError
from topten.quiz.v1 import quiz_pb2

from services.quiz.amendment import Amendment, key_of
from services.quiz.scoring import NOTHING, Marks, Tally
from services.quiz.submission import Submission, SubmittedEvent, TakenError, completed_event
from services.runtime.gathered import Gathered
from services.runtime.mongo_client import unavailable_on_failure
from services.runtime.waiting import WaitingEvents, unpublished, unpublished_again

MAX_GROUP = 200
# A reader of quizzes is not kept waiting for longer, since there may be a copy.
READ_SECONDS = 2.0
_DUPLICATE = 11000
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoredQuiz:
    """A definition and its version."""

    definition: quiz_pb2.QuizDefinition
    version: int


class QuizStore:
    """The two collections. Every method raises UNAVAILABLE if the database does not answer; a write may then be done."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._quizzes = database["quizzes"]
        self._submissions = database["submissions"]
        self.waiting = WaitingEvents(self._submissions, since="received_at")
        self._insert: Gathered[Document, None] = Gathered("submissions", self._insert_all, most=MAX_GROUP, at_once=2)

    async def prepare(self) -> None:
        """Make the indexes; making them again changes nothing."""
        async with unavailable_on_failure():
            await self._quizzes.create_index([("tags", ASCENDING), ("_id", ASCENDING)])
            await self._submissions.create_index([("user_id", ASCENDING), ("action_id", ASCENDING)], unique=True)
            await self._submissions.create_index(
                [("user_id", ASCENDING), ("quiz_id", ASCENDING), ("attempt", DESCENDING)], unique=True
            )
        await self.waiting.prepare()

    async def quiz(self, quiz_id: str) -> StoredQuiz | None:
        """The definition in force."""
        async with unavailable_on_failure():
            with pymongo.timeout(READ_SECONDS):
                document = await self._quizzes.find_one({"_id": quiz_id})
        return None if document is None else _stored(document)

    async def quizzes(self, after: str, limit: int, tag: str) -> tuple[list[StoredQuiz], int]:
        """The next `limit` quizzes by id after `after`, and how many the tag has in all (an empty tag is every quiz)."""
        chosen: Document = {"tags": tag} if tag else {}
        async with unavailable_on_failure():
            with pymongo.timeout(READ_SECONDS):
                cursor = self._quizzes.find({**chosen, "_id": {"$gt": after}}).sort("_id", ASCENDING).limit(limit)
                found = [_stored(document) async for document in cursor]
                total = await self._quizzes.count_documents(chosen) if chosen else await self._count()
        return found, total

    async def put_quiz(self, definition: quiz_pb2.QuizDefinition) -> tuple[int, bool]:
        """Store a definition; the version in force, and whether this call changed it. The same one changes nothing."""
        data = definition.SerializeToString(deterministic=True)
        tags = list(definition.tags)
        async with unavailable_on_failure():
            while True:
                document = await self._quizzes.find_one({"_id": definition.quiz_id})
                if document is not None and bytes(document["definition"]) == data:
                    return int(document["version"]), False
                version = 1 if document is None else int(document["version"]) + 1
                try:
                    # Only over the version that was read: of two imports at once each is counted.
                    written = await self._quizzes.find_one_and_update(
                        {"_id": definition.quiz_id, "version": version - 1},
                        {"$set": {"definition": Binary(data), "version": version, "tags": tags}},
                        upsert=document is None,
                        return_document=ReturnDocument.AFTER,
                    )
                except DuplicateKeyError:
                    continue
                if written is not None:
                    return version, True

    async def submission(self, user_id: str, action_id: str) -> Submission | None:
        """The record of an action."""
        async with unavailable_on_failure():
            document = await self._submissions.find_one({"user_id": user_id, "action_id": action_id})
        return None if document is None else _submission(document)

    async def last_tally(self, user_id: str, quiz_id: str) -> Tally:
        """The tally after the player's last attempt or change to one; NOTHING if there was none."""
        async with unavailable_on_failure():
            document = await self._submissions.find_one(
                {"user_id": user_id, "quiz_id": quiz_id},
                {"attempt": 1, "used": 1, "valid": 1, "points_sum": 1, "counted": 1},
                sort=[("attempt", DESCENDING)],
            )
        return NOTHING if document is None else _tally(document)

    async def add(self, submission: Submission, event: bytes, publish_by: datetime) -> None:
        """Record a submission with its event, on a majority and the journal.

        Raises TakenError if one of the unique indexes refuses it; UNAVAILABLE if it is not known whether it was written.
        `publish_by` is until when this instance publishes the event; then any may.
        """
        document = {
            "_id": submission.event_id,
            "user_id": submission.user_id,
            "action_id": submission.action_id,
            "quiz_id": submission.quiz_id,
            "quiz_version": submission.quiz_version,
            "payload_digest": submission.payload_digest,
            "answers": [list(answer) for answer in submission.answers],
            "points": submission.marks.points,
            "correct": submission.marks.correct,
            "questions": submission.marks.questions,
            **_tally_document(submission.tally),
            "delta": submission.delta,
            "country": submission.country,
            "client_time": submission.client_time,
            "received_at": submission.received_at,
            "unpublished": unpublished(event, publish_by),
        }
        await self._insert(document)

    async def amendment(self, user_id: str, key: str) -> Amendment | None:
        """The record of an amendment by its key."""
        async with unavailable_on_failure():
            document = await self._submissions.find_one({"user_id": user_id, "action_id": key})
        return None if document is None else _amendment(document)

    async def attempts(self, user_id: str, quiz_id: str) -> tuple[list[tuple[str, int]], set[str]]:
        """A player's attempts at a quiz, in their order, each as event id and points; and the events that are voided."""
        fields = {"points": 1, "voids": 1}
        earned: list[tuple[str, int]] = []
        voided: set[str] = set()
        async with unavailable_on_failure():
            found = self._submissions.find({"user_id": user_id, "quiz_id": quiz_id}, fields).sort("attempt", ASCENDING)
            async for document in found:
                if "voids" in document:
                    voided.add(document["voids"])
                else:
                    earned.append((document["_id"], document["points"]))
        return earned, voided

    async def amend(self, amendment: Amendment, publish_by: datetime) -> None:
        """Record an amendment with its event; raises as `add` does."""
        await self._insert(
            {
                "_id": amendment.event_id,
                "kind": amendment.kind,
                "user_id": amendment.user_id,
                "action_id": amendment.key,
                "quiz_id": amendment.quiz_id,
                **_tally_document(amendment.tally),
                "delta": amendment.delta,
                "voids": amendment.voids,
                "actor": amendment.actor,
                "reason": amendment.reason,
                "counts_at": amendment.counts_at,
                "received_at": amendment.received_at,
                "country": amendment.country,
                "unpublished": unpublished(amendment.event(), publish_by),
            }
        )

    async def republish(self, event_ids: Sequence[str], now: datetime) -> None:
        """These events wait to be published again; where they came from is not on record any more and left out."""
        writes: list[UpdateOne] = []
        async with unavailable_on_failure():
            async for document in self._submissions.find({"_id": {"$in": list(event_ids)}, "unpublished": None}):
                again = unpublished_again(event_of(document), now)
                writes.append(UpdateOne({"_id": document["_id"]}, {"$set": {"unpublished": again}}))
            if writes:
                await self._submissions.bulk_write(writes, ordered=False)

    async def recorded(self, event_ids: Sequence[str]) -> list[str]:
        """Those of the ids that are events of submissions or amendments."""
        async with unavailable_on_failure():
            found = self._submissions.find({"_id": {"$in": list(event_ids)}}, {"_id": 1})
            return [document["_id"] async for document in found]

    async def _insert_all(self, documents: Sequence[Document]) -> list[Exception | None]:
        """What became of each: None if it is written, TakenError if a unique index refused it.

        One write for all, and each has its own outcome; if that can't be told of one, it can't of any.
        """
        outcomes: list[Exception | None] = [None] * len(documents)
        async with unavailable_on_failure():
            try:
                await self._submissions.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                failures = error.details["writeErrors"]
                if error.details["writeConcernErrors"] or any(each["code"] != _DUPLICATE for each in failures):
                    raise WriteConcernError("a group was not written as it should be") from error
                for failure in failures:
                    outcomes[failure["index"]] = TakenError()
        return outcomes

    async def submitted_events(self) -> AsyncIterator[SubmittedEvent]:
        """The event of every submission, oldest first."""
        fields = {"user_id": 1, "delta": 1, "unpublished.leased_until": 1}
        # The ids are UUIDs of version 7, so their order is that of time.
        async with unavailable_on_failure():
            async for document in self._submissions.find({}, fields).sort("_id", ASCENDING):
                yield SubmittedEvent(
                    document["_id"], document["user_id"], document["delta"], "unpublished" not in document
                )

    async def count_submissions(self) -> int:
        """About how many submissions there are."""
        async with unavailable_on_failure():
            return int(await self._submissions.estimated_document_count())

    async def _count(self) -> int:
        return int(await self._quizzes.estimated_document_count())


def _stored(document: Document) -> StoredQuiz:
    return StoredQuiz(quiz_pb2.QuizDefinition.FromString(bytes(document["definition"])), document["version"])


def _tally(document: Document) -> Tally:
    return Tally(
        place=document["attempt"],
        used=document["used"],
        valid=document["valid"],
        points_sum=document["points_sum"],
        counted=document["counted"],
    )


def _tally_document(tally: Tally) -> Document:
    return {
        "attempt": tally.place,
        "used": tally.used,
        "valid": tally.valid,
        "points_sum": tally.points_sum,
        "counted": tally.counted,
    }


def event_of(document: Document) -> bytes:
    """The event of a document of `submissions`, without where the action came from."""
    if "kind" in document:
        return _amendment(document).event()
    return completed_event(_submission(document), quiz_pb2.Client(), None).SerializeToString()


def _amendment(document: Document) -> Amendment:
    kind = document["kind"]
    return Amendment(
        kind=kind,
        event_id=document["_id"],
        user_id=document["user_id"],
        action_id=document["action_id"].removeprefix(key_of(kind, "")),
        quiz_id=document["quiz_id"],
        tally=_tally(document),
        delta=document["delta"],
        voids=document["voids"],
        actor=document["actor"],
        reason=document["reason"],
        counts_at=document["counts_at"],
        received_at=document["received_at"],
        country=document.get("country", ""),
    )


def _submission(document: Document) -> Submission:
    return Submission(
        event_id=document["_id"],
        user_id=document["user_id"],
        action_id=document["action_id"],
        quiz_id=document["quiz_id"],
        quiz_version=document["quiz_version"],
        payload_digest=document["payload_digest"],
        answers=tuple((question, option) for question, option in document["answers"]),
        marks=Marks(document["points"], document["correct"], document["questions"]),
        tally=_tally(document),
        delta=document["delta"],
        client_time=document["client_time"],
        received_at=document["received_at"],
        country=document["country"],
    )

"""Open attempts in MongoDB: the collection `attempts`, one document each, deleted once the attempt is recorded.

The unique index (user_id, quiz_id, number) decides between concurrent starts. `due_at` is when the server hands an attempt
in, and once an instance has taken it, when another one may. Attempts without an end have no `due_at`, and expire.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from pymongo import ASCENDING, ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from services.quiz.attempts.attempt import MAX_OPEN, Attempt
from services.quiz.attempts.extra_time import ExtraTime
from services.quiz.questions.answers import Answer, answer_in, answer_list
from services.runtime.stores.mongo import long_operation, unavailable_on_failure

MAX_EXPORTED: Final = 1000
Document = dict[str, Any]


class AttemptStore:
    """The open attempts. Every method raises UNAVAILABLE if the database does not respond."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._attempts = database["attempts"]

    async def prepare(self) -> None:
        """Create the indexes. Idempotent."""
        async with unavailable_on_failure():
            await self._attempts.create_index(
                [("user_id", ASCENDING), ("quiz_id", ASCENDING), ("number", ASCENDING)], unique=True
            )
            await self._attempts.create_index("due_at", sparse=True)
            await self._attempts.create_index("expires_at", expireAfterSeconds=0)

    async def add(self, attempt: Attempt) -> bool:
        """Store a new attempt. Return False, and store nothing, if the player already has one with this number."""
        document: Document = {
            "_id": attempt.attempt_id,
            "user_id": attempt.user_id,
            "quiz_id": attempt.quiz_id,
            "version": attempt.version,
            "number": attempt.number,
            "country": attempt.country,
            "started_at": attempt.started_at,
            "deadline": attempt.deadline,
            "accepts_until": attempt.accepts_until,
            "extra_time": attempt.extra_time,
            "answers": {},
        }
        if attempt.accepts_until is None:
            document["expires_at"] = attempt.started_at + MAX_OPEN
        else:
            document["due_at"] = attempt.accepts_until
        async with unavailable_on_failure():
            try:
                await self._attempts.insert_one(document)
            except DuplicateKeyError:
                return False
        return True

    async def open(self, user_id: str, quiz_id: str, number: int) -> Attempt | None:
        """Return the player's attempt with this number at a quiz."""
        async with unavailable_on_failure():
            document = await self._attempts.find_one({"user_id": user_id, "quiz_id": quiz_id, "number": number})
        return None if document is None else _attempt_of(document)

    async def attempts(self, attempt_ids: Collection[str]) -> dict[str, Attempt]:
        """Return the open ones of these attempts, by id."""
        async with unavailable_on_failure():
            documents = await self._attempts.find({"_id": {"$in": list(attempt_ids)}}).to_list()
        return {document["_id"]: _attempt_of(document) for document in documents}

    async def of_player(self, user_id: str) -> list[Attempt]:
        """Return the open attempts of a player, at most 1000."""
        async with unavailable_on_failure():
            return [_attempt_of(each) async for each in self._attempts.find({"user_id": user_id}).limit(MAX_EXPORTED)]

    async def save(
        self, attempt_id: str, user_id: str, answers: Sequence[Answer], cleared: Collection[str], at: datetime
    ) -> Attempt | None:
        """Save and remove answers; return the attempt. Return None, and save nothing, if it accepts no answers at `at`."""
        query = {
            "_id": attempt_id,
            "user_id": user_id,
            "is_over": None,
            "$or": [{"accepts_until": None}, {"accepts_until": {"$gte": at}}],
        }
        given = {answer.question_id: answer_list(answer) for answer in answers}
        update: Document = {}
        if given:
            update["$set"] = {f"answers.{question_id}": answer for question_id, answer in given.items()}
        if removed := [question_id for question_id in cleared if question_id not in given]:
            update["$unset"] = {f"answers.{question_id}": "" for question_id in removed}
        async with unavailable_on_failure():
            if update:
                document = await self._attempts.find_one_and_update(query, update, return_document=ReturnDocument.AFTER)
            else:
                document = await self._attempts.find_one(query)
        return None if document is None else _attempt_of(document)

    async def take_due(self, now: datetime, lease: timedelta) -> Attempt | None:
        """Return an attempt whose time is up, with its last answers; None if there is none.

        It accepts no answers from then on. No other instance takes it before the lease ends.
        """
        return await self._taken({"due_at": {"$lte": now}}, now + lease)

    async def take(self, attempt_id: str, now: datetime, lease: timedelta) -> Attempt | None:
        """Take an attempt whose time is up, as `take_due` does, even if another instance holds the lease."""
        return await self._taken({"_id": attempt_id, "due_at": {"$ne": None}}, now + lease)

    async def next_due(self) -> datetime | None:
        """Return when the next attempt is due."""
        async with unavailable_on_failure():
            document = await self._attempts.find_one(
                {"due_at": {"$ne": None}}, {"due_at": 1}, sort=[("due_at", ASCENDING)]
            )
        return None if document is None else document["due_at"]

    async def overdue(self, at: datetime, lease: timedelta) -> tuple[int, timedelta]:
        """Return how many attempts accept no answers since before `at` and are not handed in, and the age of the oldest."""
        # An instance that has taken one defers when it is due, by a lease.
        query = {"due_at": {"$lte": at + lease}, "accepts_until": {"$lt": at}}
        group = {"$group": {"_id": None, "attempts": {"$sum": 1}, "oldest": {"$min": "$accepts_until"}}}
        async with unavailable_on_failure():
            found = await (await self._attempts.aggregate([{"$match": query}, group])).to_list()
        return (found[0]["attempts"], at - found[0]["oldest"]) if found else (0, timedelta())

    async def shown_versions(self) -> dict[tuple[str, int], int]:
        """Return how many open attempts show each version of a quiz, by quiz and version."""
        group = {"$group": {"_id": {"quiz": "$quiz_id", "version": "$version"}, "attempts": {"$sum": 1}}}
        async with unavailable_on_failure():
            with long_operation():
                found = await (await self._attempts.aggregate([group])).to_list()
        return {(each["_id"]["quiz"], each["_id"]["version"]): each["attempts"] for each in found}

    async def remove(self, attempt_ids: Collection[str]) -> None:
        """Remove attempts that are recorded, or that never will be."""
        async with unavailable_on_failure():
            await self._attempts.delete_many({"_id": {"$in": list(attempt_ids)}})

    async def erase(self, user_id: str) -> None:
        """Remove the attempts of a player."""
        async with unavailable_on_failure():
            await self._attempts.delete_many({"user_id": user_id})

    async def _taken(self, query: Document, until: datetime) -> Attempt | None:
        async with unavailable_on_failure():
            document = await self._attempts.find_one_and_update(
                query,
                {"$set": {"due_at": until, "is_over": True}},
                sort=[("due_at", ASCENDING)],
                return_document=ReturnDocument.AFTER,
            )
        return None if document is None else _attempt_of(document)


def _attempt_of(document: Document) -> Attempt:
    return Attempt(
        attempt_id=document["_id"],
        user_id=document["user_id"],
        quiz_id=document["quiz_id"],
        version=document["version"],
        number=document["number"],
        country=document["country"],
        started_at=document["started_at"],
        deadline=document["deadline"],
        accepts_until=document["accepts_until"],
        extra_time=ExtraTime(document["extra_time"]),
        answers={question_id: answer_in(answer) for question_id, answer in document["answers"].items()},
    )

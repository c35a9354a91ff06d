"""Quizzes in MongoDB.

The collection `quizzes` has one document for each quiz, with its current definition, version and tags, when it was published,
and `archived` if it is not listed; `quiz_versions` has one for each version that was replaced, so that what was judged by it
can be judged again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pymongo
from bson import Binary
from pymongo import ASCENDING, ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError
from topten.quiz.v1 import quiz_pb2

from services.runtime.errors import Reason, ServiceError
from services.runtime.stores.mongo import unavailable_on_failure
from services.runtime.texts import composed

# Short, because the cache may have an entry to serve instead.
READ_SECONDS: Final = 2.0
Document = dict[str, Any]
_LISTED: Final[Document] = {"$unset": {"archived": ""}}


@dataclass(frozen=True, slots=True)
class StoredQuiz:
    """A definition and its version; `replaced_at` is None for the current one. An archived quiz is not listed.

    `published_at` is None for versions that were stored before this time was.
    """

    definition: quiz_pb2.QuizDefinition
    version: int
    published_at: datetime | None = None
    replaced_at: datetime | None = None
    is_archived: bool = False


class QuizStore:
    """The definitions. Every method raises UNAVAILABLE if the database does not respond."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._quizzes = database["quizzes"]
        self._versions = database["quiz_versions"]

    async def prepare(self) -> None:
        """Create the index. Idempotent."""
        async with unavailable_on_failure():
            await self._quizzes.create_index([("tags", ASCENDING), ("_id", ASCENDING)])
            await self._quizzes.create_index([("archived", ASCENDING)], sparse=True)

    async def quiz(self, quiz_id: str) -> StoredQuiz | None:
        """Return the current definition of a quiz."""
        async with unavailable_on_failure():
            with pymongo.timeout(READ_SECONDS):
                document = await self._quizzes.find_one({"_id": quiz_id})
        return None if document is None else _stored(document)

    async def quizzes(self, after: str, limit: int, tag: str) -> tuple[list[StoredQuiz], int]:
        """Return the next `limit` quizzes by id after `after`, and the number of all quizzes with the tag.

        Archived quizzes are left out. An empty tag selects every other quiz; their number is then an estimate.
        """
        selection: Document = {"archived": {"$exists": False}} | ({"tags": composed(tag)} if tag else {})
        async with unavailable_on_failure():
            with pymongo.timeout(READ_SECONDS):
                documents = self._quizzes.find({**selection, "_id": {"$gt": after}}).sort("_id", ASCENDING).limit(limit)
                page = [_stored(document) async for document in documents]
                if tag:
                    total = await self._quizzes.count_documents(selection)
                else:
                    total = await self._quizzes.estimated_document_count()
                    total -= await self._quizzes.count_documents({"archived": True})
        return page, total

    async def current(self, quiz_ids: Collection[str]) -> dict[str, StoredQuiz]:
        """Return those of the quizzes that exist, by id."""
        async with unavailable_on_failure():
            with pymongo.timeout(READ_SECONDS):
                documents = self._quizzes.find({"_id": {"$in": [*quiz_ids]}})
                return {document["_id"]: _stored(document) async for document in documents}

    async def ids(self, after: str, limit: int) -> list[str]:
        """Return the next `limit` ids after `after`, of archived quizzes too."""
        async with unavailable_on_failure():
            with pymongo.timeout(READ_SECONDS):
                documents = self._quizzes.find({"_id": {"$gt": after}}, {"_id": 1}).sort("_id", ASCENDING).limit(limit)
                return [document["_id"] async for document in documents]

    async def archive(self, quiz_id: str) -> None:
        """Take a quiz off the lists, until it is stored again."""
        async with unavailable_on_failure():
            await self._quizzes.update_one({"_id": quiz_id}, {"$set": {"archived": True}})

    async def version(self, quiz_id: str, version: int) -> StoredQuiz | None:
        """Return a version that was replaced."""
        async with unavailable_on_failure():
            with pymongo.timeout(READ_SECONDS):
                document = await self._versions.find_one({"_id": f"{quiz_id}:{version}"})
        return None if document is None else _stored(document)

    async def versions(self, quiz_id: str, numbers: Iterable[int]) -> dict[int, StoredQuiz]:
        """Return those of the versions that were replaced, by number."""
        async with unavailable_on_failure():
            with pymongo.timeout(READ_SECONDS):
                documents = self._versions.find({"_id": {"$in": [f"{quiz_id}:{number}" for number in numbers]}})
                return {document["version"]: _stored(document) async for document in documents}

    async def put_quiz(
        self, definition: quiz_pb2.QuizDefinition, now: datetime, *, expected: int | None = None
    ) -> tuple[int, bool]:
        """Store a definition; return the current version, and whether this call changed it. A replaced one is kept.

        Storing the current definition again changes nothing but that the quiz is listed. Concurrent imports each get a version
        of their own. Raises VERSION_CONFLICT if another version than `expected` would be replaced.
        """
        data = definition.SerializeToString(deterministic=True)
        tags = sorted({*map(composed, definition.tags)})
        async with unavailable_on_failure():
            while True:
                document = await self._quizzes.find_one({"_id": definition.quiz_id})
                if document is not None and bytes(document["definition"]) == data:
                    if "archived" in document:
                        await self._quizzes.update_one({"_id": definition.quiz_id}, _LISTED)
                    return int(document["version"]), False
                version = 1 if document is None else int(document["version"]) + 1
                if expected not in (None, version - 1):
                    raise ServiceError(Reason.VERSION_CONFLICT, "The quiz was changed in the meantime. Read it again.")
                if document is not None:
                    await self._keep(document, now)
                content = {"definition": Binary(data), "version": version, "tags": tags, "published_at": now}
                try:
                    # Replaces only the version that was read.
                    written = await self._quizzes.find_one_and_update(
                        {"_id": definition.quiz_id, "version": version - 1},
                        {"$set": content} | _LISTED,
                        upsert=document is None,
                        return_document=ReturnDocument.AFTER,
                    )
                except DuplicateKeyError:
                    continue
                if written is not None:
                    return version, True

    async def _keep(self, replaced: Document, now: datetime) -> None:
        """Keep a version that is about to be replaced."""
        kept = {name: replaced[name] for name in ("definition", "version", "published_at") if name in replaced}
        content = kept | {"replaced_at": now}
        await self._versions.replace_one({"_id": f"{replaced['_id']}:{replaced['version']}"}, content, upsert=True)


def _stored(document: Document) -> StoredQuiz:
    definition = quiz_pb2.QuizDefinition.FromString(bytes(document["definition"]))
    times = document.get("published_at"), document.get("replaced_at")
    return StoredQuiz(definition, document["version"], *times, "archived" in document)

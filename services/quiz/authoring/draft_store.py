"""Drafts in MongoDB: the collection `quiz_drafts`, a document for each quiz that has authors or unpublished changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pymongo
from pymongo import ASCENDING, ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from services.quiz.authoring.draft import Draft
from services.runtime.stores.mongo import unavailable_on_failure

READ_SECONDS: Final = 2.0
Document = dict[str, Any]


class DraftStore:
    """The drafts. Every method raises UNAVAILABLE if the database does not respond."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._drafts = database["quiz_drafts"]
        self._quizzes = database["quizzes"]

    async def prepare(self) -> None:
        """Create the indexes. Idempotent."""
        async with unavailable_on_failure():
            for field in ("owner", "editors"):
                await self._drafts.create_index([(field, ASCENDING), ("_id", ASCENDING)])

    async def get(self, quiz_id: str) -> Draft | None:
        """Return the stored draft of a quiz; None if there is none."""
        async with unavailable_on_failure():
            with pymongo.timeout(READ_SECONDS):
                document = await self._drafts.find_one({"_id": quiz_id})
        return None if document is None else _draft(document)

    async def page(self, author: str | None, after: str, limit: int, *, edited: bool = True) -> list[Draft]:
        """Return the next `limit` drafts by id after `after`, of one author or, for None, of all.

        Those of an author are the ones they own and, if `edited`, the ones they edit.
        """
        selection: Document = {"_id": {"$gt": after}}
        if author is not None:
            selection["$or"] = [{"owner": author}, *([{"editors": author}] if edited else [])]
        async with unavailable_on_failure():
            with pymongo.timeout(READ_SECONDS):
                documents = self._drafts.find(selection).sort("_id", ASCENDING).limit(limit)
                return [_draft(document) async for document in documents]

    async def owned(self, author: str, limit: int) -> int:
        """Return how many quizzes an author owns, counting up to a limit."""
        async with unavailable_on_failure():
            return await self._drafts.count_documents({"owner": author}, limit=limit)

    async def put(self, draft: Draft, *, expected: int) -> Draft | None:
        """Store a document at the revision after `expected`; return the draft, or None if the stored one is at another.

        `expected` 0 is for a quiz without a stored draft, which then has the authors of `draft`.
        """
        fields = {
            "document": draft.document,
            "title": draft.title,
            "questions": draft.questions,
            "archived": False,
            "changed_at": draft.changed_at,
            "revision": expected + 1,
        }
        authors = {"owner": draft.owner, "editors": [*draft.editors]}
        async with unavailable_on_failure():
            try:
                written = await self._drafts.find_one_and_update(
                    {"_id": draft.quiz_id, "revision": expected},
                    {"$set": fields, "$setOnInsert": authors},
                    upsert=expected == 0,
                    return_document=ReturnDocument.AFTER,
                )
            except DuplicateKeyError:
                return None
        return None if written is None else _draft(written)

    async def share(self, quiz_id: str, owner: str, editors: Sequence[str]) -> None:
        """Set the authors of a quiz. The revision, which is that of the document, stays."""
        await self._set(quiz_id, {"owner": owner, "editors": [*editors]})

    async def archive(self, quiz_id: str) -> None:
        """Mark a quiz that was never published as archived, until a document is stored again."""
        await self._set(quiz_id, {"archived": True})

    async def clear(self, draft: Draft) -> None:
        """Drop a document that is published now, unless it was changed since."""
        async with unavailable_on_failure():
            await self._drafts.update_one(
                {"_id": draft.quiz_id, "revision": draft.revision},
                {"$set": {"document": None, "changed_at": draft.changed_at}},
            )

    async def erase(self, user_id: str) -> int:
        """Remove an erased account from its quizzes, which then belong to the operators; return the number of changes.

        Its quizzes that have no editors and were never published are deleted.
        """
        async with unavailable_on_failure():
            alone = [each["_id"] async for each in self._drafts.find({"owner": user_id, "editors": []}, {"_id": 1})]
            published = [each["_id"] async for each in self._quizzes.find({"_id": {"$in": alone}}, {"_id": 1})]
            unpublished = [*{*alone}.difference(published)]
            deleted = await self._drafts.delete_many({"_id": {"$in": unpublished}, "owner": user_id, "editors": []})
            left = await self._drafts.update_many({"owner": user_id}, {"$set": {"owner": ""}})
            edited = await self._drafts.update_many({"editors": user_id}, {"$pull": {"editors": user_id}})
        return deleted.deleted_count + left.modified_count + edited.modified_count

    async def _set(self, quiz_id: str, fields: Document) -> None:
        defaults: Document = {
            "owner": "",
            "editors": [],
            "document": None,
            "title": "",
            "questions": 0,
            "archived": False,
        }
        new = {"revision": 1, "changed_at": None} | {key: defaults[key] for key in defaults.keys() - fields.keys()}
        async with unavailable_on_failure():
            await self._drafts.update_one({"_id": quiz_id}, {"$set": fields, "$setOnInsert": new}, upsert=True)


def _draft(document: Mapping[str, Any]) -> Draft:
    return Draft(
        quiz_id=document["_id"],
        owner=document["owner"],
        editors=tuple(document["editors"]),
        revision=document["revision"],
        document=document["document"],
        title=document["title"],
        questions=document["questions"],
        archived=document["archived"],
        changed_at=document["changed_at"],
    )

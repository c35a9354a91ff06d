"""Inserting the documents of several players at once, each on its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError

from services.quiz.rooms.documents import Document
from services.runtime.stores.mongo import unavailable_on_failure

_DUPLICATE: Final = 11000


async def insert_each(collection: AsyncCollection[Document], documents: Sequence[Document]) -> set[int]:
    """Insert documents, each on its own; return the indexes of those that a unique index refused.

    Raises UNAVAILABLE if the database does not respond.
    """
    async with unavailable_on_failure():
        try:
            if documents:
                await collection.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            failures = error.details["writeErrors"]
            if error.details["writeConcernErrors"] or any(each["code"] != _DUPLICATE for each in failures):
                raise
            return {each["index"] for each in failures}
    return set()

"""Action types in MongoDB: the collection `action_types`, one document for each with its definition, version and history.

Nothing is cached: a group of actions reads its types once, and an archived type is closed for every instance at once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bson import Binary
from pymongo import ASCENDING, ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError
from topten.action.v1 import action_pb2

from services.quiz.action_types.action_type import ActionType, from_definition
from services.runtime.stores.mongo import unavailable_on_failure

MAX_VERSIONS: Final = 100
Document = dict[str, Any]
_WITHOUT_HISTORY: Final = {"history": 0}


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version of an action type: its number, its definition, who stored it and when."""

    version: int
    definition: action_pb2.ActionType
    actor: str
    stored_at: datetime


class ActionTypeStore:
    """The definitions. Every method raises UNAVAILABLE if the database does not respond."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._action_types = database["action_types"]

    async def current(self, action_type_ids: Collection[str]) -> dict[str, ActionType]:
        """Return those of the action types that exist, by id."""
        async with unavailable_on_failure():
            documents = self._action_types.find({"_id": {"$in": list(action_type_ids)}}, _WITHOUT_HISTORY)
            return {each["_id"]: from_definition(_definition(each), each["version"]) async for each in documents}

    async def versions(self, action_type_id: str) -> list[StoredVersion]:
        """Return the last 100 versions of an action type, newest first; none if it does not exist."""
        async with unavailable_on_failure():
            document = await self._action_types.find_one({"_id": action_type_id})
        if document is None:
            return []
        return [
            StoredVersion(each["version"], _definition(each), each["actor"], each["at"])
            for each in reversed(document["history"])
        ]

    async def page(self, after: str, limit: int) -> list[action_pb2.ActionType]:
        """Return the next `limit` action types by id after `after`."""
        async with unavailable_on_failure():
            documents = self._action_types.find({"_id": {"$gt": after}}, _WITHOUT_HISTORY)
            return [_definition(each) async for each in documents.sort("_id", ASCENDING).limit(limit)]

    async def put(self, definition: action_pb2.ActionType, actor: str, now: datetime) -> tuple[int, bool]:
        """Store a definition; return the current version, and whether this call changed it.

        Storing the current definition again changes nothing. Concurrent calls each get a version of their own.
        """
        data = Binary(definition.SerializeToString(deterministic=True))
        key = definition.action_type_id
        async with unavailable_on_failure():
            while True:
                document = await self._action_types.find_one({"_id": key}, _WITHOUT_HISTORY)
                if document is not None and _definition(document) == definition:
                    return int(document["version"]), False
                version = 1 if document is None else int(document["version"]) + 1
                entry = {"version": version, "definition": data, "actor": actor, "at": now}
                try:
                    # Replaces only the version that was read.
                    written = await self._action_types.find_one_and_update(
                        {"_id": key, "version": version - 1},
                        {
                            "$set": {"version": version, "definition": data},
                            "$push": {"history": {"$each": [entry], "$slice": -MAX_VERSIONS}},
                        },
                        upsert=document is None,
                        projection={"_id": 1},
                        return_document=ReturnDocument.AFTER,
                    )
                except DuplicateKeyError:
                    continue
                if written is not None:
                    return version, True


def _definition(document: Document) -> action_pb2.ActionType:
    return action_pb2.ActionType.FromString(bytes(document["definition"]))

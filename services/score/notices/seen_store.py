"""Up to which revision players have seen notices, in the collection `notices_seen`: {_id: digest of the user id, through}.

The driver's errors are not translated.
"""

from __future__ import annotations

from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase

from services.score.ledger.documents import Document
from services.score.ledger.personal_data_digests import PersonalDataDigests


class SeenStore:
    """The collection, which needs no index of its own."""

    def __init__(self, database: AsyncDatabase[Document], digests: PersonalDataDigests) -> None:
        self._seen = database["notices_seen"]
        self._digests = digests

    async def through(self, user_id: str) -> int:
        """Return the revision; 0 if the player has seen none."""
        document = await self._seen.find_one({"_id": self._digests.chain(user_id)})
        return 0 if document is None else int(document["through"])

    async def raise_to(self, user_id: str, through: int) -> int:
        """Record a revision unless a higher one is recorded, and return the higher of the two."""
        document = await self._seen.find_one_and_update(
            {"_id": self._digests.chain(user_id)},
            {"$max": {"through": through}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return through if document is None else int(document["through"])

    async def erase(self, user_id: str) -> None:
        """Delete what is stored of a player."""
        await self._seen.delete_one({"_id": self._digests.chain(user_id)})

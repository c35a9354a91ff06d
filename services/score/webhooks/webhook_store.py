"""Webhooks in MongoDB.

Owns `webhooks` {_id, owner, name, url, kinds, boards, top, created_at, secret, rotated_at, previous_secret, previous_until}.
A secret signs, so it is stored as it is; it must never be logged or returned twice. The driver's errors are not translated.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from pymongo import ASCENDING, ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from services.score.webhooks.webhook import Webhook

MAX_WEBHOOKS: Final = 1000
Document = dict[str, Any]


class WebhookStore:
    """The collection."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._webhooks = database["webhooks"]

    async def prepare(self) -> None:
        """Create the index. Idempotent."""
        await self._webhooks.create_index([("owner", ASCENDING), ("name", ASCENDING)], unique=True)

    async def find(self, webhook_id: str) -> Webhook | None:
        """Return the webhook."""
        document = await self._webhooks.find_one({"_id": webhook_id})
        return None if document is None else _webhook(document)

    async def all(self, owner: str | None = None) -> list[Webhook]:
        """Return the webhooks of an owner, or all, by owner and name."""
        query = {} if owner is None else {"owner": owner}
        found = self._webhooks.find(query).sort([("owner", ASCENDING), ("name", ASCENDING)]).limit(MAX_WEBHOOKS)
        return [_webhook(document) async for document in found]

    async def of_kinds(self, kinds: Collection[str]) -> list[Webhook]:
        """Return the webhooks that want one of these kinds."""
        return [_webhook(each) async for each in self._webhooks.find({"kinds": {"$in": list(kinds)}})]

    async def add(self, webhook: Webhook) -> bool:
        """Store a new webhook; False if the owner has one with this name."""
        try:
            await self._webhooks.insert_one(_document(webhook))
        except DuplicateKeyError:
            return False
        return True

    async def change(self, webhook: Webhook) -> Webhook | None:
        """Change address, kinds, boards and top; return the webhook, None if it does not exist."""
        document = _document(webhook)
        changed = {field: document[field] for field in ("url", "kinds", "boards", "top")}
        return await self._update(webhook.webhook_id, {"$set": changed})

    async def rotate(self, webhook_id: str, secret: str, *, previous_until: datetime, at: datetime) -> Webhook | None:
        """Replace the secret, and keep the previous one until `previous_until`; None if there is no such webhook."""
        fields = {
            "previous_secret": "$secret",
            "previous_until": previous_until,
            "secret": {"$literal": secret},
            "rotated_at": at,
        }
        return await self._update(webhook_id, [{"$set": fields}])

    async def remove(self, webhook_id: str) -> bool:
        """Remove the webhook; False if there is none."""
        return bool((await self._webhooks.delete_one({"_id": webhook_id})).deleted_count)

    async def _update(self, webhook_id: str, update: Document | list[Document]) -> Webhook | None:
        document = await self._webhooks.find_one_and_update(
            {"_id": webhook_id}, update, return_document=ReturnDocument.AFTER
        )
        return None if document is None else _webhook(document)


def _document(webhook: Webhook) -> Document:
    return {
        "_id": webhook.webhook_id,
        "owner": webhook.owner,
        "name": webhook.name,
        "url": webhook.url,
        "kinds": sorted(webhook.kinds),
        "boards": sorted(webhook.boards),
        "top": webhook.top,
        "created_at": webhook.created_at,
        "secret": webhook.secret,
        "rotated_at": webhook.rotated_at,
        "previous_secret": webhook.previous_secret,
        "previous_until": webhook.previous_until,
    }


def _webhook(document: Document) -> Webhook:
    return Webhook(
        webhook_id=document["_id"],
        owner=document["owner"],
        name=document["name"],
        url=document["url"],
        kinds=frozenset(document["kinds"]),
        boards=frozenset(document["boards"]),
        top=document["top"],
        created_at=document["created_at"],
        secret=document["secret"],
        rotated_at=document["rotated_at"],
        previous_secret=document["previous_secret"],
        previous_until=document["previous_until"],
    )

"""The identity of the data in MongoDB, by which processes notice that the data was replaced.

One document in the deployment's own database names the incarnation and carries a mark that only rises. A lower mark means
that MongoDB was restored to an older moment, or that an old node became primary; another incarnation means that somebody
noticed, or that a backup was put back. Either way everything a process cached is worthless, and whatever it wrote to other
stores may be ahead of the truth.

    incarnation   {_id: "mongo", id, mark, cause, at, replaced_at: [when the data was replaced, the last 100 times]}
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import structlog
from prometheus_client import Counter
from pymongo import AsyncMongoClient, ReturnDocument
from pymongo.errors import DuplicateKeyError, PyMongoError

from services.runtime.errors import ServiceError
from services.runtime.process.periodic import Periodic

EVERY: Final = timedelta(seconds=2)
HEADER: Final = "Topten-Incarnation"
"""The header of a message that names the data on which its event was recorded."""

_ID: Final = "mongo"
_REMEMBERED: Final = 100
_log = structlog.get_logger("incarnation")
changes = Counter(
    "topten_mongo_incarnation_changes_total", "Times this process noticed that MongoDB's data was replaced"
)


class Incarnation(NamedTuple):
    """Which data this is, and how far it has come."""

    id: str
    mark: int


class IncarnationStore:
    """The document in MongoDB. Driver errors pass through."""

    def __init__(self, client: AsyncMongoClient[dict[str, Any]], prefix: str) -> None:
        self._documents = client[prefix]["incarnation"]

    async def current(self) -> Incarnation:
        """Return the incarnation, creating the first one."""
        found = await self._documents.find_one({"_id": _ID})
        if found is None:
            return await self._create("first start")
        return Incarnation(found["id"], found["mark"])

    async def advance(self, known: Incarnation) -> Incarnation:
        """Raise the mark if the data is still `known`; return the incarnation in force, raised or not."""
        found = await self._documents.find_one_and_update(
            {"_id": _ID, "id": known.id, "mark": {"$gte": known.mark}},
            {"$inc": {"mark": 1}},
            return_document=ReturnDocument.AFTER,
        )
        return await self.current() if found is None else Incarnation(found["id"], found["mark"])

    async def replace(self, seen: Incarnation, cause: str, *, above: int = 0) -> Incarnation:
        """Give the data a new identity unless somebody else already did; return the one in force.

        `seen` is the document as it is now. The mark goes on rising, from `above` if that is higher, so that it never repeats
        under any identity.
        """
        found = await self._documents.find_one_and_update(
            {"_id": _ID, "id": seen.id},
            [
                {
                    "$set": {
                        "id": str(uuid.uuid4()),
                        "mark": {"$add": [{"$max": ["$mark", above]}, 1]},
                        "cause": {"$literal": cause},
                        "at": "$$NOW",
                        "replaced_at": {
                            "$slice": [{"$concatArrays": [{"$ifNull": ["$replaced_at", []]}, ["$$NOW"]]}, -_REMEMBERED]
                        },
                    }
                }
            ],
            return_document=ReturnDocument.AFTER,
        )
        return await self.current() if found is None else Incarnation(found["id"], found["mark"])

    async def replacements(self) -> list[datetime]:
        """Return when the data was replaced, as far as it is remembered; by the database server's clock."""
        document = await self._documents.find_one({"_id": _ID}, {"replaced_at": 1}) or {}
        return list(document.get("replaced_at", ()))

    async def _create(self, cause: str) -> Incarnation:
        with suppress(DuplicateKeyError):
            await self._documents.insert_one({"_id": _ID, "id": str(uuid.uuid4()), "mark": 0, "cause": cause})
        return await self.current()


class IncarnationWatch:
    """Notices, within `EVERY` of work, that MongoDB holds other data than before, and calls `actions`, in order. A server.

    An action drops or rebuilds what the process derived from the former data. All are called before the new incarnation counts
    as known, and all again after a failure. Processes that only cache immutable data need no watch.
    """

    def __init__(
        self,
        store: IncarnationStore,
        *actions: Callable[[Incarnation], Awaitable[None]],
        advances: bool = True,
        retry_on: tuple[type[Exception], ...] = (),
    ) -> None:
        """Only score workers advance the mark: while none runs it stands still, for the first that starts to compare.

        `retry_on` are the errors of other stores, after which all actions are called again, as after those of MongoDB.
        """
        self.actions = list(actions)
        self._advances = advances
        self._store = store
        self._known: Incarnation | None = None
        self._adopting = asyncio.Lock()
        errors = (PyMongoError, ServiceError, OSError, *retry_on)
        self._loop = Periodic("incarnation", self.check, every=EVERY, at_rest=5, retry_on=errors, immediately=False)

    async def start(self) -> None:
        """Remember the data of this moment, unless `remember` did, and start looking."""
        if self._known is None:
            await self.remember()
        await self._loop.start()

    async def remember(self) -> None:
        """Remember the data of this moment as the one that everything in memory is built on."""
        self._known = await self._store.current()

    async def stop(self) -> None:
        """Stop looking."""
        await self._loop.stop()

    @property
    def known(self) -> Incarnation:
        """The incarnation that everything in memory was built on."""
        assert self._known is not None, "not started"
        return self._known

    async def check(self) -> None:
        """Look once; if the data was replaced, act on it. Driver errors pass through."""
        async with self._adopting:
            await self._adopt(await (self._store.advance(self.known) if self._advances else self._store.current()))

    async def report(self, cause: str, known: Incarnation) -> None:
        """Report that the data was replaced since `known` although the mark may not show it: an acknowledged row is gone.

        Does nothing if a change since `known` was noticed already.
        """
        async with self._adopting:
            if self.known.id != known.id:
                return
            now = await self._store.current()
            await self._adopt(await self._store.replace(now, cause) if now.id == known.id else now)

    async def _adopt(self, now: Incarnation) -> None:
        known = self.known
        if now.mark < known.mark:  # under whatever identity: one that comes back is of an older moment, too
            now = await self._store.replace(now, "MongoDB went back to an older moment", above=known.mark)
        if now.id != known.id:
            _log.warning("mongodb data replaced", incarnation=now.id, mark=now.mark, known_mark=known.mark)
            changes.inc()
            self._known = now
            try:
                for action in self.actions:
                    await action(now)
            except BaseException:
                self._known = known  # all of them again at the next look
                raise
        self._known = now

"""Follows the definitions of boards that score writes to MongoDB, so that this process serves a new board in seconds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pymongo
import structlog
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from services.boards.catalog import Catalog
from services.boards.definition import DEFINITIONS, from_document
from services.runtime.process.periodic import Periodic

EVERY: Final = timedelta(seconds=1)
_NONE: Final[dict[str, Any]] = {"edition": 0, "numbers": 0, "boards": {}}
_log = structlog.get_logger("definitions")


class Definitions:
    """Keeps `catalog` up to date, and calls `changed` after a change. Without MongoDB it keeps the last definitions."""

    def __init__(
        self,
        database: AsyncDatabase[dict[str, Any]],
        catalog: Catalog,
        changed: Callable[[], None],
        *,
        timeout: timedelta,
    ) -> None:
        self._definitions = database[DEFINITIONS]
        self._catalog = catalog
        self._changed = changed
        self._timeout = timeout.total_seconds()

    def server(self) -> Periodic:
        """Return the server that reads the definitions for as long as the process runs."""
        return Periodic("definitions", self.read, every=EVERY, at_rest=15, retry_on=(PyMongoError,))

    async def read(self) -> None:
        """Read the definitions if they changed, also to none by a restore. Raises PyMongoError."""
        with pymongo.timeout(self._timeout):
            document = await self._definitions.find_one({"_id": DEFINITIONS}, {"edition": 1}) or _NONE
            if self._catalog.is_complete and document["edition"] == self._catalog.edition:
                return
            document = await self._definitions.find_one({"_id": DEFINITIONS}) or _NONE
        boards = [from_document(name, stored) for name, stored in document["boards"].items()]
        self._catalog.update(boards, edition=document["edition"], numbers=document["numbers"])
        _log.info("defined boards changed", edition=self._catalog.edition, boards=len(boards))
        self._changed()

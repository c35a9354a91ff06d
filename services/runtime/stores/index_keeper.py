"""Indexes are looked after for as long as a process lives: one that somebody drops is created again.

What must exist is learned from the databases themselves, once their stores have prepared them, so no index is named twice.
A collection that is gone is forgotten: whether data is missing is for `incarnation` to notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import structlog
from prometheus_client import Gauge
from pymongo import IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure, PyMongoError

from services.runtime.process.periodic import Periodic
from services.runtime.stores.mongo import long_operation

EVERY: Final = timedelta(seconds=15)
STAGED: Final = ".restoring"
"""Suffix of the collections that a restore stages. They belong to nobody until it swaps them."""

# What `list_indexes` tells and `create_indexes` does not take, or takes by another name.
_NOT_OPTIONS: Final = frozenset({"key", "v", "ns", "background"})
_log = structlog.get_logger("indexes")
missing_indexes = Gauge(
    "topten_mongo_indexes_missing", "Indexes that were dropped and that MongoDB refuses to create again"
)

Document = dict[str, Any]
Indexes = dict[str, Mapping[str, Any]]


def index_model(described: Mapping[str, Any]) -> IndexModel:
    """Return what creates an index that MongoDB described."""
    options = {key: value for key, value in described.items() if key not in _NOT_OPTIONS}
    return IndexModel(list(described["key"].items()), **options)


class IndexKeeper:
    """Keeps the indexes of databases. Driver errors pass through, except for a refusal, which is logged and measured."""

    def __init__(self, *databases: AsyncDatabase[Document]) -> None:
        self._databases = databases
        self._known: dict[tuple[str, str], Indexes] = {}

    def server(self) -> Periodic:
        """Return the server that looks at them."""
        return Periodic("indexes", self.look, every=EVERY, at_rest=20, retry_on=(PyMongoError,))

    async def look(self) -> None:
        """Create indexes again that an earlier look has seen and that are gone, and remember new ones."""
        known, refused = dict[tuple[str, str], Indexes](), 0
        for database in self._databases:
            for name in await database.list_collection_names(filter={"type": "collection"}):
                if name.endswith(STAGED):
                    continue
                present: Indexes = {each["name"]: each async for each in await database[name].list_indexes()}
                if not present:
                    continue  # dropped meanwhile: every collection has an index of its ids
                place = database.name, name
                known[place] = self._known.get(place, {}) | present
                gone = [each for each in known[place].values() if each["name"] not in present]
                refused += len(gone) - await self._create_again(database, name, gone)
        self._known = known
        missing_indexes.set(refused)

    async def _create_again(self, database: AsyncDatabase[Document], name: str, gone: list[Mapping[str, Any]]) -> int:
        """Return how many were created."""
        created = 0
        for index in gone:
            facts = {"collection": f"{database.name}.{name}", "index": index["name"]}
            try:
                with long_operation():
                    await database[name].create_indexes([index_model(index)])
            except OperationFailure as error:
                _log.error("index cannot be created again", **facts, reason=str(error.code))
            else:
                _log.warning("index created again", **facts)
                created += 1
        return created

"""Reading one consistent moment of every collection while traffic flows.

All collections are read in one snapshot session (read concern `snapshot`), so they show the same majority-committed
moment, across databases, without stopping a writer. MongoDB keeps that moment readable for
`minSnapshotHistoryWindowInSeconds`, 300 by default; a backup raises the window for its duration.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC
from typing import Any, Final

import pymongo
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from services.cli.backup.archive import ArchiveWriter, BackupError, Collection, Header
from services.runtime.stores.index_keeper import STAGED

DATABASES: Final = ("identity", "quiz", "score", "boards")
"""The databases of a deployment, without its prefix."""

WINDOW: Final = "minSnapshotHistoryWindowInSeconds"
WINDOW_SECONDS: Final = 4 * 3600
BATCH: Final = 2000
NO_TIMEOUT: Final = 0.0
"""For `pymongo.timeout`, where None would mean the client's own timeout."""

_SNAPSHOT_TOO_OLD: Final = 239
Client = AsyncMongoClient[dict[str, Any]]
Progress = Callable[[str, int, int], None]
"""Collection, documents done, estimated documents in all."""


async def write_snapshot(client: Client, prefix: str, writer: ArchiveWriter, progress: Progress) -> dict[str, int]:
    """Write every collection of the deployment and return the number of documents of each.

    Raises BackupError if there is nothing to back up, or if MongoDB could not keep the moment readable for long enough.
    """
    with pymongo.timeout(NO_TIMEOUT):
        collections = await _collections(client, prefix)
        if not collections:
            raise BackupError(
                f"There is no deployment with the prefix {prefix}. Set TOPTEN_MONGO_DATABASE to the prefix of yours."
            )
        sources = [client[f"{prefix}_{each.database}"][each.name] for each in collections]
        total, done = sum([await source.estimated_document_count() for source in sources]), 0
        async with _long_window(client), _readable_moment(), client.start_session(snapshot=True) as session:
            started_at = (await client.admin.command("hello"))["localTime"].replace(tzinfo=UTC)
            writer.header(Header(prefix, started_at))
            for collection, source in zip(collections, sources, strict=True):
                writer.collection(collection)
                progress(collection.path, done, total)
                batches: Any = source.find_raw_batches(session=session, batch_size=BATCH)
                async for batch in batches:  # bytes, whatever the driver's types say
                    done += writer.documents(batch)
                    progress(collection.path, done, max(total, done))
    return writer.end()


@asynccontextmanager
async def _readable_moment() -> AsyncIterator[None]:
    """Raise BackupError if MongoDB drops the moment of the session's snapshot."""
    try:
        yield
    except OperationFailure as error:
        if error.code != _SNAPSHOT_TOO_OLD:
            raise
        raise BackupError(
            f"MongoDB no longer keeps the moment of this backup. Raise its parameter {WINDOW} and try again."
        ) from error


async def _collections(client: Client, prefix: str) -> Sequence[Collection]:
    """All collections with their indexes, in a fixed order."""
    collections = []
    for database, name, options in await live_collections(client, prefix):
        indexes = [dict(one) async for one in await client[f"{prefix}_{database}"][name].list_indexes()]
        collections.append(Collection(database, name, options, [index for index in indexes if index["name"] != "_id_"]))
    return collections


async def live_collections(client: Client, prefix: str) -> Sequence[tuple[str, str, dict[str, Any]]]:
    """Return database without prefix, name and options of every collection, ordered; staged ones are left out."""
    collections = [
        (database, info["name"], dict(info.get("options", {})))
        for database in DATABASES
        async for info in await client[f"{prefix}_{database}"].list_collections(filter={"type": "collection"})
        if not info["name"].startswith("system.") and not info["name"].endswith(STAGED)
    ]
    return sorted(collections, key=lambda collection: collection[:2])


@asynccontextmanager
async def _long_window(client: Client) -> AsyncIterator[None]:
    """Keep old moments readable for hours, where the account may; a managed server has its own window."""
    try:
        before = (await client.admin.command({"getParameter": 1, WINDOW: 1}))[WINDOW]
        if before < WINDOW_SECONDS:
            await client.admin.command({"setParameter": 1, WINDOW: WINDOW_SECONDS})
    except OperationFailure:
        before = WINDOW_SECONDS
    try:
        yield
    finally:
        if before < WINDOW_SECONDS:
            await client.admin.command({"setParameter": 1, WINDOW: before})

"""Putting a backup back: staged beside the live collections, then swapped.

Nothing live changes until every document is staged, every count right and every index built. The swap renames collection
by collection, then gives MongoDB a new incarnation, by which running processes notice: they drop what they cached, rebuild
the boards and publish again what is recorded and not counted. A restore that fails before the swap leaves the live data as
it was; one that dies within it is completed by running it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Any, Final

import pymongo
from pymongo.asynchronous.collection import AsyncCollection

from services.cli.backup.archive import Archive, BackupError, Collection, Header, read
from services.cli.backup.snapshot import DATABASES, NO_TIMEOUT, Client, Progress, live_collections
from services.runtime.stores.incarnation import IncarnationStore
from services.runtime.stores.index_keeper import STAGED, index_model

# Leases name processes of another time.
_LEASES: Final = {"_id": {"$regex": "^lease"}}


async def live_documents(client: Client, prefix: str) -> dict[str, int]:
    """Return how many documents each live collection has, by `database.collection`; empty ones are left out."""
    counts = {
        f"{database}.{name}": await client[f"{prefix}_{database}"][name].estimated_document_count()
        for database, name, _ in await live_collections(client, prefix)
    }
    return {path: count for path, count in counts.items() if count}


async def restore(client: Client, prefix: str, file: IO[bytes], archive: Archive, progress: Progress) -> None:
    """Replace everything of the deployment with the verified backup in `file`, of this or another prefix.

    Raises BackupError if the backup is of another kind of system, or if the staged data differs from it; the live data is
    unchanged then.
    """
    if unknown := {path.partition(".")[0] for path in archive.counts} - set(DATABASES):
        raise BackupError(f"The backup has databases that this version does not know: {', '.join(sorted(unknown))}.")
    with pymongo.timeout(NO_TIMEOUT):
        await discard_staged(client, prefix)
        staged = await _stage(client, prefix, file, archive, progress)
        await _prepare_coordination(client, prefix)
        await _announce_salt(client, prefix)
        incarnations = IncarnationStore(client, prefix)
        cause = f"restored from a backup of {archive.header.started_at:%Y-%m-%d %H:%M:%S} UTC"
        # Before the swap as well: if it dies halfway, processes know that the data is not what it was.
        await incarnations.replace(await incarnations.current(), f"being {cause}")
        await _swap(client, prefix, staged)
        await incarnations.replace(await incarnations.current(), cause)


async def discard_staged(client: Client, prefix: str) -> None:
    """Drop what an interrupted restore left beside the live collections."""
    for database in DATABASES:
        source = client[f"{prefix}_{database}"]
        for name in await source.list_collection_names():
            if name.endswith(STAGED):
                await source.drop_collection(name)


async def _stage(
    client: Client, prefix: str, file: IO[bytes], archive: Archive, progress: Progress
) -> Sequence[Collection]:
    """Write every document, compare the counts, then build the indexes: one of them may expire documents."""
    staged: list[Collection] = []
    total, done = sum(archive.counts.values()), 0
    for part in read(file):
        match part:
            case Header():
                pass
            case Collection():
                await client[f"{prefix}_{part.database}"].create_collection(part.name + STAGED, **part.options)
                staged.append(part)
            case documents if documents:
                await _staged(client, prefix, staged[-1]).insert_many(documents, ordered=False)
                done += len(documents)
                progress(staged[-1].path, done, total)
    for collection in staged:
        count = await _staged(client, prefix, collection).count_documents({})
        if count != archive.counts[collection.path]:
            raise BackupError(
                f"{collection.path} has {count} documents instead of {archive.counts[collection.path]}. "
                "Nothing was replaced; run the restore again."
            )
    for collection in staged:
        if collection.indexes:
            progress(f"indexes of {collection.path}", done, total)
            await _staged(client, prefix, collection).create_indexes(
                [index_model(index) for index in collection.indexes]
            )
    return staged


async def _prepare_coordination(client: Client, prefix: str) -> None:
    """Let no generation of boards come twice, and let the boards count as lost: they are rebuilt from what is restored."""
    database = client[f"{prefix}_score"]
    live = await database["meta"].find_one({"_id": "boards"}) or {}
    meta = database["meta" + STAGED]
    await meta.delete_many(_LEASES)
    await meta.update_one(
        {"_id": "boards"},
        [
            {"$set": {"generation": {"$max": ["$generation", int(live.get("generation", 0))]}, "completed": 0}},
            {"$set": {"run_id": "", "marks": []}},
        ],
    )


async def _announce_salt(client: Client, prefix: str) -> None:
    """Let no process write rows that were made with the salt of the former data into a ledger that is swapped in.

    Coordination is swapped last, so the salt of the former data says which one follows. A backup without a salt has no
    ledger; the salt in force goes on with it.
    """
    database = client[f"{prefix}_score"]
    live, staged = database["meta"], database["meta" + STAGED]
    if (following := await staged.find_one({"_id": "salt"})) is not None:
        value = following["value"]
        announced = {"$set": {"replaced_by": value}, "$setOnInsert": {"value": value}}
        await live.update_one({"_id": "salt"}, announced, upsert=True)
    elif (current := await live.find_one({"_id": "salt"})) is not None:
        await staged.insert_one(current)


async def _swap(client: Client, prefix: str, staged: Sequence[Collection]) -> None:
    # Coordination last: processes that look at it find the rest in place.
    for collection in sorted(staged, key=lambda c: c.path == "score.meta"):
        await _staged(client, prefix, collection).rename(collection.name, dropTarget=True)
    restored = {(collection.database, collection.name) for collection in staged}
    for database, name, _ in await live_collections(client, prefix):
        if (database, name) not in restored:
            await client[f"{prefix}_{database}"].drop_collection(name)


def _staged(client: Client, prefix: str, collection: Collection) -> AsyncCollection[Any]:
    return client[f"{prefix}_{collection.database}"][collection.name + STAGED]

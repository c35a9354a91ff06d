"""The score database in MongoDB: `ledger` and `players` (folds), and with them `audit` (origins of actions).

A row is in the ledger when a majority of the replica set has it in its journal. Everything is read from the primary with
read concern majority, so nothing that a decision is based on can be rolled back. The driver's errors are not translated;
`ack_policy` decides what they mean for an event.

Rows and folds are written on top of what was read before. Their writes take the identity of the data of that time, and fail
with CollectionReplacedError if the collection was replaced since.

Players are found by the digest of their id. Methods take and return user ids even where the documents contain the
pseudonym of an erased player.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from enum import Enum
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import structlog
from bson.datetime_ms import DatetimeMS
from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import CollectionInvalid
from pymongo.read_concern import ReadConcern

from services.runtime.stores.data_identity import DataIdentity
from services.runtime.stores.mongo import SCAN, every_document, long_operation
from services.runtime.stores.same_data import SameData
from services.score.coordination_store import CoordinationStore
from services.score.errors import RetryableError, UnprocessableError
from services.score.ledger.documents import (
    MS_DATES,
    Document,
    fold_document,
    fold_of,
    fold_update,
    row_document,
    row_of,
)
from services.score.ledger.folds.fold import Fold, apply, empty_fold
from services.score.ledger.origins import Origins
from services.score.ledger.personal_data_digests import PersonalDataDigests
from services.score.ledger.rows import AMENDING_KINDS, EVENTLESS_KINDS, Row
from services.score.ledger.shown_rows import ShownRows
from services.score.ledger.totals import NO_TOTAL, Total

_DUPLICATE = 11000
# The server refuses one document: too large, invalid, a key it cannot index, a value it cannot store.
_DOCUMENT_REFUSED = frozenset({2, 14, 121, 10334, 17280})
_PLAYERS_PER_QUERY = 100
_AMENDING: Document = {"kind": {"$in": sorted(AMENDING_KINDS)}}
_log = structlog.get_logger("ledger")


class InsertResult(Enum):
    """The result of inserting one row."""

    INSERTED = "inserted"
    DUPLICATE_EVENT = "the event is already counted"
    REVISION_TAKEN = "another row has its revision"
    NOT_TRIED = "an earlier row of an ordered insert failed"


class CountedEvent(NamedTuple):
    """The part of an event's row that boards and `score.events` need.

    `may_lower` is whether the total of its quiz may be less than before, or reached later; unknown, and therefore true, of a
    row that is not new.
    """

    user_id: str
    revision: int
    total: int
    moved_from: str
    may_lower: bool = True


class EventKey(NamedTuple):
    """An event in the ledger: when it counts, and when its row was recorded."""

    event_id: str
    user_id: str
    kind: str
    at: int
    recorded_at: int


class ScoreStore:
    """The collections. Times passed in and returned are milliseconds since 1970."""

    def __init__(self, database: AsyncDatabase[Document], digests: PersonalDataDigests) -> None:
        self.digests = digests
        self._database = database
        self._ledger = database["ledger"].with_options(MS_DATES)
        self._players = database["players"].with_options(MS_DATES)
        self.shown_rows = ShownRows(self._ledger, digests)
        self.origins = Origins(database)
        self._same_data = SameData(database, "ledger", "players")

    @property
    def identity(self) -> DataIdentity:
        """Which data is read, as of the last `prepare`. Take it before what a write is based on."""
        return self._same_data.identity

    async def prepare(self, audit_ttl: timedelta) -> None:
        """Create the indexes and note which collections they are on.

        Idempotent; a different `audit_ttl` changes how long origins are kept. Raises OtherSaltError if the digests are not of
        this data; nothing can be written to it then.
        """
        if "players" not in await self._database.list_collection_names():
            with suppress(CollectionInvalid):  # created meanwhile
                await self._database.create_collection("players")
        await self._ledger.create_index([("chain", ASCENDING), ("revision", ASCENDING)], unique=True)
        await self._ledger.create_index("recorded_at")
        newest_first = [("chain", ASCENDING), ("revision", DESCENDING)]
        await self._ledger.create_index(newest_first, partialFilterExpression=_AMENDING)
        await self.shown_rows.prepare()
        await self._players.create_index("complete_through")
        await self.origins.prepare(audit_ttl)
        await self._same_data.identify(partial(CoordinationStore(self._database).require_salt, self.digests.salt))

    # Ledger

    async def counted_events(self, event_ids: Collection[str]) -> dict[str, CountedEvent]:
        """Return those of the events that are in the ledger."""
        fields = {"user_id": 1, "revision": 1, "total": 1, "moved_from": 1}
        return {
            document["_id"]: CountedEvent(
                document["user_id"], document["revision"], document["total"][0], document.get("moved_from", "")
            )
            async for document in self._ledger.find({"_id": {"$in": list(event_ids)}}, fields)
        }

    async def insert(
        self, rows: Sequence[Row], identity: DataIdentity, *, in_order: bool = False
    ) -> list[InsertResult]:
        """Insert rows, made from data of this identity, and return the result of each.

        Without `in_order`, at most one row per player. With it, rows after the first failure are not tried. Raises the
        driver's error if the outcome is unknown, when any of the rows may have been written, CollectionReplacedError, and
        UnprocessableError if the server refuses the content of a row.
        """
        results = [InsertResult.INSERTED] * len(rows)
        documents = list(map(row_document, rows))
        reply = await self._same_data.write("insert", "ledger", identity, documents=documents, ordered=in_order)
        for failure in reply.get("writeErrors", ()):
            index: int = failure["index"]
            results[index] = _insert_result(failure)
            if in_order:
                results[index + 1 :] = [InsertResult.NOT_TRIED] * (len(rows) - index - 1)
        return results

    async def remove(self, rows: Iterable[Row]) -> None:
        """Remove rows that were inserted just now on top of rows which the ledger does not have."""
        await self._ledger.delete_many({"$or": [{"_id": row.event_id, "hash": row.hash} for row in rows]})

    async def without_last_row(self, folds: Iterable[Fold]) -> set[str]:
        """Return the players whose fold ends with a row that the ledger does not have."""
        expected = {fold.event_id: fold for fold in folds if fold.revision}
        missing = expected.keys() - await self._present(expected, "majority")
        if missing:
            # A primary that was just elected may not know yet that acknowledged rows are committed.
            missing -= await self._present({event_id: expected[event_id] for event_id in missing}, "linearizable")
        return {expected[event_id].user_id for event_id in missing}

    async def _present(self, expected: Mapping[str, Fold], level: str) -> set[str]:
        """Return the events whose row is the last one of their fold, by one read at this level of read concern.

        The hash of a row never changes, so a linearizable read is as good for many of them as for one.
        """
        if not expected:
            return set()
        ledger = self._ledger.with_options(read_concern=ReadConcern(level))
        documents = ledger.find({"_id": {"$in": list(expected)}}, {"hash": 1}, batch_size=len(expected) + 1)
        return {document["_id"] async for document in documents if document["hash"] == expected[document["_id"]].hash}

    async def chain_ends(self) -> AsyncIterator[tuple[str, int]]:
        """Yield the player and the last revision of every chain."""
        first = {name: {"$first": f"${name}"} for name in ("user_id", "revision")}
        ends: list[Document] = [{"$sort": {"chain": -1, "revision": -1}}, {"$group": {"_id": "$chain", **first}}]
        with long_operation():
            found = await self._ledger.aggregate(ends)
        async for document in found:
            yield document["user_id"], document["revision"]

    async def rows_after(self, revisions: Mapping[str, int]) -> AsyncIterator[Row]:
        """Yield the rows of these players after the given revision of each; a player's rows in order."""
        players = {self.digests.chain(user_id): (user_id, revision) for user_id, revision in revisions.items()}
        for start in range(0, len(players), _PLAYERS_PER_QUERY):
            page = dict(islice(players.items(), start, start + _PLAYERS_PER_QUERY))
            whole: Document = {"chain": {"$in": [chain for chain, (_, after) in page.items() if not after]}}
            tails = [{"chain": chain, "revision": {"$gt": after}} for chain, (_, after) in page.items() if after]
            found = self._ledger.find({"$or": [*tails, whole]}).sort([("chain", ASCENDING), ("revision", ASCENDING)])
            async for document in every_document(found):
                yield row_of(document)._replace(user_id=page[document["chain"]][0])

    async def rows_before(self, user_id: str, revision: int, limit: int, *, without: str = "") -> list[Row]:
        """Return up to `limit` rows of a player below a revision, newest first, without those of a kind."""
        query: Document = {"chain": self.digests.chain(user_id), "revision": {"$lt": revision}}
        if without:
            query["kind"] = {"$ne": without}
        documents = self._ledger.find(query).sort("revision", DESCENDING).limit(limit)
        return [row_of(document) async for document in documents]

    async def amendments_after(self, user_id: str, revision: int, limit: int) -> list[Row]:
        """Return up to `limit` rows above a revision, newest first, by which others changed the player's total."""
        query = {"chain": self.digests.chain(user_id), "revision": {"$gt": revision}, "delta": {"$ne": 0}, **_AMENDING}
        documents = self._ledger.find(query).sort("revision", DESCENDING).limit(limit)
        return [row_of(document) async for document in documents]

    async def row(self, event_id: str) -> Row | None:
        """Return the row of an event; None if it is not counted."""
        document = await self._ledger.find_one({"_id": event_id})
        return None if document is None else row_of(document)

    async def rows_of_period(
        self, starts_at: int, ends_at: int, margin: timedelta, user_id: str = ""
    ) -> AsyncIterator[Row]:
        """Yield the rows of events in [starts_at, ends_at), in any order; only a player's if given.

        Reads the rows that were recorded since `margin` before the start, for clocks that differ.
        """
        query: Document = {"at": {"$gte": DatetimeMS(starts_at), "$lt": DatetimeMS(ends_at)}}
        if user_id:
            query["chain"] = self.digests.chain(user_id)
        else:
            query["recorded_at"] = {"$gte": DatetimeMS(starts_at - int(margin.total_seconds() * 1000))}
        query["kind"] = {"$nin": list(EVENTLESS_KINDS)}
        async for document in every_document(self._ledger.find(query), within=SCAN):
            yield row_of(document)

    async def rows_since(self, recorded_at: int, *, without: str = "") -> AsyncIterator[Row]:
        """Yield every row of now that was recorded since, oldest first, without a kind; rows made meanwhile may be missing."""
        last = await self._ledger.find_one({}, {"recorded_at": 1}, sort=[("recorded_at", DESCENDING)])
        if last is None:
            return
        query: Document = {"recorded_at": {"$gte": DatetimeMS(recorded_at), "$lte": last["recorded_at"]}}
        if without:
            query["kind"] = {"$ne": without}
        found = self._ledger.find(query).sort("recorded_at", ASCENDING)
        async for document in every_document(found, within=SCAN if without else None):
            yield row_of(document)

    async def chains(self) -> AsyncIterator[Row]:
        """Yield every row, by chain and revision."""
        found = self._ledger.find({}).sort([("chain", ASCENDING), ("revision", ASCENDING)])
        async for document in every_document(found):
            yield row_of(document)

    async def event_keys(self) -> AsyncIterator[EventKey]:
        """Yield every event; rows that a repair wrote have none."""
        events = {"kind": {"$nin": list(EVENTLESS_KINDS)}}
        fields = {"user_id": 1, "kind": 1, "at": 1, "recorded_at": 1}
        async for document in every_document(self._ledger.find(events, fields)):
            at, recorded_at = int(document["at"]), int(document["recorded_at"])
            yield EventKey(document["_id"], document["user_id"], document["kind"], at, recorded_at)

    async def counted_ids(self, event_ids: Collection[str]) -> set[str]:
        """Return those of the events that are in the ledger. Reads no rows, only their index."""
        return {document["_id"] async for document in self._ledger.find({"_id": {"$in": list(event_ids)}}, {"_id": 1})}

    async def deltas(self, event_ids: Collection[str]) -> dict[str, tuple[str, int]]:
        """Return player and delta of those of the events that are in the ledger."""
        documents = self._ledger.find({"_id": {"$in": list(event_ids)}}, {"user_id": 1, "delta": 1})
        return {document["_id"]: (document["user_id"], document["delta"]) async for document in documents}

    async def last_total(self, user_id: str) -> tuple[int, Total]:
        """Return revision and all-time total of a player's last row; revision 0 without rows."""
        last = await self._ledger.find_one({"chain": self.digests.chain(user_id)}, sort=[("revision", DESCENDING)])
        return (0, NO_TOTAL) if last is None else (last["revision"], Total(last["total"]))

    async def count(self) -> tuple[int, int]:
        """Return the approximate number of rows and players."""
        return await self._ledger.estimated_document_count(), await self._players.estimated_document_count()

    # Folds

    def empty_fold(self, user_id: str) -> Fold:
        """Return the fold of a player without rows."""
        return empty_fold(user_id, self.digests.chain(user_id))

    async def folds(self, user_ids: Collection[str]) -> dict[str, Fold]:
        """Return the stored folds of these players."""
        by_chain = {self.digests.chain(user_id): user_id for user_id in user_ids}
        documents = self._players.find({"_id": {"$in": list(by_chain)}})
        folds = [fold_of(document) async for document in documents]
        return {by_chain[fold.chain]: fold._replace(user_id=by_chain[fold.chain]) for fold in folds}

    async def current_folds(self, user_ids: Collection[str]) -> dict[str, Fold]:
        """Return the folds of these players, including every row that the ledger has now. Nothing is written.

        A chain with a gap is followed up to the gap, which is logged; a verification reports it.
        """
        stored = await self.folds(user_ids)
        folds = {user_id: stored.get(user_id) or self.empty_fold(user_id) for user_id in user_ids}
        broken: set[str] = set()
        async for row in self.rows_after({user_id: fold.revision for user_id, fold in folds.items()}):
            if row.user_id not in broken:
                try:
                    folds[row.user_id] = apply(folds[row.user_id], row)
                except ValueError as error:
                    broken.add(row.user_id)
                    _log.error("chain broken", user_id=row.user_id, reason=str(error))
        return folds

    async def all_folds(self, *, in_order: bool = False) -> AsyncIterator[Fold]:
        """Yield every stored fold, by chain if `in_order`."""
        found = self._players.find({})
        async for document in every_document(found.sort("_id", ASCENDING) if in_order else found):
            yield fold_of(document)

    async def players_without_counters(self, known: int, limit: int = 0) -> AsyncIterator[tuple[str, int]]:
        """Yield the players whose stored fold lacks a counter up to this number, and its revision; erased ones need none."""
        query = {"complete_through": {"$not": {"$gte": known}}, "erased": False}
        async for document in every_document(self._players.find(query, {"user_id": 1, "revision": 1}, limit=limit)):
            yield document["user_id"], document["revision"]

    async def write_folds(self, folds: Sequence[tuple[Fold, int]], identity: DataIdentity) -> set[str]:
        """Replace stored folds, each only if its stored revision is the one given with it (0: not stored yet).

        Return the players whose stored revision was another one; their folds are unchanged. Raises CollectionReplacedError.
        """
        new = [fold for fold, revision in folds if not revision]
        changed = [(fold, revision) for fold, revision in folds if revision]
        if new:
            inserts = list(map(fold_document, new))
            reply = await self._same_data.write("insert", "players", identity, documents=inserts, ordered=False)
            # Another worker's, or one without rows: it stays where a chain is gone.
            changed += [(new[index], 0) for index in _taken(reply)]
        if changed:
            updates = [fold_update(*each) for each in changed]
            reply = await self._same_data.write("update", "players", identity, updates=updates, ordered=False)
            if _taken(reply) or reply["nModified"] < len(changed):
                return await self._stored_otherwise([fold for fold, _ in changed])
        return set()

    async def _stored_otherwise(self, folds: Sequence[Fold]) -> set[str]:
        """Return the players whose stored fold is not this one."""
        documents = self._players.find({"_id": {"$in": [fold.chain for fold in folds]}}, {"hash": 1})
        hashes = {document["_id"]: document["hash"] async for document in documents}
        return {fold.user_id for fold in folds if hashes.get(fold.chain) != fold.hash}

    async def replace_folds(self, folds: Sequence[Fold], identity: DataIdentity) -> None:
        """Replace stored folds, whatever their revision. Raises CollectionReplacedError."""
        updates = [{"q": {"_id": fold.chain}, "u": fold_document(fold), "upsert": True} for fold in folds]
        if updates and _taken(
            await self._same_data.write("update", "players", identity, updates=updates, ordered=False)
        ):
            raise RetryableError("A fold was not written.")

    # Personal data

    async def erase_names(self, user_id: str, pseudonym: str) -> None:
        """Replace the player's id in their rows and remove the texts that are hashed as digests. The chain stays valid."""
        chain = self.digests.chain(user_id)
        # In this order: a verification does not expect the texts where there is a pseudonym.
        await self._ledger.update_many({"chain": chain, "user_id": user_id}, {"$set": {"user_id": pseudonym}})
        await self._ledger.update_many(
            {"chain": chain, "change": {"$exists": True}}, {"$set": {"change.0": "", "change.1": ""}}
        )
        # The last member, which actions of a type alone have.
        await self._ledger.update_many({"chain": chain, "change.7": {"$exists": True}}, {"$set": {"change.7": ""}})


def _insert_result(failure: Mapping[str, Any]) -> InsertResult:
    code = failure["code"]
    if code == _DUPLICATE:
        is_event = "_id" in failure.get("keyPattern", {})
        return InsertResult.DUPLICATE_EVENT if is_event else InsertResult.REVISION_TAKEN
    if code in _DOCUMENT_REFUSED:
        raise UnprocessableError(f"The ledger refused the row with code {code}.")
    raise RetryableError(f"Inserting the row failed with code {code}.")


def _taken(reply: Mapping[str, Any]) -> list[int]:
    """Return which of the written folds were already there. Raises RetryableError for any other failure."""
    failures = reply.get("writeErrors", ())
    if any(failure["code"] != _DUPLICATE for failure in failures):
        raise RetryableError("A fold was not written.")
    return [failure["index"] for failure in failures]

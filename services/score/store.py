"""The score database in MongoDB: `ledger`, `players`, `audit`.

Owns what an answer of the driver means. A row is in the ledger when a majority has it in its journal; everything is read
from the primary with read concern majority, so nothing that is acted on can be rolled back. Errors of the driver pass
as they are: `answers` tells what they mean for an event.

Players are found by the digest of their id, whatever they are called: what is asked for under a user id is answered under
it, also when the documents have a pseudonym in its place.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from enum import Enum
from typing import Any, NamedTuple

import structlog
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from pymongo import ASCENDING, DESCENDING, ReplaceOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, OperationFailure, WriteConcernError

from services.score.answers import LaterError, NeverError
from services.score.documents import Document, fold_document, fold_of, row_document, row_of
from services.score.ledger import Event, Fold, Origin, Row, Total, apply, unscored
from services.score.seals import Seals
from services.score.standings import time_of

_DUPLICATE = 11000
_DURABLE = {"w": "majority", "j": True}
# Refusals of one document by the server: too large, not valid, a key it can't index, a value it can't keep.
_DOCUMENT_REFUSED = frozenset({2, 14, 121, 10334, 17280})
_INDEX_OPTIONS_CONFLICT = 85
_PLAYERS_A_QUERY = 100
_log = structlog.get_logger("ledger")


class Fate(Enum):
    """What became of a row that was to be inserted."""

    INSERTED = "inserted"
    COUNTED = "counted before"
    CONFLICT = "another row has its revision"
    NOT_TRIED = "a row before it failed"


class Known(NamedTuple):
    """A row of the ledger, as much as an event counted before needs."""

    user_id: str
    revision: int
    total: int
    moved_from: str


class ScoreStore:
    """The collections. Dates are milliseconds; times handed in and out are those of `ledger`."""

    def __init__(self, database: AsyncDatabase[Document], seals: Seals) -> None:
        self.seals = seals
        options: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
        self._database = database
        self._ledger = database["ledger"].with_options(options)
        self._players = database["players"].with_options(options)
        self._audit = database["audit"]

    async def prepare(self, audit_ttl: timedelta) -> None:
        """Makes the indexes; making them again changes nothing but the time that `audit` keeps."""
        await self._ledger.create_index([("chain", ASCENDING), ("revision", ASCENDING)], unique=True)
        await self._ledger.create_index("recorded_at")
        await self._audit.create_index("user_id")
        seconds = int(audit_ttl.total_seconds())
        try:
            await self._audit.create_index("at", expireAfterSeconds=seconds)
        except OperationFailure as error:
            if error.code != _INDEX_OPTIONS_CONFLICT:
                raise
            index = {"keyPattern": {"at": 1}, "expireAfterSeconds": seconds}
            await self._database.command({"collMod": "audit", "index": index})

    # The ledger.

    async def known(self, event_ids: Collection[str]) -> dict[str, Known]:
        """Which of the events are in the ledger."""
        fields = {"user_id": 1, "revision": 1, "total": 1, "moved_from": 1}
        return {
            document["_id"]: Known(
                document["user_id"], document["revision"], document["total"][0], document.get("moved_from", "")
            )
            async for document in self._ledger.find({"_id": {"$in": list(event_ids)}}, fields)
        }

    async def insert(self, rows: Sequence[Row], *, in_order: bool = False) -> list[Fate]:
        """Inserts rows and tells of each what became of it.

        Without `in_order` one row a player at most. With it nothing is tried after the first that fails. Raises a
        driver's error where the outcome is unknown, some rows having been written or not; NeverError if the server refuses
        a row for what it holds.
        """
        fates = [Fate.INSERTED] * len(rows)
        for failure in await self._insert("ledger", list(map(row_document, rows)), in_order=in_order):
            index: int = failure["index"]
            fates[index] = _fate(failure)
            if in_order:
                fates[index + 1 :] = [Fate.NOT_TRIED] * (len(rows) - index - 1)
        return fates

    async def rows_after(self, revisions: Mapping[str, int]) -> AsyncIterator[Row]:
        """The rows of these players after the revision that is given for each; a player's rows in their order."""
        players = list(revisions.items())
        for start in range(0, len(players), _PLAYERS_A_QUERY):
            page = players[start : start + _PLAYERS_A_QUERY]
            names = {self.seals.chain(user_id): user_id for user_id, _ in page}
            query = {
                "$or": [
                    {"chain": self.seals.chain(user_id), "revision": {"$gt": revision}} for user_id, revision in page
                ]
            }
            async for document in self._ledger.find(query).sort([("chain", ASCENDING), ("revision", ASCENDING)]):
                yield row_of(document)._replace(user_id=names[document["chain"]])

    async def rows_since(self, recorded_at: int) -> AsyncIterator[Row]:
        """Everything that was recorded since, oldest first."""
        query = {"recorded_at": {"$gte": DatetimeMS(recorded_at)}}
        async for document in self._ledger.find(query).sort("recorded_at", ASCENDING):
            yield row_of(document)

    async def chains(self) -> AsyncIterator[Row]:
        """Every row, by chain and revision."""
        async for document in self._ledger.find({}).sort([("chain", ASCENDING), ("revision", ASCENDING)]):
            yield row_of(document)

    async def counted(self) -> AsyncIterator[tuple[str, str, str]]:
        """Id, player and kind of every event."""
        async for document in self._ledger.find({}, {"user_id": 1, "kind": 1}, batch_size=1000):
            yield document["_id"], document["user_id"], document["kind"]

    async def last_total(self, user_id: str) -> tuple[int, Total]:
        """Revision and all-time total of a player's last row; revision 0 if he has none."""
        last = await self._ledger.find_one({"chain": self.seals.chain(user_id)}, sort=[("revision", DESCENDING)])
        return (0, Total(0, 0)) if last is None else (last["revision"], Total(*last["total"]))

    async def count(self) -> tuple[int, int]:
        """About how many rows and players there are."""
        return await self._ledger.estimated_document_count(), await self._players.estimated_document_count()

    # The folds.

    async def folds(self, user_ids: Collection[str]) -> dict[str, Fold]:
        """The folds that are written of these players."""
        names = {self.seals.chain(user_id): user_id for user_id in user_ids}
        found = self._players.find({"_id": {"$in": list(names)}})
        folds = [fold_of(document) async for document in found]
        return {names[fold.chain]: fold._replace(user_id=names[fold.chain]) for fold in folds}

    def unscored(self, user_id: str) -> Fold:
        """The fold of a player without a row."""
        return unscored(user_id, self.seals.chain(user_id))

    async def exact_folds(self, user_ids: Collection[str]) -> dict[str, Fold]:
        """The folds of these players with everything that the ledger has at this moment; nothing is written.

        A player whose chain has a gap stands where the gap is: that is logged, and the check of the ledger names it.
        """
        written = await self.folds(user_ids)
        folds = {user_id: written.get(user_id) or self.unscored(user_id) for user_id in user_ids}
        broken: set[str] = set()
        async for row in self.rows_after({user_id: fold.revision for user_id, fold in folds.items()}):
            if row.user_id not in broken:
                try:
                    folds[row.user_id] = apply(folds[row.user_id], row)
                except ValueError as error:
                    broken.add(row.user_id)
                    _log.error("a chain is broken", user_id=row.user_id, reason=str(error))
        return folds

    async def all_folds(self, *, in_order: bool = False) -> AsyncIterator[Fold]:
        """Every fold that is written; by chain if `in_order`."""
        found = self._players.find({}, batch_size=1000)
        async for document in found.sort("_id", ASCENDING) if in_order else found:
            yield fold_of(document)

    async def write_folds(self, folds: Sequence[tuple[Fold, int]]) -> set[str]:
        """Replaces folds, each only if what is written has exactly the revision beside it (0: none is).

        Returns the players whose fold was another one and stays as it is.
        """
        if not folds:
            return set()
        # A filter that fails becomes an insert, and that a duplicate key.
        writes = [
            ReplaceOne({"_id": fold.chain, "revision": written}, fold_document(fold), upsert=True)
            for fold, written in folds
        ]
        try:
            await self._players.bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            failures = error.details["writeErrors"]
            if error.details["writeConcernErrors"] or any(failure["code"] != _DUPLICATE for failure in failures):
                raise
            return {folds[failure["index"]][0].user_id for failure in failures}
        return set()

    async def replace_fold(self, fold: Fold) -> None:
        """Writes a fold over whatever is written."""
        await self._players.replace_one({"_id": fold.chain}, fold_document(fold), upsert=True)

    async def rows_before(self, user_id: str, revision: int, limit: int) -> list[Row]:
        """Up to `limit` rows of a player below a revision, the newest first."""
        query = {"chain": self.seals.chain(user_id), "revision": {"$lt": revision}}
        found = self._ledger.find(query).sort("revision", DESCENDING).limit(limit)
        return [row_of(document) async for document in found]

    async def deltas(self, event_ids: Collection[str]) -> dict[str, tuple[str, int]]:
        """Player and delta of those of the events that are in the ledger."""
        found = self._ledger.find({"_id": {"$in": list(event_ids)}}, {"user_id": 1, "delta": 1})
        return {document["_id"]: (document["user_id"], document["delta"]) async for document in found}

    # What lies beside.

    async def origins(self, event_ids: Sequence[str]) -> dict[str, Origin]:
        """Where these actions came from, as far as `audit` still has it."""
        found = self._audit.find({"_id": {"$in": list(event_ids)}}, {"ip": 1, "user_agent": 1})
        return {document["_id"]: Origin(document["ip"], document["user_agent"]) async for document in found}

    async def audit(self, events: Iterable[Event]) -> None:
        """Records where actions came from, for as long as `audit` keeps it. The same event again changes nothing."""
        documents = [
            {
                "_id": event.event_id,
                "user_id": event.user_id,
                "ip": event.ip,
                "user_agent": event.user_agent,
                "at": time_of(event.at),
            }
            for event in events
            if event.ip or event.user_agent
        ]
        if not documents:
            return
        failures = await self._insert("audit", documents)
        if any(failure["code"] != _DUPLICATE for failure in failures):
            raise LaterError("the audit log refuses an entry")

    async def forget_origins(self, user_id: str) -> None:
        """Nothing in `audit` is about the player any more."""
        await self._audit.delete_many({"user_id": user_id})

    # Who is erased.

    async def rename(self, user_id: str, pseudonym: str) -> None:
        """Takes the player's id from his rows, and the words that are hashed as digests. The chain holds as before."""
        chain = self.seals.chain(user_id)
        # In this order: words are not missed where there is a pseudonym.
        await self._ledger.update_many({"chain": chain, "user_id": user_id}, {"$set": {"user_id": pseudonym}})
        await self._ledger.update_many(
            {"chain": chain, "change": {"$exists": True}}, {"$set": {"change.0": "", "change.1": ""}}
        )

    async def _insert(self, name: str, documents: list[Document], *, in_order: bool = False) -> list[Mapping[str, Any]]:
        """Inserts documents and returns what failed, each with its index. Raises where the outcome is unknown.

        As a command of its own: `insert_many` looks at every document several times, and the one thing that it does
        besides, trying again after a lost connection, is done here by beginning anew.
        """
        answer = await self._database.command(
            "insert", name, documents=documents, ordered=in_order, writeConcern=_DURABLE
        )
        if "writeConcernError" in answer:
            failure = answer["writeConcernError"]
            raise WriteConcernError(failure.get("errmsg", ""), failure.get("code"), failure)
        failures: list[Mapping[str, Any]] = answer.get("writeErrors", [])
        return failures


def _fate(failure: Mapping[str, Any]) -> Fate:
    code = failure["code"]
    if code == _DUPLICATE:
        return Fate.COUNTED if "_id" in failure.get("keyPattern", {}) else Fate.CONFLICT
    if code in _DOCUMENT_REFUSED:
        raise NeverError(f"the ledger refuses the row (code {code})")
    raise LaterError(f"a row failed with code {code}")

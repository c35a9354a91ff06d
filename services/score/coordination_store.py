"""What all workers must agree on, in the collection `meta`: boards, leases, the salt, and how far folds are written.

Times are the database server's, so that no worker's clock decides about a lease, or about what is over: `now`.

    boards            {generation: the highest ever started, completed: the one in force, run_id, evicted: of the Redis
                      that holds it, marks, built: {generation, boards: those that it was built for, null if workers did
                      not agree on them, encoding, new_since: see BoardState}, declared: the boards that the operator
                      wants, encoding: the one that workers agreed on, closed_through: periods that ended by then are
                      closed, made: see record_rebuild}
    lease             {holder, expires_at}: the worker that rebuilds boards
    lease:closing     {holder, expires_at}: the worker that archives closed periods
    lease:building    {holder, expires_at}: the worker that builds defined boards
    lease:reconciliation  {holder, expires_at}: the worker that compares recorded events with the ledger
    reconciled        {incarnation, stream, counted_before}: of the last comparison
    salt              {value}: of the digests in rows, created once; {replaced_by}: the one of the data that a restore swaps in
    worker:<id>       {flushed_to, beat_at, boards, edition, closed_through, encoding, encodes}: every row that this worker
                      stamped before `flushed_to` is in the folds; all its writes are under this declaration and edition of
                      boards, these closed periods and this encoding. `encodes` is the highest encoding that it knows; an
                      earlier version, which knows only the first, has neither
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from pymongo import ASCENDING, ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from services.boards.encoding import ENCODING
from services.boards.former_encoding import FORMER_ENCODING
from services.runtime.stores.data_identity import DataIdentity
from services.runtime.stores.same_data import CollectionReplacedError, SameData
from services.score.errors import OtherSaltError

Document = dict[str, Any]
REBUILD_LEASE, CLOSING_LEASE, RECONCILIATION_LEASE = "lease", "lease:closing", "lease:reconciliation"
BUILDING_LEASE = "lease:building"
_BOARDS, _SALT, _RECONCILED = "boards", "salt", "reconciled"
_WORKER = "worker:"


class BoardState(NamedTuple):
    """The boards in force. Generation 0 is none; periods that ended at or before `closed_through` are closed.

    `run_id` and `evicted` describe the Redis that held the boards when they were rebuilt. `marks` are the keys, one on each
    of its servers, that hold the generation while that server has lost nothing. `declared` is the operator's declaration,
    and `built_for` the one that the boards in force were built for, None if workers did not agree on it then. `encoding`
    is the one that workers agreed on, and `built_encoding` the one of the boards in force. `new_since`: boards that were
    created by rows stamped since then may lack the generation; None if all have it.
    """

    completed: int
    run_id: str
    evicted: int
    marks: tuple[str, ...]
    built_for: str | None
    declared: str
    closed_through: int
    encoding: int
    built_encoding: int
    new_since: int | None


class Reconciled(NamedTuple):
    """The last comparison of recorded events: MongoDB's incarnation, the stream's creation time, both empty if there is none.

    Every event made before `counted_before` is counted or a dead letter.
    """

    incarnation: str
    stream: str
    counted_before: int


class WorkerState(NamedTuple):
    """How far a worker's rows are in the folds, and what it writes under.

    `boards`, `edition` and `encoding` are None until it reports them; `encodes` is the highest encoding that it knows.
    `silent` means that its last report is too old.
    """

    worker_id: str
    flushed_to: int
    silent: bool
    boards: str | None
    edition: int | None
    closed_through: int
    encoding: int | None
    encodes: int

    @property
    def adopted(self) -> tuple[str | None, int | None, int, int | None]:
        """What `record_adoption` recorded last, in the order of its arguments."""
        return self.boards, self.edition, self.closed_through, self.encoding


class CoordinationStore:
    """The collection. The driver's errors are not translated."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        options: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
        self._meta = database["meta"].with_options(options)
        self._same_data = SameData(database, "meta")

    @property
    def identity(self) -> DataIdentity:
        """Which data is read, as of the last `prepare`."""
        return self._same_data.identity

    async def prepare(self) -> None:
        """Note which collection is read. Call it after `salt`, which creates it, and when MongoDB's data was replaced."""
        await self._same_data.identify()

    async def now(self) -> datetime:
        """Return the time of the database server: a worker whose clock is wrong must end nothing for the others."""
        time: datetime = (await self._meta.database.command("hello"))["localTime"]
        return time.replace(tzinfo=UTC)

    async def salt(self) -> bytes:
        """Return the salt of digests. It is created on first use and never changes.

        Raises OtherSaltError while a restore swaps in data that has another one.
        """
        # Another worker may create it at the same moment.
        with suppress(DuplicateKeyError):
            await self._meta.update_one(
                {"_id": _SALT}, {"$setOnInsert": {"value": secrets.token_bytes(32)}}, upsert=True
            )
        document = await self._meta.find_one({"_id": _SALT})
        assert document is not None
        salt = bytes(document["value"])
        if document.get("replaced_by", salt) != salt:
            raise OtherSaltError("A restore is under way. If it was interrupted, run it again.")
        return salt

    async def require_salt(self, salt: bytes) -> None:
        """Raise OtherSaltError if the data has another salt, or is about to have."""
        document = await self._meta.find_one({"_id": _SALT}) or {}
        if document.get("replaced_by", document.get("value")) != salt:
            raise OtherSaltError("The data has another salt: in it, chains have other names.")

    async def boards(self) -> BoardState:
        """Return the boards in force."""
        document = await self._meta.find_one({"_id": _BOARDS}) or {}
        completed = document.get("completed", 0)
        built = document.get("built", {})
        if built.get("generation") != completed:  # an earlier version built these boards
            built = {"boards": document.get("made", ""), "encoding": FORMER_ENCODING}
        return BoardState(
            completed=completed,
            run_id=document.get("run_id", ""),
            evicted=document.get("evicted", 0),
            marks=tuple(document.get("marks", ())),
            built_for=built["boards"],
            declared=document.get("declared", ""),
            closed_through=int(document.get("closed_through", 0)),
            encoding=document.get("encoding", FORMER_ENCODING),
            built_encoding=built["encoding"],
            new_since=int(built["new_since"]) if "new_since" in built else None,
        )

    async def declare(self, boards: str) -> None:
        """Set the operator's declaration of boards, for every worker."""
        await self._meta.update_one({"_id": _BOARDS}, {"$set": {"declared": boards}}, upsert=True)

    async def agreed_boards(self, worker_id: str, workers: Sequence[WorkerState]) -> BoardState:
        """Return the boards in force, with the encoding that all workers write: the highest that each of those knows.

        `workers` are those of now, of whom the silent do not count. `worker_id` is the caller, who need not have reported.
        """
        others = [each.encodes for each in workers if each.worker_id != worker_id and not each.silent]
        encoding = min(ENCODING, *others) if others else ENCODING
        boards = await self.boards()
        if boards.encoding != encoding:
            await self._meta.update_one({"_id": _BOARDS}, {"$set": {"encoding": encoding}}, upsert=True)
        return boards._replace(encoding=encoding)

    async def next_generation(self, former: int) -> int:
        """Return a generation number that was never used before, even if MongoDB or Redis lost the last one.

        The time in seconds, or one more than the last generation, whichever is greater. `former` is the last one that Redis
        knows: MongoDB may have gone back within a second.
        """
        following = {"$add": [{"$max": ["$generation", former]}, 1]}
        seconds = {"$toLong": {"$divide": [{"$toLong": "$$NOW"}, 1000]}}
        document = await self._meta.find_one_and_update(
            {"_id": _BOARDS},
            [{"$set": {"generation": {"$max": [following, seconds]}}}],
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        assert document is not None
        return int(document["generation"])

    async def record_rebuild(
        self,
        generation: int,
        run_id: str,
        evicted: int,
        marks: Sequence[str],
        built_for: str | None,
        encoding: int,
        new_since: int,
    ) -> None:
        """Put the boards of a finished rebuild in force. For the arguments, see BoardState.

        `made` is what an earlier version compares: if that returns, it builds boards again whose encoding it does not know.
        """
        since = DatetimeMS(new_since)
        built = {"generation": generation, "boards": built_for, "encoding": encoding, "new_since": since}
        made = built_for if encoding == FORMER_ENCODING else None
        state = {
            "completed": generation,
            "run_id": run_id,
            "evicted": evicted,
            "marks": marks,
            "made": made,
            "built": built,
        }
        await self._meta.update_one({"_id": _BOARDS}, {"$set": state})

    async def record_new_boards(self, generation: int) -> None:
        """Record that all boards have the generation of the rebuild that put it in force."""
        query = {"_id": _BOARDS, "built.generation": generation}
        await self._meta.update_one(query, {"$unset": {"built.new_since": ""}})

    async def close_periods(self, through: int) -> None:
        """Close every period that ended at or before `through`, for every worker. A closed period never reopens."""
        await self._meta.update_one({"_id": _BOARDS}, {"$max": {"closed_through": DatetimeMS(through)}}, upsert=True)

    async def take_lease(self, holder: str, duration: timedelta, name: str = REBUILD_LEASE) -> bool:
        """Take or renew a lease for `duration`. Return False while another worker holds it."""
        milliseconds = int(duration.total_seconds() * 1000)
        # A lease that was never taken has no time, which compares as earlier than any.
        free = {"$or": [{"$eq": ["$holder", holder]}, {"$lt": ["$expires_at", "$$NOW"]}]}
        take: list[dict[str, Any]] = [
            {"$set": {"free": free}},
            {
                "$set": {
                    "holder": {"$cond": ["$free", holder, "$holder"]},
                    "expires_at": {"$cond": ["$free", {"$add": ["$$NOW", milliseconds]}, "$expires_at"]},
                }
            },
            {"$unset": "free"},
        ]
        try:
            document = await self._meta.find_one_and_update(
                {"_id": name}, take, upsert=True, return_document=ReturnDocument.AFTER
            )
        except DuplicateKeyError:
            return False
        return document is not None and document["holder"] == holder

    async def release_lease(self, holder: str, name: str = REBUILD_LEASE) -> None:
        """Release a lease, if this worker holds it."""
        await self._meta.delete_one({"_id": name, "holder": holder})

    async def reconciled(self) -> Reconciled:
        """Return the last comparison of recorded events with the ledger."""
        document = await self._meta.find_one({"_id": _RECONCILED})
        if document is None:
            return Reconciled("", "", 0)
        return Reconciled(document["incarnation"], document["stream"], int(document["counted_before"]))

    async def record_reconciled(self, reconciled: Reconciled, identity: DataIdentity) -> bool:
        """Record a comparison that read data of this identity. Returns False, and changes nothing, if it is other data now.

        Otherwise what the new data lacks would count as compared.
        """
        if identity.primary != self.identity.primary:
            return False
        fields = reconciled._asdict() | {"counted_before": DatetimeMS(reconciled.counted_before)}
        update = {"q": {"_id": _RECONCILED}, "u": {"$set": fields}, "upsert": True}
        try:
            await self._same_data.write("update", "meta", identity, updates=[update])
        except CollectionReplacedError:
            return False
        return True

    async def record_flush(self, worker_id: str, flushed_to: int, recorded: Sequence[int]) -> bool:
        """Record that every row the worker stamped before `flushed_to` is in the folds, and that the worker is alive.

        `recorded` is what the worker may have recorded last. Returns False, and changes nothing, if another time is
        recorded: the document is of another moment than the worker's last write.
        """
        state = [{"$set": {"flushed_to": DatetimeMS(flushed_to), "beat_at": "$$NOW", "encodes": ENCODING}}]
        last = {"$in": [DatetimeMS(time) for time in recorded]}
        try:
            await self._meta.update_one({"_id": f"{_WORKER}{worker_id}", "flushed_to": last}, state, upsert=True)
        except DuplicateKeyError:
            return False
        return True

    async def worker_flushed_to(self, worker_id: str) -> int | None:
        """Return the time that is recorded for a worker; None if there is none."""
        document = await self._meta.find_one({"_id": f"{_WORKER}{worker_id}"}, {"flushed_to": 1})
        return None if document is None else int(document["flushed_to"])

    async def record_adoption(
        self, worker_id: str, boards: str, edition: int, closed_through: int, encoding: int
    ) -> None:
        """Record that every write of the worker, from now on, is under these boards, closed periods and encoding."""
        adopted = {
            "boards": boards,
            "edition": edition,
            "closed_through": DatetimeMS(closed_through),
            "encoding": encoding,
        }
        await self._meta.update_one({"_id": f"{_WORKER}{worker_id}"}, {"$set": adopted})

    async def all_adopted(self, boards: str, silence: timedelta) -> bool:
        """Return whether every worker that reported within `silence` has adopted this declaration."""
        return all(worker.silent or worker.boards == boards for worker in await self.workers(silence))

    async def all_defined(self, edition: int, silence: timedelta) -> bool:
        """Return whether every worker that reported within `silence` writes the boards of this edition or a later one."""
        return all(worker.silent or (worker.edition or 0) >= edition for worker in await self.workers(silence))

    async def all_encode(self, encoding: int, silence: timedelta) -> bool:
        """Return whether every worker that reported within `silence` writes this encoding."""
        return all(worker.silent or worker.encoding == encoding for worker in await self.workers(silence))

    async def all_closed(self, through: int, silence: timedelta) -> bool:
        """Return whether no worker that reported within `silence` still writes to a period that ended by `through`."""
        return all(worker.silent or worker.closed_through >= through for worker in await self.workers(silence))

    async def workers(self, silence: timedelta) -> Sequence[WorkerState]:
        """Return all workers with rows that may not be in the folds. One silent for `silence` is probably dead."""
        silent = {"$lt": ["$beat_at", {"$subtract": ["$$NOW", int(silence.total_seconds() * 1000)]}]}
        fields = dict.fromkeys(("flushed_to", "boards", "edition", "closed_through", "encoding", "encodes"), 1)
        documents = self._meta.find({"_id": {"$regex": f"^{_WORKER}"}}, {**fields, "silent": silent})
        return [
            WorkerState(
                document["_id"].removeprefix(_WORKER),
                int(document["flushed_to"]),
                document["silent"],
                document.get("boards"),
                document.get("edition"),
                int(document.get("closed_through", 0)),
                document.get("encoding", None if "encodes" in document else FORMER_ENCODING),
                document.get("encodes", FORMER_ENCODING),
            )
            async for document in documents
        ]

    async def flushed_to(self) -> int | None:
        """Return the time before which every row of every worker is in the folds; None if all rows are."""
        first = await self._meta.find_one({"_id": {"$regex": f"^{_WORKER}"}}, sort=[("flushed_to", ASCENDING)])
        return None if first is None else int(first["flushed_to"])

    async def remove_worker(self, worker_id: str, flushed_to: int) -> None:
        """Remove a worker whose rows are all in the folds, unless it has flushed since `flushed_to` was read."""
        await self._meta.delete_one({"_id": f"{_WORKER}{worker_id}", "flushed_to": DatetimeMS(flushed_to)})

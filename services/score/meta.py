"""What all workers must agree on, in the collection `meta`: generation, lease, salt, and how far folds are written.

Time here is the database server's, so that no worker's clock decides about a lease.

    boards            {generation: the highest ever begun, completed: the one in force, run_id, evicted: of the Redis it is
                      in, made: the operator's boards in it, null if workers did not agree on them when they were made,
                      declared: those that are wanted, closed_through: periods that ended then or before are closed}
    lease             {holder, expires_at}: who makes boards at this moment
    lease:closing     {holder, expires_at}: who keeps the boards of closed periods
    salt              {value}: of the digests in rows, made once
    worker:<id>       {flushed_to, beat_at, boards, closed_through}: every row that this worker stamped before `flushed_to`
                      is in the folds; everything that it writes is placed on these of the operator's boards, and
                      counts in no period that is closed
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, NamedTuple

from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from pymongo import ASCENDING, ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

Document = dict[str, Any]
REBUILDING, CLOSING = "lease", "lease:closing"
_BOARDS, _SALT = "boards", "salt"
_WORKER = "worker:"


class Boards(NamedTuple):
    """Which boards are in force; generation 0 is none.

    `evicted` is how many keys their Redis had evicted when they began. `marks` are the keys, one on each server then, that
    hold the generation for as long as that server has forgotten nothing. `made` says which declared boards are among them,
    None if that is not certain; `declared` which should be. Periods that ended at `closed_through` or before are closed.
    """

    completed: int
    run_id: str
    evicted: int
    marks: tuple[str, ...]
    made: str | None
    declared: str
    closed_through: int


class WorkerState(NamedTuple):
    """How far a worker's rows are in the folds, and the terms under which it writes; `boards` is None until it says so.

    `silent` says that it has not been heard of for long.
    """

    worker_id: str
    flushed_to: int
    silent: bool
    boards: str | None
    closed_through: int


class Meta:
    """The collection. Errors of the driver pass as they are."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        options: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
        self._meta = database["meta"].with_options(options)

    async def salt(self) -> bytes:
        """The salt of digests; the same for every worker and for ever."""
        # Another worker may make it at the same moment.
        with suppress(DuplicateKeyError):
            await self._meta.update_one(
                {"_id": _SALT}, {"$setOnInsert": {"value": secrets.token_bytes(32)}}, upsert=True
            )
        found = await self._meta.find_one({"_id": _SALT})
        assert found is not None
        return bytes(found["value"])

    async def boards(self) -> Boards:
        """Which boards are in force."""
        found = await self._meta.find_one({"_id": _BOARDS}) or {}
        return Boards(
            completed=found.get("completed", 0),
            run_id=found.get("run_id", ""),
            evicted=found.get("evicted", 0),
            marks=tuple(found.get("marks", ())),
            made=found.get("made", ""),
            declared=found.get("declared", ""),
            closed_through=int(found.get("closed_through", 0)),
        )

    async def declare(self, declared: str) -> None:
        """The operator's boards are these from now on, for every worker."""
        await self._meta.update_one({"_id": _BOARDS}, {"$set": {"declared": declared}}, upsert=True)

    async def next_generation(self) -> int:
        """A generation that was never begun before."""
        found = await self._meta.find_one_and_update(
            {"_id": _BOARDS}, {"$inc": {"generation": 1}}, upsert=True, return_document=ReturnDocument.AFTER
        )
        assert found is not None
        return int(found["generation"])

    async def complete(
        self, generation: int, run_id: str, evicted: int, marks: Sequence[str], made: str | None
    ) -> None:
        """The boards of `generation` are whole, in the Redis with this run id, which had evicted so many keys before."""
        state = {"completed": generation, "run_id": run_id, "evicted": evicted, "marks": marks, "made": made}
        await self._meta.update_one({"_id": _BOARDS}, {"$set": state})

    async def take_lease(self, holder: str, length: timedelta, name: str = REBUILDING) -> bool:
        """True if `holder` has the lease from now on for `length`, newly or again; False while another has it."""
        milliseconds = int(length.total_seconds() * 1000)
        # A lease that was never taken has no time, which is before any.
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
            found = await self._meta.find_one_and_update(
                {"_id": name}, take, upsert=True, return_document=ReturnDocument.AFTER
            )
        except DuplicateKeyError:
            return False
        return found is not None and found["holder"] == holder

    async def leave_lease(self, holder: str, name: str = REBUILDING) -> None:
        """Another may have the lease."""
        await self._meta.delete_one({"_id": name, "holder": holder})

    async def flushed(self, worker_id: str, flushed_to: int) -> None:
        """Every row that the worker stamped before `flushed_to` is in the folds."""
        state = [{"$set": {"flushed_to": DatetimeMS(flushed_to), "beat_at": "$$NOW"}}]
        await self._meta.update_one({"_id": f"{_WORKER}{worker_id}"}, state, upsert=True)

    async def close(self, through: int) -> None:
        """Periods that ended at `through` or before are closed, for every worker; nothing opens one again."""
        await self._meta.update_one({"_id": _BOARDS}, {"$max": {"closed_through": DatetimeMS(through)}}, upsert=True)

    async def adopted(self, worker_id: str, boards: str, closed_through: int) -> None:
        """Everything that the worker writes from now on is under these terms."""
        terms = {"boards": boards, "closed_through": DatetimeMS(closed_through)}
        await self._meta.update_one({"_id": f"{_WORKER}{worker_id}"}, {"$set": terms})

    async def agreed(self, boards: str, silence: timedelta) -> bool:
        """True if all workers that were heard of within `silence` have adopted these boards."""
        return all(worker.silent or worker.boards == boards for worker in await self.workers(silence))

    async def all_closed(self, through: int, silence: timedelta) -> bool:
        """True if nobody who was heard of within `silence` writes to a period that ended at `through` or before."""
        return all(worker.silent or worker.closed_through >= through for worker in await self.workers(silence))

    async def workers(self, silence: timedelta) -> Sequence[WorkerState]:
        """All workers whose rows may not be in the folds; one not heard of for `silence` is probably dead."""
        silent = {"$lt": ["$beat_at", {"$subtract": ["$$NOW", int(silence.total_seconds() * 1000)]}]}
        found = self._meta.find(
            {"_id": {"$regex": f"^{_WORKER}"}}, {"flushed_to": 1, "boards": 1, "closed_through": 1, "silent": silent}
        )
        return [
            WorkerState(
                document["_id"].removeprefix(_WORKER),
                int(document["flushed_to"]),
                document["silent"],
                document.get("boards"),
                int(document.get("closed_through", 0)),
            )
            async for document in found
        ]

    async def flushed_to(self) -> int | None:
        """Every row stamped before this, by whatever worker, is in the folds; None if all are."""
        found = await self._meta.find_one({"_id": {"$regex": f"^{_WORKER}"}}, sort=[("flushed_to", ASCENDING)])
        return None if found is None else int(found["flushed_to"])

    async def forget_worker(self, worker: WorkerState) -> None:
        """The worker's rows are in the folds; unless it has been heard of since, it is forgotten."""
        await self._meta.delete_one(
            {"_id": f"{_WORKER}{worker.worker_id}", "flushed_to": DatetimeMS(worker.flushed_to)}
        )

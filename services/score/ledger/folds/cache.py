"""The players' folds: a bounded cache of those in use, written behind the ledger.

Owns the collection `players` while the process runs. A cached fold is always a true prefix of its player's chain: it comes
from `players`, from a majority read of the ledger, or from an acknowledged insert. Rows that other workers added since are
noticed by a conflict of revisions. A stored fold is never replaced by an older one: a write replaces exactly the revision
that was read, and a worker that loses reads the ledger's tail and tries again. A fold that is not stored yet is never
evicted.

If MongoDB is restored to an older moment, cached folds are of other data than the ledger. That is noticed before anything
is written on top of them: the collection has another UUID, the last row of a fold is missing, or `flushed_to` is not what
this worker recorded. Then everything cached is dropped, and stored folds are corrected from the ledger. Every write has a
*basis*, which is taken before the first read that it depends on.

`flushed_to` makes folds good for more than speed: every row that this worker stamped before it is in `players`, so `players`
and the rows that any worker stamped since are the whole ledger. Inserts in progress hold it back.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import NamedTuple, NoReturn

import structlog

from services.runtime.pages import pages
from services.runtime.stores.data_identity import DataIdentity
from services.runtime.stores.incarnation import Incarnation, IncarnationWatch
from services.runtime.stores.same_data import CollectionReplacedError
from services.score.coordination_store import CoordinationStore
from services.score.errors import ReplacedDataError, RetryableError
from services.score.ledger.folds.fold import Fold, apply
from services.score.ledger.rows import Row
from services.score.ledger.store import InsertResult, ScoreStore
from services.score.metrics import FOLDS_WRITTEN

# How far the clocks of two workers may differ, and how long after its stamp a row may be inserted.
MARGIN = timedelta(seconds=30)
# A worker that has not reported for this long is taken over.
SILENCE = timedelta(seconds=20)
_PAGE = 1000
_ATTEMPTS = 20
_log = structlog.get_logger("fold")


class Basis(NamedTuple):
    """The data that something was read from: MongoDB's incarnation, and the identity of the collections."""

    incarnation: Incarnation
    identity: DataIdentity


class _Entry:
    """A cached fold and the revision that is stored."""

    __slots__ = ("fold", "stored_revision")

    def __init__(self, fold: Fold, stored_revision: int) -> None:
        self.fold = fold
        self.stored_revision = stored_revision


class FoldCache:
    """Use from one event loop. `now` returns milliseconds; the driver's errors are not translated."""

    def __init__(
        self,
        store: ScoreStore,
        coordination: CoordinationStore,
        incarnation: IncarnationWatch,
        worker_id: str,
        *,
        limit: int,
        now: Callable[[], int],
    ) -> None:
        self._store = store
        self._coordination = coordination
        self._incarnation = incarnation
        self._worker_id = worker_id
        self._limit = limit
        self._now = now
        # Not a cachetools cache: eviction has to skip entries that are not stored yet, and may exceed the limit for them.
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._dirty: set[str] = set()
        self._suspect: set[str] = set()
        self._inserts_since: list[int] = []
        self._flushing = asyncio.Lock()
        # What the document of this worker may say: the last time that was acknowledged, and those tried since.
        self._recorded: list[int] = []
        self._is_other_data = False
        self._read_from: Basis | None = None

    def basis(self) -> Basis:
        """Return what everything that is read from now on, cached folds included, is based on."""
        now = self._store.identity
        if self._read_from is None:
            self._read_from = Basis(self._incarnation.known, now)
        incarnation, identity = self._read_from
        return Basis(incarnation, identity._replace(primary=now.primary))

    @property
    def over_capacity(self) -> bool:
        """Whether so many folds are waiting to be written that the cache should be flushed now."""
        return len(self._entries) > 2 * self._limit

    @contextmanager
    def inserting(self) -> Iterator[None]:
        """Hold `flushed_to` back while rows are inserted within the block.

        If the block raises, the ledger may have rows that this process does not know of. `flushed_to` then stays put for
        the life of the process, and the worker that takes over reads the ledger from there.
        """
        since = self._now()
        self._inserts_since.append(since)
        yield
        self._inserts_since.remove(since)

    async def load(self, user_ids: Collection[str]) -> dict[str, Fold]:
        """Return the folds of these players, from memory where possible. Suspect ones are refreshed first."""
        folds: dict[str, Fold] = {}
        missing: list[str] = []
        entries = self._entries  # this one even if everything is dropped meanwhile
        for user_id in user_ids:
            entry = entries.get(user_id)
            if entry is None:
                missing.append(user_id)
            else:
                entries.move_to_end(user_id)
                folds[user_id] = entry.fold
        if missing:
            stored = await self._store.folds(missing)
            for user_id in missing:
                fold = stored.get(user_id) or self._store.empty_fold(user_id)
                # Another task may have cached a newer one meanwhile.
                entry = entries.setdefault(user_id, _Entry(fold, fold.revision))
                folds[user_id] = entry.fold
        if self._suspect and not self._suspect.isdisjoint(user_ids):
            folds |= await self.refresh(self._suspect.intersection(user_ids))
        return folds

    async def refresh(self, user_ids: Collection[str]) -> dict[str, Fold]:
        """Return the folds of these players, including every row that the ledger has now."""
        self._suspect.difference_update(user_ids)
        entries, basis = self._entries, self.basis()
        folds = await self.load(user_ids)
        async for row in self._store.rows_after({user_id: fold.revision for user_id, fold in folds.items()}):
            try:
                folds[row.user_id] = apply(folds[row.user_id], row)
            except ValueError:
                await self.require_last_rows([folds[row.user_id]], basis)  # no gap if the fold is of other data
                raise
        if entries is not self._entries:
            raise ReplacedDataError("everything cached was dropped")
        for fold in folds.values():
            self.put(fold)
        return folds

    async def require_last_rows(self, folds: Iterable[Fold], basis: Basis) -> None:
        """Raise ReplacedDataError unless the ledger has the last row of each fold.

        Before that, the change of the data is reported to every process, and the stored folds are corrected.
        """
        gone = await self._store.without_last_row(folds)
        if gone:
            await self._start_over(gone, basis)

    async def insert(self, rows: Sequence[Row], basis: Basis, *, in_order: bool = False) -> list[InsertResult]:
        """Insert rows as `ScoreStore.insert` does. Raises ReplacedDataError if MongoDB's data is no longer that of `basis`."""
        async with self._on(basis):
            results = await self._store.insert(rows, basis.identity, in_order=in_order)
        if basis.incarnation.id != self.basis().incarnation.id:
            raise ReplacedDataError("everything cached was dropped during an insert")
        return results

    async def confirm_insert(self, rows: Sequence[Row], folds: Sequence[Fold], basis: Basis) -> None:
        """Call after `rows` were inserted on top of `folds`, whose last rows were required before.

        If another primary, or another run of it, took the rows, the former ones may not be there. Then the rows are removed,
        and ReplacedDataError is raised as by `require_last_rows`.
        """
        if self._store.identity.primary == basis.identity.primary:
            return
        gone = await self._store.without_last_row(folds)
        if gone:
            await self._store.remove([row for row in rows if row.user_id in gone])
            await self._start_over(gone, basis)

    async def forget(self, incarnation: Incarnation) -> None:
        """Drop everything cached, what is not stored yet included: it describes other data than MongoDB holds now.

        Call it after the store was prepared for the new data.
        """
        self._entries, self._dirty, self._suspect = OrderedDict(), set(), set()
        self._is_other_data = True
        self._read_from = Basis(incarnation, self._store.identity)

    async def correct_stored(self) -> int:
        """Make every stored fold the one of its chain. Return how many were not. For data of another moment."""
        corrected = 0
        async for folds in pages(self._store.all_folds(), _PAGE):
            corrected += await self._correct_ahead(folds)
        async for ends in pages(self._store.chain_ends(), _PAGE):
            corrected += await self._catch_up_behind(dict(ends))
        return corrected

    def put(self, fold: Fold) -> None:
        """Cache a fold whose last row is in the ledger, to be stored soon. One older than the cached fold is ignored."""
        entry = self._entries.get(fold.user_id)
        if entry is None:
            # Evicted meanwhile. The stored revision is a guess; if it is wrong, the write fails and catches up.
            entry = self._entries[fold.user_id] = _Entry(fold, fold.revision - 1)
        elif fold.revision > entry.fold.revision:
            entry.fold = fold
        if entry.fold.revision > entry.stored_revision:
            self._dirty.add(fold.user_id)

    def suspect(self, user_ids: Iterable[str]) -> None:
        """Read the ledger before these players' folds are used again: it may have rows that were not acknowledged."""
        self._suspect.update(user_ids)

    async def flush(self) -> int:
        """Store changed folds, evict down to the limit, and advance and return `flushed_to`.

        Raises ReplacedDataError if MongoDB holds other data than this process knows; nothing is stored then.
        """
        async with self._flushing:
            if self._is_other_data:
                await self._catch_up_own()
            basis = self.basis()
            # Taken first: rows that are put from here on have a later stamp, or hold it back.
            flushed_to = min(self._inserts_since, default=self._now())
            entries, dirty = self._entries, self._dirty  # these even if everything is dropped meanwhile
            changed = list(dirty)
            for start in range(0, len(changed), _PAGE):
                await self._write(changed[start : start + _PAGE], entries, dirty, basis)
            if entries is not self._entries:
                raise ReplacedDataError("everything cached was dropped during a flush")
            FOLDS_WRITTEN.inc(len(changed))
            self._recorded.append(flushed_to)
            if not await self._coordination.record_flush(self._worker_id, flushed_to, self._recorded):
                await self._incarnation.report("a worker's last report is not the one that it made", basis.incarnation)
                raise ReplacedDataError("flushed_to is of another moment")
            self._recorded = [flushed_to]
            self._evict()
        return flushed_to

    async def close(self) -> None:
        """Flush for the last time. If no outcome is unknown, remove this worker from the coordination store."""
        try:
            flushed_to = await self.flush()
        except ReplacedDataError:
            flushed_to = await self.flush()  # of the new data, nothing is cached
        if not self._inserts_since and not self._dirty:
            await self._coordination.remove_worker(self._worker_id, flushed_to)

    async def take_over_silent_workers(self) -> None:
        """Put the rows of silent workers into the folds, and remove those workers."""
        for worker in await self._coordination.workers(SILENCE):
            if worker.silent and worker.worker_id != self._worker_id:
                players = await self._catch_up_since(worker.flushed_to)
                await self._coordination.remove_worker(worker.worker_id, worker.flushed_to)
                _log.info("silent worker taken over", worker=worker.worker_id, players=players)

    async def oldest_unflushed(self) -> int:
        """Return a time before which every row, of any worker and by any worker's clock, is in the folds."""
        oldest = await self._coordination.flushed_to()
        return (self._now() if oldest is None else oldest) - int(MARGIN.total_seconds() * 1000)

    async def catch_up(self, user_ids: Collection[str]) -> dict[str, Fold]:
        """Bring the stored folds of these players up to the ledger, even if others write them, and return them."""
        pending = set(user_ids)
        folds: dict[str, Fold] = {}
        for _ in range(_ATTEMPTS):
            basis = self.basis()
            stored = await self._store.folds(pending)
            revisions = {user: stored[user].revision if user in stored else 0 for user in pending}
            current = await self._store.current_folds(pending)
            changed = [(fold, revisions[user]) for user, fold in current.items() if fold.revision > revisions[user]]
            async with self._on(basis):
                pending = await self._store.write_folds(changed, basis.identity)
            folds |= {user_id: fold for user_id, fold in current.items() if user_id not in pending}
            if not pending:
                return folds
        raise RetryableError("Other workers keep changing the same folds.")

    async def write(self, folds: Sequence[tuple[Fold, int]], basis: Basis) -> dict[str, Fold]:
        """Store folds whose last rows are in the ledger, each in place of the stored revision given with it.

        Where another one is stored by now, that is brought up to the ledger instead. Returns the stored folds.
        """
        async with self._on(basis):
            lost = await self._store.write_folds(folds, basis.identity)
        stored = {fold.user_id: fold for fold, _ in folds if fold.user_id not in lost}
        return stored | await self.catch_up(lost) if lost else stored

    async def rebuild_folds(self, user_ids: Collection[str], *, up_to_gap: bool = False) -> int:
        """Rebuild the stored folds of these players from their whole chains. Return how many differed.

        A player whose chain is broken keeps their stored fold, or with `up_to_gap` gets the fold of the rows before the gap.
        """
        broken: set[str] = set()
        entries, dirty, basis = self._entries, self._dirty, self.basis()
        folds: dict[str, Fold | None] = {user_id: self._store.empty_fold(user_id) for user_id in user_ids}
        async for row in self._store.rows_after(dict.fromkeys(user_ids, 0)):
            fold = folds[row.user_id]
            if fold is None or row.user_id in broken:
                continue
            try:
                folds[row.user_id] = apply(fold, row)
            except ValueError:
                broken.add(row.user_id)
                folds[row.user_id] = fold if up_to_gap else None
        stored = await self._store.folds(user_ids)
        changed = [fold for user_id, fold in folds.items() if fold is not None and fold != stored.get(user_id)]
        async with self._on(basis):
            await self._store.replace_folds(changed, basis.identity)
        for fold in changed:
            entries[fold.user_id] = _Entry(fold, fold.revision)
            dirty.discard(fold.user_id)
            _log.warning("fold rebuilt", user_id=fold.user_id, revision=fold.revision)
        return len(changed)

    async def _start_over(self, gone: Collection[str], basis: Basis) -> NoReturn:
        """Report that the data was replaced, correct the stored folds of these players, and raise ReplacedDataError."""
        await self._incarnation.report("a ledger row that was acknowledged is missing", basis.incarnation)
        await self.rebuild_folds(gone, up_to_gap=True)
        raise ReplacedDataError("the last row of a fold is gone")

    async def _catch_up_own(self) -> None:
        """Put rows into the folds that this worker stamped before the data was put back, if its folds were not stored."""
        flushed_to = await self._coordination.worker_flushed_to(self._worker_id)
        if flushed_to is not None:
            await self._catch_up_since(flushed_to)
        self._recorded = [] if flushed_to is None else [flushed_to]
        self._is_other_data = False

    async def _correct_ahead(self, page: Sequence[Fold]) -> int:
        """Rebuild the folds that end with a row which the ledger does not have."""
        return await self.rebuild_folds(await self._store.without_last_row(page), up_to_gap=True)

    async def _catch_up_since(self, flushed_to: int) -> int:
        """Catch up every player with a row stamped since, a page at a time. Return how many were behind."""
        revisions: dict[str, int] = {}
        count = 0
        async for row in self._store.rows_since(flushed_to - int(MARGIN.total_seconds() * 1000)):
            revisions[row.user_id] = max(row.revision, revisions.get(row.user_id, 0))
            if len(revisions) >= _PAGE:
                count += await self._catch_up_behind(revisions)
                revisions = {}
        return count + await self._catch_up_behind(revisions)

    async def _catch_up_behind(self, revisions: dict[str, int]) -> int:
        stored = await self._store.folds(revisions)
        behind = [
            user for user, revision in revisions.items() if user not in stored or stored[user].revision < revision
        ]
        await self.catch_up(behind)
        return len(behind)

    async def _write(
        self, user_ids: list[str], entries: OrderedDict[str, _Entry], dirty: set[str], basis: Basis
    ) -> None:
        writes = [
            (entry.fold, entry.stored_revision)
            for entry in (entries[user_id] for user_id in user_ids)
            if entry.fold.revision > entry.stored_revision
        ]
        await self.require_last_rows((fold for fold, _ in writes), basis)
        for user_id, fold in (await self.write(writes, basis)).items():
            entry = entries[user_id]
            entry.stored_revision = fold.revision
            if fold.revision > entry.fold.revision:
                entry.fold = fold
        for user_id in user_ids:
            entry = entries[user_id]
            if entry.fold.revision <= entry.stored_revision:
                dirty.discard(user_id)

    @asynccontextmanager
    async def _on(self, basis: Basis) -> AsyncIterator[None]:
        """Report that the data was replaced, and raise ReplacedDataError, if a write in the block finds it so."""
        try:
            yield
        except CollectionReplacedError as error:
            await self._incarnation.report(f"the collection {error} is another one", basis.incarnation)
            raise ReplacedDataError(f"the collection {error} was replaced") from error

    def _evict(self) -> None:
        excess = len(self._entries) - self._limit
        if excess <= 0:
            return
        for user_id in [user_id for user_id in self._entries if user_id not in self._dirty][:excess]:
            del self._entries[user_id]
            self._suspect.discard(user_id)

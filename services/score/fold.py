"""The players' folds: a bounded cache of the standings in use, written behind the ledger.

Owns the collection `players` while the process runs. A cached fold is always a true beginning of its player's chain: it
comes from `players`, from a majority read of the ledger, or from an insert that was acknowledged; what other workers
added since, the ledger tells by a conflict. What is written is never older than what was there: a write replaces
exactly the revision it was read with, and whoever loses reads the ledger's tail and tries again. A fold that is not
written is never let go.

`flushed_to` makes folds good for more than speed: every row that this worker stamped before it is in `players`, so that
`players` and the rows stamped since by any worker are the whole ledger. Rows that are being inserted hold it back.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog

from services.score.answers import LaterError
from services.score.ledger import Fold, apply
from services.score.meta import Meta
from services.score.metrics import FOLDS_WRITTEN
from services.score.store import ScoreStore

# How far a worker's clock may differ from another's, and an insert may take after its row was stamped.
MARGIN = timedelta(seconds=30)
# After this without a word of a worker, its rows are put into the folds for it.
SILENCE = timedelta(seconds=20)
_PAGE = 1000
_TRIES = 20
_log = structlog.get_logger("fold")


class _Entry:
    """A cached fold and the revision of the one that is written."""

    __slots__ = ("fold", "written")

    def __init__(self, fold: Fold, written: int) -> None:
        self.fold = fold
        self.written = written


class Folds:
    """Use from one event loop. `now` is in milliseconds; errors of the driver pass as they are."""

    def __init__(self, store: ScoreStore, meta: Meta, worker_id: str, *, limit: int, now: Callable[[], int]) -> None:
        self._store = store
        self._meta = meta
        self._worker_id = worker_id
        self._limit = limit
        self._now = now
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._dirty: set[str] = set()
        self._doubtful: set[str] = set()
        self._held: list[int] = []
        self._flushing = asyncio.Lock()

    @property
    def crowded(self) -> bool:
        """True if more folds wait to be written than should be kept: flush now."""
        return len(self._entries) > 2 * self._limit

    @contextmanager
    def inserting(self) -> Iterator[None]:
        """Holds `flushed_to` back while rows are inserted within the block.

        If it is left by an exception, rows may be in the ledger that nobody knows of: `flushed_to` stays where it is for
        as long as the process lives, and who comes after it reads the ledger from there.
        """
        since = self._now()
        self._held.append(since)
        yield
        self._held.remove(since)

    async def load(self, user_ids: Collection[str]) -> dict[str, Fold]:
        """The folds of these players, from memory where they are; those in doubt are mended first."""
        found: dict[str, Fold] = {}
        missing: list[str] = []
        entries = self._entries
        for user_id in user_ids:
            entry = entries.get(user_id)
            if entry is None:
                missing.append(user_id)
            else:
                entries.move_to_end(user_id)
                found[user_id] = entry.fold
        if missing:
            written = await self._store.folds(missing)
            for user_id in missing:
                fold = written.get(user_id) or self._store.unscored(user_id)
                # Another task may have put a newer one here in the meantime.
                entry = entries.setdefault(user_id, _Entry(fold, fold.revision))
                found[user_id] = entry.fold
        if self._doubtful and not self._doubtful.isdisjoint(user_ids):
            found |= await self.refresh(self._doubtful.intersection(user_ids))
        return found

    async def refresh(self, user_ids: Collection[str]) -> dict[str, Fold]:
        """The folds of these players with everything that the ledger has at this moment."""
        self._doubtful.difference_update(user_ids)
        found = await self.load(user_ids)
        async for row in self._store.rows_after({user_id: fold.revision for user_id, fold in found.items()}):
            found[row.user_id] = apply(found[row.user_id], row)
        for fold in found.values():
            self.put(fold)
        return found

    def put(self, fold: Fold) -> None:
        """Keeps a fold whose last row is in the ledger, to be written soon; an older one than is kept changes nothing."""
        entry = self._entries.get(fold.user_id)
        if entry is None:
            # Let go in the meantime. What is written is a guess; if it is wrong, the write fails and is mended.
            entry = self._entries[fold.user_id] = _Entry(fold, fold.revision - 1)
        elif fold.revision > entry.fold.revision:
            entry.fold = fold
        if entry.fold.revision > entry.written:
            self._dirty.add(fold.user_id)

    def doubt(self, user_ids: Iterable[str]) -> None:
        """These players may have rows that nobody told of: the ledger is read before they are used again."""
        self._doubtful.update(user_ids)

    async def flush(self) -> None:
        """Writes what has changed, lets go what is too much, and moves `flushed_to`."""
        async with self._flushing:
            # Taken first: rows that are put from here on have a later stamp, or hold it back.
            flushed_to = min(self._held, default=self._now())
            changed = list(self._dirty)
            for start in range(0, len(changed), _PAGE):
                await self._write(changed[start : start + _PAGE])
            FOLDS_WRITTEN.inc(len(changed))
            await self._meta.flushed(self._worker_id, flushed_to)
            self._evict()

    async def leave(self) -> None:
        """Flushes for the last time. With nothing left in doubt, the worker is forgotten."""
        await self.flush()
        if not self._held and not self._dirty:
            for worker in await self._meta.workers(SILENCE):
                if worker.worker_id == self._worker_id:
                    await self._meta.forget_worker(worker)

    async def adopt(self) -> None:
        """Puts the rows of workers that are silent into the folds, and forgets those workers."""
        for worker in await self._meta.workers(SILENCE):
            if worker.silent and worker.worker_id != self._worker_id:
                adopted = await self._mend_since(worker.flushed_to)
                await self._meta.forget_worker(worker)
                _log.info("rows of a silent worker are in the folds", worker=worker.worker_id, players=adopted)

    async def oldest_unwritten(self) -> int:
        """Every row stamped before this, by whatever worker and clock, is in the folds."""
        oldest = await self._meta.flushed_to()
        return (self._now() if oldest is None else oldest) - int(MARGIN.total_seconds() * 1000)

    async def mend(self, user_ids: Collection[str]) -> dict[str, Fold]:
        """Brings what is written of these players up to the ledger, past other writers, and returns it."""
        left = set(user_ids)
        mended: dict[str, Fold] = {}
        for _ in range(_TRIES):
            written = await self._store.folds(left)
            revisions = {user: written[user].revision if user in written else 0 for user in left}
            folds = await self._store.exact_folds(left)
            changed = [(fold, revisions[user]) for user, fold in folds.items() if fold.revision > revisions[user]]
            left = await self._store.write_folds(changed)
            mended |= {user_id: fold for user_id, fold in folds.items() if user_id not in left}
            if not left:
                return mended
        raise LaterError("folds change faster than they can be mended")

    async def make_anew(self, user_ids: Collection[str]) -> int:
        """Writes the folds of these players from their whole chains, whatever was written; how many were different.

        A player whose chain is broken is left as he is.
        """
        chains: dict[str, Fold | None] = {user_id: self._store.unscored(user_id) for user_id in user_ids}
        async for row in self._store.rows_after(dict.fromkeys(user_ids, 0)):
            fold = chains[row.user_id]
            try:
                chains[row.user_id] = None if fold is None else apply(fold, row)
            except ValueError:
                chains[row.user_id] = None
        written = await self._store.folds(user_ids)
        wrong = [fold for user_id, fold in chains.items() if fold is not None and fold != written.get(user_id)]
        for fold in wrong:
            await self._store.replace_fold(fold)
            self._entries[fold.user_id] = _Entry(fold, fold.revision)
            self._dirty.discard(fold.user_id)
            _log.warning("a standing was mended", user_id=fold.user_id, revision=fold.revision)
        return len(wrong)

    async def _mend_since(self, flushed_to: int) -> int:
        behind: dict[str, int] = {}
        count = 0
        async for row in self._store.rows_since(flushed_to - int(MARGIN.total_seconds() * 1000)):
            behind[row.user_id] = max(row.revision, behind.get(row.user_id, 0))
            if len(behind) >= _PAGE:
                count += await self._mend_behind(behind)
                behind = {}
        return count + await self._mend_behind(behind)

    async def _mend_behind(self, revisions: dict[str, int]) -> int:
        written = await self._store.folds(revisions)
        behind = [
            user for user, revision in revisions.items() if user not in written or written[user].revision < revision
        ]
        await self.mend(behind)
        return len(behind)

    async def _write(self, user_ids: list[str]) -> None:
        writes = [
            (entry.fold, entry.written)
            for entry in (self._entries[user_id] for user_id in user_ids)
            if entry.fold.revision > entry.written
        ]
        lost = await self._store.write_folds(writes)
        done = {fold.user_id: fold for fold, _ in writes if fold.user_id not in lost}
        if lost:
            done |= await self.mend(lost)
        for user_id, fold in done.items():
            entry = self._entries[user_id]
            entry.written = fold.revision
            if fold.revision > entry.fold.revision:
                entry.fold = fold
        for user_id in user_ids:
            entry = self._entries[user_id]
            if entry.fold.revision <= entry.written:
                self._dirty.discard(user_id)

    def _evict(self) -> None:
        too_many = len(self._entries) - self._limit
        if too_many <= 0:
            return
        for user_id in list(self._entries):
            if user_id not in self._dirty:
                del self._entries[user_id]
                self._doubtful.discard(user_id)
                too_many -= 1
                if too_many <= 0:
                    return

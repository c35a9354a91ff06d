"""A score worker in the process of the test, on real stores, that is stepped through its races."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from services.boards.catalog import Catalog
from services.boards.periods.closed import DATABASE
from services.runtime.clock import milliseconds_of, utc_now
from services.runtime.stores.data_identity import DataIdentity
from services.runtime.stores.incarnation import Incarnation, IncarnationStore, IncarnationWatch
from services.runtime.stores.redis import REDIS_ERRORS
from services.score.coordination_store import CoordinationStore
from services.score.definitions.store import DefinitionStore
from services.score.ingest.decoding import decode
from services.score.ingest.record_check import RecordCheck
from services.score.ingest.worker import Worker
from services.score.ledger.events import Event
from services.score.ledger.folds.cache import FoldCache
from services.score.ledger.folds.fold import Fold
from services.score.ledger.personal_data_digests import PersonalDataDigests
from services.score.ledger.rows import Row
from services.score.ledger.store import InsertResult, ScoreStore
from services.score.projection.board_building import BoardBuilder
from services.score.projection.board_writer import BoardWriter, Standings
from services.score.projection.loss_detection import LossDetector
from services.score.projection.publisher import ScorePublisher
from services.score.projection.rebuild import Rebuild
from services.score.projection.shown_metadata import ShownMetadata
from services.score.projection.standings import Agreement, Placement
from tests.servers import unique
from tests.system.score import RETENTION, ScoreSystem, announcer, completed, fair_play_monitor

Step = Callable[[], Coroutine[Any, Any, None]]


class SteppedWriter(BoardWriter):
    """Runs a step of the test before its next write, and one before it removes all fences."""

    before: Step | None = None
    before_fences: Step | None = None

    async def write(self, places: Standings, *, started_at: int, generation: int) -> int:
        before, self.before = self.before, None
        if before is not None:
            await before()
        return await super().write(places, started_at=started_at, generation=generation)

    async def remove_all_fences(self) -> None:
        before, self.before_fences = self.before_fences, None
        if before is not None:
            await before()
        await super().remove_all_fences()


class SteppedStore(ScoreStore):
    """Runs a step of the test before its next insert, after the worker has read what the rows follow.

    Another before it next stores folds, and one before each removal.
    """

    before: Step | None = None
    before_folds: Step | None = None
    before_remove: Step | None = None

    async def insert(
        self, rows: Sequence[Row], identity: DataIdentity, *, in_order: bool = False
    ) -> list[InsertResult]:
        before, self.before = self.before, None
        if before is not None:
            await before()
        return await super().insert(rows, identity, in_order=in_order)

    async def write_folds(self, folds: Sequence[tuple[Fold, int]], identity: DataIdentity) -> set[str]:
        before, self.before_folds = self.before_folds, None
        if before is not None:
            await before()
        return await super().write_folds(folds, identity)

    async def remove(self, rows: Iterable[Row]) -> None:
        if self.before_remove is not None:
            await self.before_remove()
        await super().remove(rows)


class LocalWorker:
    """One of two workers, in this process, on real stores."""

    def __init__(self, system: ScoreSystem) -> None:
        self.store = store = SteppedStore(system.database, system.store.digests)
        self.placement = placement = Placement(Catalog())
        name, meta = unique("w"), CoordinationStore(system.database)
        self._record_adoption = partial(meta.record_adoption, name, str(placement.catalog))
        self.writer = SteppedWriter(
            system.redis,
            placement,
            ShownMetadata(store.shown_rows, placement).of,
            fence_ttl=timedelta(hours=1),
            period_retention=RETENTION,
            now=utc_now,
        )
        self.incarnation = IncarnationWatch(IncarnationStore(system.mongo.client, system.prefix), retry_on=REDIS_ERRORS)
        self.folds = FoldCache(store, meta, self.incarnation, name, limit=100, now=now_ms)
        self.incarnation.actions += [self._prepare, self.folds.forget]
        self.rebuild = Rebuild(
            system.redis,
            store,
            self.folds,
            meta,
            self.writer,
            placement,
            period_retention=RETENTION,
            now=utc_now,
        )
        self.definitions = DefinitionStore(system.mongo.client[f"{system.prefix}_{DATABASE}"])
        self.builder = BoardBuilder(
            system.redis, store, self.folds, meta, self.definitions, self.writer, placement, name, now=now_ms
        )
        self.detector = LossDetector(
            system.redis, meta, self.incarnation, self.rebuild, placement, self.definitions, name, timedelta(seconds=2)
        )
        self.worker = Worker(
            store,
            self.folds,
            self.writer,
            ScorePublisher(system.redis),
            self.detector,
            fair_play_monitor(system.database),
            placement,
            RecordCheck(self.incarnation, store, ()),
            announcer(system.database),
            now_ms,
        )

    async def start(self) -> None:
        await self._prepare(None)
        await self.incarnation.remember()
        await self.folds.flush()
        await self._record_adoption(0, 0, self.placement.agreement.encoding)

    async def adopt(self) -> None:
        """Adopt the definitions that there are now."""
        catalog = await self.definitions.catalog("")
        self.placement.adopt(Agreement(catalog, 0))
        await self._record_adoption(catalog.edition, 0, self.placement.agreement.encoding)

    async def count(self, *events: Event) -> None:
        assert await self.worker.count(events) == {}

    async def _prepare(self, _incarnation: Incarnation | None) -> None:
        await self.store.prepare(timedelta(days=1))


async def local_worker(system: ScoreSystem) -> LocalWorker:
    worker = LocalWorker(system)
    await worker.start()
    return worker


def now_ms() -> int:
    return milliseconds_of(utc_now())


def event(user_id: str, delta: int, attempt: int, total: int, at: datetime | None = None) -> Event:
    message = completed(user_id, delta, attempt=attempt, total=total, at=at)
    return decode(message.SerializeToString(), sequence=attempt, partition=0, digests=PersonalDataDigests(b"s" * 32))

"""One score worker in the process of a benchmark, on the servers that it names."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import NamedTuple

from redis.asyncio import Redis

from services.boards.catalog import Catalog
from services.runtime.clock import milliseconds_of, utc_now
from services.runtime.config.settings import MongoConfig
from services.runtime.stores.incarnation import IncarnationStore, IncarnationWatch
from services.runtime.stores.mongo import Mongo
from services.score.coordination_store import CoordinationStore
from services.score.definitions.store import DefinitionStore
from services.score.ingest.record_check import RecordCheck
from services.score.ingest.worker import Worker
from services.score.ledger.folds.cache import FoldCache
from services.score.ledger.personal_data_digests import PersonalDataDigests
from services.score.ledger.store import ScoreStore
from services.score.projection.board_writer import BoardWriter
from services.score.projection.loss_detection import LossDetector
from services.score.projection.publisher import ScorePublisher
from services.score.projection.rebuild import Rebuild
from services.score.projection.shown_metadata import ShownMetadata
from services.score.projection.standings import Placement
from tests.system.score import announcer, fair_play_monitor

RETENTION = timedelta(days=35)
NAME = "bench"


def now_ms() -> int:
    """The time in milliseconds since 1970."""
    return milliseconds_of(utc_now())


class Scoring(NamedTuple):
    """A worker and its parts. Start `detector` before anything is counted, and stop it after."""

    meta: CoordinationStore
    digests: PersonalDataDigests
    store: ScoreStore
    folds: FoldCache
    placement: Placement
    rebuild: Rebuild
    detector: LossDetector
    worker: Worker
    writer: BoardWriter
    definitions: DefinitionStore


async def open_scoring(mongo: Mongo, redis: Redis, stack: AsyncExitStack, declared: str = "") -> Scoring:
    """Build a worker that knows these boards, and prepare its collections. `stack` ends what it runs."""
    meta = CoordinationStore(mongo.database)
    digests = PersonalDataDigests(await meta.salt())
    store = ScoreStore(mongo.database, digests)
    await store.prepare(timedelta(days=90))
    incarnation = IncarnationWatch(IncarnationStore(mongo.client, MongoConfig().database))
    await incarnation.start()
    stack.push_async_callback(incarnation.stop)
    folds = FoldCache(store, meta, incarnation, NAME, limit=50_000, now=now_ms)
    placement = Placement(Catalog.from_text(declared))
    metadata = ShownMetadata(store.shown_rows, placement)
    writer = BoardWriter(
        redis, placement, metadata.of, fence_ttl=timedelta(hours=1), period_retention=RETENTION, now=utc_now
    )
    rebuild = Rebuild(redis, store, folds, meta, writer, placement, period_retention=RETENTION, now=utc_now)
    definitions = DefinitionStore(mongo.client["boards"])
    detector = LossDetector(redis, meta, incarnation, rebuild, placement, definitions, NAME, timedelta(seconds=2))
    worker = Worker(
        store,
        folds,
        writer,
        ScorePublisher(redis),
        detector,
        fair_play_monitor(mongo.database),
        placement,
        RecordCheck(incarnation, store, ()),
        announcer(mongo.database),
        now_ms,
    )
    return Scoring(meta, digests, store, folds, placement, rebuild, detector, worker, writer, definitions)

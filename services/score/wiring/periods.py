"""Builds what closes periods, and archives and seals their boards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from services.boards.board import Board
from services.boards.periods import closed as closed_periods
from services.runtime.errors import ServiceError
from services.runtime.process.periodic import Periodic
from services.runtime.stores.mongo import long_operation
from services.score.config import ScoreConfig
from services.score.errors import STORE_ERRORS, BoardsLostError
from services.score.ingest.durables import stream_state
from services.score.periods.archive_store import ArchiveStore
from services.score.periods.closing import PeriodCloser
from services.score.periods.head_store import HeadStore
from services.score.periods.quiz_outbox import QuizOutbox
from services.score.periods.sealing import HeadSigner, PeriodSealer
from services.score.projection.rebuild import redis_state, shards_in
from services.score.wiring.connections import Stores, Upstreams
from services.score.wiring.ledger import Ledger
from services.score.wiring.projection import Projection


@dataclass(frozen=True)
class Periods:
    """The archive of closed periods with its signed heads, and the servers that close and seal them."""

    archive: ArchiveStore
    heads: HeadStore
    closing: Periodic
    sealing: Periodic


async def build_periods(
    config: ScoreConfig, stores: Stores, ledger: Ledger, projection: Projection, upstreams: Upstreams
) -> Periods:
    """Build what closes periods, and archives and seals their boards."""
    database = stores.mongo.client[f"{config.mongo.database}_{closed_periods.DATABASE}"]
    archive, heads = ArchiveStore(database, stores.redis), HeadStore(database)
    with long_operation():
        await archive.prepare()
        await heads.prepare()
    outbox = QuizOutbox(upstreams.quiz, stores.token)

    async def boards_in_redis() -> list[Board]:
        return list({shard.board: None async for shard in shards_in(stores.redis, stores.mongo.clock.now())})

    async def run_ids() -> str:
        return (await redis_state(stores.redis)).run_ids

    closer = PeriodCloser(
        ledger.coordination,
        archive,
        lambda: stores.incarnation.known.id,
        outbox.oldest_unpublished,
        partial(stream_state, stores.nats.jetstream, config.stream),
        boards_in_redis,
        run_ids,
        lambda: projection.placement.catalog,
        projection.definitions.mark_kept,
        stores.worker_id,
        delay=config.close_after,
        retention=config.period_retention,
    )
    retry_on = (*STORE_ERRORS, ServiceError, BoardsLostError)
    signer = HeadSigner(upstreams.identity, stores.token)
    sealer = PeriodSealer(heads, ledger.coordination, signer.sign, stores.worker_id, now=stores.mongo.clock.now)
    every = config.close_interval
    return Periods(
        archive,
        heads,
        Periodic("closing", closer.step, every=every, at_rest=2, retry_on=retry_on),
        Periodic("sealing", sealer.step, every=every, at_rest=2, retry_on=retry_on),
    )

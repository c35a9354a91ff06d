"""Builds the consumers of the stream with their worker, and what asks for events that were lost on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from services.runtime.errors import ServiceError
from services.runtime.process.periodic import Periodic
from services.runtime.stores.mongo import long_operation
from services.score.config import ScoreConfig
from services.score.errors import STORE_ERRORS
from services.score.ingest.consumers import Consumers
from services.score.ingest.dead_letter_store import DeadLetterStore
from services.score.ingest.durables import stream_state
from services.score.ingest.partition_assignment import PartitionAssignment
from services.score.ingest.reconciliation import EVERY as RECONCILE_EVERY
from services.score.ingest.reconciliation import Reconciliation
from services.score.ingest.record_check import RecordCheck
from services.score.ingest.recorded_events import RecordedEvents
from services.score.ingest.worker import Worker
from services.score.projection.publisher import ScorePublisher
from services.score.wiring.connections import Stores, Upstreams
from services.score.wiring.fair_play import FairPlay
from services.score.wiring.ledger import Ledger
from services.score.wiring.projection import Projection
from services.score.wiring.webhooks import WebhookStores


@dataclass(frozen=True)
class Ingest:
    """The consumers of the stream, their worker and its dead letters."""

    worker: Worker
    dead_letters: DeadLetterStore
    consumers: Consumers
    sources: Sequence[RecordedEvents]
    records: RecordCheck


async def build_ingest(
    config: ScoreConfig,
    stores: Stores,
    ledger: Ledger,
    projection: Projection,
    fair_play: FairPlay,
    webhooks: WebhookStores,
    upstreams: Upstreams,
) -> Ingest:
    """Build what counts the events of the stream."""
    sources = (
        RecordedEvents.of_quiz(upstreams.quiz, stores.token),
        RecordedEvents.of_identity(upstreams.identity, stores.token),
    )
    records = RecordCheck(stores.incarnation, ledger.store, sources)
    worker = Worker(
        ledger.store,
        ledger.folds,
        projection.writer,
        ScorePublisher(stores.redis),
        projection.loss_detector,
        fair_play.monitor,
        projection.placement,
        records,
        webhooks.announcer,
        stores.mongo.clock.milliseconds,
    )
    dead_letters = DeadLetterStore(stores.mongo.database)
    with long_operation():
        await dead_letters.prepare()
    consumers = Consumers(
        stores.nats,
        worker,
        dead_letters,
        PartitionAssignment(stores.redis, stores.worker_id),
        stream=config.stream,
        digests=ledger.digests,
        batch=config.batch,
        ack_wait=config.ack_wait,
        max_ack_pending=config.max_ack_pending,
        now=stores.mongo.clock.milliseconds,
    )
    return Ingest(worker, dead_letters, consumers, sources, records)


def build_reconciliation(config: ScoreConfig, stores: Stores, ledger: Ledger, ingest: Ingest) -> Periodic:
    """Build what has events published again that were lost on the way."""
    reconciliation = Reconciliation(
        ledger.coordination,
        stores.incarnation,
        ledger.store,
        ingest.dead_letters,
        partial(stream_state, stores.nats.jetstream, config.stream),
        ingest.sources,
        ingest.records,
        stores.worker_id,
        interval=config.reconcile_interval,
        after=config.reconcile_after,
    )
    every = min(RECONCILE_EVERY, config.reconcile_interval)
    return Periodic(
        "reconciliation", reconciliation.step, every=every, at_rest=15, retry_on=(*STORE_ERRORS, ServiceError)
    )

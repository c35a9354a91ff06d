"""Compares the events on record with the ledger, and has those published again that were lost on the way.

An event can be lost after its service recorded it and the stream acknowledged it: the stream was deleted, or NATS came back
with an empty disk; or the ledger was restored to an older moment than the records. One worker looks, under a lease:

- At once when MongoDB's incarnation or the stream (known by the time of its creation) is not the one of the last comparison,
  which is stored beside the ledger. Every event without a row or a dead letter is then published again. One whose record
  says that it was never published too: the record may be of an older moment, and the stream refuse it as a duplicate.
  After a change of MongoDB's data the ledger is compared with the records as well: events may have been counted whose
  records a restore lost (see `record_check`).
- Otherwise at an interval. An event that is still uncounted `after` the comparison that missed it, although the stream was
  drained beyond its end of that time, is published again. Until then a comparison ends where the uncounted events begin:
  while workers are behind, most of them are on the stream, and would be read each time to decide nothing.

Everything recorded before `counted_before` was counted at an earlier comparison; only later events are compared. That is a
moment of the database server's clock, as one worker whose clock is ahead would excuse all from comparing. Publishing an event
again is harmless: the ledger counts it once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from nats.js.errors import NotFoundError

from services.runtime.clock import milliseconds_of
from services.runtime.stores.incarnation import IncarnationWatch
from services.runtime.uuid7 import time_of_uuid7
from services.score.coordination_store import RECONCILIATION_LEASE, CoordinationStore, Reconciled
from services.score.ingest.dead_letter_store import DeadLetterStore
from services.score.ingest.durables import StreamState
from services.score.ingest.record_check import RecordCheck
from services.score.ingest.recorded_events import RecordedEvent, RecordedEvents
from services.score.ledger.store import ScoreStore
from services.score.ledger.times import time_of
from services.score.metrics import RECONCILED, UNCOUNTED_SECONDS

LEASE = timedelta(seconds=10)
EVERY = timedelta(seconds=2)
# An event may be made, by another clock, this long before its record can be read.
MARGIN = timedelta(seconds=30)
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_log = structlog.get_logger("reconciliation")


@dataclass
class Comparison:
    """Events without a row at one moment, by service. `oldest` is when the oldest of them was made."""

    at: datetime
    counted_before: datetime
    lost: dict[str, list[str]] = field(default_factory=dict)
    unpublished: dict[str, list[str]] = field(default_factory=dict)
    oldest: datetime | None = None
    stream: StreamState = StreamState("", 0, 0)


class Reconciliation:
    """A step at a time, to be called every `EVERY`. Step raises store errors and ServiceError; it then starts over."""

    def __init__(
        self,
        coordination: CoordinationStore,
        incarnation: IncarnationWatch,
        store: ScoreStore,
        dead_letters: DeadLetterStore,
        stream_state: Callable[[], Awaitable[StreamState]],
        sources: Sequence[RecordedEvents],
        records: RecordCheck,
        worker_id: str,
        *,
        interval: timedelta,
        after: timedelta,
    ) -> None:
        self._coordination = coordination
        self._incarnation = incarnation
        self._store = store
        self._dead_letters = dead_letters
        self._stream_state = stream_state
        self._sources = sources
        self._records = records
        self._worker_id = worker_id
        self._interval = interval
        self._after = after
        self._compared_at = _LONG_AGO
        self._suspected: Comparison | None = None
        self._restore_since: datetime | None = None

    async def step(self) -> None:
        """Compare if it is due, and have lost events published again."""
        if not await self._coordination.take_lease(self._worker_id, LEASE, RECONCILIATION_LEASE):
            UNCOUNTED_SECONDS.set(0)  # the worker that holds the lease reports it
            self._suspected = None
            return
        incarnation, identity = self._incarnation.known.id, self._coordination.identity
        try:
            stream = await self._stream_state()
        except NotFoundError:
            return  # the quiz service creates it, and the outboxes report their lag
        reconciled = await self._coordination.reconciled()
        is_other = (reconciled.incarnation, reconciled.stream) != (incarnation, stream.created)
        at = await self._coordination.now()
        if not is_other and at - self._compared_at < self._interval:
            return
        since = time_of(reconciled.counted_before)
        if reconciled.incarnation and reconciled.incarnation != incarnation:
            self._restore_since = since - MARGIN
            await self._records.restore_counted(milliseconds_of(self._restore_since))
        elif self._restore_since is not None:
            # Once more: until they noticed, other workers went on counting without asking for records.
            await self._records.restore_counted(milliseconds_of(self._restore_since))
            self._restore_since = None
        is_whole = is_other or self._decides(at, stream)
        comparison = await self._compare(since, at, is_whole=is_whole)
        if is_other:
            cause = (
                "the stream is a new one" if reconciled.incarnation == incarnation else "MongoDB's data was replaced"
            )
            uncounted = {name: ids + comparison.unpublished[name] for name, ids in comparison.lost.items()}
            await self._republish(uncounted, cause if reconciled.incarnation else "first comparison")
        elif is_whole:
            await self._republish_suspects(comparison, stream)
        counted_before = milliseconds_of(comparison.counted_before)
        recorded = Reconciled(incarnation, stream.created, counted_before)
        if not await self._coordination.record_reconciled(recorded, identity):
            return  # again, when the change is noticed
        self._compared_at = comparison.at
        UNCOUNTED_SECONDS.set(
            0 if comparison.oldest is None else max(0.0, (comparison.at - comparison.oldest).total_seconds())
        )

    async def _compare(self, since: datetime, at: datetime, *, is_whole: bool) -> Comparison:
        """Compare the events recorded since then, as of `at`, with the ledger and the dead letters.

        All of them, or of a source whose events are in order those up to the first page that has an uncounted one.
        """
        result = Comparison(at, counted_before=max(since, at - MARGIN))
        for source in self._sources:
            result.lost[source.name], result.unpublished[source.name] = [], []
            async with aclosing(source.since(since)) as pages:
                async for page in pages:
                    if not await self._coordination.take_lease(self._worker_id, LEASE, RECONCILIATION_LEASE):
                        return Comparison(at, since)
                    uncounted = await self._uncounted(page)
                    for event in uncounted:
                        made_at = time_of_uuid7(event.event_id)
                        if made_at is None:
                            result.counted_before = since  # its id does not tell when it was made
                        else:
                            result.oldest = min(made_at, result.oldest or made_at)
                        of_source = result.lost if event.published else result.unpublished
                        of_source[source.name].append(event.event_id)
                    if uncounted and source.is_in_order and not is_whole:
                        break
        if result.oldest is not None:
            result.counted_before = max(since, min(result.counted_before, result.oldest))
        result.stream = await self._stream_state()
        return result

    async def _uncounted(self, page: Sequence[RecordedEvent]) -> list[RecordedEvent]:
        """Return the events that are neither counted nor dead letters."""
        counted = await self._store.counted_ids([event.event_id for event in page])
        uncounted = [event for event in page if event.event_id not in counted]
        dead = await self._dead_letters.existing([event.event_id for event in uncounted])
        return [event for event in uncounted if event.event_id not in dead]

    def _decides(self, at: datetime, stream: StreamState) -> bool:
        """Return whether a comparison now tells which of the suspected events are lost, or is the first to suspect any."""
        earlier = self._suspected
        if earlier is None or earlier.stream.created != stream.created:
            return True
        return at - earlier.at >= self._after and stream.first > earlier.stream.last

    async def _republish_suspects(self, comparison: Comparison, stream: StreamState) -> None:
        """Publish again what an earlier comparison missed, and the stream no longer has."""
        earlier = self._suspected
        if earlier is not None and earlier.stream.created == stream.created:
            lost = {
                name: list(set(event_ids).intersection(earlier.lost.get(name, ())))
                for name, event_ids in comparison.lost.items()
            }
            await self._republish(lost, "recorded and published, but neither counted nor on the stream")
        self._suspected = comparison

    async def _republish(self, lost: dict[str, list[str]], cause: str) -> None:
        for source in self._sources:
            event_ids = lost.get(source.name, [])
            if event_ids:
                republished = await source.republish(event_ids)
                RECONCILED.inc(republished)
                _log.warning("recorded events published again", events=republished, source=source.name, cause=cause)

"""What is recorded is compared with the ledger: lost events are found, and those on their way are not read again and again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from services.runtime.clock import milliseconds_of, utc_now
from services.runtime.stores.incarnation import IncarnationStore, IncarnationWatch
from services.runtime.uuid7 import first_uuid7, time_of_uuid7
from services.score.coordination_store import CoordinationStore, Reconciled
from services.score.ingest.dead_letter_store import DeadLetterStore
from services.score.ingest.durables import StreamState
from services.score.ingest.reconciliation import Reconciliation
from services.score.ingest.record_check import RecordCheck
from services.score.ingest.recorded_events import RecordedEvent
from tests.system.score import ScoreSystem

PAGE = 10


class Recorded:
    """Stands for the service that recorded these events. `read` has how many were read by each comparison."""

    name = "quiz"
    kinds = frozenset({"QUIZ_COMPLETED"})
    is_in_order = True

    def __init__(self, event_ids: Sequence[str]) -> None:
        self._event_ids = event_ids
        self.read: list[int] = []
        self.republished: list[str] = []

    async def since(self, at: datetime) -> AsyncGenerator[list[RecordedEvent], None]:
        self.read.append(0)
        wanted = [event_id for event_id in self._event_ids if event_id >= first_uuid7(at)]
        for start in range(0, len(wanted), PAGE):
            self.read[-1] += PAGE
            yield [RecordedEvent(event_id, published=True) for event_id in wanted[start : start + PAGE]]

    async def republish(self, event_ids: Sequence[str]) -> int:
        self.republished += event_ids
        return len(event_ids)


async def test_comparison_reads_on_behind_uncounted_events_only_when_it_decides(system: ScoreSystem) -> None:
    begun = utc_now() - timedelta(minutes=10)
    event_ids = [first_uuid7(begun + timedelta(seconds=number)) for number in range(5 * PAGE)]
    recorded, stream = Recorded(event_ids), [StreamState("created", 1, len(event_ids))]
    coordination = CoordinationStore(system.database)
    await coordination.prepare()
    incarnation = IncarnationWatch(IncarnationStore(system.mongo.client, system.prefix), advances=False)
    await incarnation.remember()
    first = Reconciled(incarnation.known.id, "created", milliseconds_of(begun))
    assert await coordination.record_reconciled(first, coordination.identity)

    async def stream_state() -> StreamState:
        return stream[-1]

    sources = [cast("Any", recorded)]
    reconciliation = Reconciliation(
        coordination,
        incarnation,
        system.store,
        DeadLetterStore(system.database),
        stream_state,
        sources,
        RecordCheck(incarnation, system.store, sources),
        "worker",
        interval=timedelta(),
        after=timedelta(),
    )

    async def count(numbers: range) -> None:
        rows = [{"_id": event_ids[number], "chain": event_ids[number].encode(), "revision": 1} for number in numbers]
        await system.database["ledger"].insert_many(rows)

    await reconciliation.step()
    assert recorded.read == [5 * PAGE], "the first comparison suspects every uncounted event"
    await count(range(PAGE + 1))
    stream.append(StreamState("created", PAGE + 2, len(event_ids)))
    for _ in range(3):
        await reconciliation.step()
        assert recorded.read.pop() <= 2 * PAGE, "the events that follow are on the stream"
        uncounted_since = time_of_uuid7(event_ids[PAGE + 1])
        assert uncounted_since is not None
        assert (await coordination.reconciled()).counted_before == milliseconds_of(uncounted_since)
    lost = 3 * PAGE
    await count(range(PAGE + 1, lost))
    await count(range(lost + 1, len(event_ids)))
    stream.append(StreamState("created", len(event_ids) + 1, len(event_ids)))
    await reconciliation.step()
    assert recorded.republished == [event_ids[lost]]

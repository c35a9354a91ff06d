"""Lets events of former data count only as they are on record.

An event names the data of MongoDB on which it was recorded. If a backup was put back since, its record may be lost, and the
same action, sent again, would be counted beside it. Such events are shown to the service that records them, which restores
the record or refuses the event. Events that name the current data pass without a call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import structlog

from services.boards.proofs.pseudonyms import is_pseudonym
from services.runtime.errors import Reason, ServiceError
from services.runtime.stores.incarnation import IncarnationWatch
from services.score.errors import UnprocessableError
from services.score.ingest.decoding import decode
from services.score.ingest.recorded_events import MAX_PAGE, RecordedEvents
from services.score.ingest.row_events import event_of_row
from services.score.ledger.events import Event
from services.score.ledger.rows import Row
from services.score.ledger.store import ScoreStore
from services.score.metrics import UNRECORDED

UNKNOWN_DATA = "unknown"
"""What an event is recorded on that may be older than the data."""
_log = structlog.get_logger("records")


class RecordCheck:
    """`sources` are the services that record events. Raises ServiceError if one of them is unavailable."""

    def __init__(self, incarnation: IncarnationWatch, store: ScoreStore, sources: Sequence[RecordedEvents]) -> None:
        self._incarnation = incarnation
        self._store = store
        self._sources = sources

    async def countable(self, events: Sequence[Event]) -> list[Event]:
        """Return the events that may be counted, in order, each as it is on record.

        Raises store errors, and UnprocessableError if one of them cannot be recorded.
        """
        current = self._incarnation.known.id
        former = {event.event_id: event for event in events if event.recorded_on not in ("", current)}
        if not former:
            return list(events)
        counted = await self._store.counted_ids(former)
        on_record: dict[str, Event | None] = {}
        for source in self._sources:
            asked = [event for event in former.values() if event.kind in source.kinds]
            try:
                restored = await source.restore([(event.data, event.event_id in counted) for event in asked])
            except ServiceError as error:
                if error.reason is not Reason.INVALID_ARGUMENT:
                    raise
                raise UnprocessableError(f"The {source.name} service refuses to record the event.") from error
            for event, data in zip(asked, restored, strict=True):
                if event.event_id not in counted:
                    on_record[event.event_id] = self._as_recorded(event, data) if data else None
        refused = [event_id for event_id, event in on_record.items() if event is None]
        if refused:
            UNRECORDED.inc(len(refused))
            _log.warning("events without a record not counted", events=len(refused), first=refused[0])
        checked = [on_record.get(event.event_id, event) for event in events]
        return [event for event in checked if event is not None]

    def _as_recorded(self, event: Event, data: bytes) -> Event:
        """Return the event with the points on record. What it alone knows about the client stays."""
        recorded = decode(data, sequence=event.sequence, partition=event.partition, digests=self._store.digests)
        return recorded._replace(
            client=event.client,
            ip=event.ip,
            user_agent=event.user_agent,
            elapsed=event.elapsed,
            data=event.data,
            recorded_on=event.recorded_on,
        )

    async def restore_counted(self, recorded_at: int) -> int:
        """Have the records restored of all events that were counted since a time and have none. Return how many.

        A worker that does not know yet that the data was replaced counts events without asking. Raises store errors.
        """
        unrecorded = 0
        async for page in self._pages(recorded_at):
            for source in self._sources:
                rows = {row.event_id: row for row in page if row.kind in source.kinds}
                recorded = await source.recorded(list(rows))
                lost = [row for event_id, row in rows.items() if event_id not in recorded]
                await source.restore([(event_of_row(row), True) for row in lost])
                unrecorded += len(lost)
        if unrecorded:
            _log.warning("events were counted whose records were lost", events=unrecorded)
        return unrecorded

    async def _pages(self, recorded_at: int) -> AsyncIterator[list[Row]]:
        page: list[Row] = []
        async for row in self._store.rows_since(recorded_at):
            if not is_pseudonym(row.user_id):
                page.append(row)
            if len(page) >= MAX_PAGE:
                yield page
                page = []
        yield page

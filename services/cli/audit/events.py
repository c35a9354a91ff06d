"""Compare every recorded event with the ledger by its id, in both directions.

A recorded event is counted once with its recorded points, or not yet published, or a dead letter; a counted event is
recorded by a service, or was taken back after a restore that its record did not survive. Changes nothing,
except that a repair publishes again what was published and never counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from topten.score.v1 import score_pb2
from topten.score.v1 import score_service_pb2 as messages

from services.boards.proofs.pseudonyms import is_pseudonym
from services.cli.audit.event_sources import EventSource, RecordedEvent, open_event_sources
from services.cli.system.client import Endpoints
from services.cli.system.operator_client import BULK_CALL_SECONDS, score_service
from services.runtime.grpc.client import call, open_stream
from services.runtime.uuid7 import time_of_uuid7

if TYPE_CHECKING:
    from topten.score.v1.score_service_pb2_grpc import ScoreServiceAsyncStub

PAGE_SIZE: Final = 500
RETRY_SECONDS: Final = 0.5
T = TypeVar("T")
ShowProgress = Callable[[score_pb2.Progress], None]


@dataclass
class EventAudit:
    """The result: how many recorded events are where, and a line for each difference.

    `waiting` are the unpublished ones that were made longer ago than the limit. `restored_over` counts events whose record
    was not in a backup that was put back, and that were counted from the stream after that. They are recorded again or taken
    back, so they explain a difference and are none.
    """

    recorded: int = 0
    counted: int = 0
    dead: int = 0
    unpublished: int = 0
    waiting: list[RecordedEvent] = field(default_factory=list)
    restored_over: int = 0
    republished: int = 0
    findings: list[str] = field(default_factory=list)


async def audit_events(
    endpoints: Endpoints,
    show_progress: ShowProgress,
    *,
    patience: float,
    uncounted_after: float,
    repair: bool,
) -> EventAudit:
    """Compare all events. Raises ServiceError if a service is unavailable.

    An uncounted event may be on its way: what a dead worker held is delivered again after the ack wait. It is looked up
    again for `patience` seconds before it is reported; with `repair` it is then published again and given as long again.
    """
    async with score_service(endpoints) as (stub, token), open_event_sources(endpoints) as sources:
        audit = _Audit(stub, token, sources, show_progress)
        return await audit.run(patience, timedelta(seconds=uncounted_after), repair=repair)


class _Audit:
    def __init__(
        self, stub: ScoreServiceAsyncStub, token: str, sources: Sequence[EventSource], show: ShowProgress
    ) -> None:
        self._stub = stub
        self._token = token
        self._sources = sources
        self._show = show
        self._result = EventAudit()

    async def run(self, patience: float, uncounted_after: timedelta, *, repair: bool) -> EventAudit:
        result = self._result
        missing = {source.name: await self._locate_recorded(source) for source in self._sources}
        missing = await self._locate_again(missing, patience)
        unpublished = [event for events in missing.values() for event in events if not event.published]
        made_by = datetime.now(UTC) - uncounted_after
        result.unpublished = len(unpublished)
        result.waiting = [event for event in unpublished if (time_of_uuid7(event.event_id) or made_by) <= made_by]
        lost = {name: [event for event in events if event.published] for name, events in missing.items()}
        if repair and any(lost.values()):
            for source in self._sources:
                for page in _pages(lost[source.name]):
                    result.republished += len(await source.republish([event.event_id for event in page]))
            lost = await self._locate_again(lost, patience)
        for name, events in lost.items():
            for event in events:
                result.findings.append(
                    f"event {event.event_id}: recorded for player {event.user_id} ({name}) but never counted"
                )
        await self._trace_counted()
        return result

    async def _locate_recorded(self, source: EventSource) -> list[RecordedEvent]:
        """Locate all events of a source; return those that are nowhere."""
        missing: list[RecordedEvent] = []
        done = 0
        async for events, total in source.pages():
            done += len(events)
            missing += await self._locate(events)
            self._show(score_pb2.Progress(stage=f"following {source.name}", done=done, total=max(total, done)))
        self._result.recorded += done
        return missing

    async def _locate_again(
        self, missing: dict[str, list[RecordedEvent]], patience: float
    ) -> dict[str, list[RecordedEvent]]:
        """Return the events that are still nowhere after `patience` seconds."""
        deadline = time.monotonic() + patience
        while any(missing.values()) and time.monotonic() < deadline:
            await asyncio.sleep(RETRY_SECONDS)
            missing = {
                name: [event for page in _pages(events) for event in await self._locate(page)]
                for name, events in missing.items()
            }
        return missing

    async def _locate(self, events: Sequence[RecordedEvent]) -> list[RecordedEvent]:
        """Tally the events that are counted or dead letters; return the others."""
        if not events:
            return []
        request = messages.LocateEventsRequest(event_ids=[event.event_id for event in events])
        response = await call(self._stub.LocateEvents, request, token=self._token, timeout=BULK_CALL_SECONDS)
        missing = []
        for event, location in zip(events, response.locations, strict=True):
            if location.place == score_pb2.EVENT_PLACE_LEDGER:
                self._result.counted += 1
                if location.delta != event.delta or not _same_player(location.user_id, event.user_id):
                    self._result.findings.append(
                        f"event {event.event_id}: recorded as {event.delta:+} for {event.user_id}, "
                        f"counted as {location.delta:+} for {location.user_id}"
                    )
            elif location.place == score_pb2.EVENT_PLACE_DEAD_LETTER:
                self._result.dead += 1
            else:
                missing.append(event)
        return missing

    async def _trace_counted(self) -> None:
        """Trace every counted event to the service that recorded it."""
        done = 0
        request = messages.ListCountedEventsRequest()
        async with open_stream(self._stub.ListCountedEvents, request, token=self._token) as pages:
            async for page in pages:
                done += len(page.events)
                unrecorded = {event.event_id: event for event in page.events}
                for source in self._sources:
                    ids = [event.event_id for event in page.events if event.kind in source.kinds]
                    for event_id in await source.recorded(ids) if ids else ():
                        del unrecorded[event_id]
                restored_over = [event_id for event_id, event in unrecorded.items() if event.counted_after_restore]
                self._result.restored_over += len(restored_over)
                for event_id in restored_over:
                    del unrecorded[event_id]
                for event in unrecorded.values():
                    self._result.findings.append(
                        f"event {event.event_id}: counted for player {event.user_id} as {event.kind} but not recorded"
                    )
                self._show(score_pb2.Progress(stage="tracing the ledger", done=done, total=max(page.total, done)))


def _same_player(user_id: str, other: str) -> bool:
    """Whether two ids may be one player: of an erased player, one service may already have the pseudonym."""
    return user_id == other or is_pseudonym(user_id) or is_pseudonym(other)


def _pages(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + PAGE_SIZE] for start in range(0, len(items), PAGE_SIZE))

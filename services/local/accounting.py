"""Every event on record held against the ledger by its id, and every row of the ledger against the records.

An event is counted once as it was recorded, or waits to be published, or is a dead letter; a row was recorded by somebody.
Changes nothing, unless it is to repair: then events that were published and are counted nowhere are published again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar, cast

from topten.score.v1 import score_pb2, score_service_pb2
from topten.score.v1.score_service_pb2_grpc import ScoreServiceStub

from services.local.client import Endpoints
from services.local.records import Recorded, Records, open_records
from services.runtime.erased import is_pseudonym
from services.runtime.grpc_client import call, open_stream

if TYPE_CHECKING:
    from topten.score.v1.score_service_pb2_grpc import ScoreServiceAsyncStub

PAGE: Final = 500
PAUSE_SECONDS: Final = 0.5
T = TypeVar("T")
Show = Callable[[score_pb2.Progress], None]


@dataclass
class Account:
    """What became of the events on record; `findings` are those that are not as they should be, a line each."""

    recorded: int = 0
    counted: int = 0
    dead: int = 0
    waiting: int = 0
    republished: int = 0
    findings: list[str] = field(default_factory=list)


class _Missing(NamedTuple):
    """An event of which nothing is known, and who has it on record."""

    event: Recorded
    records: Records


async def account(endpoints: Endpoints, show: Show, *, patience: float, repair: bool = False) -> Account:
    """Follow every event both ways. Raises ServiceError if a service does not answer.

    What is in neither place may be on its way: to a worker that died it is delivered again after its ack wait. It is
    asked for again for `patience` seconds before it is called missing; with `repair` it is then published once more and
    waited for as long again.
    """
    found = Account()
    async with (
        endpoints.operator() as token,
        endpoints.channel("score") as channel,
        open_records(endpoints, token) as records,
    ):
        ledger = _Ledger(cast("ScoreServiceAsyncStub", ScoreServiceStub(channel)), token, found)
        missing = [event for each in records for event in await _follow(ledger, each, found, show)]
        missing = await _wait(ledger, missing, patience)
        lost = [each for each in missing if each.event.published]
        if repair and lost:
            for each in records:
                ids = [missed.event.event_id for missed in lost if missed.records is each]
                for page in _pages(ids):
                    found.republished += len(await each.republish(page))
            lost = await _wait(ledger, lost, patience)
        found.waiting = sum(not each.event.published for each in missing)
        for event, each in lost:
            found.findings.append(
                f"event {event.event_id}: on record for player {event.user_id} ({each.name}) and counted nowhere"
            )
        await _trace(ledger, records, found, show)
    return found


async def _follow(ledger: _Ledger, records: Records, found: Account, show: Show) -> list[_Missing]:
    """Events on record to where they are; those of which nothing is known yet."""
    missing: list[Recorded] = []
    done = 0
    async for events, total in records.events():
        done += len(events)
        missing += await ledger.locate(events)
        show(score_pb2.Progress(stage=f"following {records.name}", done=done, total=max(total, done)))
    found.recorded += done
    return [_Missing(event, records) for event in missing]


async def _wait(ledger: _Ledger, missing: list[_Missing], patience: float) -> list[_Missing]:
    """Those that are still missing when the patience is over."""
    deadline = time.monotonic() + patience
    while missing and time.monotonic() < deadline:
        await asyncio.sleep(PAUSE_SECONDS)
        left: set[str] = set()
        for page in _pages(missing):
            left |= {event.event_id for event in await ledger.locate([each.event for each in page])}
        missing = [each for each in missing if each.event.event_id in left]
    return missing


async def _trace(ledger: _Ledger, records: Sequence[Records], found: Account, show: Show) -> None:
    """Rows of the ledger to who recorded them."""
    done = 0
    async for page in ledger.counted():
        done += len(page.events)
        strangers = {event.event_id: event for event in page.events}
        for each in records:
            ids = [event.event_id for event in page.events if event.kind in each.kinds]
            if ids:
                for known in await each.republish(ids, only_check=True):
                    del strangers[known]
        for event in strangers.values():
            found.findings.append(
                f"event {event.event_id}: counted for player {event.user_id} as {event.kind} and recorded by nobody"
            )
        show(score_pb2.Progress(stage="tracing the ledger", done=done, total=max(page.total, done)))


class _Ledger:
    """Asks the score service, and keeps account."""

    def __init__(self, stub: ScoreServiceAsyncStub, token: str, found: Account) -> None:
        self._stub = stub
        self._token = token
        self._found = found

    async def counted(self) -> AsyncIterator[score_service_pb2.ListCountedEventsResponse]:
        """Every event that is counted, a page at a time."""
        request = score_service_pb2.ListCountedEventsRequest()
        async with open_stream(self._stub.ListCountedEvents, request, token=self._token) as pages:
            async for page in pages:
                yield page

    async def locate(self, events: Sequence[Recorded]) -> list[Recorded]:
        """Those of the events of which nothing is known yet."""
        if not events:
            return []
        request = score_service_pb2.LocateEventsRequest(event_ids=[event.event_id for event in events])
        answer = await call(self._stub.LocateEvents, request, token=self._token)
        missing = []
        for event, location in zip(events, answer.locations, strict=True):
            if location.place == score_pb2.EVENT_PLACE_LEDGER:
                self._found.counted += 1
                if location.delta != event.delta or not _same_player(location.user_id, event.user_id):
                    self._found.findings.append(
                        f"event {event.event_id}: recorded as {event.delta:+} for {event.user_id}, "
                        f"counted as {location.delta:+} for {location.user_id}"
                    )
            elif location.place == score_pb2.EVENT_PLACE_DEAD_LETTER:
                self._found.dead += 1
            else:
                missing.append(event)
        return missing


def _same_player(user_id: str, other: str) -> bool:
    """Of an erased player one service may have the pseudonym already, and another not yet."""
    return user_id == other or is_pseudonym(user_id) or is_pseudonym(other)


def _pages(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[start : start + PAGE] for start in range(0, len(items), PAGE))

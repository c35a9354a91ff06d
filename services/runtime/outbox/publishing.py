"""The outbox: publishes every recorded event of a service, even if a process dies in between.

An event is published at once, without making the player wait, and acknowledged events are marked in batches. A sweep
publishes events that are still unmarked after their lease: failures of this instance, events of an instance that died,
and everything recorded while JetStream was away. Memory is bounded by `MAX_IN_FLIGHT` events.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from prometheus_client import Gauge

from services.runtime.errors import ServiceError
from services.runtime.process.activity import PROCESS
from services.runtime.process.lifecycle import Stage
from services.runtime.process.periodic import Periodic
from services.runtime.stores.incarnation import HEADER
from services.runtime.telemetry import tracing

if TYPE_CHECKING:
    from services.runtime.outbox.store import OutboxStore
    from services.runtime.stores.incarnation import IncarnationWatch

MAX_IN_FLIGHT: Final = 2000
MARK_EVERY: Final = timedelta(milliseconds=200)
STOP_SECONDS: Final = 4.0
# An unreachable stream is logged this often, not once an event.
LOG_SECONDS: Final = 5.0

lag = Gauge("topten_outbox_lag_seconds", "Age of the oldest recorded event that is not known to be published")
_log = structlog.get_logger("outbox")


@dataclass(frozen=True, slots=True)
class UnpublishedEvent:
    """A recorded event that is not known to be published.

    `recorded_on` is an incarnation of MongoDB's data that has the record, or one before that. A new `dedup_suffix` makes the
    stream store the event again within its duplicate window. `trace` is the traceparent that the event belongs to, by default
    the current one.
    """

    event_id: str
    user_id: str
    data: bytes
    recorded_on: str
    dedup_suffix: str = ""
    trace: str = field(default_factory=tracing.cause)


class PublishError(Exception):
    """The stream did not acknowledge; whether it stored the event is unknown."""


class EventPublisher:
    """Publishes events about players to one stream, each under its own id."""

    def __init__(self, jetstream: JetStreamContext, stream: str, subject: str) -> None:
        self._jetstream = jetstream
        self._stream = stream
        self._subject = subject

    async def publish(self, event: UnpublishedEvent) -> None:
        """Return when the stream has stored the event. Publishing it again within two minutes stores it once.

        Raises PublishError without an acknowledgement in time.
        """
        traces = [event.trace] if event.trace else []
        await self.send(event.user_id, event.event_id + event.dedup_suffix, event.data, event.recorded_on, traces)

    async def send(self, token: str, message_id: str, data: bytes, recorded_on: str, traces: Sequence[str]) -> None:
        """Publish a message under the subject that ends with `token`. Raises PublishError."""
        attributes = {"messaging.system": "nats", "messaging.destination.name": self._subject}
        with tracing.joined(f"publish {self._subject}", "producer", traces, attributes):
            headers = {"Nats-Msg-Id": message_id, HEADER: recorded_on}
            if trace := tracing.cause():
                headers[tracing.TRACEPARENT] = trace
            try:
                await self._jetstream.publish(f"{self._subject}.{token}", data, headers=headers, stream=self._stream)
            except (NatsError, TimeoutError, OSError) as error:
                tracing.annotate({"error.type": type(error).__name__}, failed=True)
                raise PublishError(type(error).__name__) from error

    async def publish_all(self, events: Sequence[UnpublishedEvent]) -> list[PublishError | None]:
        """Publish events that were recorded together. Return for each None, or why it may not be stored."""
        outcomes = await asyncio.gather(*map(self.publish, events), return_exceptions=True)
        return [_failure(outcome) for outcome in outcomes]


def _failure(outcome: BaseException | None) -> PublishError | None:
    if outcome is None or isinstance(outcome, PublishError):
        return outcome
    raise outcome


class Outbox:
    """Publishes the events of a store. A server of the stage PUBLISHER: `stop` awaits the events in flight."""

    stage = Stage.PUBLISHER

    def __init__(
        self,
        store: OutboxStore,
        publisher: EventPublisher,
        incarnation: IncarnationWatch,
        *,
        interval: timedelta,
        lease: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self.lease = lease
        self._store = store
        self._publisher = publisher
        self._incarnation = incarnation
        self._now = now
        self._in_flight: set[asyncio.Task[None]] = set()
        self._in_flight_events = 0
        self._acknowledged: list[tuple[str, str]] = []
        self._any_acknowledged = asyncio.Event()
        self._failures = 0
        self._logged_at = float("-inf")
        self._sweeper = Periodic("outbox sweep", self._sweep, every=interval, at_rest=15, retry_on=(ServiceError,))
        self._marker = Periodic("outbox mark", self._mark_when_any, every=MARK_EVERY)

    @property
    def recorded_on(self) -> str:
        """The incarnation of the data that a record goes to. Read it before the write: data may be replaced in between."""
        return self._incarnation.known.id

    async def start(self) -> None:
        """Start to sweep. The first sweep publishes events that a dead instance left behind."""
        await self._sweeper.start()
        await self._marker.start()

    async def stop(self) -> None:
        """Await the events in flight for up to 4 s and mark them; the next sweep of any instance publishes the rest."""
        await self._sweeper.stop()
        if self._in_flight:
            await asyncio.wait(set(self._in_flight), timeout=STOP_SECONDS)
        await self._marker.stop()
        await self._mark()

    def publish(self, *events: UnpublishedEvent) -> None:
        """Publish events that were recorded together without waiting. Beyond MAX_IN_FLIGHT they are left to a sweep."""
        if events and self._in_flight_events < MAX_IN_FLIGHT:
            self._in_flight_events += len(events)
            task = asyncio.create_task(self._publish(events))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)

    async def _publish(self, events: Sequence[UnpublishedEvent]) -> None:
        try:
            failures = await self._publisher.publish_all(events)
        finally:
            self._in_flight_events -= len(events)
        self._acknowledged += [
            (event.event_id, event.dedup_suffix) for event, error in zip(events, failures, strict=True) if error is None
        ]
        if self._acknowledged:
            self._any_acknowledged.set()
        errors = [error for error in failures if error is not None]
        self._failures += len(errors)
        now = time.monotonic()
        if errors and now - self._logged_at >= LOG_SECONDS:
            _log.warning("events not acknowledged, left to the next sweep", events=self._failures, error=str(errors[0]))
            self._logged_at, self._failures = now, 0

    async def _sweep(self) -> None:
        now = self._now()
        oldest = await self._store.oldest_unpublished()
        lag.set(0 if oldest is None else max(0.0, (now - oldest).total_seconds()))
        if oldest is not None:
            PROCESS.note()  # to sweep again soon
        if oldest is None or now - oldest < self.lease:
            return
        self.publish(*await self._store.lease_unpublished(now, now + self.lease, self.recorded_on))

    async def _mark_when_any(self) -> None:
        await self._any_acknowledged.wait()
        self._any_acknowledged.clear()
        await self._mark()

    async def _mark(self) -> None:
        """Mark acknowledged events. An event that cannot be marked now is published and acknowledged again later."""
        acknowledged, self._acknowledged = self._acknowledged, []
        if acknowledged:
            try:
                await self._store.mark_published(acknowledged)
            except ServiceError as error:
                _log.warning("events not marked as published", events=len(acknowledged), reason=error.reason)

"""From recorded to published: every event of a service, whatever dies in between.

An event is published at once, while the player is answered; acknowledged ones are marked in batches. A sweeper publishes
what is still unmarked after its lease: this instance's failures, another's that died, all of a time without JetStream.
Must never make a player wait, and never hold more than a bounded number of events in memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from prometheus_client import Gauge

from services.runtime import tracing
from services.runtime.errors import ServiceError
from services.runtime.lifecycle import Stage, cancel, spawn

MAX_IN_FLIGHT: Final = 2000
MARK_SECONDS: Final = 0.05
STOP_SECONDS: Final = 4.0
# A stream that is away is said this often, not once an event.
SAY_SECONDS: Final = 5.0

lag = Gauge("topten_outbox_lag_seconds", "Age of the oldest recorded event that is not known to be published")
_log = structlog.get_logger("outbox")


@dataclass(frozen=True, slots=True)
class WaitingEvent:
    """An event that is on record and not known to be published.

    `trace` is the trace that it belongs to, by default the one at work; `again` is something new if the event is to be
    stored though the stream has had it within its window of duplicates.
    """

    event_id: str
    user_id: str
    data: bytes
    again: str = ""
    trace: str = field(default_factory=tracing.cause)


class Records(Protocol):
    """Where events are on record. Every method raises UNAVAILABLE if the store does not answer."""

    async def oldest_waiting(self) -> datetime | None:
        """Since when the oldest event that waits does; None if none waits."""

    async def lease_waiting(self, now: datetime, until: datetime) -> list[WaitingEvent]:
        """Some of the events whose lease is over, oldest first, leased until `until`."""

    async def mark_published(self, event_ids: Sequence[str]) -> None:
        """The stream has acknowledged these events."""


class PublishError(Exception):
    """The stream did not acknowledge; whether it has the event is unknown."""


class EventPublisher:
    """Publishes events about players to one stream, each under its own id."""

    def __init__(self, jetstream: JetStreamContext, stream: str, subject: str) -> None:
        self._jetstream = jetstream
        self._stream = stream
        self._subject = subject

    async def publish(self, event: WaitingEvent) -> None:
        """Return when the stream has the event on its disk. Publishing it again within two minutes stores it once.

        Raises PublishError if there was no acknowledgement in time.
        """
        attributes = {"messaging.system": "nats", "messaging.destination.name": self._subject}
        with tracing.joined(f"publish {self._subject}", "producer", [event.trace] if event.trace else [], attributes):
            headers = {"Nats-Msg-Id": event.event_id + event.again}
            if trace := tracing.cause():
                headers[tracing.TRACEPARENT] = trace
            try:
                await self._jetstream.publish(
                    f"{self._subject}.{event.user_id}", event.data, headers=headers, stream=self._stream
                )
            except (NatsError, TimeoutError, OSError) as error:
                tracing.annotate({"error.type": type(error).__name__}, failed=True)
                raise PublishError(type(error).__name__) from error


class Outbox:
    """Publishes what the store has recorded. A server of the stage PUBLISHER: `stop` awaits what is in flight."""

    stage = Stage.PUBLISHER

    def __init__(
        self,
        store: Records,
        publisher: EventPublisher,
        *,
        interval: timedelta,
        lease: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self.lease = lease
        self._store = store
        self._publisher = publisher
        self._interval = interval.total_seconds()
        self._now = now
        self._in_flight: set[asyncio.Task[None]] = set()
        self._acknowledged: list[str] = []
        self._failures = 0
        self._said_at = float("-inf")
        self._sweeper: asyncio.Task[None] | None = None
        self._marker: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to sweep; what an instance that died left behind is published by the first round."""
        self._sweeper = spawn("outbox sweeper", self._sweep_for_ever())
        self._marker = spawn("outbox marker", self._mark_for_ever())

    async def stop(self) -> None:
        """Await what is in flight for up to 4 s and mark it; the rest is published by whoever sweeps next."""
        if self._sweeper is not None:
            await cancel(self._sweeper)
        if self._in_flight:
            await asyncio.wait(set(self._in_flight), timeout=STOP_SECONDS)
        if self._marker is not None:
            await cancel(self._marker)
        await self._mark()

    def publish(self, event: WaitingEvent) -> None:
        """Publish an event that is on record, without waiting. With too much in flight it is left to the sweeper."""
        if len(self._in_flight) < MAX_IN_FLIGHT:
            task = asyncio.create_task(self._publish(event))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)

    async def _publish(self, event: WaitingEvent) -> None:
        try:
            await self._publisher.publish(event)
        except PublishError as error:
            self._failures += 1
            now = time.monotonic()
            if now - self._said_at >= SAY_SECONDS:
                _log.warning(
                    "events are not acknowledged, and published later", events=self._failures, error=str(error)
                )
                self._said_at, self._failures = now, 0
        else:
            self._acknowledged.append(event.event_id)

    async def _sweep_for_ever(self) -> None:
        while True:
            try:
                await self._sweep()
            except ServiceError as error:
                _log.warning("sweep failed", reason=error.reason)
            await asyncio.sleep(self._interval)

    async def _sweep(self) -> None:
        now = self._now()
        oldest = await self._store.oldest_waiting()
        lag.set(0 if oldest is None else max(0.0, (now - oldest).total_seconds()))
        if oldest is None or now - oldest < self.lease:
            return
        for event in await self._store.lease_waiting(now, now + self.lease):
            self.publish(event)

    async def _mark_for_ever(self) -> None:
        while True:
            await asyncio.sleep(MARK_SECONDS)
            await self._mark()

    async def _mark(self) -> None:
        """Mark what was acknowledged. What can't be marked now is published and acknowledged again one day."""
        event_ids, self._acknowledged = self._acknowledged, []
        if event_ids:
            try:
                await self._store.mark_published(event_ids)
            except ServiceError as error:
                _log.warning("not marked", events=len(event_ids), reason=error.reason)

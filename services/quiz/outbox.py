"""From recorded to published: every event, whatever dies in between.

An event is published at once, while the player is answered; acknowledged ones are marked in batches. A sweeper publishes
what is still unmarked after its lease: this instance's failures, another's that died, all of a time without JetStream.
Must never make a player wait, and never hold more than a bounded number of events in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog
from prometheus_client import Gauge

from services.quiz.publisher import PublishError, QuizPublisher
from services.quiz.store import QuizStore
from services.quiz.submission import WaitingEvent
from services.runtime.errors import ServiceError
from services.runtime.lifecycle import Stage, cancel, spawn

MAX_IN_FLIGHT: Final = 2000
MARK_SECONDS: Final = 0.05
STOP_SECONDS: Final = 4.0

lag = Gauge("topten_outbox_lag_seconds", "Age of the oldest recorded event that is not known to be published")
_log = structlog.get_logger("outbox")


class Outbox:
    """Publishes what the store has recorded. A server of the stage PUBLISHER: `stop` awaits what is in flight."""

    stage = Stage.PUBLISHER

    def __init__(
        self,
        store: QuizStore,
        publisher: QuizPublisher,
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
            await self._publisher.publish(event.event_id, event.user_id, event.data)
        except PublishError as error:
            _log.warning("not acknowledged, published again later", event_id=event.event_id, error=str(error))
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

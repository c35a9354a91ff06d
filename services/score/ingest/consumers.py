"""Feeds the worker from the stream: one pull loop per durable consumer, and an answer to every message.

A server. Owns the pull loops and stores dead letters. Workers divide the partitions among them (see
`partition_assignment`); a durable consumer of an unpartitioned stream is pulled from by every worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import partial

import structlog
from nats.js.errors import NotFoundError

from services.runtime.process.lifecycle import cancel, spawn
from services.runtime.process.periodic import Periodic
from services.runtime.stores.jetstream import Nats
from services.runtime.telemetry import tracing
from services.score.errors import STORE_ERRORS, UnprocessableError
from services.score.ingest.ack_policy import AckPolicy, ack_policy
from services.score.ingest.dead_letter_store import DeadLetter, DeadLetterStore
from services.score.ingest.decoding import decode, event_id_of
from services.score.ingest.durables import Durable, Durables, durables_of
from services.score.ingest.messages import Part
from services.score.ingest.partition_assignment import PartitionAssignment
from services.score.ingest.pull_loop import ACK, TERM, Delivery, PullLoop, nak
from services.score.ingest.worker import Worker
from services.score.ledger.events import Event
from services.score.ledger.personal_data_digests import PersonalDataDigests
from services.score.metrics import BATCH_SECONDS, DEAD_LETTERS, PENDING, REDELIVERIES

_MAX_NAK_SECONDS = 60.0
_ASSIGN_EVERY = timedelta(seconds=1)
_RETRY_SECONDS = 0.5
_DRAIN_SECONDS = 8.0
_log = structlog.get_logger("consumers")


class Consumers:
    """Counts the events of the stream from `start` to `stop`. `now` returns milliseconds."""

    def __init__(
        self,
        nats: Nats,
        worker: Worker,
        dead_letters: DeadLetterStore,
        assignment: PartitionAssignment,
        *,
        stream: str,
        digests: PersonalDataDigests,
        batch: int,
        ack_wait: timedelta,
        max_ack_pending: int,
        now: Callable[[], int],
    ) -> None:
        self._nats = nats
        self._worker = worker
        self._dead_letters = dead_letters
        self._assignment = assignment
        self._stream = stream
        self._digests = digests
        self._batch = batch
        self._ack_wait = ack_wait.total_seconds()
        self._durables = Durables(
            nats.jetstream, stream, ack_wait=ack_wait.total_seconds(), max_ack_pending=max_ack_pending
        )
        self._now = now
        self._ready = asyncio.Event()
        self._loops: dict[str, tuple[PullLoop, asyncio.Task[None]]] = {}
        self._assigning = Periodic("consumers", self._assign, every=_ASSIGN_EVERY, at_rest=5, retry_on=STORE_ERRORS)

    async def start(self) -> None:
        """Start, and return once the stream exists, however long that takes."""
        await self._assigning.start()
        await self._ready.wait()

    async def stop(self) -> None:
        """Finish the batches being counted and give unprocessed messages back."""
        await self._assigning.stop()
        await self._stop_loops(set(self._loops))
        await self._assignment.leave()

    async def _assign(self) -> None:
        """Start and stop pull loops, so that there is one for each durable consumer assigned to this worker."""
        try:
            partitions = await self._durables.partitions()
        except NotFoundError:
            _log.info("waiting for the stream", stream=self._stream)
            return
        outdated, pending = await self._durables.remove_drained(partitions)
        assigned = await self._assignment.assigned_partitions(partitions) if partitions else [0]
        current = [durable for durable in durables_of(partitions).values() if durable.partition in assigned]
        wanted = {durable.name: durable for durable in (*current, *outdated)}
        await self._stop_loops(self._loops.keys() - wanted.keys())
        for durable in wanted.values():
            if durable.name not in self._loops:
                loop = self._loop(durable)
                self._loops[durable.name] = loop, spawn(durable.name, loop.run())
        PENDING.clear()
        for durable in wanted.values():
            PENDING.labels(str(durable.partition)).set(pending.get(durable.name, 0))
        self._ready.set()

    async def _stop_loops(self, names: Iterable[str]) -> None:
        """Stop pull loops after their current batches."""
        stopped = [self._loops.pop(name) for name in names]
        for loop, _ in stopped:
            loop.stop()
        tasks = [task for _, task in stopped]
        if tasks:
            await asyncio.wait(tasks, timeout=_DRAIN_SECONDS)
        await cancel(*tasks)

    async def _create_durable(self, durable: Durable) -> None:
        """Return once the durable consumer exists. An outdated one is not created again, only drained."""
        while True:
            try:
                is_wanted = durable.name in durables_of(await self._durables.partitions())
                if is_wanted:
                    await self._durables.create(durable)
                if is_wanted or await self._durables.exists(durable):
                    return
            except STORE_ERRORS as error:
                _log.warning("consumer not created yet", consumer=durable.name, error=str(error)[:200])
            await asyncio.sleep(_RETRY_SECONDS)

    def _loop(self, durable: Durable) -> PullLoop:
        return PullLoop(
            self._nats.client,
            self._stream,
            durable.name,
            create=partial(self._create_durable, durable),
            handle=partial(self._handle, partition=durable.partition),
            batch=self._batch,
            ack_wait=self._ack_wait,
        )

    async def _handle(self, batch: Sequence[Delivery], partition: int) -> list[bytes]:
        """Count a batch and return the acknowledgement of each message."""
        causes = [trace for delivery in batch for trace in delivery.contents.traces]
        decoded = [
            [self._decode(delivery, part.data, partition) for part in delivery.contents.parts] for delivery in batch
        ]
        events = [event for each in decoded for event in each if isinstance(event, Event)]
        size: tracing.Attributes = {"messaging.batch.message_count": len(batch), "topten.partition": partition}
        with BATCH_SECONDS.time(), tracing.joined("count", "consumer", causes, size):
            REDELIVERIES.inc(sum(delivery.delivered > 1 for delivery in batch))
            first_delivery = all(delivery.delivered == 1 for delivery in batch)
            refused = await self._worker.count(events, first_delivery=first_delivery)
            acknowledgements = []
            for delivery, each in zip(batch, decoded, strict=True):
                errors = [refused.get(event.event_id) if isinstance(event, Event) else event for event in each]
                acknowledgements.append(await self._acknowledgement(delivery, errors))
        return acknowledgements

    def _decode(self, delivery: Delivery, data: bytes, partition: int) -> Event | UnprocessableError:
        try:
            event = decode(data, sequence=delivery.sequence, partition=partition, digests=self._digests)
        except UnprocessableError as error:
            return error
        return event._replace(data=data, recorded_on=delivery.recorded_on)

    async def _acknowledgement(self, delivery: Delivery, errors: Sequence[Exception | None]) -> bytes:
        """Return the acknowledgement of a message, given the outcome of each of its events. Dead letters are stored first.

        A message with an event to retry is delivered again as a whole: its other events are not counted twice.
        """
        policies = [ack_policy(error) for error in errors]
        for number, (part, error) in enumerate(zip(delivery.contents.parts, errors, strict=True)):
            if policies[number] is AckPolicy.DEAD_LETTER:
                await self._store_dead_letter(delivery, part, number, str(error)[:500])
        if AckPolicy.RETRY in policies:
            return nak(min(2.0**delivery.delivered, _MAX_NAK_SECONDS))
        return TERM if AckPolicy.DEAD_LETTER in policies else ACK

    async def _store_dead_letter(self, delivery: Delivery, part: Part, number: int, reason: str) -> None:
        """Return once the dead letter is stored: only then may its message be terminated. `number` is its place in it."""
        place = f"{self._stream}:{delivery.sequence}" + (f":{number}" if number else "")
        letter_id = event_id_of(part.data) or place
        dead_letter = DeadLetter(letter_id, reason, part.subject, delivery.sequence, part.data, self._now())
        while True:
            try:
                await self._dead_letters.add(dead_letter)
                break
            except STORE_ERRORS as error:
                _log.warning("dead letter not stored yet", letter=letter_id, error=type(error).__name__)
            await asyncio.sleep(_RETRY_SECONDS)
        DEAD_LETTERS.inc()
        _log.error("dead letter stored", letter=letter_id, reason=reason, sequence=delivery.sequence)

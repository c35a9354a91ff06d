"""From the stream to the worker: a pull loop for each durable, and what is answered to each message.

A server. Owns the loops and the dead letters. Workers share the partitions that there are (see `share`); a durable for
all players is pulled from by every worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import partial

import structlog
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from services.runtime import tracing
from services.runtime.jetstream import Nats
from services.runtime.lifecycle import cancel, spawn
from services.score.answers import STORE_ERRORS, Answer, NeverError, answer_to
from services.score.consumer import ACK, TERM, Delivery, PullLoop, nak
from services.score.dead_letters import DeadLetter, DeadLetters
from services.score.events import decode, event_id_of
from services.score.layout import Durable, Layout, durables
from services.score.ledger import Event
from services.score.metrics import BATCH_SECONDS, DEAD_LETTERS, PENDING, REDELIVERIES
from services.score.seals import Seals
from services.score.share import Shares
from services.score.worker import Worker

_LONGEST_NAK_SECONDS = 60.0
_LOOK_SECONDS = 1.0
_RETRY_SECONDS = 0.5
_FINISH_SECONDS = 8.0
_log = structlog.get_logger("intake")


class Intake:
    """Counts what the stream holds, from `start` to `stop`. `now` is in milliseconds."""

    def __init__(
        self,
        nats: Nats,
        worker: Worker,
        letters: DeadLetters,
        shares: Shares,
        *,
        stream: str,
        seals: Seals,
        batch: int,
        ack_wait: timedelta,
        max_ack_pending: int,
        now: Callable[[], int],
    ) -> None:
        self._nats = nats
        self._worker = worker
        self._letters = letters
        self._shares = shares
        self._stream = stream
        self._seals = seals
        self._batch = batch
        self._ack_wait = ack_wait.total_seconds()
        self._layout = Layout(
            nats.jetstream, stream, ack_wait=ack_wait.total_seconds(), max_ack_pending=max_ack_pending
        )
        self._now = now
        self._found = asyncio.Event()
        self._loops: dict[str, tuple[PullLoop, asyncio.Task[None]]] = {}
        self._attending: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins, and returns when the stream was found, as long as that takes."""
        self._attending = spawn("intake", self._attend())
        await self._found.wait()

    async def stop(self) -> None:
        """Finishes the batches at hand and gives back what waits."""
        if self._attending is not None:
            await cancel(self._attending)
        await self._end(set(self._loops))
        await self._shares.leave()

    async def _attend(self) -> None:
        """A loop for each durable there is, however often that changes."""
        while True:
            partitions = await self._partitions()
            try:
                former, waiting = await self._layout.arrange(partitions)
            except STORE_ERRORS as error:
                _log.info("waiting for the stream", stream=self._stream, error=type(error).__name__)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            mine = await self._shares.mine(partitions) if partitions else [0]
            of_stream = durables(partitions).values()
            wanted = {
                found.name: found for found in (*of_stream, *former) if found in former or found.partition in mine
            }
            await self._end(self._loops.keys() - wanted.keys())
            for durable in wanted.values():
                if durable.name not in self._loops:
                    loop = self._loop(durable)
                    self._loops[durable.name] = loop, spawn(durable.name, loop.run())
            PENDING.clear()
            for durable in wanted.values():
                PENDING.labels(str(durable.partition)).set(waiting.get(durable.name, 0))
            self._found.set()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _end(self, names: Iterable[str]) -> None:
        """Ends these loops when their batches are through."""
        ended = [self._loops.pop(name) for name in names]
        for loop, _ in ended:
            loop.stop()
        tasks = [task for _, task in ended]
        if tasks:
            await asyncio.wait(tasks, timeout=_FINISH_SECONDS)
        await cancel(*tasks)

    async def _partitions(self) -> int:
        """How many partitions the stream has. Waits for the stream."""
        said = False
        while True:
            try:
                return await self._layout.partitions()
            except STORE_ERRORS as error:
                if not said or not isinstance(error, NotFoundError):
                    _log.info("waiting for the stream", stream=self._stream, error=type(error).__name__)
                    said = True
            await asyncio.sleep(_RETRY_SECONDS)

    async def _make(self, durable: Durable) -> None:
        """Returns when the durable is there. One that is not wanted any more is not made again, only emptied."""
        while True:
            wanted = durable.name in durables(await self._partitions())
            try:
                if wanted:
                    await self._layout.make(durable)
                if wanted or await self._layout.exists(durable):
                    return
            except (NatsError, OSError) as error:
                _log.warning("the consumer can't be made yet", consumer=durable.name, error=str(error)[:200])
            await asyncio.sleep(_RETRY_SECONDS)

    def _loop(self, durable: Durable) -> PullLoop:
        return PullLoop(
            self._nats.client,
            self._stream,
            durable.name,
            attach=partial(self._make, durable),
            handle=partial(self._handle, partition=durable.partition),
            batch=self._batch,
            ack_wait=self._ack_wait,
        )

    async def _handle(self, batch: Sequence[Delivery], partition: int) -> list[bytes]:
        """What to answer to each message of a batch."""
        events: list[Event | None] = []
        answers: list[bytes] = []
        letters: list[DeadLetter] = []
        causes = [delivery.trace for delivery in batch if delivery.trace]
        size: tracing.Attributes = {"messaging.batch.message_count": len(batch), "topten.partition": partition}
        with BATCH_SECONDS.time(), tracing.joined("count", "consumer", causes, size):
            for delivery in batch:
                if delivery.delivered > 1:
                    REDELIVERIES.inc()
                try:
                    events.append(
                        decode(delivery.data, sequence=delivery.sequence, partition=partition, seals=self._seals)
                    )
                except NeverError as error:
                    events.append(None)
                    letters.append(self._letter(delivery, str(error)))
            refused = await self._worker.count(
                [event for event in events if event is not None],
                are_new=all(delivery.delivered == 1 for delivery in batch),
            )
            for delivery, event in zip(batch, events, strict=True):
                refusal = None if event is None else refused.get(event.event_id)
                if event is None:
                    answers.append(TERM)
                elif refusal is None:
                    answers.append(ACK)
                elif answer_to(refusal) is Answer.NEVER:
                    letters.append(self._letter(delivery, str(refusal)))
                    answers.append(TERM)
                else:
                    answers.append(nak(min(2.0**delivery.delivered, _LONGEST_NAK_SECONDS)))
            for letter in letters:
                await self._bury(letter)
        return answers

    def _letter(self, delivery: Delivery, reason: str) -> DeadLetter:
        letter_id = event_id_of(delivery.data) or f"{self._stream}:{delivery.sequence}"
        return DeadLetter(letter_id, reason[:500], delivery.subject, delivery.sequence, delivery.data, self._now())

    async def _bury(self, letter: DeadLetter) -> None:
        """Returns when the letter is kept: only then its message may go."""
        while True:
            try:
                await self._letters.bury(letter)
            except STORE_ERRORS as error:
                _log.warning("a store does not answer, trying again", error=type(error).__name__)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                break
        DEAD_LETTERS.inc()
        _log.error("dead letter", letter=letter.letter_id, reason=letter.reason, sequence=letter.sequence)

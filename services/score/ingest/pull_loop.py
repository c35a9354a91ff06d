"""The pull loop of one durable consumer: messages in, in batches, acknowledgements out.

Owns the requests to JetStream and the messages held of it; knows no event. The protocol is `$JS.API.CONSUMER.MSG.NEXT`
(NATS ADR-13, ADR-37): requests are sent ahead of need, all with one inbox. What arrives there is a message (its reply
subject takes the acknowledgement), a heartbeat (100), or the end of a request (404, 408, 409, 503).

A request expires soon, and heartbeats come sooner. Whatever is lost on the way (a restarted server, a half-open connection,
a consumer that moves) therefore costs a moment: after silence or a new connection the loop requests again. Messages held
are marked as in progress for as long as they wait.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import orjson
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from services.runtime.process.activity import PROCESS
from services.runtime.process.lifecycle import cancel
from services.runtime.process.periodic import Periodic
from services.runtime.stores.bulk_client import BulkClient
from services.runtime.stores.incarnation import HEADER
from services.runtime.telemetry import tracing
from services.score.ingest.messages import Contents, contents_of

ACK = b"+ACK"
TERM = b"+TERM"
IN_PROGRESS = b"+WPI"
NAK_NOW = b"-NAK"

_EXPIRES_SECONDS = 30.0
_HEARTBEAT_SECONDS = 4.0
_SILENCE_SECONDS = 9.0
# How soon a new connection is noticed. Messages and the end of a request end the pause.
_POLL_SECONDS = 1.0
_DRAIN_SECONDS = 2.0
_BATCHES_AHEAD = 2
# A message has one event or hundreds: of large ones fewer are held ahead. A message has at most 1 MiB.
HELD_BYTES = 4 * 1024 * 1024
_NO_ROOM = "Message Size Exceeds MaxBytes"
_INCARNATION = f"\r\n{HEADER}:".encode()
_END_STATUSES = frozenset({"404", "408", "409", "503"})
_log = structlog.get_logger("consumers")


class Delivery(NamedTuple):
    """A delivered message. `reply` takes its acknowledgement; `delivered` counts deliveries.

    `recorded_on` is the incarnation of MongoDB's data on which its events were recorded; earlier versions do not state it.
    """

    data: bytes
    reply: str
    subject: str
    sequence: int
    delivered: int
    contents: Contents
    recorded_on: str


Handle = Callable[[Sequence[Delivery]], Awaitable[Sequence[bytes]]]
"""Returns the acknowledgement of each message of a batch."""
CreateConsumer = Callable[[], Coroutine[Any, Any, None]]


def nak(delay_seconds: float) -> bytes:
    """Return the acknowledgement that has a message delivered again after a delay."""
    return b'-NAK {"delay": %d}' % int(delay_seconds * 1e9)


class PullLoop:
    """Passes messages with at most `batch` events of one durable consumer to `handle`, and sends its acknowledgements.

    Holds at most as many messages as two batches have events, and of large ones a few times HELD_BYTES.

    `create` creates the consumer. It is called at the start and whenever the consumer is gone, and may take long. Batches
    are handled one after another. Messages that arrive meanwhile form the next batch, so nothing waits for a batch to fill.
    """

    def __init__(
        self,
        client: BulkClient,
        stream: str,
        durable: str,
        *,
        create: CreateConsumer,
        handle: Handle,
        batch: int,
        ack_wait: float,
    ) -> None:
        self._client = client
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._durable = durable
        self._create = create
        self._handle = handle
        self._batch = batch
        self._buffer: deque[Delivery] = deque()
        self._held_bytes = 0
        self._handling: Sequence[Delivery] = ()
        # The latest acknowledgements. A broken connection may lose some, which nobody notices until the ack wait is over,
        # so they are sent again on a new one. Acknowledging twice is harmless.
        self._sent: deque[tuple[Delivery, bytes]] = deque(maxlen=_BATCHES_AHEAD * batch)
        self._requested = 0
        self._last_arrival = 0.0
        self._reconnects = 0
        self._consumer_gone = False
        self._arrived = asyncio.Event()
        self._stopping = asyncio.Event()
        self._inbox = ""
        self._marking = Periodic(
            f"{durable} in progress", self._mark_in_progress, every=timedelta(seconds=ack_wait / 3), immediately=False
        )

    async def run(self) -> None:
        """Pull until `stop` is called; then finish the current batch and give the other messages back."""
        await self._create_consumer()
        self._inbox = self._client.new_inbox()
        subscription = await self._client.subscribe_bulk(f"{self._inbox}.*", self._on_message, self._on_status)
        await self._marking.start()
        try:
            self._reset("started")
            while not self._stopping.is_set():
                await self._request()
                batch = await self._next_batch()
                if batch:
                    self._handling = batch
                    acks = list(zip(batch, await self._handle(batch), strict=True))
                    self._handling = ()
                    self._sent.extend(acks)
                    await self._send(acks)
                elif self._consumer_gone:
                    await self._create_consumer()
                    self._reset("consumer created again")
        finally:
            await self._marking.stop()
            await self._give_back(subscription)

    def stop(self) -> None:
        """Make `run` end."""
        self._stopping.set()
        self._arrived.set()

    async def _create_consumer(self) -> None:
        """Return once the consumer exists, or when the loop is stopping."""
        creating, stopping = asyncio.ensure_future(self._create()), asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({creating, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if creating.done():
                creating.result()
        finally:
            await cancel(creating, stopping)

    def _on_message(self, subject: str, reply: str, data: bytes, headers: bytes) -> None:
        self._last_arrival = time.monotonic()
        PROCESS.note()
        if self._requested:
            self._requested -= 1
        self._buffer.append(_delivery(subject, reply, data, headers))
        self._held_bytes += len(data)
        self._arrived.set()

    async def _on_status(self, message: Msg) -> None:
        """Handle a heartbeat or the end of a request."""
        self._last_arrival = time.monotonic()
        if message.reply.startswith("$JS.ACK."):
            self._on_message(message.subject, message.reply, message.data, b"")
            return
        headers = message.headers or {}
        status = headers.get("Status", "")
        if status not in _END_STATUSES:
            return
        description = headers.get("Description", "")
        self._arrived.set()
        # The unused part of the request. Without the header it was used up, or refused as a whole.
        self._requested = max(self._requested - int(headers.get("Nats-Pending-Messages", self._batch)), 0)
        if status == "503" or "Consumer Deleted" in description:
            self._consumer_gone = True
            self._requested = 0
        elif status == "409" and not description.startswith(_NO_ROOM):
            _log.info("pull request ended", consumer=self._durable, reason=description[:100])

    async def _request(self) -> None:
        """Request enough messages for the next batch to be complete when the current one is done."""
        now = time.monotonic()
        reconnects = self._client.stats["reconnects"]
        if reconnects != self._reconnects:
            self._reset("reconnected")
            await self._send(self._sent)
        elif self._requested and now - self._last_arrival > _SILENCE_SECONDS:
            self._reset("no heartbeat")
        wanted = _BATCHES_AHEAD * self._batch - self._requested - len(self._buffer)
        has_room = self._held_bytes < HELD_BYTES / 2
        if wanted < self._batch / 2 or not has_room or not self._client.is_connected:
            return
        request = {
            "batch": wanted,
            "max_bytes": HELD_BYTES,
            "expires": int(_EXPIRES_SECONDS * 1e9),
            "idle_heartbeat": int(_HEARTBEAT_SECONDS * 1e9),
        }
        try:
            await self._client.publish(self._subject, orjson.dumps(request), reply=f"{self._inbox}.{reconnects}")
        except NatsError as error:
            _log.info("pull request not sent", consumer=self._durable, error=type(error).__name__)
            return
        if not self._requested:
            self._last_arrival = now
        self._requested += wanted

    def _reset(self, reason: str) -> None:
        """Forget the open requests: their messages may never arrive."""
        _log.info("pulling", consumer=self._durable, reason=reason)
        self._requested = 0
        self._consumer_gone = False
        self._last_arrival = time.monotonic()
        self._reconnects = self._client.stats["reconnects"]

    async def _next_batch(self) -> list[Delivery]:
        """Return messages with up to `batch` events, at least one; none if no message arrived for a moment."""
        if not self._buffer:
            self._arrived.clear()
            try:
                async with asyncio.timeout(_POLL_SECONDS):
                    await self._arrived.wait()
            except TimeoutError:
                pass
        batch: list[Delivery] = []
        events = 0
        while self._buffer and (not batch or events + len(self._buffer[0].contents.parts) <= self._batch):
            batch.append(self._buffer.popleft())
            events += len(batch[-1].contents.parts)
            self._held_bytes -= len(batch[-1].data)
        return batch

    async def _send(self, acks: Iterable[tuple[Delivery, bytes]]) -> None:
        """Send acknowledgements. A lost one does no harm: the message is delivered again."""
        try:
            for delivery, ack in acks:
                await self._client.publish(delivery.reply, ack)
        except NatsError as error:
            _log.info("acknowledgement not sent", consumer=self._durable, error=type(error).__name__)

    async def _mark_in_progress(self) -> None:
        if self._client.is_connected:
            await self._send([(delivery, IN_PROGRESS) for delivery in (*self._handling, *self._buffer)])

    async def _give_back(self, subscription: Subscription) -> None:
        """Give back the messages held, and those that the server sent before it knew of the end."""
        try:
            if self._client.is_connected:
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await subscription.drain()  # type: ignore[no-untyped-call]  # nats-py leaves it untyped
                await self._send([(delivery, NAK_NOW) for delivery in (*self._handling, *self._buffer)])
        except (NatsError, TimeoutError) as error:
            _log.info("messages not given back", consumer=self._durable, error=type(error).__name__)


def _delivery(subject: str, reply: str, data: bytes, headers: bytes) -> Delivery:
    # $JS.ACK[.domain.account].stream.consumer.delivered.sequence.position.time.pending[.random]
    tokens = reply.split(".")
    first = 4 if len(tokens) == 9 else 6
    _, _, rest = headers.partition(_INCARNATION)
    recorded_on = rest.partition(b"\r\n")[0].strip().decode("ascii", "replace")
    contents = contents_of(subject, data, tracing.of_message(headers))
    return Delivery(data, reply, subject, int(tokens[first + 1]), int(tokens[first]), contents, recorded_on)

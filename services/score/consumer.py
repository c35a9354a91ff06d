"""The pull loop of one durable consumer: messages in batches, answers back.

Owns what is asked of JetStream and what is held of it. It knows no event. The protocol is the one of
`$JS.API.CONSUMER.MSG.NEXT` (NATS ADR-13, ADR-37): requests go out ahead of need, all with one inbox; what arrives on it
is a message (its reply subject is where it is answered), a heartbeat (100) or the end of a request (404, 408, 409, 503).

A request expires soon and heartbeats come sooner, so that whatever is lost on the way (a server that restarts, a
connection that is half open, a consumer that moves) costs a moment: silence or a new connection begins anew. What is held
is marked as in progress while it waits, however long that is.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, NamedTuple

import orjson
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from services.runtime import tracing
from services.runtime.bulk_client import BulkClient
from services.runtime.lifecycle import cancel

ACK = b"+ACK"
TERM = b"+TERM"
IN_PROGRESS = b"+WPI"
NAK_NOW = b"-NAK"

_EXPIRES_SECONDS = 4.0
_HEARTBEAT_SECONDS = 1.0
_SILENCE_SECONDS = 2.5
_LOOK_SECONDS = 0.2
_DRAIN_SECONDS = 2.0
_AHEAD = 2
_ENDED = frozenset({"404", "408", "409", "503"})
_log = structlog.get_logger("consumer")


class Delivery(NamedTuple):
    """A message as it was delivered; `reply` is where it is answered, `trace` the trace that it is part of, if any."""

    data: bytes
    reply: str
    subject: str
    sequence: int
    delivered: int
    trace: str


Handle = Callable[[Sequence[Delivery]], Awaitable[Sequence[bytes]]]
Attach = Callable[[], Coroutine[Any, Any, None]]


def nak(delay_seconds: float) -> bytes:
    """The answer that has a message delivered again after a delay."""
    return b'-NAK {"delay": %d}' % int(delay_seconds * 1e9)


class PullLoop:
    """Takes batches of at most `batch` from one durable and answers each message as `handle` says.

    `attach` makes the consumer; it is called at the start and whenever the consumer is gone, and may wait for long.
    Batches are handled one after another. What arrives while one is makes the next, so nothing waits for a batch to fill.
    """

    def __init__(
        self,
        client: BulkClient,
        stream: str,
        durable: str,
        *,
        attach: Attach,
        handle: Handle,
        batch: int,
        ack_wait: float,
    ) -> None:
        self._client = client
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._durable = durable
        self._attach = attach
        self._handle = handle
        self._batch = batch
        self._mark_every = ack_wait / 3
        self._buffer: deque[Delivery] = deque()
        self._handling: Sequence[Delivery] = ()
        # What was answered last. A connection that breaks takes answers with it that nobody misses until the wait for
        # an acknowledgement is over; they may be given twice.
        self._answered: deque[tuple[Delivery, bytes]] = deque(maxlen=_AHEAD * batch)
        self._asked = 0
        self._heard_at = 0.0
        self._reconnects = 0
        self._gone = False
        self._arrived = asyncio.Event()
        self._stopping = asyncio.Event()
        self._inbox = ""

    async def run(self) -> None:
        """Pulls until `stop`; then the batch at hand is finished and what waits is given back."""
        await self._attached()
        self._inbox = self._client.new_inbox()
        subscription = await self._client.subscribe_bulk(f"{self._inbox}.*", self._receive, self._hear)
        marking = asyncio.create_task(self._mark())
        try:
            self._begin_anew("started")
            while not self._stopping.is_set():
                await self._ask()
                batch = await self._take()
                if batch:
                    self._handling = batch
                    answers = await self._handle(batch)
                    self._handling = ()
                    self._answered.extend(zip(batch, answers, strict=True))
                    await self._answer(zip(batch, answers, strict=True))
                elif self._gone:
                    await self._attached()
                    self._begin_anew("consumer made again")
        finally:
            marking.cancel()
            await self._give_back(subscription)

    def stop(self) -> None:
        """Asks `run` to come to its end."""
        self._stopping.set()
        self._arrived.set()

    async def _attached(self) -> None:
        """Returns when the consumer is there, or when it is not needed any more."""
        attaching, stopping = asyncio.ensure_future(self._attach()), asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({attaching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if attaching.done():
                attaching.result()
        finally:
            await cancel(attaching, stopping)

    def _receive(self, subject: str, reply: str, data: bytes, headers: bytes) -> None:
        """A message of the stream."""
        self._heard_at = time.monotonic()
        if self._asked:
            self._asked -= 1
        self._buffer.append(_delivery(subject, reply, data, tracing.of_message(headers)))
        self._arrived.set()

    async def _hear(self, message: Msg) -> None:
        """A heartbeat, or the end of a request."""
        self._heard_at = time.monotonic()
        if message.reply.startswith("$JS.ACK."):
            self._receive(message.subject, message.reply, message.data, b"")
            return
        status = (message.headers or {}).get("Status", "")
        if status not in _ENDED:
            return
        headers = message.headers or {}
        description = headers.get("Description", "")
        # How much of the request was not used; one that does not say so was used up or refused as a whole.
        self._asked -= int(headers.get("Nats-Pending-Messages", self._batch))
        self._asked = max(self._asked, 0)
        if status == "503" or "Consumer Deleted" in description:
            self._gone = True
            self._asked = 0
        elif status == "409":
            _log.info("a request ended", consumer=self._durable, reason=description[:100])

    async def _ask(self) -> None:
        """Keeps so much asked for or here that the next batch is complete when this one is done."""
        now = time.monotonic()
        reconnects = self._client.stats["reconnects"]
        if reconnects != self._reconnects:
            self._begin_anew("connected again")
            await self._answer(self._answered)
        elif self._asked and now - self._heard_at > _SILENCE_SECONDS:
            self._begin_anew("nothing was heard")
        wanted = _AHEAD * self._batch - self._asked - len(self._buffer)
        if wanted < self._batch / 2 or not self._client.is_connected:
            return
        request = {
            "batch": wanted,
            "expires": int(_EXPIRES_SECONDS * 1e9),
            "idle_heartbeat": int(_HEARTBEAT_SECONDS * 1e9),
        }
        try:
            await self._client.publish(self._next, orjson.dumps(request), reply=f"{self._inbox}.{reconnects}")
        except NatsError as error:
            _log.info("could not ask", consumer=self._durable, error=type(error).__name__)
            return
        if not self._asked:
            self._heard_at = now
        self._asked += wanted

    def _begin_anew(self, why: str) -> None:
        """Whatever was asked for may never come."""
        _log.info("pulling", consumer=self._durable, reason=why)
        self._asked = 0
        self._gone = False
        self._heard_at = time.monotonic()
        self._reconnects = self._client.stats["reconnects"]

    async def _take(self) -> list[Delivery]:
        """A batch; empty if none came for a moment."""
        if not self._buffer:
            self._arrived.clear()
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._arrived.wait()
            except TimeoutError:
                return []
        return [self._buffer.popleft() for _ in range(min(self._batch, len(self._buffer)))]

    async def _answer(self, answers: Iterable[tuple[Delivery, bytes]]) -> None:
        """An answer that does not arrive is no harm: the message comes again."""
        try:
            for delivery, answer in answers:
                await self._client.publish(delivery.reply, answer)
        except NatsError as error:
            _log.info("could not answer", consumer=self._durable, error=type(error).__name__)

    async def _mark(self) -> None:
        while True:
            await asyncio.sleep(self._mark_every)
            if self._client.is_connected:
                await self._answer((held, IN_PROGRESS) for held in [*self._handling, *self._buffer])

    async def _give_back(self, subscription: Subscription) -> None:
        """Gives back what is held, and what the server sent before it knew that nobody asks any more."""
        try:
            if self._client.is_connected:
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await subscription.drain()  # type: ignore[no-untyped-call]  # nats-py leaves it untyped
                await self._answer((held, NAK_NOW) for held in [*self._handling, *self._buffer])
        except (NatsError, TimeoutError) as error:
            _log.info("could not give back", consumer=self._durable, error=type(error).__name__)


def _delivery(subject: str, reply: str, data: bytes, trace: str) -> Delivery:
    # $JS.ACK[.domain.account].stream.consumer.delivered.sequence.position.time.pending[.random]
    tokens = reply.split(".")
    first = 4 if len(tokens) == 9 else 6
    return Delivery(data, reply, subject, int(tokens[first + 1]), int(tokens[first]), trace)

"""A feed: one upstream, what it showed last, and the streams that are shown it.

Owns that a lost upstream is opened again, and that every stream of a feed gets the same bytes, encoded once. Must never wait
for a client: one that does not keep up is cut off, and reconnects to the latest state.
"""

from __future__ import annotations

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import ClassVar, Final

import structlog
from prometheus_client import Gauge

from edge.stream.frames import Message, Position
from edge.stream.subscriber import Subscriber, dropped_total
from services.runtime.errors import ServiceError
from services.runtime.grpc.call_context import begin_call
from services.runtime.process.lifecycle import cancel, spawn

MIN_RETRY_SECONDS: Final = 0.1
MAX_RETRY_SECONDS: Final = 3.0
# Clients are not told of an upstream that is back within this time.
STALE_SECONDS: Final = 1.0
YIELD_EVERY: Final = 500
connections = Gauge("topten_sse_connections", "Open streams")
_log = structlog.get_logger("stream.feed")


class Feed(ABC):
    """The feed called `name`. `start` opens the upstream, `close` ends it.

    A subscriber that buffers more than `max_buffer` bytes is cut off.
    """

    refusals: ClassVar[frozenset[str]]
    """Reasons for which the upstream is not asked again."""

    def __init__(self, name: str, *, max_buffer: int) -> None:
        self.name = name
        self.closed = False
        """True once the last state was sent and no other can come."""
        self.refusal: ServiceError | None = None
        """Why the upstream does not serve this feed."""
        self.streams = 0
        """Streams of this feed, including those that are being opened."""
        self.subscribers: set[Subscriber] = set()
        self._stopping = False
        self._max_buffer = max_buffer
        self._changed = asyncio.Event()
        self._lost_at = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    @abstractmethod
    def latest(self) -> object | None:
        """What is shown; None before the upstream has sent anything."""

    @abstractmethod
    async def _watch(self) -> None:
        """Show what the upstream sends until it ends, and set `_lost_at` if it sent anything. Raises ServiceError."""

    @abstractmethod
    def _is_over(self) -> bool:
        """Return whether the end of the upstream is final."""

    @abstractmethod
    def _end_message(self) -> Message | None:
        """Return what is written at the final end."""

    @abstractmethod
    async def _show_stale(self) -> None:
        """Write that the shown state may be out of date. Only called while a state is shown."""

    @abstractmethod
    def _greet(self, subscriber: Subscriber, last_seen: Position | None, catch_up: timedelta) -> None:
        """Send a new stream what it needs at its beginning."""

    def start(self) -> None:
        """Open the upstream, and keep it open until the feed is closed or refused."""
        self._task = spawn(f"feed {self.name}", self._run())

    async def close(self) -> None:
        """Close the upstream."""
        if self._task is not None:
            await cancel(self._task)

    def refusal_of(self, user_id: str) -> ServiceError | None:  # noqa: ARG002  # rooms need it
        """Return why a user is shown nothing of this feed; None if they are."""
        return self.refusal

    def is_showing(self) -> bool:
        """Return whether there is something to show, and it is not the last: then the end is on its way."""
        return self.latest is not None and not self._is_over()

    async def wait_ready(self, within: timedelta) -> None:
        """Wait until something is shown, or until the feed is known to be closed or refused; at most `within`."""
        await self._wait(lambda: self.is_showing() or self.closed or self.refusal is not None, within)

    def subscribe(
        self,
        subscriber: Subscriber,
        on_disconnect: Callable[[], None],
        last_seen: Position | None = None,
        catch_up: timedelta = timedelta(),
    ) -> None:
        """Add a stream and send it what is shown. `on_disconnect` is called when the connection is gone.

        For a client that names its position, `last_seen`, this may be put off for at most `catch_up`, in favor of a newer one.
        """
        connections.inc()
        subscriber.on_disconnect = partial(self._unsubscribe, subscriber, on_disconnect)
        if self._stopping or self.closed or self.refusal is not None:
            subscriber.end()
            return
        self.subscribers.add(subscriber)
        self._greet(subscriber, last_seen, catch_up)

    async def write(self, message: Message, position: Position | None = None) -> None:
        """Write to every subscriber; a frame, which has a position, not to those who are still spared it.

        Lets other tasks run in between, because ten thousand writes take a while.
        """
        for number, subscriber in enumerate(list(self.subscribers), start=1):
            if subscriber.buffered_bytes() > self._max_buffer:
                dropped_total.labels("slow").inc()
                subscriber.abort()
            elif subscriber.is_open and (position is None or subscriber.accepts(position)):
                if position is not None:
                    subscriber.last_seen = None
                subscriber.write(message)
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    def end_streams(self) -> None:
        """End every stream, and any that is being opened."""
        self._stopping = True
        for subscriber in self.subscribers:
            subscriber.end()

    def _unsubscribe(self, subscriber: Subscriber, on_disconnect: Callable[[], None]) -> None:
        connections.dec()
        self.subscribers.discard(subscriber)
        on_disconnect()

    async def _run(self) -> None:
        structlog.contextvars.clear_contextvars()
        pause = MIN_RETRY_SECONDS
        while True:
            previous = self.latest
            await self._follow_upstream()
            if self.closed or self.refusal is not None:
                break
            if self.latest is not previous:
                pause = MIN_RETRY_SECONDS
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
            pause = min(MAX_RETRY_SECONDS, pause * 2)
            if self.latest is not None and time.monotonic() - self._lost_at > STALE_SECONDS:
                await self._show_stale()
        self._notify()
        if self.closed and (last := self._end_message()):
            await self.write(last)
        self.end_streams()

    async def _follow_upstream(self) -> None:
        """Show what the upstream sends until it ends; set `closed` or `refusal` if it will not come back."""
        begin_call(None)
        try:
            await self._watch()
            self.closed = self._is_over()
        except ServiceError as error:
            if error.reason in self.refusals:
                self.refusal = error
            else:
                _log.warning("upstream lost", feed=self.name, reason=error.reason)
        except Exception:  # noqa: BLE001  # a fault in one feed must not end the process and all other feeds
            _log.exception("upstream's message could not be handled", feed=self.name)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _wait(self, condition: Callable[[], bool], within: timedelta) -> None:
        try:
            async with asyncio.timeout(within.total_seconds()):
                while not condition():
                    await self._changed.wait()
        except TimeoutError:
            return

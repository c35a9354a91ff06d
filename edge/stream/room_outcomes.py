"""The outcomes of a room: each player's own one, on their streams, at the beginning and after each transition.

The streams that are due are asked for up to 500 at a time, one call after the other. Must never hold up the states of the
room, nor ask for a stream twice at one version: a later transition makes all streams due again, and what arrives for another
version than the one whose state was written is dropped. A client that gets none can read it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client import Counter

from services.runtime.errors import ServiceError
from services.runtime.grpc.call_context import begin_call
from services.runtime.process.lifecycle import cancel, spawn

if TYPE_CHECKING:
    from edge.stream.frames import Message
    from edge.stream.subscriber import Subscriber

BATCH_SIZE: Final = 500
# Streams that begin within this time are asked for together.
JOIN_SECONDS: Final = 0.1
batches_total = Counter("topten_sse_room_outcomes_total", "Reads of players' own outcomes in rooms", ["result"])
_log = structlog.get_logger("stream.room_outcomes")


ReadOutcomes = Callable[[set[str]], Awaitable[tuple[int, Mapping[str, "Message"]]]]
"""Reads what users are to be sent: the version of the room to which it belongs, and the message of each who gets one."""


class RoomOutcomeFeed:
    """Reads the outcomes of the players who watch the feed called `name`, by `read`. `close` cancels reads under way."""

    def __init__(self, name: str, read: ReadOutcomes) -> None:
        self._name = name
        self._read = read
        self._version = 0
        self._due: dict[Subscriber, None] = {}
        self._task: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """End the read that is under way."""
        if self._task is not None:
            await cancel(self._task)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Send a new stream its player's outcome; a stream without a player gets none."""
        self._ask([subscriber], after=JOIN_SECONDS)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Ask no more for a stream."""
        self._due.pop(subscriber, None)

    def follow(self, version: int, subscribers: Iterable[Subscriber]) -> None:
        """Send all streams their player's outcome at a version of the room whose state they were sent, if it is a new one."""
        if version != self._version:
            self._version = version
            self._due.clear()
            self._ask(subscribers)

    def _ask(self, subscribers: Iterable[Subscriber], *, after: float = 0) -> None:
        self._due.update(dict.fromkeys(each for each in subscribers if each.user_id))
        if self._due and (self._task is None or self._task.done()):
            self._task = spawn(f"room outcomes {self._name}", self._run(after))

    async def _run(self, after: float) -> None:
        structlog.contextvars.clear_contextvars()
        begin_call(None)
        await asyncio.sleep(after)
        while batch := list(islice(self._due, BATCH_SIZE)):
            for subscriber in batch:
                del self._due[subscriber]
            try:
                result = await self._send(batch)
            except ServiceError as error:
                _log.warning("room outcomes unavailable", streams=len(batch), reason=error.reason)
                result = "failed"
            except Exception:  # noqa: BLE001  # a fault in one room must not end the process and all other feeds
                _log.exception("room outcomes could not be handled")
                result = "failed"
            batches_total.labels(result).inc()

    async def _send(self, batch: list[Subscriber]) -> str:
        """Send a batch what the upstream has for it; return the result."""
        version, outcomes = await self._read({subscriber.user_id for subscriber in batch})
        if version != self._version:
            return "outdated"
        for subscriber in batch:
            outcome = outcomes.get(subscriber.user_id)
            if outcome is not None and subscriber.is_open:
                subscriber.write(outcome)
        return "sent"

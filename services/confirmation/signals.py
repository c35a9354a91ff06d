"""Signals that events are counted, from `score.events`, which score publishes after the ledger and the boards are written.

A signal can be lost: Pub/Sub keeps nothing for a subscription that is down. Publishing an event again changes no score and
repeats its signal, so a listener that may have missed a signal has the event published again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

import structlog
from google.protobuf.message import DecodeError
from redis.asyncio import Redis
from topten.score.v1 import score_events_pb2

from services.runtime.errors import ServiceError
from services.runtime.process.periodic import Periodic
from services.runtime.stores.channel import Channel
from services.streams import SCORE_CHANNEL

# The players for whom calls of one process wait, each for some seconds.
MAX_PLAYERS: Final = 10_000
PublishAgain = Callable[[Collection[str]], Awaitable[None]]
"""Publishes events that were published before once more. Raises ServiceError."""
_log = structlog.get_logger("confirmation")


class Listener:
    """Hears which events of its players are counted, from when it was made. `is_admitted` is False for one too many."""

    def __init__(self, *, is_admitted: bool) -> None:
        self._is_admitted = is_admitted
        self._totals: dict[str, int] = {}
        self._has_missed = False
        self._wake = asyncio.Event()

    async def totals(
        self, event_ids: Collection[str], publish_again: PublishAgain, *, repeated: Collection[str] = (), seconds: float
    ) -> Mapping[str, int]:
        """Return the player's total after each event that is counted, once all are, after `seconds` at the latest.

        `repeated` are those of the events that may have been counted before this listener was made.
        """
        if not self._is_admitted:
            return {}
        unsure = set(repeated)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while missing := set(event_ids) - self._totals.keys():
                    if self._has_missed:
                        self._has_missed, unsure = False, missing
                    if unsure := unsure & missing:
                        await _shielded(publish_again, unsure)
                        unsure = set()
                    await self._wake.wait()
                    self._wake.clear()
        return {event_id: self._totals[event_id] for event_id in event_ids if event_id in self._totals}

    def hear(self, event_id: str, total: int) -> None:
        """Note that an event is counted."""
        self._totals[event_id] = total
        self._wake.set()

    def miss(self) -> None:
        """Note that signals may have been lost."""
        self._has_missed = True
        self._wake.set()


class CountedSignals:
    """Passes signals on to listeners. Use from one event loop."""

    def __init__(self, redis: Redis, *, max_players: int = MAX_PLAYERS) -> None:
        self._channel = Channel(redis, SCORE_CHANNEL, opened=self._missed, received=self._received)
        self._max_players = max_players
        self._count = 0
        self._listeners: defaultdict[str, set[Listener]] = defaultdict(set)

    def server(self) -> Periodic:
        """Return the server that keeps the subscription open."""
        return self._channel.server()

    @contextmanager
    def listening(self, user_ids: Collection[str]) -> Iterator[Listener]:
        """Listen for events of these different players. Begin before the events are published."""
        is_admitted = self._count + len(user_ids) <= self._max_players
        listener = Listener(is_admitted=is_admitted)
        if not is_admitted:
            yield listener
            return
        self._count += len(user_ids)
        for user_id in user_ids:
            self._listeners[user_id].add(listener)
        try:
            yield listener
        finally:
            self._count -= len(user_ids)
            for user_id in user_ids:
                self._listeners[user_id].discard(listener)
                if not self._listeners[user_id]:
                    del self._listeners[user_id]

    def _received(self, data: bytes) -> None:
        if not self._listeners:  # nearly always: the message is not even decoded
            return
        try:
            batch = score_events_pb2.ScoreUpdatedBatch.FromString(data)
        except DecodeError:
            _log.warning("unreadable score message", size=len(data))
            self._missed()
            return
        for event in batch.events:
            for listener in self._listeners.get(event.payload.user_id, ()):
                listener.hear(event.event_id, event.payload.new_total_score)

    def _missed(self) -> None:
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.miss()


async def _shielded(publish_again: PublishAgain, event_ids: Collection[str]) -> None:
    """Publish events again, and finish even if the wait ends. After a failure the wait ends without a signal."""

    async def work() -> None:
        try:
            await publish_again(event_ids)
        except ServiceError as error:
            _log.warning("events not published again", events=len(event_ids), reason=error.reason)

    await asyncio.shield(asyncio.ensure_future(work()))

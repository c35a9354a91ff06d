"""What `score.events` says, told to the watches it is about.

A message is a hint: whenever the subscription begins anew every watched board is read, since what was said meanwhile is
gone. A connection that says nothing, not even when it is asked, is given up. Must never stop because Redis does.
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any, Final

import structlog
from google.protobuf.message import DecodeError
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from topten.score.v1 import score_events_pb2

from services.leaderboard.names import Names
from services.leaderboard.ranks import RankWatches
from services.leaderboard.watches import Watches
from services.runtime.boards import SCORE_CHANNEL
from services.runtime.lifecycle import cancel, spawn
from services.runtime.redis_client import REDIS_ERRORS, subscription

SILENCE: Final = timedelta(seconds=3)
PAUSE_SECONDS: Final = 0.5
NAMES_CHANGE: Final = frozenset({"COUNTRY_CHANGED", "PLAYER_ERASED"})

subscriptions = Counter("topten_leaderboard_subscriptions_total", "How often listening to score.events began anew")
_log = structlog.get_logger("updates")


class Updates:
    """A server: between `start` and `stop` it listens. A connection that is silent for `silence` is asked, and given up
    after twice as long.
    """

    def __init__(
        self, redis: Redis, watches: Watches, ranks: RankWatches, names: Names, *, silence: timedelta = SILENCE
    ) -> None:
        self._redis = redis
        self._ranks = ranks
        self._names = names
        self._silence = silence.total_seconds()
        self._watches = watches
        self._listener: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to listen."""
        self._listener = spawn("score events", self._listen())

    async def stop(self) -> None:
        """Stops listening."""
        if self._listener is not None:
            await cancel(self._listener)

    async def _listen(self) -> None:
        while True:
            try:
                async with subscription(self._redis) as events:
                    await events.subscribe(SCORE_CHANNEL)
                    await self._hear(events)
            except (*REDIS_ERRORS, TimeoutError) as error:
                _log.warning("no score events", error=type(error).__name__)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _hear(self, events: PubSub) -> None:
        """Returns when the connection is silent; raises what the driver raises."""
        heard_at = time.monotonic()
        while True:
            message = await events.get_message(timeout=self._silence)
            if message is not None:
                heard_at = time.monotonic()
                self._take(message)
            elif time.monotonic() - heard_at > 2 * self._silence:
                _log.warning("score events are silent, listening anew")
                return
            else:
                await events.ping()

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            subscriptions.inc()
            self._mark_all()
        elif message["type"] == "message":
            self._tell(message["data"])

    def _tell(self, data: bytes) -> None:
        try:
            batch = score_events_pb2.ScoreUpdatedBatch.FromString(data)
        except DecodeError:
            _log.warning("an unreadable message", size=len(data))
            self._mark_all()
            return
        for event in batch.events:
            payload = event.payload
            if payload.cause in NAMES_CHANGE:
                self._names.forget(payload.user_id)
            for standing in payload.standings:
                self._watches.notice(
                    standing.board, payload.user_id, standing.value, lowered=standing.lowered, causes=batch.traceparents
                )
                self._ranks.notice(standing.board, payload.user_id)

    def _mark_all(self) -> None:
        self._watches.mark_all()
        self._ranks.mark_all()
